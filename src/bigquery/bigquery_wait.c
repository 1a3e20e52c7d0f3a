/*
 * bigquery_wait.c
 *	  Starting a job and waiting for its result.
 *
 * Answers are read like pages: up to the first row, which the decoder keeps until the
 * stream reads it.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/memutils.h"

#include "base/clock.h"
#include "base/failure.h"
#include "base/json.h"
#include "bigquery/bigquery_internal.h"
#include "bigquery/connection.h"
#include "bigquery/job.h"
#include "bigquery/message.h"
#include "bigquery/request.h"
#include "http/http.h"
#include "rows/rows.h"

/* Such an answer is transient, but an immediate retry would only get the same. */
static void
blame_the_path(Failure *f)
{
	failure_hint(f, "A proxy or firewall on the way to BigQuery may be changing its answers; see contratos.proxy and "
					"contratos.endpoint.");
	f->retry = FAILURE_ASK_LATER;
}

/* Parse an answer of HTTP 200.  NULL with *f set when it is not JSON but, for example, a proxy's page. */
static JsonDoc *
read_job_answer(const char *text, size_t len, Failure *f)
{
	Failure why;
	JsonDoc *doc = json_parse_document(text, len, &why);

	if (doc != NULL)
		return doc;
	if (why.sqlstate == ERRCODE_OUT_OF_MEMORY || why.sqlstate == ERRCODE_PROGRAM_LIMIT_EXCEEDED)
		*f = why;
	else
	{
		failure_set(f, ERRCODE_FDW_ERROR, "BigQuery's answer cannot be read: %s", why.message);
		blame_the_path(f);
	}
	return NULL;
}

/* The state of a job, by jobs.get.  False with *f set when it has failed. */
static bool
check_job(BqJob *job, Failure *f)
{
	HttpResponse response;
	JsonDoc *doc;
	bool ok;

	if (!request_fetch(&job->bq->requester, message_job_path(job->project, "jobs", job->job_id, "", job->location),
					   NULL, &response, f))
		return false;
	doc = read_job_answer(response.body, response.len, f);
	ok = doc != NULL && message_read_job(job, doc, f);
	json_free_document(doc);
	return ok;
}

bool
bigquery_start_job(BqJob *job, const char *label, Failure *f)
{
	char *path = message_insert_path(job->project);
	HttpResponse response;
	JsonDoc *doc;
	bool ok;

	/* the one request whose path does not name the job */
	ereport(DEBUG1, (errmsg_internal("contratos: asking for job %s", job->job_id)));
	if (!request_fetch(&job->bq->requester, path, message_insert_body(job, label), &response, f))
	{
		/* an earlier try did arrive, and only its answer was lost */
		if (f->http_status == 409)
		{
			job->started = job->found = true;
			return check_job(job, f);
		}
		return false;
	}
	doc = read_job_answer(response.body, response.len, f);
	job->started = doc != NULL;
	ok = doc != NULL && message_read_job(job, doc, f);
	json_free_document(doc);
	return ok;
}

static void *
decoder_alloc(void *arg, void *ptr, size_t size)
{
	if (size == 0)
	{
		if (ptr != NULL)
			pfree(ptr);
		return NULL;
	}
	if (ptr == NULL)
		return MemoryContextAllocExtended((MemoryContext) arg, size, MCXT_ALLOC_HUGE | MCXT_ALLOC_NO_OOM);
	return repalloc_huge(ptr, size);
}

RowsDecoder *
bigquery_decoder(MemoryContext context)
{
	RowsDecoder *decoder = rows_create(decoder_alloc, context);

	if (decoder == NULL)
		ereport(ERROR, (errcode(ERRCODE_OUT_OF_MEMORY), errmsg("out of memory")));
	return decoder;
}

/*
 * The name of a column of the result: from the job's head, if it was read, or else from
 * the page's, which usually precedes the rows.
 */
static char *
column_name(const BqJob *job, RowsDecoder *decoder, int column)
{
	size_t len;
	const char *envelope = rows_envelope(decoder, &len);
	JsonDoc *doc;
	const char *name;
	char *copy;

	if (job->fields != NULL && column < job->nfields)
		return job->fields[column].name;
	doc = json_parse_document(envelope, len, NULL);
	name = doc ? json_string_at(doc, psprintf("schema.fields.%d.name", column)) : NULL;
	copy = name ? pstrdup(name) : psprintf("number %d", column + 1);
	json_free_document(doc);
	return copy;
}

