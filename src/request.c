/*
 * request.c
 *	  One request to BigQuery's API: token, repetitions, errors.
 *
 * Official clients differ in what they repeat; this follows Google's Python
 * client where there is a reason (then only the reason counts) and its Go
 * client where there is none (any of 408, 429 and 5xx; a connection that
 * broke).  Unlike all of them it honours Retry-After.
 */
#include "postgres.h"

#include "common/pg_prng.h"
#include "miscadmin.h"
#include "portability/instr_time.h"

#include "auth.h"
#include "json.h"
#include "request.h"

/* No answer but rows is larger; of an error's text a little is enough. */
#define MAX_ANSWER (10 * 1024 * 1024)
#define MAX_ERROR_ANSWER (64 * 1024)

/* Google's SLA asks for 1 s, doubled, up to 32 s. */
#define BACKOFF_FIRST_MS 1000
#define BACKOFF_MAX_MS 32000

/* What BigQuery's reasons mean to us.  (bigquery/docs/error-messages) */
typedef struct ReasonRule
{
	const char *reason;
	FailureRetry retry;
	bool every_day; /* the same for every day */
	int sqlstate;
	const char *hint;
} ReasonRule;

static const ReasonRule reason_rules[] = {
	{"accessDenied", FAILURE_FINAL, true, ERRCODE_INSUFFICIENT_PRIVILEGE,
	 "The service account needs roles/bigquery.jobUser on the billed project and read access to the table."},
	{"attributeError", FAILURE_FINAL, true, ERRCODE_FDW_ERROR, NULL},
	{"backendError", FAILURE_ASK_AGAIN, false, ERRCODE_FDW_ERROR, "This is BigQuery's own trouble: try again later."},
	{"badGateway", FAILURE_ASK_AGAIN, false, ERRCODE_FDW_ERROR, "This is BigQuery's own trouble: try again later."},
	{"badRequest", FAILURE_FINAL, true, ERRCODE_FDW_ERROR, NULL},
	{"billingNotEnabled", FAILURE_FINAL, true, ERRCODE_FDW_ERROR, "Enable billing for the project that is billed."},
	{"billingTierLimitExceeded", FAILURE_FINAL, true, ERRCODE_CONFIGURATION_LIMIT_EXCEEDED, NULL},
	{"blocked", FAILURE_FINAL, true, ERRCODE_FDW_ERROR, NULL},
	{"bytesBilledLimitExceeded", FAILURE_FINAL, false, ERRCODE_PROGRAM_LIMIT_EXCEEDED, NULL},
	{"duplicate", FAILURE_FINAL, false, ERRCODE_DUPLICATE_OBJECT, NULL},
	{"internalError", FAILURE_ASK_AGAIN, false, ERRCODE_FDW_ERROR, "This is BigQuery's own trouble: try again later."},
	{"invalid", FAILURE_FINAL, true, ERRCODE_FDW_ERROR, NULL},
	{"invalidQuery", FAILURE_FINAL, true, ERRCODE_SYNTAX_ERROR_OR_ACCESS_RULE_VIOLATION,
	 "See the query with EXPLAIN (VERBOSE); the columns and options of the foreign table decide its text."},
	{"invalidUser", FAILURE_FINAL, true, ERRCODE_INVALID_AUTHORIZATION_SPECIFICATION, NULL},
	{"jobBackendError", FAILURE_NEW_JOB, false, ERRCODE_FDW_ERROR, "This is BigQuery's own trouble: try again later."},
	{"jobInternalError", FAILURE_NEW_JOB, false, ERRCODE_FDW_ERROR, "This is BigQuery's own trouble: try again later."},
	{"jobRateLimitExceeded", FAILURE_NEW_JOB, false, ERRCODE_CONFIGURATION_LIMIT_EXCEEDED,
	 "Too many jobs in the project at once: try again later."},
	{"notFound", FAILURE_FINAL, true, ERRCODE_UNDEFINED_TABLE,
	 "Check the options \"table\" of the foreign table and \"location\" of its server or contratos.location."},
	{"notImplemented", FAILURE_FINAL, true, ERRCODE_FEATURE_NOT_SUPPORTED, NULL},
	{"policyViolation", FAILURE_FINAL, true, ERRCODE_INSUFFICIENT_PRIVILEGE, NULL},
	{"proxyAuthenticationRequired", FAILURE_FINAL, true, ERRCODE_SQLCLIENT_UNABLE_TO_ESTABLISH_SQLCONNECTION,
	 "Check contratos.proxy."},
	{"quotaExceeded", FAILURE_FINAL, true, ERRCODE_CONFIGURATION_LIMIT_EXCEEDED,
	 "A quota of the billed project is used up: wait for its next period, or raise it."},
	{"rateLimitExceeded", FAILURE_ASK_AGAIN, false, ERRCODE_CONFIGURATION_LIMIT_EXCEEDED,
	 "Too many requests of the project at once: try again later."},
	{"resourceInUse", FAILURE_FINAL, false, ERRCODE_OBJECT_IN_USE, NULL},
	{"resourcesExceeded", FAILURE_FINAL, false, ERRCODE_INSUFFICIENT_RESOURCES, NULL},
	{"responseTooLarge", FAILURE_FINAL, false, ERRCODE_PROGRAM_LIMIT_EXCEEDED, NULL},
	{"stopped", FAILURE_FINAL, false, ERRCODE_FDW_ERROR, "Somebody or something cancelled the BigQuery job."},
	{"tableUnavailable", FAILURE_FINAL, false, ERRCODE_FDW_ERROR, NULL},
	{"timeout", FAILURE_NEW_JOB, false, ERRCODE_FDW_ERROR, "BigQuery stopped the job: see contratos.job_timeout."},
	{"userRateLimitExceeded", FAILURE_ASK_AGAIN, false, ERRCODE_CONFIGURATION_LIMIT_EXCEEDED,
	 "Too many requests of the service account at once: try again later."},
};

