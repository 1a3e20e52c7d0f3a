/*
 * auth_impersonate.c
 *	  The token of one account is used to obtain that of a service account, by IAM's
 *	  generateAccessToken.
 *
 * The kind "impersonated_service_account" contains the first account's credentials; an
 * external account may add this step after its exchange.  A file may name only this one
 * method of the IAM API: the first account's token is sent to it.
 */
#include "postgres.h"

#include "auth/auth_internal.h"
#include "base/failure.h"
#include "http/http.h"

#define URL_FIELD "service_account_impersonation_url"
#define PATH_START "/v1/projects/-/serviceAccounts/"
#define PATH_END ":generateAccessToken"
#define LIFE_S 3600
#define SOURCE "source_credentials."

static const AuthKind *const inner_kinds[] = {&auth_service_account, &auth_user};

char *
auth_impersonate_email(const char *url)
{
	const char *start = strstr(url, PATH_START);
	const char *end = start ? strstr(start, PATH_END) : NULL;

	if (end == NULL || end[strlen(PATH_END)] != '\0')
		return NULL;
	start += strlen(PATH_START);
	if (start == end || memchr(start, '/', end - start) != NULL)
		return NULL;
	return pnstrdup(start, end - start);
}

bool
auth_impersonate_url_check(const AuthSource *source, Failure *f)
{
	if (!auth_source_url_check(source, URL_FIELD, AUTH_HOSTS_IAM, f))
		return false;
	if (auth_impersonate_email(auth_source_text(source, URL_FIELD)) == NULL)
		return auth_source_wrong(source, URL_FIELD, f, "it names no service account",
								 "It must end with " PATH_START "NAME" PATH_END ".");
	return true;
}

/* The credentials inside the credentials, as a source of their own. */
static AuthSource
inner_source(const AuthSource *source)
{
	AuthSource inner = {.doc = source->doc, .file = source->file, .prefix = SOURCE};
	const char *type = auth_source_text(&inner, "type");

	for (size_t i = 0; type != NULL && i < lengthof(inner_kinds); i++)
		if (strcmp(type, inner_kinds[i]->name) == 0)
			inner.kind = inner_kinds[i];
	return inner;
}

static bool
impersonate_check(const AuthSource *source, Failure *f)
{
	static const char *const fields[] = {URL_FIELD, SOURCE "type", NULL};
	AuthSource inner;

	if (!auth_source_has(source, fields, f) || !auth_impersonate_url_check(source, f))
		return false;
	inner = inner_source(source);
	if (inner.kind == NULL)
		return auth_source_wrong(source, SOURCE "type", f, "these credentials cannot impersonate an account",
								 "The types that can are service_account and authorized_user; an external_account "
								 "names the account to impersonate in its own file.");
	return inner.kind->check(&inner, f);
}

/* The accounts of the delegation chain, copied. */
static List *
read_delegates(const AuthSource *source)
{
	List *delegates = NIL;

	for (int i = 0; i < json_length_at(source->doc, "delegates"); i++)
	{
		const char *delegate = json_string_at(source->doc, psprintf("delegates.%d", i));

		if (delegate != NULL)
			delegates = lappend(delegates, pstrdup(delegate));
	}
	return delegates;
}

static void
impersonate_refused(const AuthRefusal *refusal, Failure *f)
{
	char *email = auth_impersonate_email(refusal->url);

	failure_set(f, ERRCODE_INVALID_AUTHORIZATION_SPECIFICATION,
				"impersonation of service account \"%s\" was refused: %s", email ? email : "", refusal->error);
	if (refusal->status == 404)
		failure_hint(f, "Check that the service account exists and is not disabled.");
	else
		failure_hint(f, "Grant the impersonating account a role on the service account: Service Account Token Creator "
						"(roles/iam.serviceAccountTokenCreator), or for workload identity federation Workload Identity "
						"User (roles/iam.workloadIdentityUser); and enable the IAM Service Account Credentials API.");
}

static void
append_delegates(StringInfo body, const List *delegates)
{
	const char *separator = "";
	ListCell *cell;

	appendStringInfoString(body, ",\"delegates\":[");
	foreach (cell, delegates)
	{
		appendStringInfoString(body, separator);
		json_append_string(body, lfirst(cell));
		separator = ",";
	}
	appendStringInfoChar(body, ']');
}

bool
auth_impersonate_ask(AuthAsker *asker, const AuthImpersonation *wanted, const AuthToken *own, AuthToken *token,
					 Failure *f)
{
	static const AuthEndpoint endpoint = {.name = "the IAM Credentials API",
										  .where = "\"" URL_FIELD "\" in the credentials file",
										  .token_field = "accessToken",
										  .refused = impersonate_refused};
	HttpRequest request = {.method = "POST", .url = wanted->url, .bearer = own->text};
	StringInfoData body;

	initStringInfo(&body);
	appendStringInfo(&body, "{\"scope\":[\"" AUTH_SCOPE_BIGQUERY "\"],\"lifetime\":\"" INT64_FORMAT "s\"",
					 wanted->life_s);
	if (wanted->delegates != NIL)
		append_delegates(&body, wanted->delegates);
	appendStringInfoChar(&body, '}');
	request.content_type = "application/json";
	request.body = body.data;
	request.body_len = body.len;
	return auth_ask_token(asker, &endpoint, &request, token, f);
}

static bool
impersonate_fetch(AuthSource *source, AuthAsker *asker, AuthToken *token, Failure *f)
{
	AuthImpersonation wanted = {
		.url = pstrdup(auth_source_text(source, URL_FIELD)), .life_s = LIFE_S, .delegates = read_delegates(source)};
	AuthSource inner = inner_source(source);
	AuthToken own;

	Assert(inner.kind != NULL); /* checked earlier */
	source->doc = NULL; /* the inner source frees it */
	asker->scope = AUTH_SCOPE_IAM;
	return inner.kind->fetch(&inner, asker, &own, f) && auth_impersonate_ask(asker, &wanted, &own, token, f);
}

static char *
impersonate_principal(const AuthSource *source)
{
	return auth_impersonate_email(auth_source_text(source, URL_FIELD));
}

static bool
impersonate_inspect(const AuthSource *source, Failure *f)
{
	AuthSource inner = inner_source(source);

	Assert(inner.kind != NULL);
	return inner.kind->inspect == NULL || inner.kind->inspect(&inner, f);
}

const AuthKind auth_impersonate = {.name = "impersonated_service_account",
								   .check = impersonate_check,
								   .fetch = impersonate_fetch,
								   .principal = impersonate_principal,
								   .inspect = impersonate_inspect};
