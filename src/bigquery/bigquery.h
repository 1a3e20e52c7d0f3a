/*
 * bigquery.h
 *	  The REST dialogue: start a query job, wait for it, page its result,
 *	  cancel it.
 *
 * Requests are repeated here, with jittered exponential back-off on the latch
 * and within request_timeout, for what can pass; everything else comes back as
 * a Failure with BigQuery's reason.  Facts about the API: its discovery
 * document and googleapis' google/cloud/bigquery/v2 protos.
 */
#ifndef CONTRATOS_BIGQUERY_H
#define CONTRATOS_BIGQUERY_H

#include "base/failure.h"
#include "bigquery/connection.h"
#include "bigquery/job.h"
#include "bigquery/message.h"
#include "bigquery/request.h"
#include "http/http.h"
#include "rows/rows.h"

/* One server and key with its connections, for a call, a scan or a worker. */
typedef struct Bigquery Bigquery;

/*
 * Connect nothing yet, only remember: the connection's strings are copied.
 * Lives in a child of `parent`.
 */
extern Bigquery *bigquery_open(const BqConnection *connection, MemoryContext parent);
extern void bigquery_close(Bigquery *bq);

/*
 * Make a job id: "contratos_" and 32 random hex digits, the part after which
 * nobody can guess.
 */
extern void bigquery_make_job_id(char *job_id, size_t size);

/*
 * Start a query job under `job_id` (NULL: makes one), wait until it is done
 * and read its first answer up to the first row.  `label` names the source in
 * the job's labels, or NULL.  The job lives in a child of `parent`.
 *
 * When the wait ends early, by an error or because it takes longer than
 * job_timeout, the job is cancelled: one request of 2 s at most.  NULL with *f
 * set on failure; throws only for interrupts and out of memory.
 *
 * A job that BigQuery loses is asked for anew, under an id of its own, up to
 * `max_jobs` in all.  Who has written the id down, to cancel the job after a
 * crash, allows 1: nobody would know the others.
 */
extern BqJob *bigquery_query(Bigquery *bq, const BqQuery *query, const char *job_id, int max_jobs, const char *label,
							 MemoryContext parent, Failure *f);

/*
 * A job that another process has asked and waited for, to page its result: its
 * project is the connection's.  Neither its query nor its fields are known.
 */
extern BqJob *bigquery_finished_job(Bigquery *bq, const char *job_id, const char *location, int64 total_rows,
									int nfields, MemoryContext parent);

/* Jobs for one question: what fails three times is not worth waiting for. */
#define BIGQUERY_MAX_JOBS 3

/*
 * What a query would process, in bytes: a dry run, which is free and reads
 * nothing.  False with *f set on failure; throws only for interrupts and out of
 * memory.
 */
extern bool bigquery_estimate(Bigquery *bq, const BqQuery *query, int64 *bytes, Failure *f);

/*
 * Give a dataset named without a project (UTF-8) the one of the connection or
 * else of the key: "project.dataset", in CurrentMemoryContext.  NULL with *f set
 * when none is known.
 */
extern char *bigquery_dataset(Bigquery *bq, const char *name, Failure *f);

/* A dataset with more tables is not listed: it would take minutes, and hundreds of MB. */
#define BIGQUERY_MAX_TABLES 250000

/*
 * What there is in "project.dataset", as BqListed in CurrentMemoryContext, in
 * no order; and what BigQuery says of "project.dataset.table" ("dataset.table":
 * of the connection's project).  Free calls, as many as there are pages.  False
 * with *f set on failure: 42P01 when it is not there, 42501 when the key may not
 * look.
 */
extern bool bigquery_tables(Bigquery *bq, const char *dataset, List **tables, Failure *f);
extern bool bigquery_table(Bigquery *bq, const char *table, BqTable *described, Failure *f);

/*
 * Whether anybody answers at the endpoint: one request without a token, within
 * `timeout_ms`.  Its HTTP status, mostly 401; 0 with *f set.  *date_s: the clock
 * there, seconds since 1970; 0 when it was not said.
 */
extern int bigquery_probe(Bigquery *bq, int timeout_ms, int64 *date_s, Failure *f);

/* Whether a token is to be had, or none is needed; false with *f set. */
extern bool bigquery_token(Bigquery *bq, Failure *f);

/* The project that is billed, of the connection or else of the key; NULL with *f set. */
extern const char *bigquery_project(Bigquery *bq, Failure *f);

/*
 * Ask for `max_rows` rows of a finished job from row `start` (0-based) on and
 * wait for the headers of a 200 answer.  The exchange lives under `parent`;
 * `begun` is what bigquery_page_start() gave for these rows, or NULL.
 * NULL with *f set once the repetitions are used up.  `*spent_ms` is the time
 * that the page has cost in earlier tries, and is added to.
 */
extern HttpExchange *bigquery_page(BqJob *job, HttpExchange *begun, int64 start, int max_rows, MemoryContext parent,
								   int *spent_ms, Failure *f);

/*
 * The first step of it, without waiting, for a page that will be wanted later.
 * NULL with *f set when it could not even begin.
 */
extern HttpExchange *bigquery_page_start(BqJob *job, int64 start, int max_rows, MemoryContext parent, Failure *f);

/* Ask BigQuery to cancel a job; 2 s at most, failures are nobody's business. */
extern void bigquery_cancel(Bigquery *bq, const char *project, const char *location, const char *job_id);

/* The same for a job known only by its id: one that a dead process has left. */
extern void bigquery_cancel_by_id(Bigquery *bq, const char *job_id);

/*
 * What a finished job has cost, which comes after its rows: asked for where they
 * were not read.  2 s at most, failures are nobody's business.
 */
extern void bigquery_learn_cost(BqJob *job);

/* Free the job and what is still open of it; the job itself stays there. */
extern void bigquery_forget(BqJob *job);

/* A decoder whose memory is of `context`. */
extern RowsDecoder *bigquery_decoder(MemoryContext context);

/*
 * Fill *f from a decoder of a page of the job that said ROWS_ERROR while it was
 * reading row number `row` (from 0); returns false.  54000, naming row and
 * column, when the row is beyond a limit of the decoder's.
 */
extern bool bigquery_bad_page(Failure *f, const BqJob *job, RowsDecoder *decoder, int64 row);

#endif /* CONTRATOS_BIGQUERY_H */
