/*
 * auth_ask.c
 *	  Token requests: retries, errors, and secrets that do not outlive the request.
 *
 * Errors come in two forms: OAuth's ("error", "error_description") from token
 * endpoints, and Google's ("error": {"status", "message"}) from its APIs.
 */
#include "postgres.h"

#include <ctype.h>
#include <time.h>

#include "common/pg_prng.h"
#include "portability/instr_time.h"
#include "utils/datetime.h"

#include "auth/auth_internal.h"
#include "base/clock.h"
#include "base/failure.h"
#include "http/http.h"

#define DEFAULT_LIFE_S 3600 /* for an answer without expires_in */
#define MAX_LIFE_S (24 * 3600)
#define MAX_ANSWER (64 * 1024)
/* the Security Token Service issues tokens of up to 12 kB; the headers of a request may have 16 kB */
#define MAX_TOKEN (14 * 1024)
#define MAX_ATTEMPTS 3
#define FIRST_DELAY_MS 1000

/* Shorter texts cannot be distinguished from ordinary words. */
#define MIN_HIDDEN 8

/* The beginnings of all kinds of Google's keys, assertions and tokens. */
static const char *const marks[] = {"eyJ", "-----BEGIN", "ya29.", "1//", "GOCSPX-"};

/* Memory-context callback; allocates nothing. */
static void
wipe_secret(void *arg)
{
	StringInfo secret = arg;

	explicit_bzero(secret->data, secret->maxlen);
}

StringInfo
auth_secret(size_t size)
{
	StringInfo secret = makeStringInfo();
	MemoryContextCallback *callback = palloc0(sizeof(MemoryContextCallback));

	/* allocate the final size: growing would leave a copy behind */
	enlargeStringInfo(secret, (int) size + 1);
	callback->func = wipe_secret;
	callback->arg = secret;
	MemoryContextRegisterResetCallback(CurrentMemoryContext, callback);
	return secret;
}

void
auth_append_field(StringInfo form, const char *name, const char *value)
{
	if (form->len > 0)
		appendStringInfoChar(form, '&');
	appendStringInfoString(form, name);
	appendStringInfoChar(form, '=');
	http_append_escaped(form, value);
}

void
auth_hide(AuthAsker *asker, const char *text)
{
	size_t len = strlen(text);
	StringInfo copy;

	if (len < MIN_HIDDEN)
		return;
	copy = auth_secret(len);
	appendBinaryStringInfo(copy, text, (int) len);
	asker->hidden = lappend(asker->hidden, copy->data);
}

/*
 * Text of an endpoint, fit to be shown: one line, and nothing if it seems to quote a
 * secret.  NULL if there is none.
 */
static const char *
presentable(const AuthAsker *asker, const char *text)
{
	ListCell *cell;
	char *copy;

	if (text == NULL || text[0] == '\0')
		return NULL;
	for (size_t i = 0; i < lengthof(marks); i++)
		if (strstr(text, marks[i]) != NULL)
			return NULL;
	foreach (cell, asker->hidden)
	{
		if (strstr(text, lfirst(cell)) != NULL)
			return NULL;
	}
	copy = pstrdup(text);
	for (char *c = copy; *c != '\0'; c++)
		if ((unsigned char) *c < ' ')
			*c = ' ';
	return copy;
}

/* The error in an answer that is not 200; NULL for missing fields. */
typedef struct Complaint
{
	const char *error;
	const char *description;
} Complaint;

static Complaint
read_complaint(const AuthAsker *asker, const AuthEndpoint *endpoint, const HttpResponse *answer)
{
	Complaint complaint = {NULL, NULL};
	JsonDoc *doc = endpoint->silent ? NULL : json_parse_document(answer->body, answer->len, NULL);

	if (doc == NULL)
		return complaint;
	if (json_string_at(doc, "error") != NULL)
	{
		complaint.error = presentable(asker, json_string_at(doc, "error"));
		complaint.description = presentable(asker, json_string_at(doc, "error_description"));
	}
	else
	{
		complaint.error = presentable(asker, json_string_at(doc, "error.status"));
		complaint.description = presentable(asker, json_string_at(doc, "error.message"));
	}
	json_free_document(doc);
	return complaint;
}

