/*
 * bigquery.c
 *	  The REST dialogue: start a query job, wait for it, page its result.
 *
 * Why jobs.insert under an id of our own, and not the shorter jobs.query: an
 * answer that is lost is found again (asking once more says 409, the job is
 * there), and from the first moment there is something to cancel.  Its price
 * is one request.  The wait is done by the server (timeoutMs), and the answer
 * that says "done" already brings the first page.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/memutils.h"

#include "auth.h"
#include "bigquery.h"
#include "json.h"
#include "message.h"

/* How long one request lets the server wait for the job. */
#define SERVER_WAIT_MS 10000
#define CANCEL_TIMEOUT_MS 2000

struct Bigquery
{
	MemoryContext context;
	BqConnection connection; /* strings copied */
	Requester requester;
	char *project; /* that is billed, once it is known */
};

static char *
copy_or_null(const char *text)
{
	return text ? pstrdup(text) : NULL;
}

Bigquery *
bigquery_open(const BqConnection *connection, MemoryContext parent)
{
	MemoryContext context = AllocSetContextCreate(parent, "contratos BigQuery connection", ALLOCSET_SMALL_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	Bigquery *bq = palloc0(sizeof(Bigquery));

	bq->context = context;
	bq->connection = *connection;
	bq->connection.endpoint = pstrdup(connection->endpoint);
	bq->connection.project = copy_or_null(connection->project);
	bq->connection.location = pstrdup(connection->location);
	bq->connection.credentials_file = copy_or_null(connection->credentials_file);
	bq->connection.ca_file = copy_or_null(connection->ca_file);
	bq->connection.proxy = copy_or_null(connection->proxy);
	bq->connection.cap_name = copy_or_null(connection->cap_name);
	bq->requester.connection = &bq->connection;
	bq->requester.http = http_client_create(context);
	bq->project = bq->connection.project;
	MemoryContextSwitchTo(old);
	return bq;
}

void
bigquery_close(Bigquery *bq)
{
	if (bq != NULL)
		MemoryContextDelete(bq->context);
}

void
bigquery_make_job_id(char *job_id, size_t size)
{
	uint8 random[16];
	size_t len;

	if (!pg_strong_random(random, sizeof(random)))
		ereport(ERROR, (errcode(ERRCODE_INTERNAL_ERROR), errmsg("could not generate random values for a job id")));
	len = strlcpy(job_id, "contratos_", size);
	for (int i = 0; i < (int) lengthof(random) && len + 2 < size; i++, len += 2)
		snprintf(job_id + len, size - len, "%02x", random[i]);
}

/* The project that is billed: the one configured, or else the key's own. */
static bool
find_project(Bigquery *bq, Failure *f)
{
	AuthConfig config = {.credentials_file = bq->connection.credentials_file};
	MemoryContext old;

	if (bq->project != NULL)
		return true;
	f->sqlstate = 0;
	if (bq->connection.credentials_file != NULL)
	{
		old = MemoryContextSwitchTo(bq->context);
		bq->project = auth_project(&config, f);
		MemoryContextSwitchTo(old);
	}
	if (bq->project != NULL)
		return true;
	if (f->sqlstate == 0)
	{
		failure_set(f, ERRCODE_INVALID_PARAMETER_VALUE, "no project is known that BigQuery could bill");
		failure_hint(f, "Set contratos.project or the option project of the server.");
	}
	f->every_day = true;
	return false;
}

/* Where a job stands, by jobs.get.  False with *f set when it has failed. */
static bool
check_job(BqJob *job, Failure *f)
{
	HttpResponse response;
	JsonDoc *doc;
	bool ok;

	if (!request_fetch(&job->bq->requester, message_job_path(job->project, "jobs", job->job_id, "", job->location),
					   NULL, &response, f))
		return false;
	doc = json_parse_document(response.body, response.len, f);
	ok = doc != NULL && message_read_job(job, doc, f);
	json_free_document(doc);
	return ok;
}

static bool
start_job(BqJob *job, const char *label, Failure *f)
{
	char *path = message_insert_path(job->project);
	HttpResponse response;
	JsonDoc *doc;
	bool ok;

	if (!request_fetch(&job->bq->requester, path, message_insert_body(job, label), &response, f))
	{
		/* an earlier try did arrive, only its answer was lost */
		if (f->http_status == 409)
			return check_job(job, f);
		return false;
	}
	doc = json_parse_document(response.body, response.len, f);
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

bool
bigquery_bad_page(Failure *f, RowsDecoder *decoder)
{
	uint64 offset;
	const char *error = rows_error(decoder, &offset);

	failure_set(f, ERRCODE_FDW_ERROR, "BigQuery's answer cannot be read: %s at byte " UINT64_FORMAT, error, offset);
	failure_hint(f, "Something between here and BigQuery may be changing its answers; see contratos.proxy and "
					"contratos.endpoint.");
	return false;
}

/* Read an answer up to its first row or its end.  False with *f set. */
static bool
read_to_first_row(HttpExchange *exchange, RowsDecoder *decoder, RowsResult *got, int64 *bytes, Failure *f)
{
	const char *piece;
	ssize_t n;

	while ((*got = rows_next(decoder)) == ROWS_MORE)
	{
		n = http_read(exchange, &piece, f);
		if (n < 0)
			return false;
		if (n == 0)
		{
			failure_set(f, ERRCODE_CONNECTION_FAILURE, "BigQuery's answer ended in the middle");
			f->retry = FAILURE_ASK_AGAIN;
			return false;
		}
		*bytes += n;
		rows_feed(decoder, piece, n);
	}
	return *got != ROWS_ERROR || bigquery_bad_page(f, decoder);
}

/* An answer to "what is the result?", read up to its first row or its end. */
typedef struct Answer
{
	HttpExchange *exchange;
	RowsDecoder *decoder;
	RowsResult got;
	int64 bytes; /* of the body, so far */
	JsonDoc *head; /* all but the rows, as far as it has come */
} Answer;

static void
drop_answer(Answer *answer)
{
	json_free_document(answer->head);
	http_finish(answer->exchange);
	rows_destroy(answer->decoder);
}

/* One try: the caller knows better than request.c whether to ask again. */
static bool
open_answer(BqJob *job, int max_rows, int wait_ms, Answer *answer, Failure *f)
{
	int spent_ms = 0;
	size_t len;
	const char *envelope;

	*answer = (Answer){.decoder = bigquery_decoder(job->context)};
	answer->exchange = request_open(&job->bq->requester, message_results_path(job, 0, max_rows, wait_ms), job->context,
									1, &spent_ms, f);
	if (answer->exchange != NULL &&
		read_to_first_row(answer->exchange, answer->decoder, &answer->got, &answer->bytes, f))
	{
		envelope = rows_envelope(answer->decoder, &len);
		answer->head = json_parse_document(envelope, len, f);
	}
	if (answer->head != NULL)
		return true;
	drop_answer(answer);
	return false;
}

/* The head alone, where the page's rows came before it. */
static bool
ask_for_head(BqJob *job, Failure *f)
{
	Answer answer;
	bool ok;

	if (!open_answer(job, 0, 0, &answer, f))
		return false;
	ok = message_read_head(job, answer.head, f);
	drop_answer(&answer);
	return ok;
}

/*
 * Ask for the result once.  *done tells whether the job is; then the head has
 * been read, and where it came first the answer is kept as the first page.
 */
static bool
ask_for_result(BqJob *job, int wait_ms, bool *done, Failure *f)
{
	Answer answer;

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
		drop_answer(&answer);
		return ask_for_head(job, f);
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

void
bigquery_cancel(Bigquery *bq, const char *project, const char *location, const char *job_id)
{
	request_once(&bq->requester, message_job_path(project, "jobs", job_id, "/cancel", location), "", CANCEL_TIMEOUT_MS);
}

/* BigQuery's own limit (jobTimeoutMs) is a best effort; ours ends the wait, and the job with it. */
static bool
stop_late_job(BqJob *job, Failure *f)
{
	failure_set(f, ERRCODE_FDW_ERROR, "BigQuery job did not finish within %d ms", job->bq->connection.job_timeout_ms);
	failure_detail(f, "The job %s was cancelled.", job->job_id);
	failure_hint(f, "Raise contratos.job_timeout or the server's option job_timeout, or try again later.");
	return false;
}

/*
 * A question about the job went unanswered: ask the job itself whether there
 * is still something to wait for.  (getQueryResults says a failed job's
 * "internalError" with the same words as a passing one of its own.)
 */
static bool
still_worth_waiting(BqJob *job, int tries, int64 failing_since, Failure *f)
{
	int pause = request_backoff_ms(tries, f->retry_after_ms);
	Failure found;

	if (f->retry != FAILURE_ASK_AGAIN)
		return false;
	if (request_clock_ms() - failing_since + pause >= job->bq->connection.request_timeout_ms)
	{
		request_given_up(f, tries + 1, request_clock_ms() - failing_since);
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

static bool
wait_for_result(BqJob *job, Failure *f)
{
	const BqConnection *connection = &job->bq->connection;
	int64 deadline = request_clock_ms() + connection->job_timeout_ms;
	int64 failing_since = 0;
	int tries = 0;
	bool done = false;

	for (;;)
	{
		int64 asked = request_clock_ms();
		int wait_ms = Min(SERVER_WAIT_MS, connection->request_timeout_ms / 2);

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
		/* a service that does not wait for us must not be asked in a rush */
		if (request_clock_ms() - asked < wait_ms / 2)
			http_pause(Min(request_backoff_ms(0, 0), wait_ms));
	}
}

void
bigquery_cancel_by_id(Bigquery *bq, const char *job_id)
{
	Failure f;

	if (find_project(bq, &f))
		bigquery_cancel(bq, bq->project, bq->connection.location, job_id);
}

/* Whether the job may still be running there although we have given up. */
static bool
may_be_running(const Failure *f)
{
	/* a reason of BigQuery's that is final is the job's own end */
	bool unanswered = f->retry == FAILURE_ASK_AGAIN || (f->retry == FAILURE_FINAL && f->reason[0] == '\0');

	return unanswered && f->sqlstate != ERRCODE_SQLCLIENT_UNABLE_TO_ESTABLISH_SQLCONNECTION;
}

/*
 * Start the job and wait.  Whatever ends the wait early, a cancelled query
 * included, ends the job too: it would go on, and cost, for nobody.
 */
static bool
start_and_wait(BqJob *job, const char *label, Failure *f)
{
	MemoryContext old = CurrentMemoryContext;
	volatile bool ok = false;
	volatile bool abandoned = false;

	PG_TRY();
	{
		ok = start_job(job, label, f) && wait_for_result(job, f);
		abandoned = !ok && may_be_running(f);
	}
	PG_CATCH();
	{
		ErrorData *edata;

		MemoryContextSwitchTo(old);
		edata = CopyErrorData();
		FlushErrorState();
		bigquery_cancel(job->bq, job->project, job->location, job->job_id);
		ReThrowError(edata);
	}
	PG_END_TRY();
	if (abandoned)
		bigquery_cancel(job->bq, job->project, job->location, job->job_id);
	return ok;
}

static BqQuery
copy_query(const BqQuery *query)
{
	BqQuery copy = {.text = pstrdup(query->text), .nparams = query->nparams};

	copy.params = palloc0(sizeof(BqParam) * Max(query->nparams, 1));
	for (int i = 0; i < query->nparams; i++)
	{
		copy.params[i].name = pstrdup(query->params[i].name);
		copy.params[i].type = query->params[i].type;
		copy.params[i].value = copy_or_null(query->params[i].value);
	}
	return copy;
}

static BqJob *
make_job(Bigquery *bq, const BqQuery *query, const char *job_id, MemoryContext parent)
{
	MemoryContext context = AllocSetContextCreate(parent, "contratos BigQuery job", ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	BqJob *job = palloc0(sizeof(BqJob));

	job->bq = bq;
	job->connection = &bq->connection;
	job->context = context;
	job->project = pstrdup(bq->project);
	job->location = pstrdup(bq->connection.location);
	job->query = copy_query(query);
	job->total_rows = job->bytes_processed = job->bytes_billed = -1;
	if (job_id != NULL)
		strlcpy(job->job_id, job_id, sizeof(job->job_id));
	else
		bigquery_make_job_id(job->job_id, sizeof(job->job_id));
	MemoryContextSwitchTo(old);
	return job;
}

/*
 * A job that BigQuery lost is asked for anew, under another id, as long as
 * job_timeout lasts: its reasons are documented as passing.
 */
BqJob *
bigquery_query(Bigquery *bq, const BqQuery *query, const char *job_id, const char *label, MemoryContext parent,
			   Failure *f)
{
	int64 deadline = request_clock_ms() + bq->connection.job_timeout_ms;

	if (!find_project(bq, f))
		return NULL;
	for (int tries = 0;; tries++)
	{
		BqJob *job = make_job(bq, query, tries == 0 ? job_id : NULL, parent);
		MemoryContext old = MemoryContextSwitchTo(job->context);
		bool ok = start_and_wait(job, label, f);
		int pause = request_backoff_ms(tries, 0);

		MemoryContextSwitchTo(old);
		if (ok)
			return job;
		bigquery_forget(job);
		if (f->retry != FAILURE_NEW_JOB || request_clock_ms() + pause >= deadline)
			return NULL;
		http_pause(pause);
	}
}

HttpExchange *
bigquery_page(BqJob *job, int64 start, int max_rows, MemoryContext parent, int *spent_ms, Failure *f)
{
	return request_open(&job->bq->requester, message_results_path(job, start, max_rows, SERVER_WAIT_MS), parent, 0,
						spent_ms, f);
}

void
bigquery_forget(BqJob *job)
{
	if (job != NULL)
		MemoryContextDelete(job->context);
}
