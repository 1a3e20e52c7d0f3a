/*
 * request.c
 *	  One request to BigQuery's API: token and retries.
 *
 * Official clients differ in what they retry; this follows Google's Python client if
 * the error has a reason (then only the reason counts) and its Go client if it has none
 * (408, 429, 5xx and lost connections are retried). Unlike all of them it honors
 * Retry-After.
 */
#include "postgres.h"

#include "common/pg_prng.h"
#include "miscadmin.h"
#include "portability/instr_time.h"

#include "auth/auth.h"
#include "base/clock.h"
#include "base/json.h"
#include "bigquery/connection.h"
#include "bigquery/request.h"

/* Answers without rows are smaller; the beginning of an error's text is enough. */
#define MAX_ANSWER (10 * 1024 * 1024)
#define MAX_ERROR_ANSWER (64 * 1024)

/* Google's SLA asks for 1 s, doubled, up to 32 s. */
#define BACKOFF_FIRST_MS 1000
#define BACKOFF_MAX_MS 32000

/* After this time the user is told the reason for the wait. */
#define REPORT_WAITING_MS 5000

int
request_backoff_ms(int tries, int retry_after_ms)
{
	int limit = BACKOFF_FIRST_MS;

	if (retry_after_ms > 0)
		return retry_after_ms;
	for (int i = 0; i < tries && limit < BACKOFF_MAX_MS; i++)
		limit *= 2;
	/* at least a tenth, so that two tries are never simultaneous */
	return limit / 10 + (int) (pg_prng_double(&pg_global_prng_state) * Min(limit, BACKOFF_MAX_MS) * 0.9);
}

/* Turn an answer that is not 200 into a Failure. */
static void
judge_answer(Failure *f, int status, const char *body, size_t len, int retry_after_ms, const BqConnection *connection)
{
	JsonDoc *doc = json_parse_document(body, len, NULL);
	const char *reason = doc ? json_string_at(doc, "error.errors.0.reason") : NULL;
	const char *message = doc ? json_string_at(doc, "error.message") : NULL;

	request_error(f, status, reason, message, connection);
	f->retry_after_ms = retry_after_ms;
	json_free_document(doc);
}

/* Read the text of an error; an incomplete body is enough. */
static void
judge_exchange(Failure *f, HttpExchange *exchange, int status, const BqConnection *connection)
{
	StringInfoData body;
	const char *piece;
	ssize_t n;
	Failure ignored;

	initStringInfo(&body);
	while (body.len < MAX_ERROR_ANSWER && (n = http_read(exchange, &piece, &ignored)) > 0)
		appendBinaryStringInfo(&body, piece, (int) n);
	judge_answer(f, status, body.data, body.len, http_retry_after(exchange), connection);
	pfree(body.data);
}

/* One try: the request, and the destination of the answer, by kind of request. */
typedef struct RequestTry
{
	const char *path;
	const char *body; /* NULL: GET */
	HttpResponse *response; /* filled, or … */
	HttpExchange *exchange; /* … this is left open, if parent is set */
	MemoryContext parent;
	HttpExchange *begun; /* already started, as the first try; or NULL */
	int max_tries; /* 0: as many as time allows */
	int quiet_ms; /* as in HttpRequest */
} RequestTry;

/* Its header, if it has one, is in CurrentMemoryContext. */
static HttpRequest
make_request(const BqConnection *connection, const RequestTry *attempt, const char *token, int timeout_ms)
{
	bool has_body = attempt->body != NULL && attempt->body[0] != '\0';
	const char *quota_project = token ? auth_quota_project(token) : NULL;
	HttpHeader *header;
	HttpRequest request = {
		.method = attempt->body ? "POST" : "GET",
		.url = psprintf("%s%s", connection->endpoint, attempt->path),
		.bearer = token,
		.content_type = has_body ? "application/json; charset=UTF-8" : NULL,
		.body = has_body ? attempt->body : NULL,
		.body_len = has_body ? strlen(attempt->body) : 0,
		.ca_file = connection->ca_file,
		.proxy = connection->proxy,
		.connect_timeout_ms = Min(connection->connect_timeout_ms, timeout_ms),
		.timeout_ms = timeout_ms,
		.quiet_ms = attempt->quiet_ms,
		.max_body = attempt->parent ? 0 : MAX_ANSWER,
	};

	if (quota_project != NULL)
	{
		header = palloc(sizeof(HttpHeader));
		*header = (HttpHeader){"x-goog-user-project", quota_project};
		request.headers = header;
		request.nheaders = 1;
	}
	return request;
}