/* Whether an error is transient (by the same rules as google-auth). */
static bool
is_passing(int status, const Complaint *complaint)
{
	static const char *const passing[] = {"internal_failure", "server_error", "temporarily_unavailable"};

	for (size_t i = 0; i < lengthof(passing); i++)
		if ((complaint->error && strcmp(complaint->error, passing[i]) == 0) ||
			(complaint->description && strcmp(complaint->description, passing[i]) == 0))
			return true;
	return status == 408 || status == 429 || status == 500 || status == 503 || status == 504;
}

/* Fill *f from an answer that is not 200.  True when this request may be retried. */
static bool
judge_token_answer(const AuthAsker *asker, const AuthEndpoint *endpoint, const HttpRequest *request,
				   const HttpResponse *answer, Failure *f)
{
	Complaint complaint = read_complaint(asker, endpoint, answer);
	bool passing = is_passing(answer->status, &complaint);

	if (passing || answer->status >= 500)
	{
		failure_set(f, ERRCODE_CONNECTION_FAILURE, "%s answered with HTTP status %d", endpoint->name, answer->status);
		f->retry = FAILURE_ASK_AGAIN;
	}
	else if (answer->status >= 400)
	{
		AuthRefusal refusal = {.url = request->url,
							   .status = answer->status,
							   .error = complaint.error ? complaint.error : "no reason given"};

		endpoint->refused(&refusal, f);
		f->every_day = true;
	}
	else
	{
		failure_set(f, ERRCODE_PROTOCOL_VIOLATION, "%s answered with HTTP status %d", endpoint->name, answer->status);
		failure_hint(f, "Redirects are not followed; check %s.", endpoint->where);
		f->every_day = true;
	}
	if (complaint.description != NULL)
		failure_detail(f, "%s", complaint.description);
	failure_reason(f, complaint.error);
	f->http_status = answer->status;
	f->retry_after_ms = answer->retry_after_ms;
	return passing;
}

/* Try once; *again says whether a retry may help. */
static bool
ask_once(AuthAsker *asker, const AuthEndpoint *endpoint, const HttpRequest *request, HttpResponse *answer, bool *again,
		 Failure *f)
{
	if (!http_fetch(asker->http, request, answer, f))
	{
		*again = f->retry == FAILURE_ASK_AGAIN;
		return false;
	}
	*again = false;
	/* an answer with a status of 500 or more is only retried, so anything may send it */
	if (endpoint->google_metadata && !answer->google_metadata && answer->status < 500)
	{
		failure_set(f, ERRCODE_PROTOCOL_VIOLATION, "a server other than %s answered", endpoint->name);
		failure_detail(f, "The answer has no header \"Metadata-Flavor: Google\".");
		failure_hint(f, "Check %s; only machines of Google Cloud have a metadata server.", endpoint->where);
		f->every_day = true;
	}
	else if (answer->status == 200)
		return true;
	else
		*again = judge_token_answer(asker, endpoint, request, answer, f);
	/* it may quote the request's secrets */
	explicit_bzero(answer->body, answer->len);
	return false;
}

bool
auth_ask(AuthAsker *asker, const AuthEndpoint *endpoint, HttpRequest *request, HttpResponse *answer, Failure *f)
{
	double delay = FIRST_DELAY_MS;
	/* the caller may set a shorter timeout */
	int connect_ms = request->connect_timeout_ms > 0
						 ? Min(request->connect_timeout_ms, asker->config->connect_timeout_ms)
						 : asker->config->connect_timeout_ms;

	request->ca_file = asker->config->ca_file;
	request->proxy = asker->config->proxy;
	request->max_body = MAX_ANSWER;
	for (int attempt = 1;; attempt++)
	{
		int64 pause;
		bool again;

		request->timeout_ms = (int) Max(asker->until - clock_ms(), 1);
		request->connect_timeout_ms = Min(connect_ms, request->timeout_ms);
		*answer = (HttpResponse){0};
		if (ask_once(asker, endpoint, request, answer, &again, f))
			return true;
		if (!again || attempt == MAX_ATTEMPTS)
			return false;

		/* vary it by a tenth, so that many servers do not retry at the same moment */
		pause = (int64) (delay * (0.9 + 0.2 * pg_prng_double(&pg_global_prng_state)));
		pause = Max(pause, answer->retry_after_ms);
		if (clock_ms() + pause >= asker->until)
			return false;
		http_pause((int) pause);
		delay *= 2;
	}
}

