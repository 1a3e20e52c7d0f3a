/*
 * auth_external.c
 *	  Kind "external_account", workload identity federation: a token of another provider
 *	  is exchanged for one of Google (RFC 8693), and that optionally for one of a
 *	  service account.
 */
#include "postgres.h"

#include "auth/auth_internal.h"
#include "base/failure.h"
#include "http/http.h"

#define IMPERSONATION_URL "service_account_impersonation_url"
#define DEFAULT_LIFE_S 3600
#define MIN_LIFE_S 600
#define MAX_LIFE_S (12 * 3600)

static bool
external_check(const AuthSource *source, Failure *f)
{
	static const char *const fields[] = {"audience", "subject_token_type", "token_url", NULL};

	if (!auth_subject_check(source, f) || !auth_source_has(source, fields, f) ||
		!auth_source_url_check(source, "token_url", AUTH_HOSTS_STS, f))
		return false;
	if (auth_source_text(source, "client_id") != NULL)
		return auth_source_wrong(source, "client_id", f, "OAuth clients are not supported",
								 "Have the file made by \"gcloud iam workload-identity-pools create-cred-config\".");
	return auth_source_text(source, IMPERSONATION_URL) == NULL || auth_impersonate_url_check(source, f);
}

static void
external_refused(const AuthRefusal *refusal, Failure *f)
{
	failure_set(f, ERRCODE_INVALID_AUTHORIZATION_SPECIFICATION,
				"the Security Token Service refused the subject token: %s", refusal->error);
	if (strcmp(refusal->error, "invalid_grant") == 0)
		failure_hint(f, "Check that the token has not expired, that its issuer and audience are those of the pool's "
						"provider, and that the provider's attribute condition admits it.");
	else if (strcmp(refusal->error, "invalid_target") == 0)
		failure_hint(f, "Check \"audience\" in the credentials file: the pool and provider it names must exist and be "
						"enabled.");
	else
		failure_hint(f, "Check \"audience\" and \"subject_token_type\" in the credentials file.");
}

/* Exchange the subject token for an access token. */
static bool
exchange(const AuthSource *source, AuthAsker *asker, const char *subject, AuthToken *token, Failure *f)
{
	static const AuthEndpoint endpoint = {.name = "the Security Token Service",
										  .where = "\"token_url\" in the credentials file",
										  .token_field = "access_token",
										  .refused = external_refused};
	const char *user_project = auth_source_text(source, "workforce_pool_user_project");
	StringInfo form = auth_secret(3 * strlen(subject) + 8192);
	HttpRequest request;

	auth_append_field(form, "grant_type", "urn:ietf:params:oauth:grant-type:token-exchange");
	auth_append_field(form, "audience", auth_source_text(source, "audience"));
	auth_append_field(form, "scope", asker->scope);
	auth_append_field(form, "requested_token_type", "urn:ietf:params:oauth:token-type:access_token");
	auth_append_field(form, "subject_token_type", auth_source_text(source, "subject_token_type"));
	/* only workforce identity pools need the project of the request */
	if (user_project != NULL)
	{
		StringInfoData options;

		initStringInfo(&options);
		appendStringInfoString(&options, "{\"userProject\":");
		json_append_string(&options, user_project);
		appendStringInfoChar(&options, '}');
		auth_append_field(form, "options", options.data);
	}
	auth_append_field(form, "subject_token", subject);
	request = auth_form_request(auth_source_text(source, "token_url"), form);
	return auth_ask_token(asker, &endpoint, &request, token, f);
}

static bool
external_fetch(AuthSource *source, AuthAsker *asker, AuthToken *token, Failure *f)
{
	const char *url = auth_source_text(source, IMPERSONATION_URL);
	const char *subject = auth_subject_fetch(source, asker, f);
	AuthImpersonation wanted = {.url = NULL};
	int64 life = DEFAULT_LIFE_S;
	AuthToken own;

	if (subject == NULL)
		return false;
	if (url == NULL)
		return exchange(source, asker, subject, token, f);

	/* the lifetime of the service account's token, according to the file */
	json_int64_at(source->doc, "service_account_impersonation.token_lifetime_seconds", &life);
	wanted.life_s = Min(Max(life, MIN_LIFE_S), MAX_LIFE_S);
	wanted.url = pstrdup(url);
	asker->scope = AUTH_SCOPE_IAM;
	return exchange(source, asker, subject, &own, f) && auth_impersonate_ask(asker, &wanted, &own, token, f);
}

/*
 * Without impersonation the principal is one of the pool, which only the subject token
 * names; this function does not read it.
 */
static char *
external_principal(const AuthSource *source)
{
	const char *url = auth_source_text(source, IMPERSONATION_URL);

	return url ? auth_impersonate_email(url) : NULL;
}

const AuthKind auth_external = {.name = "external_account",
								.check = external_check,
								.fetch = external_fetch,
								.principal = external_principal,
								.inspect = auth_subject_inspect};