/* Set *f for a row that exceeds the decoder's limits. */
static void
too_large(Failure *f, const BqJob *job, RowsDecoder *decoder, int64 row, RowsTrouble trouble, int column)
{
	const char *name = column_name(job, decoder, column);

	if (trouble == ROWS_VALUE_TOO_LONG)
		failure_set(f, ERRCODE_PROGRAM_LIMIT_EXCEEDED,
					"value of column \"%s\" in row " INT64_FORMAT " of BigQuery's result is longer than %d MB", name,
					row + 1, ROWS_MAX_TEXT / (1024 * 1024));
	else if (trouble == ROWS_ROW_TOO_LONG)
		failure_set(f, ERRCODE_PROGRAM_LIMIT_EXCEEDED,
					"row " INT64_FORMAT " of BigQuery's result is longer than %d MB, as far as column \"%s\"", row + 1,
					ROWS_MAX_TEXT / (1024 * 1024), name);
	else
		failure_set(f, ERRCODE_PROGRAM_LIMIT_EXCEEDED,
					"row " INT64_FORMAT " of BigQuery's result takes more than %d MB of JSON, as far as column \"%s\"",
					row + 1, ROWS_MAX_ROW / (1024 * 1024), name);
	failure_hint(f, "Leave such a column out of the foreign table (ALTER FOREIGN TABLE ... DROP COLUMN), or read a "
					"part of it from a view in BigQuery.");
}

bool
bigquery_bad_page(Failure *f, const BqJob *job, RowsDecoder *decoder, int64 row)
{
	uint64 offset;
	const char *error = rows_error(decoder, &offset);
	int column;
	RowsTrouble trouble = rows_trouble(decoder, &column);

	switch (trouble)
	{
		case ROWS_VALUE_TOO_LONG:
		case ROWS_ROW_TOO_LONG:
		case ROWS_ROW_TOO_WIDE:
			too_large(f, job, decoder, row, trouble, column);
			break;
		case ROWS_ENVELOPE_TOO_LONG:
			failure_set(f, ERRCODE_PROGRAM_LIMIT_EXCEEDED, "BigQuery's answer has more than %d MB besides its rows",
						ROWS_MAX_ENVELOPE / (1024 * 1024));
			blame_the_path(f);
			break;
		case ROWS_NO_MEMORY:
			failure_set(f, ERRCODE_OUT_OF_MEMORY, "out of memory");
			break;
		case ROWS_MALFORMED:
			failure_set(f, ERRCODE_FDW_ERROR, "BigQuery's answer cannot be read: %s at byte " UINT64_FORMAT, error,
						offset);
			blame_the_path(f);
			break;
	}
	return false;
}

/*
 * Read an answer up to its first row; without rows, to its end, which must also be the
 * end of the body.  False with *f set.
 */
static bool
read_to_first_row(const BqJob *job, HttpExchange *exchange, RowsDecoder *decoder, RowsResult *got, int64 *bytes,
				  Failure *f)
{
	const char *piece;
	ssize_t n;

	while ((*got = rows_next(decoder)) == ROWS_MORE || *got == ROWS_END)
	{
		n = http_read(exchange, &piece, f);
		if (n < 0)
			return false;
		if (n == 0 && *got == ROWS_END)
			return true;
		if (n == 0)
		{
			failure_set(f, ERRCODE_CONNECTION_FAILURE, "BigQuery's answer ended in the middle");
			f->retry = FAILURE_ASK_AGAIN;
			return false;
		}
		*bytes += n;
		rows_feed(decoder, piece, n);
	}
	return *got != ROWS_ERROR || bigquery_bad_page(f, job, decoder, 0);
}

/* An answer of getQueryResults, read up to its first row or its end. */
typedef struct Answer
{
	HttpExchange *exchange;
	RowsDecoder *decoder;
	RowsResult got;
	int64 bytes; /* of the body, so far */
	JsonDoc *head; /* all but the rows, as far as received */
} Answer;

static void
drop_answer(Answer *answer)
{
	json_free_document(answer->head);
	http_finish(answer->exchange);
	rows_destroy(answer->decoder);
}