int64
request_clock_ms(void)
{
	instr_time now;

	INSTR_TIME_SET_CURRENT(now);
	return (int64) INSTR_TIME_GET_MILLISEC(now);
}

int
request_backoff_ms(int tries, int retry_after_ms)
{
	int limit = BACKOFF_FIRST_MS;

	if (retry_after_ms > 0)
		return retry_after_ms;
	for (int i = 0; i < tries && limit < BACKOFF_MAX_MS; i++)
		limit *= 2;
	/* at least a tenth, so that two tries never fall together */
	return limit / 10 + (int) (pg_prng_double(&pg_global_prng_state) * Min(limit, BACKOFF_MAX_MS) * 0.9);
}

/* No reason was given: the status has to do. */
static void
judge_by_status(Failure *f, int status, const char *message)
{
	if (status == 401)
	{
		failure_set(f, ERRCODE_INVALID_AUTHORIZATION_SPECIFICATION, "BigQuery did not accept the access token");
		if (message != NULL)
			failure_detail(f, "%s", message);
		failure_hint(f, "Check that the key in contratos.credentials_file (or the user mapping's credentials_file) is "
						"still valid, and that this server's clock is right.");
		f->retry = FAILURE_NEW_TOKEN;
		f->every_day = true;
		return;
	}
	failure_set(f, ERRCODE_FDW_ERROR, "BigQuery answered with HTTP status %d", status);
	if (message != NULL)
		failure_detail(f, "%s", message);
	if (status == 408 || status == 429 || (status >= 500 && status != 501))
		f->retry = FAILURE_ASK_AGAIN;
	else
		f->every_day = true;
	if (status >= 300 && status < 400)
		failure_hint(f, "Redirects are not followed: check contratos.endpoint or the server's option endpoint.");
}

/* The byte cap is known by its reason, or where that differs, by its words. */
static bool
is_byte_cap(const char *reason, const char *message)
{
	return strcmp(reason, "bytesBilledLimitExceeded") == 0 ||
		   (message != NULL && strstr(message, "limit for bytes billed") != NULL);
}

static void
judge_byte_cap(Failure *f, const char *message, const BqConnection *connection)
{
	failure_set(f, ERRCODE_PROGRAM_LIMIT_EXCEEDED, "the query would bill more than the cap of " INT64_FORMAT " bytes",
				connection->max_bytes_billed);
	failure_detail(f, "BigQuery refused it without charge: %s", message ? message : "no message");
	failure_hint(f, "Raise %s, or ask for fewer columns or days.",
				 connection->cap_name ? connection->cap_name : "contratos.max_bytes_billed");
}

