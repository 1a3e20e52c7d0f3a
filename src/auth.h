/*
 * auth.h
 *	  Credentials file → access token, kept in this backend until it nears its
 *	  end.
 *
 * Tokens are cached by (file, device, inode, mtime, size, scope): a replaced
 * key is used at the next call, without restart, and tokens of two servers are
 * never mixed.  The file is read each time a token is asked for from the key,
 * never kept.
 */
#ifndef CONTRATOS_AUTH_H
#define CONTRATOS_AUTH_H

#include "failure.h"
#include "http.h"

typedef struct AuthConfig
{
	const char *credentials_file; /* absolute path */
	const char *ca_file; /* as in HttpRequest, for the token endpoint */
	const char *proxy;
	int connect_timeout_ms;
	int timeout_ms; /* for the token request with its repetitions */
} AuthConfig;

/*
 * An access token for BigQuery, valid for at least 3 min 45 s more.  The
 * result stays valid until the next call.  `refused` is the token that the
 * service has just answered with 401, or NULL: the cache's token is thrown
 * away only if it is that one.
 *
 * NULL with *f set:
 *	58P01 no such file          42501 its mode or owner is not safe
 *	58030 cannot be read        22P02 not JSON
 *	22023 a field is missing, or the type is not supported (or too large a file)
 *	42809 not a regular file
 *	F0000 broken private key    28000 refused by the token endpoint
 *	08001, 08006, 58030 the token endpoint could not be reached, or failed
 *	08P01 its answer makes no sense
 */
extern const char *auth_token(const AuthConfig *config, HttpClient *http, const char *refused, Failure *f);

/*
 * The key's project_id, in CurrentMemoryContext; NULL with *f clear when the
 * file names none, NULL with *f set when the file cannot be used.
 */
extern char *auth_project(const AuthConfig *config, Failure *f);

#endif /* CONTRATOS_AUTH_H */