static bool
try_whole(Requester *requester, const HttpRequest *request, RequestTry *attempt, Failure *f)
{
	HttpResponse *response = attempt->response;

	Assert(response != NULL);
	if (!http_fetch(requester->http, request, response, f))
		return false;
	if (response->status == 200)
		return true;
	judge_answer(f, response->status, response->body, response->len, response->retry_after_ms, requester->connection);
	return false;
}

/* Wait for the headers; an exchange without a 200 answer is finished. */
static bool
accept_answer(Requester *requester, HttpExchange *exchange, RequestTry *attempt, Failure *f)
{
	int status = http_wait_status(exchange, f);

	if (status == 200)
	{
		attempt->exchange = exchange;
		return true;
	}
	if (status != 0)
		judge_exchange(f, exchange, status, requester->connection);
	http_finish(exchange);
	return false;
}

static bool
try_open(Requester *requester, const HttpRequest *request, RequestTry *attempt, Failure *f)
{
	HttpExchange *exchange = http_start(requester->http, request, attempt->parent, f);

	return exchange != NULL && accept_answer(requester, exchange, attempt, f);
}

/*
 * The token that goes with requests, or NULL if none is sent (to an emulator). False
 * with *f set when no token can be obtained.
 */
static bool
get_token(Requester *requester, uint64 refused, int timeout_ms, const char **token, Failure *f)
{
	const BqConnection *connection = requester->connection;
	AuthConfig config = connection_auth(connection, timeout_ms);

	*token = NULL;
	if (connection->credentials_file == NULL)
		return true;
	*token = auth_token(&config, requester->http, refused, f);
	return *token != NULL;
}

/*
 * Wait for a request that was started earlier, which counts as a try: its result goes
 * to *ok. It does not count (false) when it was refused for a token that has been
 * replaced meanwhile.
 */
static bool
take_begun(Requester *requester, RequestTry *attempt, const char *token, bool *ok, Failure *f)
{
	HttpExchange *begun = attempt->begun;
	bool is_current;

	if (begun == NULL)
		return false;
	attempt->begun = NULL;
	is_current = http_has_bearer(begun, token);
	*ok = accept_answer(requester, begun, attempt, f);
	return *ok || f->retry != FAILURE_NEW_TOKEN || is_current;
}

static bool
try_once(Requester *requester, RequestTry *attempt, uint64 *refused, int timeout_ms, Failure *f)
{
	int64 started = clock_ms();
	const char *token;
	HttpRequest request;
	uint64 number;
	bool ok;

	if (!get_token(requester, *refused, timeout_ms, &token, f))
	{
		/* auth.c has done all useful retries; the worker may try the day again later */
		f->retry = f->retry == FAILURE_ASK_AGAIN ? FAILURE_ASK_LATER : FAILURE_FINAL;
		return false;
	}
	/* the token's number lets the cache drop the refused token: nothing else identifies it */
	number = token ? auth_token_number(token) : 0;
	if (!take_begun(requester, attempt, token, &ok, f))
	{
		/* what the token took is part of the time */
		timeout_ms = Max(timeout_ms - (int) (clock_ms() - started), 1);
		request = make_request(requester->connection, attempt, token, timeout_ms);
		request.sent = request.body != NULL ? &requester->sent : NULL;
		ok = attempt->parent ? try_open(requester, &request, attempt, f) : try_whole(requester, &request, attempt, f);
		if (!ok && request.sent != NULL && f->http_status == 0 &&
			f->sqlstate != ERRCODE_SQLCLIENT_UNABLE_TO_ESTABLISH_SQLCONNECTION)
			requester->lost = true;
	}
	if (!ok && f->retry == FAILURE_NEW_TOKEN)
		*refused = *refused == 0 ? number : 0;
	return ok;
}

void
request_given_up(Failure *f, int tries, int64 spent_ms)
{
	char text[sizeof(f->detail)];
	char wanted[64] = "";

	strlcpy(text, f->detail, sizeof(text));
	if (f->retry_after_ms > 0)
		snprintf(wanted, sizeof(wanted), " BigQuery asks to wait for %d s.", f->retry_after_ms / 1000);
	failure_detail(f, "%s%sGave up after %d %s in %.1f s (contratos.request_timeout).%s", text, text[0] ? "  " : "",
				   tries, tries == 1 ? "attempt" : "attempts", spent_ms / 1000.0, wanted);
}