static void
judge_by_rule(Failure *f, const ReasonRule *rule, const char *message)
{
	int sqlstate = rule->sqlstate;

	if (message != NULL && strncmp(message, "Unrecognized name", 17) == 0)
		sqlstate = ERRCODE_UNDEFINED_COLUMN;
	failure_set(f, sqlstate, "BigQuery: %s", message ? message : rule->reason);
	f->retry = rule->retry;
	if (sqlstate == ERRCODE_UNDEFINED_COLUMN)
		failure_hint(f, "The BigQuery table has no such column: correct the foreign table's column or its option "
						"name, or drop it with ALTER FOREIGN TABLE ... DROP COLUMN.");
	else if (strcmp(rule->reason, "stopped") == 0 && message != NULL && strstr(message, "timed out") != NULL)
	{
		f->retry = FAILURE_NEW_JOB;
		failure_hint(f, "It ran longer than contratos.job_timeout or the server's option job_timeout allows.");
	}
	else if (rule->hint != NULL)
		failure_hint(f, "%s", rule->hint);
	f->every_day = rule->every_day;
}

bool
request_error(Failure *f, int http_status, const char *reason, const char *message, const BqConnection *connection)
{
	const ReasonRule *rule = NULL;

	for (int i = 0; reason != NULL && i < (int) lengthof(reason_rules); i++)
		if (strcmp(reason, reason_rules[i].reason) == 0)
			rule = &reason_rules[i];

	if (reason != NULL && is_byte_cap(reason, message))
		judge_byte_cap(f, message, connection);
	else if (http_status == 401 || (rule == NULL && http_status != 0))
		judge_by_status(f, http_status, message);
	else if (rule != NULL)
		judge_by_rule(f, rule, message);
	else
	{
		failure_set(f, ERRCODE_FDW_ERROR, "BigQuery: %s", message ? message : "job failed");
		f->every_day = false;
	}
	failure_reason(f, reason);
	f->http_status = http_status;
	return false;
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

/* Read what an error's answer has to say; a body that breaks off will do. */
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

/* One try.  What is asked for, and where the answer goes, by kind of request. */
typedef struct Attempt
{
	const char *path;
	const char *body; /* NULL: GET */
	HttpResponse *response; /* filled, or … */
	HttpExchange *exchange; /* … this is left open, if parent is set */
	MemoryContext parent;
	HttpExchange *begun; /* under way already: the first try, or NULL */
	int max_tries; /* 0: as many as the time allows */
} Attempt;

static HttpRequest
make_request(const BqConnection *connection, const Attempt *attempt, const char *token, int timeout_ms)
{
	bool has_body = attempt->body != NULL && attempt->body[0] != '\0';
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
		.max_body = attempt->parent ? 0 : MAX_ANSWER,
	};

	return request;
}

static bool
try_whole(Requester *requester, const HttpRequest *request, Attempt *attempt, Failure *f)
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
accept_answer(Requester *requester, HttpExchange *exchange, Attempt *attempt, Failure *f)
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
try_open(Requester *requester, const HttpRequest *request, Attempt *attempt, Failure *f)
{
	HttpExchange *exchange = http_start(requester->http, request, attempt->parent, f);

	return exchange != NULL && accept_answer(requester, exchange, attempt, f);
}

/*
 * The token that goes with requests, or NULL where none is sent (an emulator).
 * False with *f set when there is no token to be had.
 */
static bool
get_token(Requester *requester, const char *refused, int timeout_ms, const char **token, Failure *f)
{
	const BqConnection *connection = requester->connection;
	AuthConfig config = {
		.credentials_file = connection->credentials_file,
		.ca_file = connection->ca_file,
		.proxy = connection->proxy,
		.connect_timeout_ms = Min(connection->connect_timeout_ms, timeout_ms),
		.timeout_ms = timeout_ms,
	};

	*token = NULL;
	if (connection->credentials_file == NULL)
		return true;
	*token = auth_token(&config, requester->http, refused, f);
	return *token != NULL;
}

/*
 * What is under way already counts as a try, in *ok.  Except when it was
 * refused for a token that others have replaced meanwhile.
 */
