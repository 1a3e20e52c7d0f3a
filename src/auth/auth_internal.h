/*
 * auth_internal.h
 *	  Shared by the files of the auth module only.
 *
 *	  auth.c                  the interface: tokens kept, files identified
 *	  auth_key.c              the file itself: its owner and mode
 *	  auth_source.c           its content: kind, fields, the hosts it may name
 *	  auth_ask.c              token requests: retries, errors, secrets
 *	  auth_service_account.c  kind "service_account": an assertion signed with a key
 *	  auth_user.c             kind "authorized_user": a refresh token
 *	  auth_external.c         kind "external_account": exchanges the token of another provider …
 *	  auth_subject.c          … which is read from a file or requested at a URL
 *	  auth_impersonate.c      kind "impersonated_service_account", and the step
 *	                          that external accounts may add
 *	  auth_metadata.c         the keyword metadata: the machine's own service account
 *
 * All of this happens in a scratch context; its secrets are overwritten when it is
 * deleted, even after an error.
 */
#ifndef CONTRATOS_AUTH_INTERNAL_H
#define CONTRATOS_AUTH_INTERNAL_H

#include "lib/stringinfo.h"
#include "nodes/pg_list.h"

#include "auth/auth.h"
#include "base/json.h"

/* The narrowest scope that allows jobs.insert, reading results and jobs.cancel. */
#define AUTH_SCOPE_BIGQUERY "https://www.googleapis.com/auth/bigquery"

/* The scope of a token that is used to request another account's token. */
#define AUTH_SCOPE_IAM "https://www.googleapis.com/auth/iam"

/* The attributes that change when a file is replaced or rewritten; all zero without a file. */
typedef struct AuthFileId
{
	uint64 device;
	uint64 inode;
	uint64 size;
	int64 mtime_s;
	int64 mtime_ns;
} AuthFileId;

struct AuthKind;

/* Credentials, as a file or a part of a file contains them. */
typedef struct AuthSource
{
	JsonDoc *doc; /* NULL: the metadata server, or already freed */
	const char *file; /* for messages */
	const char *prefix; /* of the paths in doc: "", or "source_credentials." */
	const struct AuthKind *kind;
} AuthSource;

/* The context of token requests: configuration, deadline, scope and secrets. */
typedef struct AuthAsker
{
	const AuthConfig *config;
	HttpClient *http;
	int64 until; /* by clock_ms(); for all steps together */
	const char *scope; /* of the token that is wanted */
	List *hidden; /* texts (char *) that no message may quote */
} AuthAsker;

typedef struct AuthToken
{
	char *text; /* may be used in a header; a secret */
	int64 life_s; /* from now on */
} AuthToken;

/* A kind of credentials.  The functions return false with *f set. */
typedef struct AuthKind
{
	const char *name;
	/* whether all fields exist and may be used; no network */
	bool (*check)(const AuthSource *source, Failure *f);
	/* request a token with a source that was checked; may free source->doc */
	bool (*fetch)(AuthSource *source, AuthAsker *asker, AuthToken *token, Failure *f);
	/* the account of the token, palloc'd, or NULL */
	char *(*principal)(const AuthSource *source);
	/* NULL, or checks the rest that is on this machine: key, token file */
	bool (*inspect)(const AuthSource *source, Failure *f);
} AuthKind;

extern const AuthKind auth_service_account;
extern const AuthKind auth_user;
extern const AuthKind auth_external;
extern const AuthKind auth_impersonate;
extern const AuthKind auth_metadata;

/* ---- auth_key.c */

/*
 * Check that `path` is a regular file of acceptable size that only its owner and root
 * can read or change, and identify it.  False with *f set.
 */
extern bool auth_key_identify(const char *path, AuthFileId *id, Failure *f);

/*
 * The same, and read it as JSON.  The document's strings are overwritten when
 * it is freed.  NULL with *f set.
 */
extern JsonDoc *auth_key_load(const char *path, AuthFileId *id, Failure *f);

/* The SQLSTATE for a file that cannot be opened or read, by errno. */
extern int auth_key_sqlstate(int error);

/* ---- auth_source.c */

/* Read the configured credentials and check them; false with *f set. */
extern bool auth_source_open(const AuthConfig *config, AuthSource *source, AuthFileId *id, Failure *f);

/* Overwrite and free the document: before any wait if it holds a key. */
extern void auth_source_close(AuthSource *source);