/*
 * Report the reason for the wait, once: request_timeout is minutes long, and a silent
 * wait looks like a hang.
 */
static void
report_waiting(const Failure *f, int left_ms, bool *reported)
{
	*reported = true;
	ereport(NOTICE, (errmsg("no answer from BigQuery yet: %s", failure_to_server(f->message)),
					 errdetail("Trying again for %d s at most.", left_ms / 1000),
					 errhint("Cancel the query to stop waiting. Check contratos.endpoint and contratos.proxy; "
							 "contratos.request_timeout limits the wait.")));
}

/* Try until it succeeds, fails permanently, or the time is up. */
static bool
try_until(Requester *requester, RequestTry *attempt, int *spent_ms, Failure *f)
{
	int budget = requester->connection->request_timeout_ms;
	uint64 refused = 0;
	bool reported = false;

	for (int tries = 1;; tries++)
	{
		int64 started = clock_ms();
		bool had_refused = refused != 0;
		bool ok = try_once(requester, attempt, &refused, Max(budget - *spent_ms, 1), f);
		int pause;

		*spent_ms += (int) (clock_ms() - started);
		if (ok)
			return true;
		CHECK_FOR_INTERRUPTS();
		if (f->retry == FAILURE_NEW_TOKEN && refused != 0 && !had_refused)
			continue;
		if (f->retry != FAILURE_ASK_AGAIN || tries == attempt->max_tries)
			return false;
		pause = request_backoff_ms(tries - 1, f->retry_after_ms);
		if (*spent_ms + pause + REQUEST_MIN_TRY_MS > budget)
		{
			request_given_up(f, tries, *spent_ms);
			return false;
		}
		ereport(DEBUG1,
				(errmsg_internal("contratos: attempt %d failed (%s), next in %d ms", tries, f->message, pause)));
		if (*spent_ms + pause >= REPORT_WAITING_MS && !reported)
			report_waiting(f, budget - *spent_ms, &reported);
		http_pause(pause);
		*spent_ms += pause;
	}
}

bool
request_fetch(Requester *requester, const char *path, const char *body, HttpResponse *response, Failure *f)
{
	RequestTry attempt = {.path = path, .body = body, .response = response};
	int spent_ms = 0;

	return try_until(requester, &attempt, &spent_ms, f);
}

HttpExchange *
request_open(Requester *requester, const char *path, const RequestOpening *opening, Failure *f)
{
	RequestTry attempt = {
		.path = path,
		.parent = opening->parent,
		.begun = opening->begun,
		.max_tries = opening->max_tries,
		.quiet_ms = opening->quiet_ms,
	};

	if (!try_until(requester, &attempt, opening->spent_ms, f))
		return NULL;
	return attempt.exchange;
}

HttpExchange *
request_start(Requester *requester, const char *path, MemoryContext parent, Failure *f)
{
	RequestTry attempt = {.path = path, .parent = parent};
	int timeout_ms = requester->connection->request_timeout_ms;
	const char *token;
	HttpRequest request;

	if (!get_token(requester, 0, timeout_ms, &token, f))
		return NULL;
	request = make_request(requester->connection, &attempt, token, timeout_ms);
	request.ahead = true;
	return http_start(requester->http, &request, parent, f);
}

bool
request_once(Requester *requester, const char *path, const char *body, int timeout_ms, HttpResponse *response)
{
	RequestTry attempt = {.path = path, .body = body, .response = response};
	uint64 refused = 0;
	Failure f;

	if (try_once(requester, &attempt, &refused, timeout_ms, &f))
		return true;
	ereport(DEBUG1, (errmsg_internal("contratos: request failed: %s", f.message)));
	return false;
}

bool
request_probe(Requester *requester, const char *path, int timeout_ms, HttpResponse *response, Failure *f)
{
	RequestTry attempt = {.path = path};
	HttpRequest request = make_request(requester->connection, &attempt, NULL, timeout_ms);

	return http_fetch(requester->http, &request, response, f);
}

bool
request_token(Requester *requester, Failure *f)
{
	const char *token;

	return get_token(requester, 0, requester->connection->request_timeout_ms, &token, f);
}
