/*
 * auth_user.c
 *	  Kind "authorized_user": the file that `gcloud auth application-default login`
 *	  writes, with a refresh token for a person's account.
 *
 * Such files seldom have a token_uri, and Google's libraries ignore it.  This file uses
 * it if it is a URL that a key may name, too.
 */
#include "postgres.h"

#include "auth/auth_internal.h"
#include "base/failure.h"
#include "http/http.h"

#define TOKEN_URL "https://oauth2.googleapis.com/token"

static bool
user_check(const AuthSource *source, Failure *f)
{
	static const char *const fields[] = {"client_id", "client_secret", "refresh_token", NULL};

	return auth_source_has(source, fields, f) && (auth_source_text(source, "token_uri") == NULL ||
												  auth_source_url_check(source, "token_uri", AUTH_HOSTS_OAUTH, f));
}

static void
user_refused(const AuthRefusal *refusal, Failure *f)
{
	failure_set(f, ERRCODE_INVALID_AUTHORIZATION_SPECIFICATION, "the token endpoint refused the credentials: %s",
				refusal->error);
	if (strcmp(refusal->error, "invalid_grant") == 0)
		failure_hint(f, "The user's refresh token has expired or was revoked: run \"gcloud auth application-default "
						"login\" and put the new file in its place. A service account needs no such renewal.");
	else
		failure_hint(f, "Run \"gcloud auth application-default login\" and put the new file in its place.");
}

/* Append a field that no message may quote. */
static void
append_secret(AuthAsker *asker, StringInfo form, const AuthSource *source, const char *field)
{
	auth_append_field(form, field, auth_source_text(source, field));
	auth_hide(asker, auth_source_text(source, field));
}

static bool
user_fetch(AuthSource *source, AuthAsker *asker, AuthToken *token, Failure *f)
{
	static const AuthEndpoint endpoint = {.name = "the token endpoint",
										  .where = "\"token_uri\" in the credentials file",
										  .token_field = "access_token",
										  .refused = user_refused};
	const char *url = auth_source_text(source, "token_uri");
	StringInfo form = auth_secret(3 * (strlen(auth_source_text(source, "client_id")) +
									   strlen(auth_source_text(source, "client_secret")) +
									   strlen(auth_source_text(source, "refresh_token"))) +
								  128);
	HttpRequest request;

	/* no scope: the token has those that the user has granted */
	auth_append_field(form, "grant_type", "refresh_token");
	auth_append_field(form, "client_id", auth_source_text(source, "client_id"));
	append_secret(asker, form, source, "client_secret");
	append_secret(asker, form, source, "refresh_token");
	url = pstrdup(url ? url : TOKEN_URL);
	auth_source_close(source);
	request = auth_form_request(url, form);
	return auth_ask_token(asker, &endpoint, &request, token, f);
}

/* gcloud usually leaves this field empty. */
static char *
user_principal(const AuthSource *source)
{
	const char *account = auth_source_text(source, "account");

	return account ? pstrdup(account) : NULL;
}

const AuthKind auth_user = {
	.name = "authorized_user", .check = user_check, .fetch = user_fetch, .principal = user_principal};