/* A field's text, or NULL when it is absent, empty or not a string. */
extern const char *auth_source_text(const AuthSource *source, const char *field);

/* Whether all of the fields (a list that ends with NULL) have a value; false with *f set. */
extern bool auth_source_has(const AuthSource *source, const char *const *fields, Failure *f);

/* Which of Google's hosts a field may name, in addition to this machine. */
typedef enum AuthHosts
{
	AUTH_HOSTS_OAUTH, /* oauth2.googleapis.com and its older names */
	AUTH_HOSTS_STS, /* sts.googleapis.com and its regional and private forms */
	AUTH_HOSTS_IAM /* iamcredentials.googleapis.com and the like */
} AuthHosts;

/* Whether the URL in a field may receive a secret; false with *f set. */
extern bool auth_source_url_check(const AuthSource *source, const char *field, AuthHosts hosts, Failure *f);

/* Report a problem with a field (22023); false. */
extern bool auth_source_wrong(const AuthSource *source, const char *field, Failure *f, const char *problem,
							  const char *hint);

/* ---- auth_ask.c */

/* An answer with a 4xx status, instead of a token. */
typedef struct AuthRefusal
{
	const char *url; /* the request's URL */
	int status; /* HTTP, 400 to 499 */
	const char *error; /* its code, fit to be shown; "no reason given" */
} AuthRefusal;

/* A server that receives token requests. */
typedef struct AuthEndpoint
{
	const char *name; /* as messages call it: "the token endpoint" */
	const char *where; /* what to check if it is the wrong server */
	const char *token_field; /* the token's name in its answer */
	/* set *f for an answer of 4xx: message, SQLSTATE, hint */
	void (*refused)(const AuthRefusal *refusal, Failure *f);
	bool silent; /* the text of its answers is never shown */
	bool google_metadata; /* each answer must have the header Metadata-Flavor */
} AuthEndpoint;

/* A buffer of this size in CurrentMemoryContext, which is overwritten when the context ends. */
extern StringInfo auth_secret(size_t size);

/* Append "&name=value" (without & at the start), value percent-encoded. */
extern void auth_append_field(StringInfo form, const char *name, const char *value);

/* From now on no message of this asker quotes the text; short ones are not treated as secrets. */
extern void auth_hide(AuthAsker *asker, const char *text);

/*
 * Send a request, and retry if that may help.  The caller sets method, url, body,
 * headers and bearer of *request.  True with *answer for a 200; false with *f set.
 */
extern bool auth_ask(AuthAsker *asker, const AuthEndpoint *endpoint, HttpRequest *request, HttpResponse *answer,
					 Failure *f);

/* The same for a token request. */
extern bool auth_ask_token(AuthAsker *asker, const AuthEndpoint *endpoint, HttpRequest *request, AuthToken *token,
						   Failure *f);

/* A POST request with the form of a token request. */
extern HttpRequest auth_form_request(const char *url, StringInfo form);

/* ---- auth_subject.c */

/* Whether "credential_source" names a supported source; false with *f set. */
extern bool auth_subject_check(const AuthSource *source, Failure *f);

/* Whether the subject token is valid, if it comes from a file; uses no network. */
extern bool auth_subject_inspect(const AuthSource *source, Failure *f);

/* The subject token, read or requested anew; NULL with *f set. */
extern const char *auth_subject_fetch(const AuthSource *source, AuthAsker *asker, Failure *f);

/* ---- auth_impersonate.c */

/* Whether "service_account_impersonation_url" is valid; false with *f set. */
extern bool auth_impersonate_url_check(const AuthSource *source, Failure *f);

/* The account that such a URL names, palloc'd; NULL if the URL has another form. */
extern char *auth_impersonate_email(const char *url);

/* The parameters of an impersonation: copied from the file before that is freed. */
typedef struct AuthImpersonation
{
	char *url;
	int64 life_s;
	List *delegates; /* char *: accounts, in the order of the chain */
} AuthImpersonation;

/* Use the token of one account to obtain that of another; false with *f set. */
extern bool auth_impersonate_ask(AuthAsker *asker, const AuthImpersonation *wanted, const AuthToken *own,
								 AuthToken *token, Failure *f);

/* ---- auth_metadata.c */

/* The ID of the machine's project, palloc'd; NULL with *f set. */
extern char *auth_metadata_project(AuthAsker *asker, Failure *f);

#endif /* CONTRATOS_AUTH_INTERNAL_H */
