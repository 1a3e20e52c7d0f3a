/*
 * bigquery_internal.h
 *	  Between bigquery.c, which has the jobs, bigquery_wait.c, which waits, and
 *	  bigquery_catalog.c, which asks what costs nothing.
 */
#ifndef CONTRATOS_BIGQUERY_INTERNAL_H
#define CONTRATOS_BIGQUERY_INTERNAL_H

#include "base/failure.h"
#include "bigquery/bigquery.h"
#include "bigquery/connection.h"
#include "bigquery/job.h"
#include "bigquery/request.h"

/* How long one request lets the server wait for the job. */
#define BIGQUERY_SERVER_WAIT_MS 10000

struct Bigquery
{
	MemoryContext context;
	BqConnection connection; /* strings copied */
	Requester requester;
	char *project; /* that is billed, once it is known */
};

/*
 * Make bq->project the project that is billed: the one configured, or else the
 * key's own.  False with *f set when none is known.
 */
extern bool bigquery_find_project(Bigquery *bq, Failure *f);

/* jobs.insert, found again if its answer was lost.  False with *f set. */
extern bool bigquery_start_job(BqJob *job, const char *label, Failure *f);

/*
 * Wait until the job is done, job_timeout at most, and read its head; the
 * answer stays open as the job's first page.  False with *f set.
 */
extern bool bigquery_wait_for_result(BqJob *job, Failure *f);

#endif /* CONTRATOS_BIGQUERY_INTERNAL_H */
