/*
 * auth.h
 *	  Credentials → access token, kept in this backend until it nears its expiry.
 *
 * Credentials are a file, of one of the kinds that Google Cloud issues, or the word
 * metadata (SETTINGS_METADATA), which means the service account of the machine.
 *
 * Tokens are cached by (file, device, inode, mtime, size); kind and scope follow from
 * these.  A replaced file is used at the next call, without a restart, and tokens of
 * two servers are never mixed.  The file is read each time a token is requested, and
 * its content is not kept; the same holds for the file of a subject token.
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
	int timeout_ms; /* for all requests for one token, including retries */
} AuthConfig;

/*
 * An access token for BigQuery, valid for at least 3 min 45 s more.  The result stays
 * valid until the next call.  `refused` is the number of the token that the service has
 * just answered with 401, or 0: the cached token is dropped only if it has that number.
 *
 * NULL with *f set:
 *	58P01 no such file          42501 its mode or owner is not safe
 *	58030 cannot be read        22P02 not JSON
 * 22023 a field is missing or has a value that cannot be used; the type is not
 *       supported; the file is too large
 *	42809 not a regular file
 *	F0000 broken private key    28000 refused by an endpoint
 *	08001, 08006, 58030 an endpoint could not be reached, or failed
 *	08P01 an answer makes no sense
 * and for the file of a subject token also 58P01, 42501, 58030, 42809, 22023.
 */
extern const char *auth_token(const AuthConfig *config, HttpClient *http, uint64 refused, Failure *f);

/*
 * The number of a token, which identifies it after it is gone: no two tokens have the
 * same, none has 0.  `token` is the last result of auth_token().
 */
extern uint64 auth_token_number(const char *token);

/*
 * The project whose quota is used by requests with a token (header
 * x-goog-user-project), or NULL for none.  `token` is the last result of auth_token(),
 * and the result is valid as long as that.
 */
extern const char *auth_quota_project(const char *token);

/*
 * The project that is billed if no option or setting names one: the file's project_id,
 * else its quota_project_id; for SETTINGS_METADATA the machine's project, which is
 * requested (within the timeouts of config).  In CurrentMemoryContext; NULL with *f
 * clear when there is none, NULL with *f set when the credentials cannot be used.
 */
extern char *auth_project(const AuthConfig *config, HttpClient *http, Failure *f);

/* The public facts about credentials; none of them is a secret. */
typedef struct AuthFacts
{
	const char *kind; /* "service_account", "authorized_user", "external_account",
								 * "impersonated_service_account", "metadata" */
	char *principal; /* the account of the token, an e-mail address; NULL: unknown */
	char *project; /* as auth_project() has it; NULL: none, or known only by a request */
} AuthFacts;

/*
 * Read the credentials and check everything that can be checked without the network:
 * the file and its mode, kind and fields, that the key can sign, that the file of a
 * subject token holds one.  Only config->credentials_file is used.  Strings are in
 * CurrentMemoryContext.  False with *f set, as for auth_token().
 */
extern bool auth_inspect(const AuthConfig *config, AuthFacts *facts, Failure *f);

#endif /* CONTRATOS_AUTH_H */
