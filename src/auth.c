/*
 * auth.c
 *	  Credentials file → access token (RFC 7523), kept in this backend.
 *
 * The file is looked at before each use, so that a token never outlives the
 * file it came from, and read only when a new token is needed.
 */
#include "postgres.h"

#include <time.h>

#include "common/pg_prng.h"
#include "portability/instr_time.h"
#include "utils/memutils.h"

#include "auth.h"
#include "auth_key.h"
#include "json.h"
#include "jwt.h"

/* The least that allows jobs.insert, reading results and jobs.cancel. */
#define SCOPE "https://www.googleapis.com/auth/bigquery"

/* A constant, whatever the file's token_uri is. */
#define AUDIENCE "https://oauth2.googleapis.com/token"

#define ASSERTION_LIFE_S 3600 /* the longest that is accepted */
#define MIN_LEFT_MS (225 * 1000) /* a token with less is replaced */
#define DEFAULT_LIFE_S 3600 /* for an answer without expires_in */
#define MAX_LIFE_S (24 * 3600)
#define MAX_ANSWER (64 * 1024)
#define MAX_TOKEN 8192 /* a request's header may have 16 KiB */
#define MAX_ATTEMPTS 3
#define FIRST_DELAY_MS 1000

/* More credentials files than one session uses at a time. */
#define MAX_CACHED 8

typedef struct CachedToken
{
	char *file; /* NULL: this place is free */
	AuthFileId id;
	char *token;
	int64 expires_at; /* by now_ms() */
	uint64 used; /* when last used, counted in uses */
} CachedToken;

/* In TopMemoryContext.  The scope is a constant, so it is not in the key. */
static CachedToken cache[MAX_CACHED];
static uint64 uses = 0;

/* Milliseconds of a clock that nobody sets. */
static int64
now_ms(void)
{
	instr_time now;

	INSTR_TIME_SET_CURRENT(now);
	return (int64) INSTR_TIME_GET_MILLISEC(now);
}

static void
forget_token(CachedToken *cached)
{
	char *token = cached->token;
	char *file = cached->file;

	memset(cached, 0, sizeof(*cached));
	if (token != NULL)
	{
		explicit_bzero(token, strlen(token));
		pfree(token);
	}
	if (file != NULL)
		pfree(file);
}

/*
 * The token made from this file that can still be used, or NULL.  `refused` may
 * be the kept token itself, freed in here: a file has one place at most, so it
 * is not looked at again.
 */
static CachedToken *
find_token(const char *file, const AuthFileId *id, const char *refused)
{
	CachedToken *found = NULL;

	for (CachedToken *c = cache; c < cache + MAX_CACHED; c++)
	{
		if (c->file == NULL || strcmp(c->file, file) != 0)
			continue;
		if (memcmp(&c->id, id, sizeof(*id)) == 0 && c->expires_at - now_ms() >= MIN_LEFT_MS &&
			(refused == NULL || strcmp(c->token, refused) != 0))
			found = c;
		else
			forget_token(c);
	}
	return found;
}

/* Keep a token, in the place of the one unused for longest if need be. */
static CachedToken *
keep_token(const char *file, const AuthFileId *id, const char *token, int64 life_s)
{
	CachedToken *place = cache;
	char *file_copy = MemoryContextStrdup(TopMemoryContext, file);
	char *token_copy = MemoryContextStrdup(TopMemoryContext, token);

	for (CachedToken *c = cache; c < cache + MAX_CACHED; c++)
		if (c->used < place->used) /* 0 if free */
			place = c;
	forget_token(place);
	*place =
		(CachedToken){.file = file_copy, .token = token_copy, .expires_at = now_ms() + life_s * 1000, .used = ++uses};
	memcpy(&place->id, id, sizeof(*id));
	return place;
}

