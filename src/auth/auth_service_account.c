/*
 * auth_service_account.c
 *	  Kind "service_account": an assertion signed with the key (RFC 7523) is exchanged
 *	  for a token.
 */
#include "postgres.h"

#include <time.h>

#include "auth/auth_internal.h"
#include "base/failure.h"
#include "base/crypto.h"
#include "http/http.h"

/* A constant, not the file's token_uri. */
#define AUDIENCE "https://oauth2.googleapis.com/token"

#define ASSERTION_LIFE_S 3600 /* the maximum that Google accepts */
#define ASSERTION_SIZE 8192 /* no assertion is that long */

static bool
service_account_check(const AuthSource *source, Failure *f)
{
	static const char *const fields[] = {"client_email", "private_key", "private_key_id", "token_uri", NULL};

	return auth_source_has(source, fields, f) && auth_source_url_check(source, "token_uri", AUTH_HOSTS_OAUTH, f);
}

/* Append an assertion, newly signed; false with *f set. */
static bool
sign_assertion(const AuthSource *source, const char *scope, StringInfo out, Failure *f)
{
	int64 now = (int64) time(NULL);
	StringInfoData claims;
	Failure why;
	bool ok;

	initStringInfo(&claims);
	appendStringInfoString(&claims, "{\"iss\":");
	json_append_string(&claims, auth_source_text(source, "client_email"));
	appendStringInfo(&claims, ",\"scope\":\"%s\",\"aud\":\"%s\",\"iat\":" INT64_FORMAT ",\"exp\":" INT64_FORMAT "}",
					 scope, AUDIENCE, now, now + ASSERTION_LIFE_S);
	ok = jwt_sign(auth_source_text(source, "private_key"), auth_source_text(source, "private_key_id"), claims.data, out,
				  &why);
	pfree(claims.data);
	if (!ok)
	{
		failure_set(f, why.sqlstate, "credentials file \"%s\": %s", source->file, why.message);
		failure_detail(f, "%s", why.detail);
		failure_hint(f, "%s", why.hint);
		f->every_day = true;
	}
	return ok;
}

/* The service rejected this key permanently: hint at the remedy. */
static void
service_account_refused(const AuthRefusal *refusal, Failure *f)
{
	time_t now = time(NULL);
	struct tm utc;
	char clock[32];

	failure_set(f, ERRCODE_INVALID_AUTHORIZATION_SPECIFICATION, "the token endpoint refused the credentials: %s",
				refusal->error);
	if (strcmp(refusal->error, "invalid_grant") == 0)
	{
		gmtime_r(&now, &utc);
		strftime(clock, sizeof(clock), "%Y-%m-%d %H:%M:%S", &utc);
		failure_hint(f,
					 "Check that this server's clock is right (it says %s UTC), and that neither the key nor the "
					 "service account has been deleted or disabled.",
					 clock);
	}
	else
		failure_hint(f, "Check the service account and its key, or create a new key.");
}

static bool
service_account_fetch(AuthSource *source, AuthAsker *asker, AuthToken *token, Failure *f)
{
	static const AuthEndpoint endpoint = {.name = "the token endpoint",
										  .where = "\"token_uri\" in the credentials file",
										  .token_field = "access_token",
										  .refused = service_account_refused};
	StringInfo form = auth_secret(ASSERTION_SIZE);
	HttpRequest request;
	char *url;

	appendStringInfoString(form, "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer&assertion=");
	if (!sign_assertion(source, asker->scope, form, f))
		return false;
	url = pstrdup(auth_source_text(source, "token_uri"));
	auth_source_close(source); /* this frees the private key, too, before any wait */
	request = auth_form_request(url, form);
	return auth_ask_token(asker, &endpoint, &request, token, f);
}

static char *
service_account_principal(const AuthSource *source)
{
	return pstrdup(auth_source_text(source, "client_email"));
}

/* Whether the key can sign. */
static bool
service_account_inspect(const AuthSource *source, Failure *f)
{
	return sign_assertion(source, AUTH_SCOPE_BIGQUERY, auth_secret(ASSERTION_SIZE), f);
}

const AuthKind auth_service_account = {.name = "service_account",
									   .check = service_account_check,
									   .fetch = service_account_fetch,
									   .principal = service_account_principal,
									   .inspect = service_account_inspect};
