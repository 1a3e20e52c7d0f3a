/*
 * auth_key.h
 *	  The credentials file, for auth.c only.
 */
#ifndef CONTRATOS_AUTH_KEY_H
#define CONTRATOS_AUTH_KEY_H

#include "failure.h"
#include "json.h"

/* What changes when a file is replaced or rewritten. */
typedef struct AuthFileId
{
	uint64 device;
	uint64 inode;
	uint64 size;
	int64 mtime_s;
	int64 mtime_ns;
} AuthFileId;

/*
 * Check that `path` is a regular file of sensible size that nobody else can
 * read or change, and say which one it is.  False with *f set.
 */
extern bool auth_key_identify(const char *path, AuthFileId *id, Failure *f);

/*
 * The same, and read it as JSON.  The document's strings are overwritten when
 * it is freed.  NULL with *f set.
 */
extern JsonDoc *auth_key_load(const char *path, AuthFileId *id, Failure *f);

/* Whether the document is a whole key of a service account; false with *f set. */
extern bool auth_key_check(const JsonDoc *doc, const char *path, Failure *f);

#endif /* CONTRATOS_AUTH_KEY_H */
