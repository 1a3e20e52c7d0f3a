/*
 * bigquery_cost.c
 *	  What a job costs, also one that failed or was canceled.
 *
 * BigQuery bills no job that fails, but one that is canceled may be billed in full, and
 * so is one that nobody waits for any more.
 */
#include "postgres.h"

#include "base/bill.h"
#include "base/clock.h"
#include "base/failure.h"
#include "base/json.h"
#include "base/settings.h"
#include "bigquery/bigquery.h"
#include "bigquery/bigquery_internal.h"
#include "bigquery/connection.h"
#include "bigquery/job.h"
#include "bigquery/message.h"
#include "bigquery/request.h"
#include "http/http.h"

/* The timeout of requests whose failure does not matter. */
#define SIDE_TIMEOUT_MS 2000

/* The pause between two requests for the cost of a job that is being canceled. */
#define COST_PAUSE_MS 100

/* The most that a job may be billed; -1: there is no limit. */
static int64
most_billed(const BqConnection *connection)
{
	if (connection->max_bytes_billed > 0)
		return connection->max_bytes_billed;
	if (settings_bytes_per_day() > 0)
		return settings_bytes_per_day();
	return settings_bytes_per_day_total() > 0 ? settings_bytes_per_day_total() : -1;
}

void
bigquery_note_bill(const BqJob *job, Bill *bill)
{
	strlcpy(bill->job_id, job->job_id, sizeof(bill->job_id));
	bill->bytes_processed = job->bytes_processed;
	bill->bytes_billed = job->bytes_billed >= 0 ? job->bytes_billed : most_billed(job->connection);
}

/* Request the job, or that it be canceled, and read its cost.  Returns whether it is known to be done. */
static bool
request_cost(BqJob *job, bool cancel, int timeout_ms, int *status)
{
	HttpResponse response = {0};
	JsonDoc *doc;
	bool done;
	bool ok = request_once(&job->bq->requester,
						   message_job_path(job->project, "jobs", job->job_id, cancel ? "/cancel" : "", job->location),
						   cancel ? "" : NULL, timeout_ms, &response);

	*status = response.status;
	if (!ok)
		return false;
	doc = json_parse_document(response.body, response.len, NULL);
	done = doc != NULL && message_read_job_cost(job, doc, cancel ? "job." : "");
	json_free_document(doc);
	return done;
}

int
bigquery_cancel_job(BqJob *job, bool learn)
{
	int64 deadline = clock_ms() + SIDE_TIMEOUT_MS;
	int canceled;
	int status;
	bool done = request_cost(job, true, SIDE_TIMEOUT_MS, &canceled);

	for (status = canceled; learn && !done && status == 200 && clock_ms() + COST_PAUSE_MS < deadline;)
	{
		http_pause(COST_PAUSE_MS);
		done = request_cost(job, false, (int) Max(deadline - clock_ms(), 1), &status);
	}
	return canceled;
}

void
bigquery_learn_cost(BqJob *job)
{
	int status;

	if (job->bytes_processed < 0)
		(void) request_cost(job, false, SIDE_TIMEOUT_MS, &status);
}

void
bigquery_end_failed_job(BqJob *job, bool learn, const Failure *f)
{
	/* a final error with a reason from BigQuery is the job's own result */
	bool given_up = f->retry == FAILURE_FINAL || f->retry == FAILURE_ASK_LATER;
	bool unanswered = f->retry == FAILURE_ASK_AGAIN || (given_up && f->reason[0] == '\0');
	bool unreachable = f->sqlstate == ERRCODE_SQLCLIENT_UNABLE_TO_ESTABLISH_SQLCONNECTION;
	/* an earlier try may have made the job that this answer refuses to make */
	bool lost = job->bq->requester.lost && !job->started;
	bool refused = !job->started && f->http_status >= 400;
	/* a job may have failed for this reason, or have succeeded, and its result is refused */
	bool unclear = job->started && given_up && (f->http_status == 403 || f->http_status == 404);
	int status = 0;

	if ((unanswered || lost) && !unreachable)
		status = bigquery_cancel_job(job, learn);
	else if (learn && (unclear || strcmp(f->reason, "stopped") == 0))
	{
		if (job->bytes_processed < 0)
			(void) request_cost(job, false, SIDE_TIMEOUT_MS, &status);
	}
	else if (!unanswered && f->http_status != 401)
		job->bytes_billed = 0;
	/* a request that was refused has made no job, and one that does not exist costs nothing */
	if (!job->bq->requester.sent || (refused && !lost && status != 200) || status == 404)
		job->bytes_billed = 0;
}
