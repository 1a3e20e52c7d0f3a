/*
 * bigquery_catalog.c
 *	  BigQuery's free calls: estimates of queries, lists of tables and their
 *	  descriptions.
 */
#include "postgres.h"

#include "base/failure.h"
#include "base/json.h"
#include "bigquery/bigquery_internal.h"
#include "bigquery/job.h"
#include "bigquery/message.h"
#include "bigquery/request.h"
#include "http/http.h"

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
