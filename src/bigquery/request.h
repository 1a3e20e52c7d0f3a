/*
 * request.h
 *	  One request to BigQuery's API, with its token, its retries, and its errors as
 *	  Failures.
 *
 * Transient errors are retried on the latch, with jittered exponential back-off and
 * within connection->request_timeout_ms; a 401 is retried once, with a new token.
 */
#ifndef CONTRATOS_REQUEST_H
#define CONTRATOS_REQUEST_H

#include "base/failure.h"
#include "bigquery/connection.h"
#include "http/http.h"

/* A sequence of requests: connections kept open, and the token last used. */
typedef struct Requester
{
	const BqConnection *connection;
	HttpClient *http;
	bool sent; /* a request with a body may have reached BigQuery; cleared by whoever wants to know */
	bool lost; /* one of these has had no answer; likewise */
} Requester;

/*
 * Send a request and read the whole answer, which must be HTTP 200 (of at most 10 MB).
 * `path` begins with "/bigquery/v2/"; `body` NULL: GET, else POST of JSON ("" sends
 * none).  False with *f set on a permanent error or when the time is up.
 */
extern bool request_fetch(Requester *requester, const char *path, const char *body, HttpResponse *response, Failure *f);

/* How to open an answer. */
typedef struct RequestOpening
{
	MemoryContext parent; /* the exchange lives under it */
	HttpExchange *begun; /* request_start() of the same path, which becomes the first try; or NULL */
	int max_tries; /* 0: as many as time allows */
	int quiet_ms; /* for so long the service was asked to wait with its answer */
	int *spent_ms; /* of request_timeout, by earlier tries of the same request; is increased */
} RequestOpening;

/*
 * Send a GET request and wait for the headers of a 200 answer, whose body the caller
 * reads.
 */
extern HttpExchange *request_open(Requester *requester, const char *path, const RequestOpening *opening, Failure *f);

/*
 * Send a GET request without waiting, for an answer that will be needed later: the
 * first try of a later request_open().  NULL with *f set when it could not be started.
 */
extern HttpExchange *request_start(Requester *requester, const char *path, MemoryContext parent, Failure *f);

/*
 * Try once within `timeout_ms`, for a request whose failure does not matter: a cancel.
 * `body` NULL: GET. False when there is no 200 answer.
 */
extern bool request_once(Requester *requester, const char *path, const char *body, int timeout_ms,
						 HttpResponse *response);

/*
 * Fill *f from an answer that is not 200 (or an errorResult of a job, with http_status
 * 0): by its reason, or by its status if it has none.
 */
extern bool request_error(Failure *f, int http_status, const char *reason, const char *message,
						  const BqConnection *connection);

/*
 * Send a GET request without a token, trying once within `timeout_ms`.  True with
 * *response filled for any HTTP status, false with *f set when no answer came.
 */
extern bool request_probe(Requester *requester, const char *path, int timeout_ms, HttpResponse *response, Failure *f);

/* Whether a token can be obtained, or none is needed; false with *f set. */
extern bool request_token(Requester *requester, Failure *f);

/* Add to *f's detail that `tries` tries within request_timeout have failed. */
extern void request_given_up(Failure *f, int tries, int64 spent_ms);

/*
 * With less time left, another try would only fail for lack of time, and hide the
 * reason of the last failure.
 */
#define REQUEST_MIN_TRY_MS 500

/* The pause before try number `tries` + 1: jittered, at most 32 s. */
extern int request_backoff_ms(int tries, int retry_after_ms);

#endif /* CONTRATOS_REQUEST_H */