/* The number written as `len` digits; the caller has checked that they are digits. */
static int
number_at(const char *text, int len)
{
	int number = 0;

	for (int i = 0; i < len; i++)
		number = number * 10 + (text[i] - '0');
	return number;
}

/* A UTC time in RFC 3339, in seconds since 1970; a fraction is dropped. */
static bool
read_time(const char *text, int64 *seconds)
{
	static const char form[] = "0000-00-00T00:00:00";

	for (size_t i = 0; form[i] != '\0'; i++)
		if (form[i] == '0' ? !isdigit((unsigned char) text[i]) : text[i] != form[i])
			return false;
	*seconds = (int64) (date2j(number_at(text, 4), number_at(text + 5, 2), number_at(text + 8, 2)) - UNIX_EPOCH_JDATE) *
				   SECS_PER_DAY +
			   number_at(text + 11, 2) * SECS_PER_HOUR + number_at(text + 14, 2) * SECS_PER_MINUTE +
			   number_at(text + 17, 2);
	return true;
}

/* Take the token from an answer; false with *f set. */
static bool
accept_token_answer(AuthAsker *asker, const AuthEndpoint *endpoint, HttpResponse *answer, AuthToken *token, Failure *f)
{
	JsonDoc *doc = json_parse_document(answer->body, answer->len, NULL);
	const char *text = doc ? json_string_at(doc, endpoint->token_field) : NULL;
	/* whether it may be used in a header line */
	bool sane = text != NULL && text[0] != '\0' && strlen(text) <= MAX_TOKEN;

	for (const char *c = text; sane && *c != '\0'; c++)
		sane = *c > ' ' && *c <= '~';
	explicit_bzero(answer->body, answer->len);
	if (text != NULL && sane)
	{
		StringInfo copy = auth_secret(strlen(text));
		/* the lifetime is "expires_in" in seconds, or "expireTime" as a UTC time */
		const char *time_text = json_string_at(doc, "expireTime");
		int64 life = DEFAULT_LIFE_S;
		int64 end;

		if (!json_int64_at(doc, "expires_in", &life) && time_text != NULL && read_time(time_text, &end))
			life = end - (int64) time(NULL);
		appendStringInfoString(copy, text);
		*token = (AuthToken){.text = copy->data, .life_s = Min(Max(life, 0), MAX_LIFE_S)};
		auth_hide(asker, text);
	}
	else
	{
		failure_set(f, ERRCODE_PROTOCOL_VIOLATION, "%s's answer holds no access token", endpoint->name);
		failure_hint(f, "Check %s.", endpoint->where);
		f->every_day = true;
		/* an answer that is not JSON came from somewhere else, such as a proxy: a retry may help */
		if (doc == NULL)
			f->retry = FAILURE_ASK_AGAIN;
	}
	json_free_document(doc);
	return sane;
}

bool
auth_ask_token(AuthAsker *asker, const AuthEndpoint *endpoint, HttpRequest *request, AuthToken *token, Failure *f)
{
	HttpResponse answer;

	return auth_ask(asker, endpoint, request, &answer, f) && accept_token_answer(asker, endpoint, &answer, token, f);
}

HttpRequest
auth_form_request(const char *url, StringInfo form)
{
	return (HttpRequest){.method = "POST",
						 .url = url,
						 .content_type = "application/x-www-form-urlencoded",
						 .body = form->data,
						 .body_len = form->len};
}
