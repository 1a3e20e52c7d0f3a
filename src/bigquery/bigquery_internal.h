/*
 * bigquery_internal.h
 *	  Shared by bigquery.c (jobs and free calls), bigquery_wait.c (waiting for jobs)
 *	  and bigquery_cost.c only.
 */
#ifndef CONTRATOS_BIGQUERY_INTERNAL_H
#define CONTRATOS_BIGQUERY_INTERNAL_H

#include "base/failure.h"
#include "bigquery/bigquery.h"
#include "bigquery/connection.h"
#include "bigquery/job.h"
#include "bigquery/request.h"

/* The longest time that one request makes the server wait for the job. */
#define BIGQUERY_SERVER_WAIT_MS 10000

struct Bigquery
{
	MemoryContext context;
	BqConnection connection; /* strings copied */
	Requester requester;
	char *project; /* the billed project, once it is known */
};

/*
 * Set bq->project to the project that is billed: the configured one, or else the key's
 * own.  False with *f set when none is known.
 */
extern bool bigquery_find_project(Bigquery *bq, Failure *f);

/* jobs.insert, or the existing job if the first answer was lost.  False with *f set. */
extern bool bigquery_start_job(BqJob *job, const char *label, Failure *f);

/*
 * Wait until the job is done, at most job_timeout, and read the head of its result; the
 * answer stays open as the job's first page.  False with *f set.
 */
extern bool bigquery_wait_for_result(BqJob *job, Failure *f);

/*
 * Ask BigQuery to cancel the job and, with `learn`, until the job is done what it has
 * cost; together at most 2 s, failures are ignored.  Returns the HTTP status of the
 * answer to the cancel; 0: there was none.
 */
extern int bigquery_cancel_job(BqJob *job, bool learn);

/* The wait for the job has ended with *f: cancel the job if it may still be running, and learn its cost. */
extern void bigquery_end_failed_job(BqJob *job, bool learn, const Failure *f);

#endif /* CONTRATOS_BIGQUERY_INTERNAL_H */