/* Append the request's body, with a freshly signed assertion; false with *f set. */
static bool
build_body(const JsonDoc *key, const char *file, StringInfo body, Failure *f)
{
	int64 now = (int64) time(NULL);
	StringInfoData claims;
	Failure why;
	bool ok;

	initStringInfo(&claims);
	appendStringInfoString(&claims, "{\"iss\":");
	json_append_string(&claims, json_string_at(key, "client_email"));
	appendStringInfo(&claims, ",\"scope\":\"%s\",\"aud\":\"%s\",\"iat\":" INT64_FORMAT ",\"exp\":" INT64_FORMAT "}",
					 SCOPE, AUDIENCE, now, now + ASSERTION_LIFE_S);

	/* large enough at once: growing would leave copies behind */
	enlargeStringInfo(body, 8192);
	appendStringInfoString(body, "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer&assertion=");
	ok = jwt_sign(json_string_at(key, "private_key"), json_string_at(key, "private_key_id"), claims.data, body, &why);
	pfree(claims.data);
	if (!ok)
	{
		failure_set(f, why.sqlstate, "credentials file \"%s\": %s", file, why.message);
		failure_detail(f, "%s", why.detail);
		failure_hint(f, "%s", why.hint);
		f->every_day = true;
	}
	return ok;
}

/*
 * Text of the token endpoint, fit to be shown: one line, and nothing if it
 * looks as if our assertion or key were quoted in it.  NULL if there is none.
 */
static const char *
presentable(const char *text)
{
	char *copy;

	if (text == NULL || text[0] == '\0' || strstr(text, "eyJ") != NULL || strstr(text, "-----BEGIN") != NULL)
		return NULL;
	copy = pstrdup(text);
	for (char *c = copy; *c != '\0'; c++)
		if ((unsigned char) *c < ' ')
			*c = ' ';
	return copy;
}

/* Whether the endpoint's error is of the kind that passes (as google-auth has it). */
static bool
is_passing(int status, const char *error, const char *description)
{
	static const char *const passing[] = {"internal_failure", "server_error", "temporarily_unavailable"};

	for (size_t i = 0; i < lengthof(passing); i++)
		if ((error && strcmp(error, passing[i]) == 0) || (description && strcmp(description, passing[i]) == 0))
			return true;
	return status == 408 || status == 429 || status == 500 || status == 503 || status == 504;
}

/* The service says no to this key: for good, so say what can be done. */
static void
refused_failure(const char *error, Failure *f)
{
	time_t now = time(NULL);
	struct tm utc;
	char clock[32];

	failure_set(f, ERRCODE_INVALID_AUTHORIZATION_SPECIFICATION, "the token endpoint refused the credentials: %s",
				error ? error : "no reason given");
	if (error != NULL && strcmp(error, "invalid_grant") == 0)
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
	f->every_day = true;
}

/* *f from an answer that is no token.  True when it may be asked again here. */
static bool
endpoint_failure(const HttpResponse *answer, Failure *f)
{
	JsonDoc *doc = json_parse_document(answer->body, answer->len, NULL);
	const char *error = doc ? presentable(json_string_at(doc, "error")) : NULL;
	const char *description = doc ? presentable(json_string_at(doc, "error_description")) : NULL;
	bool passing = is_passing(answer->status, error, description);

	if (passing || answer->status >= 500)
	{
		failure_set(f, ERRCODE_CONNECTION_FAILURE, "the token endpoint answered with HTTP status %d", answer->status);
		f->retry = FAILURE_ASK_AGAIN;
	}
	else if (answer->status >= 400)
		refused_failure(error, f);
	else
	{
		failure_set(f, ERRCODE_PROTOCOL_VIOLATION, "the token endpoint answered with HTTP status %d", answer->status);
		failure_hint(f, "Redirects are not followed; check \"token_uri\" in the credentials file.");
		f->every_day = true;
	}
	if (description != NULL)
		failure_detail(f, "%s", description);
	failure_reason(f, error);
	f->http_status = answer->status;
	f->retry_after_ms = answer->retry_after_ms;
	json_free_document(doc);
	return passing;
}

/* Ask the token endpoint, again if that may help; false with *f set. */
static bool
ask_endpoint(const AuthConfig *config, HttpClient *http, HttpRequest *request, HttpResponse *answer, Failure *f)
{
	int64 until = now_ms() + config->timeout_ms;
	double delay = FIRST_DELAY_MS;

	for (int attempt = 1;; attempt++)
	{
		int64 pause;

		request->timeout_ms = (int) Max(until - now_ms(), 1);
		if (!http_fetch(http, request, answer, f))
			return false;
		if (answer->status == 200)
			return true;
		if (!endpoint_failure(answer, f) || attempt == MAX_ATTEMPTS)
			return false;

		/* a tenth more or less, so that many servers do not ask in step */
		pause = (int64) (delay * (0.9 + 0.2 * pg_prng_double(&pg_global_prng_state)));
		pause = Max(pause, answer->retry_after_ms);
		if (now_ms() + pause >= until)
			return false;
		http_pause((int) pause);
		delay *= 2;
	}
}

