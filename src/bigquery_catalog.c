/*
 * bigquery_catalog.c
 *	  What BigQuery tells for nothing: what a query would cost.
 */
#include "postgres.h"

#include "bigquery_internal.h"
#include "json.h"

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
