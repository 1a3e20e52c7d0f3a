/*
 * failure.h
 *	  A failure of a remote service, as a value.
 *
 * Modules that talk to the network (http, json, jwt, auth, bigquery, stream) never
 * raise an error for a remote failure: they fill a Failure and return false.  The
 * caller decides whether to retry, to give up on the day, or to raise it with
 * failure_throw(), the only function that turns one into ereport(ERROR).  A Failure
 * owns no memory, so it can be filled anywhere, even in a libcurl callback, and
 * outlives every context.
 */
#ifndef CONTRATOS_FAILURE_H
#define CONTRATOS_FAILURE_H

#include "postgres.h"

#include "base/compat.h" /* pg_noreturn */

/* Whether a retry may help. */
typedef enum FailureRetry
{
	FAILURE_FINAL = 0, /* the same request gets the same answer */
	FAILURE_ASK_AGAIN, /* the same request may succeed later */
	FAILURE_ASK_LATER, /* the same, but not while a caller waits for it */
	FAILURE_NEW_TOKEN, /* HTTP 401: worth one fresh token */
	FAILURE_NEW_JOB /* the job is lost, a new one may succeed */
} FailureRetry;

typedef struct Failure
{
	int sqlstate; /* MAKE_SQLSTATE code; 0: nothing is wrong */
	FailureRetry retry;
	bool every_day; /* would fail whatever the day is (key, rights,
								 * query text), not only for this one */
	int retry_after_ms; /* from Retry-After; 0: nothing */
	int http_status; /* of the answer; 0: there was none */
	char reason[64]; /* BigQuery's or OAuth's reason, or "" */
	char message[512]; /* lower case, no full stop, no secret */
	char detail[1024]; /* facts, "" if none */
	char hint[1024]; /* what to do next, "" if none */
} Failure;

/*
 * Empty *f, then state the message.  Text longer than the field is cut at a
 * character boundary of UTF-8.  Returns false, so that a caller can write
 * "return failure_set(...)".
 */
extern bool failure_set(Failure *f, int sqlstate, const char *fmt, ...) pg_attribute_printf(3, 4);

/* Add detail or hint to a Failure already set; each replaces an earlier one. */
extern void failure_detail(Failure *f, const char *fmt, ...) pg_attribute_printf(2, 3);
extern void failure_hint(Failure *f, const char *fmt, ...) pg_attribute_printf(2, 3);

/* Remember the reason (cut to the field; NULL clears it). */
extern void failure_reason(Failure *f, const char *reason);

/*
 * Raise *f as an ERROR with its SQLSTATE, detail and hint.  Interrupts are checked
 * first, so that a canceled request is reported as canceled.  Text is converted from
 * UTF-8 to the server encoding as far as possible.
 */
pg_noreturn extern void failure_throw(const Failure *f);

/*
 * The Failure that was thrown as this error: it has fields that ErrorData lacks
 * (reason, every_day).  NULL when PostgreSQL itself raised the error, or another
 * Failure was thrown since.
 */
extern const Failure *failure_of(const ErrorData *edata);

/*
 * A text of the service, UTF-8, in the server's encoding, palloc'd: bad or missing
 * characters become '?' instead of an error.
 */
extern char *failure_to_server(const char *text);

/*
 * The reverse, for values that a Failure's text names: a text in the server's encoding
 * as UTF-8, palloc'd or unchanged.  Needs no transaction; without one only ASCII is
 * kept where a conversion would be needed.
 */
extern char *failure_from_server(const char *text);

/* --------------------------------------------------------------------------
 * Errors that are caught, so that the caller can go on.
 * -------------------------------------------------------------------------- */

/*
 * Run body(arg) in a subtransaction and in the current memory context.  Returns NULL on
 * success, and then keeps the effects if `keep`; otherwise returns the error, and all
 * effects are undone.
 */
extern ErrorData *catch_in_subtransaction(void (*body)(void *arg), void *arg, bool keep);

/*
 * Run body(arg), which begins and ends transactions by itself, in the current memory
 * context.  NULL: it has worked; else the error, with any open transaction aborted.
 * Before that report(arg, error) is called (NULL: nothing is) while the error is still
 * PostgreSQL's current one; catch_emit() sends it to the log.
 */
extern ErrorData *catch_with_transactions(void (*body)(void *arg), void *arg,
										  void (*report)(void *arg, ErrorData *edata));
extern void catch_emit(void *arg, ErrorData *edata);

#endif /* CONTRATOS_FAILURE_H */
