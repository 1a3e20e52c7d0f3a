/*
 * request.h
 *	  One request to BigQuery's API: with its token, its repetitions, and its
 *	  errors as Failures.
 *
 * A request is repeated on the latch, with jittered exponential back-off and
 * within connection->request_timeout_ms, for what can pass; a 401 is worth one
 * fresh token and one repetition.
 */
#ifndef CONTRATOS_REQUEST_H
#define CONTRATOS_REQUEST_H

#include "base/failure.h"
#include "bigquery/connection.h"
#include "http/http.h"

/* A way to ask: connections kept open, and the token last used. */
typedef struct Requester
{
	const BqConnection *connection;
	HttpClient *http;
} Requester;

/*
 * Ask and read the whole answer, which must be HTTP 200 (of at most 10 MB).
 * `path` begins with "/bigquery/v2/"; `body` NULL: GET, else POST of JSON
 * ("" sends none).  False with *f set once it is final or the time is up.
 */
extern bool request_fetch(Requester *requester, const char *path, const char *body, HttpResponse *response, Failure *f);

/*
 * Ask (GET) and wait for the headers of a 200 answer, whose body the caller
 * reads; the exchange lives under `parent`.  `begun`: what request_start() gave
 * for this path, taken over as the first try; or NULL.  At most `max_tries`
 * tries (0: as many as the time allows); *spent_ms is what earlier tries at the
 * same have cost of request_timeout, and is added to.
 */
extern HttpExchange *request_open(Requester *requester, const char *path, HttpExchange *begun, MemoryContext parent,
								  int max_tries, int *spent_ms, Failure *f);

/*
 * Ask (GET) without waiting, for an answer that will be wanted later: the first
 * try of a request_open() to come.  NULL with *f set when it could not even
 * begin.
 */
extern HttpExchange *request_start(Requester *requester, const char *path, MemoryContext parent, Failure *f);

/*
 * One try within `timeout_ms`, for what may as well fail: a cancel.  `body` NULL: GET.
 * False when there is no 200 answer.
 */
extern bool request_once(Requester *requester, const char *path, const char *body, int timeout_ms,
						 HttpResponse *response);

/*
 * Fill *f from an answer that is not 200 (or an errorResult of a job, with
 * http_status 0): by reason first, by status where there is none.
 */
extern bool request_error(Failure *f, int http_status, const char *reason, const char *message,
						  const BqConnection *connection);

/*
 * Ask (GET) without a token, one try within `timeout_ms`.  True with *response
 * filled whatever its HTTP status, false with *f set when nobody answered.
 */
extern bool request_probe(Requester *requester, const char *path, int timeout_ms, HttpResponse *response, Failure *f);

/* Whether a token is to be had, or none is needed; false with *f set. */
extern bool request_token(Requester *requester, Failure *f);

/* Add to *f's detail that nothing came of `tries` tries within request_timeout. */
extern void request_given_up(Failure *f, int tries, int64 spent_ms);

/* With less time left another try would only fail for want of it, and hide why the last one did. */
#define REQUEST_MIN_TRY_MS 500

/* How long to wait before try number `tries` + 1: jittered, at most 32 s. */
extern int request_backoff_ms(int tries, int retry_after_ms);

#endif /* CONTRATOS_REQUEST_H */
