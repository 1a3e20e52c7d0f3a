/*
 * bigquery.h
 *	  The REST dialogue: start a query job, wait for it, page its result,
 *	  cancel it.
 *
 * Transient errors are retried by this module, with jittered exponential back-off on
 * the latch and within request_timeout; all other errors are returned as a Failure with
 * BigQuery's reason.  Facts about the API: its discovery document and googleapis'
 * google/cloud/bigquery/v2 protos.
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

/* The connections to one server with one key, for a call, a scan or a worker. */
typedef struct Bigquery Bigquery;

/*
 * Copy the connection's strings; nothing is connected yet.  Lives in a child of
 * `parent`.
 */
extern Bigquery *bigquery_open(const BqConnection *connection, MemoryContext parent);
extern void bigquery_close(Bigquery *bq);

/*
 * Make a job ID: "contratos_" and 32 random hex digits, which make it impossible to
 * guess.
 */
extern void bigquery_make_job_id(char *job_id, size_t size);

/* The number of jobs for one query: after three failures, waiting is not worthwhile. */
#define BIGQUERY_MAX_JOBS 3

/* A query to run as a job. */
typedef struct BqQuestion
{
	const BqQuery *query;
	const char *job_id; /* of the first job; NULL: one is made */

	/*
	 * A job that BigQuery loses is replaced by another with a new ID, up to so many in
	 * all.  A caller that has recorded the ID, to cancel the job after a crash, must set
	 * 1: the IDs of the others are not recorded.
	 */
	int max_jobs;
	const char *label; /* the name of the source in the job's labels, or NULL */
} BqQuestion;

/*
 * Start a query job, wait until it is done and read its first answer up to the first
 * row.  The job lives in a child of `parent`.
 *
 * When the wait ends early, by an error or because it takes longer than job_timeout,
 * the job is canceled by one request of at most 2 s.  NULL with *f set on failure;
 * throws only for interrupts and out of memory.
 */
extern BqJob *bigquery_query(Bigquery *bq, const BqQuestion *question, MemoryContext parent, Failure *f);

/*
 * A job that another process has started and waited for, to page its result: its
 * project is the connection's.  Neither its query nor its fields are known.
 */
extern BqJob *bigquery_finished_job(Bigquery *bq, const char *job_id, const char *location, int64 total_rows,
									int nfields, MemoryContext parent);

/*
 * The number of bytes a query would process: a dry run, which is free and reads
 * nothing.  False with *f set on failure; throws only for interrupts and out of memory.
 */
extern bool bigquery_estimate(Bigquery *bq, const BqQuery *query, int64 *bytes, Failure *f);

/*
 * Add to a dataset named without a project (UTF-8) the project of the connection or
 * else of the key: "project.dataset", in CurrentMemoryContext.  NULL with *f set when
 * no project is known.
 */
extern char *bigquery_dataset(Bigquery *bq, const char *name, Failure *f);

/* A dataset with more tables is not listed: that would take minutes, and hundreds of MB. */
#define BIGQUERY_MAX_TABLES 250000

/*
 * The tables in "project.dataset", as BqListed in CurrentMemoryContext, in no
 * particular order; and the description of "project.dataset.table" ("dataset.table"
 * uses the connection's project).  The calls are free, one for each page of the list.
 * False with *f set on failure: 42P01 when the dataset or table does not exist, 42501
 * when the key lacks the permission.
 */
extern bool bigquery_tables(Bigquery *bq, const char *dataset, List **tables, Failure *f);
extern bool bigquery_table(Bigquery *bq, const char *table, BqTable *described, Failure *f);

/*
 * Whether the endpoint answers: one request without a token, within `timeout_ms`.
 * Returns its HTTP status, usually 401; 0 with *f set.  *date_s is the server's clock,
 * seconds since 1970; 0 when the answer has no date.
 */
extern int bigquery_probe(Bigquery *bq, int timeout_ms, int64 *date_s, Failure *f);

/* Whether a token can be obtained, or none is needed; false with *f set. */
extern bool bigquery_token(Bigquery *bq, Failure *f);

/* The project that is billed: the connection's, or else the key's; NULL with *f set. */
extern const char *bigquery_project(Bigquery *bq, Failure *f);

/*
 * Request `max_rows` rows of a finished job from row `start` (0-based) on and wait for
 * the headers of a 200 answer.  `opening->begun` is the result of bigquery_page_start()
 * for these rows, or NULL.  NULL with *f set once the retries are used up.
 */
extern HttpExchange *bigquery_page(BqJob *job, int64 start, int max_rows, const RequestOpening *opening, Failure *f);

/*
 * Its first step, without waiting, for a page that will be needed later. NULL with *f
 * set when the request could not be started.
 */
extern HttpExchange *bigquery_page_start(BqJob *job, int64 start, int max_rows, MemoryContext parent, Failure *f);

/* Ask BigQuery to cancel a job; takes at most 2 s.  Whether it has answered that it does. */
extern bool bigquery_cancel(Bigquery *bq, const char *project, const char *location, const char *job_id);

/* The same for a job of which only the ID is known: one left by a process that has ended. */
extern void bigquery_cancel_by_id(Bigquery *bq, const char *job_id);

/*
 * Learn the cost of a finished job when its rows, which precede it in an answer, were
 * not read.  Takes at most 2 s, failures are ignored.
 */
extern void bigquery_learn_cost(BqJob *job);

/* Free the job and its open exchanges; BigQuery keeps the job itself. */
extern void bigquery_free_job(BqJob *job);

/* A decoder whose memory comes from `context`. */
extern RowsDecoder *bigquery_decoder(MemoryContext context);

/*
 * Fill *f from a decoder that returned ROWS_ERROR for a page of the job while it was
 * reading row number `row` (from 0); returns false.  54000, naming row and column, when
 * the row exceeds a limit of the decoder.
 */
extern bool bigquery_bad_page(Failure *f, const BqJob *job, RowsDecoder *decoder, int64 row);

#endif /* CONTRATOS_BIGQUERY_H */
