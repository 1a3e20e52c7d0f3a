/*
 * auth.h
 *	  Credentials → access token, kept in this backend until it nears its end.
 *
 * Credentials are a file, of one of the kinds that Google Cloud hands out, or
 * the word metadata (SETTINGS_METADATA): the service account of the machine.
 *
 * Tokens are cached by (file, device, inode, mtime, size); the kind and the
 * scope follow from these.  A replaced file is used at the next call, without
 * restart, and tokens of two servers are never mixed.  The file is read each
 * time a token is asked for, never kept; so is the file of a subject token.
 */
#ifndef CONTRATOS_AUTH_H
#define CONTRATOS_AUTH_H

#include "base/failure.h"
#include "http/http.h"

typedef struct AuthConfig
{
	const char *credentials_file; /* absolute path, or SETTINGS_METADATA */
	const char *ca_file; /* as in HttpRequest, for the token's endpoints */
	const char *proxy;
	int connect_timeout_ms;
	int timeout_ms; /* for all requests that a token takes, with their repetitions */
} AuthConfig;

/*
 * An access token for BigQuery, valid for at least 3 min 45 s more.  The
 * result stays valid until the next call.  `refused` is the number of the token
 * that the service has just answered with 401, or 0: the cache's token is thrown
 * away only if it is that one.
 *
 * NULL with *f set:
 *	58P01 no such file          42501 its mode or owner is not safe
 *	58030 cannot be read        22P02 not JSON
 *	22023 a field is missing, or says what cannot be used; the type is not
 *	      supported; too large a file
 *	42809 not a regular file
 *	F0000 broken private key    28000 refused by an endpoint
 *	08001, 08006, 58030 an endpoint could not be reached, or failed
 *	08P01 an answer makes no sense
 * and of a subject token's file 58P01, 42501, 58030, 42809, 22023 as well.
 */
extern const char *auth_token(const AuthConfig *config, HttpClient *http, uint64 refused, Failure *f);

/*
 * The number of a token, by which it can be told from others when it is gone: no
 * two have the same, none has 0.  `token` is what auth_token() gave last.
 */
extern uint64 auth_token_number(const char *token);

/*
 * The project against whose quota requests with a token count (header
 * x-goog-user-project), or NULL for none.  `token` is what auth_token() gave
 * last; so long is the result valid.
 */
extern const char *auth_quota_project(const char *token);

/*
 * The project that is billed where nothing else says so: the file's project_id,
 * else its quota_project_id; of a machine its own, which is asked for (within
 * config's times).  In CurrentMemoryContext; NULL with *f clear when there is
 * none, NULL with *f set when the credentials cannot be used.
 */
extern char *auth_project(const AuthConfig *config, HttpClient *http, Failure *f);

/* What credentials say of themselves; nothing of it is a secret. */
typedef struct AuthFacts
{
	const char *kind; /* "service_account", "authorized_user", "external_account",
								 * "impersonated_service_account", "metadata" */
	char *principal; /* whose token it will be, an e-mail address; NULL: not known */
	char *project; /* as auth_project() has it; NULL: none, or the network would have to be asked */
} AuthFacts;

/*
 * Read the credentials and check all that can be checked without the network:
 * the file and its mode, kind and fields, that the key can sign, that the file
 * of a subject token holds one.  Only config->credentials_file is used.  Strings
 * in CurrentMemoryContext.  False with *f set, as auth_token().
 */
extern bool auth_inspect(const AuthConfig *config, AuthFacts *facts, Failure *f);

#endif /* CONTRATOS_AUTH_H */
