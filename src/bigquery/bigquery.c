/*
 * bigquery.c
 *	  The REST dialogue: start a query job, wait for it, page its result.
 *
 * It uses jobs.insert with a job ID of our own instead of the shorter jobs.query: a
 * lost answer can be recovered (inserting the job again returns 409, since it exists),
 * and from the first moment there is a job that can be canceled.  The price is one
 * request.  The server does the waiting (timeoutMs), and the answer that reports
 * completion already contains the first page.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/memutils.h"

#include "auth/auth.h"
#include "base/bill.h"
#include "base/clock.h"
#include "base/failure.h"
#include "base/json.h"
#include "bigquery/bigquery.h"
#include "bigquery/bigquery_internal.h"
#include "bigquery/connection.h"
#include "bigquery/job.h"
#include "bigquery/message.h"
#include "bigquery/request.h"
#include "http/http.h"

Bigquery *
bigquery_open(const BqConnection *connection, MemoryContext parent)
{
	MemoryContext context = AllocSetContextCreate(parent, "contratos BigQuery connection", ALLOCSET_SMALL_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	Bigquery *bq = palloc0(sizeof(Bigquery));

	bq->context = context;
	bq->connection = connection_copy(connection);
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

bool
bigquery_find_project(Bigquery *bq, Failure *f)
{
	AuthConfig config = connection_auth(&bq->connection, bq->connection.request_timeout_ms);
	MemoryContext old;

	if (bq->project != NULL)
		return true;
	f->sqlstate = 0;
	if (bq->connection.credentials_file != NULL)
	{
		old = MemoryContextSwitchTo(bq->context);
		bq->project = auth_project(&config, bq->requester.http, f);
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

/*
 * Start the job and wait.  Anything that ends the wait early, including a cancel of the
 * query, cancels the job too: it would continue, and cost money, for nothing.
 */
static bool
start_and_wait(BqJob *job, const BqQuestion *question, Failure *f)
{
	MemoryContext old = CurrentMemoryContext;
	Bill ignored;
	Bill *bill = question->bill != NULL ? question->bill : &ignored;
	volatile bool ok = false;

	job->bq->requester.sent = job->bq->requester.lost = false;
	bigquery_note_bill(job, bill);
	PG_TRY();
	{
		ok = bigquery_start_job(job, question->label, f) && bigquery_wait_for_result(job, f);
	}
	PG_CATCH();
	{
		ErrorData *edata;

		MemoryContextSwitchTo(old);
		edata = CopyErrorData();
		FlushErrorState();
		/* after a 404 the request of the job may still arrive: its cost stays unknown */
		if (!job->bq->requester.sent)
			job->bytes_billed = 0;
		else
		{
			int status = bigquery_cancel_job(job, question->bill != NULL);

			if (edata->sqlerrcode == ERRCODE_QUERY_CANCELED && edata->detail == NULL)
				edata->detail = psprintf(
					status == 200
						? "BigQuery job %s was canceled; bytes that it has read may be billed."
						: "BigQuery has not answered to the cancel of job %s, which may run on, and be billed.",
					job->job_id);
		}
		bigquery_note_bill(job, bill);
		ReThrowError(edata);
	}
	PG_END_TRY();
	if (!ok)
		bigquery_end_failed_job(job, question->bill != NULL, f);
	bigquery_note_bill(job, bill);
	return ok;
}