/* Whether it can stand in a header line. */
static bool
is_sane_token(const char *token)
{
	size_t len = token ? strlen(token) : 0;

	for (size_t i = 0; i < len; i++)
		if (token[i] <= ' ' || token[i] > '~')
			return false;
	return len > 0 && len <= MAX_TOKEN;
}

/* Take the token out of the endpoint's answer and keep it; NULL with *f set. */
static const char *
accept_answer(const char *file, const AuthFileId *id, HttpResponse *answer, Failure *f)
{
	JsonDoc *doc = json_parse_document(answer->body, answer->len, NULL);
	const char *token = doc ? json_string_at(doc, "access_token") : NULL;
	const char *kept = NULL;
	int64 life = DEFAULT_LIFE_S;

	explicit_bzero(answer->body, answer->len);
	if (is_sane_token(token))
	{
		(void) json_int64_at(doc, "expires_in", &life);
		kept = keep_token(file, id, token, Min(Max(life, 0), MAX_LIFE_S))->token;
	}
	else
	{
		failure_set(f, ERRCODE_PROTOCOL_VIOLATION, "the token endpoint's answer holds no access token");
		failure_hint(f, "Check \"token_uri\" in the credentials file.");
		f->every_day = true;
		/* no JSON at all is another's answer, a proxy's page: it passes */
		if (doc == NULL)
			f->retry = FAILURE_ASK_AGAIN;
	}
	json_free_document(doc);
	return kept;
}

/* Exchange the key for a token; the assertion is overwritten however that ends. */
static const char *
exchange_key(const AuthConfig *config, HttpClient *http, Failure *f)
{
	AuthFileId id;
	JsonDoc *key = auth_key_load(config->credentials_file, &id, f);
	StringInfoData body;
	HttpResponse answer;
	HttpRequest request = {.method = "POST",
						   .content_type = "application/x-www-form-urlencoded",
						   .ca_file = config->ca_file,
						   .proxy = config->proxy,
						   .connect_timeout_ms = config->connect_timeout_ms,
						   .max_body = MAX_ANSWER};
	volatile bool answered = false;
	bool ready;

	if (key == NULL)
		return NULL;
	initStringInfo(&body);
	ready = auth_key_check(key, config->credentials_file, f) && build_body(key, config->credentials_file, &body, f);
	if (ready)
		request.url = pstrdup(json_string_at(key, "token_uri"));
	json_free_document(key); /* and the private key with it, before any wait */
	if (!ready)
		return NULL;

	request.body = body.data;
	request.body_len = body.len;
	PG_TRY();
	{
		answered = ask_endpoint(config, http, &request, &answer, f);
	}
	PG_FINALLY();
	{
		explicit_bzero(body.data, body.len);
	}
	PG_END_TRY();
	return answered ? accept_answer(config->credentials_file, &id, &answer, f) : NULL;
}

const char *
auth_token(const AuthConfig *config, HttpClient *http, const char *refused, Failure *f)
{
	MemoryContext scratch;
	MemoryContext caller;
	AuthFileId id;
	CachedToken *cached;
	const char *token;

	memset(&id, 0, sizeof(id));
	if (!auth_key_identify(config->credentials_file, &id, f))
		return NULL;
	cached = find_token(config->credentials_file, &id, refused);
	if (cached != NULL)
	{
		cached->used = ++uses;
		return cached->token;
	}

	scratch = AllocSetContextCreate(CurrentMemoryContext, "contratos token request", ALLOCSET_DEFAULT_SIZES);
	caller = MemoryContextSwitchTo(scratch);
	token = exchange_key(config, http, f);
	MemoryContextSwitchTo(caller);
	MemoryContextDelete(scratch);
	return token;
}

char *
auth_project(const AuthConfig *config, Failure *f)
{
	AuthFileId id;
	JsonDoc *key = auth_key_load(config->credentials_file, &id, f);
	const char *project;
	char *copy;

	if (key == NULL)
		return NULL;
	/* what is wrong with the file matters more than the project it lacks */
	if (!auth_key_check(key, config->credentials_file, f))
	{
		json_free_document(key);
		return NULL;
	}
	memset(f, 0, sizeof(*f));
	project = json_string_at(key, "project_id");
	copy = project && project[0] ? pstrdup(project) : NULL;
	json_free_document(key);
	return copy;
}