/* Try once: the caller knows better than request.c whether to retry. */
static bool
open_answer(BqJob *job, int max_rows, int wait_ms, Answer *answer, Failure *f)
{
	int spent_ms = 0;
	RequestOpening opening = {.parent = job->context, .max_tries = 1, .quiet_ms = wait_ms, .spent_ms = &spent_ms};
	size_t len;
	const char *envelope;

	*answer = (Answer){.decoder = bigquery_decoder(job->context)};
	answer->exchange = request_open(&job->bq->requester, message_results_path(job, 0, max_rows, wait_ms), &opening, f);
	if (answer->exchange != NULL &&
		read_to_first_row(job, answer->exchange, answer->decoder, &answer->got, &answer->bytes, f))
	{
		envelope = rows_envelope(answer->decoder, &len);
		answer->head = read_job_answer(envelope, len, f);
	}
	if (answer->head != NULL)
		return true;
	drop_answer(answer);
	return false;
}

/*
 * Request the result once.  *done is set to whether the job is done; then its head has
 * been read, and if the head came before the rows, the answer is kept as the first
 * page.
 */
static bool
ask_for_result(BqJob *job, int wait_ms, bool *done, Failure *f)
{
	Answer answer;
	bool ok;

	if (!open_answer(job, job->bq->connection.page_rows, wait_ms, &answer, f))
		return false;
	*done = answer.got == ROWS_ROW || json_bool_at(answer.head, "jobComplete", false);
	if (!*done)
	{
		drop_answer(&answer);
		return true;
	}
	if (!json_has(answer.head, "schema") || !json_has(answer.head, "totalRows"))
	{
		/* the page's rows came before its head: request the head alone */
		drop_answer(&answer);
		if (!open_answer(job, 0, 0, &answer, f))
			return false;
		ok = message_read_head(job, answer.head, f);
		drop_answer(&answer);
		return ok;
	}
	if (!message_read_head(job, answer.head, f))
	{
		drop_answer(&answer);
		return false;
	}
	json_free_document(answer.head);
	job->first_page = answer.exchange;
	job->first_decoder = answer.decoder;
	job->first_bytes = answer.bytes;
	job->first_row_ready = answer.got == ROWS_ROW;
	return true;
}

/*
 * BigQuery enforces its own limit (jobTimeoutMs) only approximately; ours ends the
 * wait, and cancels the job.
 */
static bool
stop_late_job(BqJob *job, Failure *f)
{
	failure_set(f, ERRCODE_FDW_ERROR, "BigQuery job did not finish within %d ms", job->bq->connection.job_timeout_ms);
	failure_detail(f, "The job %s was canceled.", job->job_id);
	failure_hint(f, "Raise contratos.job_timeout or the server's option job_timeout, or try again later.");
	f->retry = FAILURE_ASK_AGAIN; /* the job may still be running */
	return false;
}

/*
 * A request about the job failed: ask for the job itself, to learn whether waiting
 * still makes sense.  (getQueryResults reports the "internalError" of a failed job in
 * the same words as a transient one of its own.)
 */
static bool
still_worth_waiting(BqJob *job, int tries, int64 failing_since, Failure *f)
{
	int pause = request_backoff_ms(tries, f->retry_after_ms);
	Failure found;

	if (f->retry != FAILURE_ASK_AGAIN)
		return false;
	if (clock_ms() - failing_since + pause >= job->bq->connection.request_timeout_ms)
	{
		request_given_up(f, tries + 1, clock_ms() - failing_since);
		return false;
	}
	if (!check_job(job, &found))
	{
		*f = found;
		return false;
	}
	http_pause(pause);
	return true;
}

bool
bigquery_wait_for_result(BqJob *job, Failure *f)
{
	const BqConnection *connection = &job->bq->connection;
	int64 deadline = clock_ms() + connection->job_timeout_ms;
	int64 failing_since = 0;
	int tries = 0;
	bool done = false;

	for (;;)
	{
		int64 asked = clock_ms();
		int wait_ms = Min(BIGQUERY_SERVER_WAIT_MS, connection->request_timeout_ms / 2);

		CHECK_FOR_INTERRUPTS();
		wait_ms = (int) Min((int64) wait_ms, deadline - asked);
		if (wait_ms <= 0)
			return stop_late_job(job, f);
		if (!ask_for_result(job, wait_ms, &done, f))
		{
			failing_since = tries == 0 ? asked : failing_since;
			if (!still_worth_waiting(job, tries++, failing_since, f))
				return false;
			continue;
		}
		if (done)
			return true;
		tries = 0;
		/* if the service does not wait as requested, it must not be polled in a tight loop */
		if (clock_ms() - asked < wait_ms / 2)
			http_pause(Min(request_backoff_ms(0, 0), wait_ms));
	}
}
