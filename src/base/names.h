/*
 * names.h
 *	  BigQuery's names as names of PostgreSQL.
 *
 * BigQuery's tables may have names of 1,024 bytes and its columns of 300
 * characters; PostgreSQL cuts a name at 63 bytes, and would take two long names
 * that begin alike for one.
 */
#ifndef CONTRATOS_NAMES_H
#define CONTRATOS_NAMES_H

#include "base/crypto.h"

/* Whether PostgreSQL keeps all of a name. */
extern bool names_fit(const char *name);

/*
 * A name (in the server's encoding) for what cannot have its own: as much of its
 * beginning as there is room for, and a hash of the whole.  It hangs on nothing
 * else, so that it is the same whatever other names there are; `round` 1, 2, …
 * give others, should that one be taken after all.  In CurrentMemoryContext.
 */
extern char *names_cut(Digest *digest, const char *name, int round);

#endif /* CONTRATOS_NAMES_H */
