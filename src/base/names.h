/*
 * names.h
 *	  BigQuery's names as PostgreSQL names.
 *
 * BigQuery's tables may have names of 1,024 bytes and its columns of 300 characters;
 * PostgreSQL truncates a name to 63 bytes, and would take two long names with the same
 * beginning for one.
 */
#ifndef CONTRATOS_NAMES_H
#define CONTRATOS_NAMES_H

#include "base/crypto.h"

/* Whether PostgreSQL keeps all of a name. */
extern bool names_fit(const char *name);

/*
 * A name (in the server's encoding) for an object whose own name is too long: as much
 * of its beginning as fits, and a hash of the whole name.  It depends on nothing else,
 * so it is the same whatever other names exist; `round` 1, 2, … give alternatives in
 * case the name is already taken.  In CurrentMemoryContext.
 */
extern char *names_cut(Digest *digest, const char *name, int round);

#endif /* CONTRATOS_NAMES_H */