static BqQuery
copy_query(const BqQuery *query)
{
	BqQuery copy = {.text = pstrdup(query->text), .nparams = query->nparams};

	copy.params = palloc0(sizeof(BqParam) * Max(query->nparams, 1));
	for (int i = 0; i < query->nparams; i++)
	{
		const BqParam *param = &query->params[i];
		BqParam *to = &copy.params[i];

		*to = *param;
		to->name = pstrdup(param->name);
		to->value = param->value ? pstrdup(param->value) : NULL;
		to->values = palloc(sizeof(char *) * Max(param->nvalues, 1));
		for (int v = 0; v < param->nvalues; v++)
			to->values[v] = pstrdup(param->values[v]);
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

void
bigquery_cancel_by_id(Bigquery *bq, const char *job_id, Bill *bill)
{
	BqQuery unknown = {.text = ""};
	BqJob *job;
	Failure f;

	*bill = BILL_NOTHING;
	if (!bigquery_find_project(bq, &f))
		return;
	job = make_job(bq, &unknown, job_id, bq->context);
	if (bigquery_cancel_job(job, true) == 404)
		job->bytes_billed = 0;
	bigquery_note_bill(job, bill);
	bigquery_free_job(job);
}

BqJob *
bigquery_finished_job(Bigquery *bq, const char *job_id, const char *location, int64 total_rows, int nfields,
					  MemoryContext parent)
{
	BqQuery unknown = {.text = ""};
	BqJob *job;

	Assert(bq->project != NULL);
	job = make_job(bq, &unknown, job_id, parent);
	job->location = MemoryContextStrdup(job->context, location);
	job->total_rows = total_rows;
	job->nfields = nfields;
	return job;
}

/*
 * A job that BigQuery lost is replaced by a new one, under another ID, as long as
 * job_timeout lasts: the reasons for such a loss are documented as transient.
 */
BqJob *
bigquery_query(Bigquery *bq, const BqQuestion *question, MemoryContext parent, Failure *f)
{
	int64 deadline = clock_ms() + bq->connection.job_timeout_ms;

	if (!bigquery_find_project(bq, f))
		return NULL;
	for (int tries = 0;; tries++)
	{
		BqJob *job = make_job(bq, question->query, tries == 0 ? question->job_id : NULL, parent);
		MemoryContext old = MemoryContextSwitchTo(job->context);
		bool ok = start_and_wait(job, question, f);
		int pause = request_backoff_ms(tries, 0);

		MemoryContextSwitchTo(old);
		if (ok)
			return job;
		bigquery_free_job(job);
		if (f->retry != FAILURE_NEW_JOB || tries + 1 >= question->max_jobs || clock_ms() + pause >= deadline)
			return NULL;
		http_pause(pause);
	}
}

HttpExchange *
bigquery_page(BqJob *job, int64 start, int max_rows, const RequestOpening *opening, Failure *f)
{
	return request_open(&job->bq->requester, message_results_path(job, start, max_rows, BIGQUERY_SERVER_WAIT_MS),
						opening, f);
}

HttpExchange *
bigquery_page_start(BqJob *job, int64 start, int max_rows, MemoryContext parent, Failure *f)
{
	return request_start(&job->bq->requester, message_results_path(job, start, max_rows, BIGQUERY_SERVER_WAIT_MS),
						 parent, f);
}

void
bigquery_free_job(BqJob *job)
{
	if (job != NULL)
		MemoryContextDelete(job->context);
}

/* --------------------------------------------------------------------------
 * Free calls: estimates of queries, lists of tables and their descriptions
 * -------------------------------------------------------------------------- */

bool
bigquery_estimate(Bigquery *bq, const BqQuery *query, int64 *bytes, Failure *f)
{
	HttpResponse response;
	JsonDoc *doc;
	bool ok;

	if (!bigquery_find_project(bq, f) ||
		!request_fetch(&bq->requester, message_insert_path(bq->project),
					   message_estimate_body(query, bq->project, bq->connection.location), &response, f))
		return false;
	doc = json_parse_document(response.body, response.len, f);
	ok = doc != NULL && message_read_estimate(doc, bytes, f);
	json_free_document(doc);
	return ok;
}

int
bigquery_probe(Bigquery *bq, int timeout_ms, int64 *date_s, Failure *f)
{
	HttpResponse response;

	*date_s = 0;
	/* a call that needs a token: a refusal proves that the server is reachable */
	if (!request_probe(&bq->requester, "/bigquery/v2/projects", timeout_ms, &response, f))
		return 0;
	*date_s = response.date_s;
	return response.status;
}

bool
bigquery_token(Bigquery *bq, Failure *f)
{
	return request_token(&bq->requester, f);
}

const char *
bigquery_project(Bigquery *bq, Failure *f)
{
	return bigquery_find_project(bq, f) ? bq->project : NULL;
}

char *
bigquery_dataset(Bigquery *bq, const char *name, Failure *f)
{
	if (strchr(name, '.') != NULL)
		return pstrdup(name);
	return bigquery_find_project(bq, f) ? psprintf("%s.%s", bq->project, name) : NULL;
}

/* GET and parse; NULL with *f set. */
static JsonDoc *
look(Bigquery *bq, const char *path, const char *name, Failure *f)
{
	HttpResponse response;
	JsonDoc *doc;

	if (request_fetch(&bq->requester, path, NULL, &response, f))
	{
		doc = json_parse_document(response.body, response.len, f);
		pfree(response.body);
		return doc;
	}
	/* replace the hints, which are about queries: these calls need other things */
	if (f->sqlstate == ERRCODE_UNDEFINED_TABLE)
		failure_hint(f,
					 "Check the name \"%s\"; BigQuery names are case-sensitive. If it has no project, the "
					 "server's option dataset_project is used.",
					 name);
	else if (f->sqlstate == ERRCODE_INSUFFICIENT_PRIVILEGE)
		failure_hint(f, "The service account needs roles/bigquery.dataViewer (or metadataViewer) on the dataset.");
	return NULL;
}

/*
 * Whether a list of pages may go on.  It must not repeat itself, which is detected by
 * comparing each token with a remembered one, replaced each time the number of pages
 * doubles (Brent's algorithm); and it must not be endless.
 */
typedef struct Paging
{
	char *remembered;
	int64 pages;
} Paging;

static bool
goes_on(Paging *paging, const char *token, const List *tables, Failure *f)
{
	paging->pages++;
	if (token == NULL)
		return true;
	if (paging->remembered != NULL && strcmp(paging->remembered, token) == 0)
		return failure_set(f, ERRCODE_FDW_ERROR, "BigQuery's list of tables has no end: a page's token came twice");
	if (list_length(tables) > BIGQUERY_MAX_TABLES || paging->pages > BIGQUERY_MAX_TABLES)
		return failure_set(f, ERRCODE_PROGRAM_LIMIT_EXCEEDED, "BigQuery's list of tables has more than %d",
						   BIGQUERY_MAX_TABLES);
	if ((paging->pages & (paging->pages - 1)) == 0)
		paging->remembered = pstrdup(token);
	return true;
}

bool
bigquery_tables(Bigquery *bq, const char *dataset, List **tables, Failure *f)
{
	Paging paging = {0};
	char *token = NULL;
	bool ok;

	*tables = NIL;
	do
	{
		JsonDoc *doc = look(bq, message_tables_path(dataset, token), dataset, f);

		ok = doc != NULL && message_read_tables(doc, tables, &token, f) && goes_on(&paging, token, *tables, f);
		json_free_document(doc);
	} while (ok && token != NULL);
	return ok;
}

bool
bigquery_table(Bigquery *bq, const char *table, BqTable *described, Failure *f)
{
	bool has_project = strchr(table, '.') != strrchr(table, '.');
	JsonDoc *doc;
	bool ok;

	if (!has_project && !bigquery_find_project(bq, f))
		return false;
	if (!has_project)
		table = psprintf("%s.%s", bq->project, table);
	doc = look(bq, message_table_path(table), table, f);
	ok = doc != NULL && message_read_table(doc, described, f);
	json_free_document(doc);
	return ok;
}