static bool
take_begun(Requester *requester, Attempt *attempt, const char *token, bool *ok, Failure *f)
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
try_once(Requester *requester, Attempt *attempt, char **refused, int timeout_ms, Failure *f)
{
	const char *token;
	HttpRequest request;
	bool ok;

	if (!get_token(requester, *refused, timeout_ms, &token, f))
	{
		/* auth.c has repeated what can be repeated; a day may come back to it */
		f->retry = f->retry == FAILURE_ASK_AGAIN ? FAILURE_ASK_LATER : FAILURE_FINAL;
		return false;
	}
	if (!take_begun(requester, attempt, token, &ok, f))
	{
		request = make_request(requester->connection, attempt, token, timeout_ms);
		ok = attempt->parent ? try_open(requester, &request, attempt, f) : try_whole(requester, &request, attempt, f);
	}
	/* remembered so that the cache knows which token not to give again */
	if (!ok && f->retry == FAILURE_NEW_TOKEN)
		*refused = (token && *refused == NULL) ? pstrdup(token) : NULL;
	return ok;
}

void
request_given_up(Failure *f, int tries, int64 spent_ms)
{
	char said[sizeof(f->detail)];
	char wanted[64] = "";

	strlcpy(said, f->detail, sizeof(said));
	if (f->retry_after_ms > 0)
		snprintf(wanted, sizeof(wanted), " BigQuery asks to wait for %d s.", f->retry_after_ms / 1000);
	failure_detail(f, "%s%sGave up after %d %s in %.1f s (contratos.request_timeout).%s", said, said[0] ? "  " : "",
				   tries, tries == 1 ? "attempt" : "attempts", spent_ms / 1000.0, wanted);
}

/* Try until it works, cannot work, or the time is up. */
static bool
try_until(Requester *requester, Attempt *attempt, int *spent_ms, Failure *f)
{
	int budget = requester->connection->request_timeout_ms;
	char *refused = NULL;

	for (int tries = 1;; tries++)
	{
		int64 started = request_clock_ms();
		bool had_refused = refused != NULL;
		bool ok = try_once(requester, attempt, &refused, Max(budget - *spent_ms, 1), f);
		int pause;

		*spent_ms += (int) (request_clock_ms() - started);
		if (ok)
			return true;
		CHECK_FOR_INTERRUPTS();
		if (f->retry == FAILURE_NEW_TOKEN && refused != NULL && !had_refused)
			continue;
		if (f->retry != FAILURE_ASK_AGAIN || tries == attempt->max_tries)
			return false;
		pause = request_backoff_ms(tries - 1, f->retry_after_ms);
		if (*spent_ms + pause >= budget)
		{
			request_given_up(f, tries, *spent_ms);
			return false;
		}
		ereport(DEBUG1,
				(errmsg_internal("contratos: attempt %d failed (%s), next in %d ms", tries, f->message, pause)));
		http_pause(pause);
		*spent_ms += pause;
	}
}

bool
request_fetch(Requester *requester, const char *path, const char *body, HttpResponse *response, Failure *f)
{
	Attempt attempt = {.path = path, .body = body, .response = response};
	int spent_ms = 0;

	return try_until(requester, &attempt, &spent_ms, f);
}

HttpExchange *
request_open(Requester *requester, const char *path, HttpExchange *begun, MemoryContext parent, int max_tries,
			 int *spent_ms, Failure *f)
{
	Attempt attempt = {.path = path, .begun = begun, .parent = parent, .max_tries = max_tries};

	if (!try_until(requester, &attempt, spent_ms, f))
		return NULL;
	return attempt.exchange;
}

HttpExchange *
request_start(Requester *requester, const char *path, MemoryContext parent, Failure *f)
{
	Attempt attempt = {.path = path, .parent = parent};
	int timeout_ms = requester->connection->request_timeout_ms;
	const char *token;
	HttpRequest request;

	if (!get_token(requester, NULL, timeout_ms, &token, f))
		return NULL;
	request = make_request(requester->connection, &attempt, token, timeout_ms);
	return http_start(requester->http, &request, parent, f);
}

void
request_once(Requester *requester, const char *path, const char *body, int timeout_ms)
{
	HttpResponse response;
	Attempt attempt = {.path = path, .body = body, .response = &response};
	char *refused = NULL;
	Failure f;

	if (!try_once(requester, &attempt, &refused, timeout_ms, &f))
		ereport(DEBUG1, (errmsg_internal("contratos: request failed: %s", f.message)));
}
