/*
 * message_catalog.c
 *	  Datasets and tables as BigQuery describes them: tables.list and tables.get.
 *	  (google/cloud/bigquery/v2/table.proto)
 */
#include "postgres.h"

#include "base/failure.h"
#include "bigquery/message.h"
#include "http/http.h"

/* The most that BigQuery returns at once. */
#define TABLES_PER_PAGE 1000

/* BigQuery's own limit for a table's name, in bytes; types are one word. */
#define MAX_NAME 1024
#define MAX_TYPE 64

/*
 * "/bigquery/v2/projects/…/datasets/…/tables".  The name is split at its last dots: the
 * domain of a project may contain dots, a dataset may not.
 */
static char *
tables_path(const char *dataset)
{
	const char *dot = strrchr(dataset, '.');

	Assert(dot != NULL);
	return psprintf("/bigquery/v2/projects/%s/datasets/%s/tables", http_escape(pnstrdup(dataset, dot - dataset)),
					http_escape(dot + 1));
}

char *
message_table_path(const char *table)
{
	const char *dot = strrchr(table, '.');

	Assert(dot != NULL);
	return psprintf("%s/%s?prettyPrint=false", tables_path(pnstrdup(table, dot - table)), http_escape(dot + 1));
}

char *
message_tables_path(const char *dataset, const char *token)
{
	char *path = psprintf("%s?maxResults=%d&prettyPrint=false", tables_path(dataset), TABLES_PER_PAGE);

	return token ? psprintf("%s&pageToken=%s", path, http_escape(token)) : path;
}

static char *
copy_table_text(const JsonDoc *doc, const char *path)
{
	const char *text = json_string_at(doc, path);

	return text ? pstrdup(text) : NULL;
}

bool
message_read_table(const JsonDoc *doc, BqTable *table, Failure *f)
{
	*table = (BqTable){.type = copy_table_text(doc, "type"), .location = copy_table_text(doc, "location")};
	if (table->type == NULL)
		return failure_set(f, ERRCODE_FDW_ERROR, "BigQuery's answer does not describe a table");
	table->partition_field = copy_table_text(doc, "timePartitioning.field");
	table->ingestion_time = json_has(doc, "timePartitioning") && table->partition_field == NULL;
	if (table->partition_field == NULL)
		table->partition_field = copy_table_text(doc, "rangePartitioning.field");
	/* a member of the table; the one in timePartitioning is deprecated */
	table->require_filter = json_bool_at(doc, "requirePartitionFilter", false) ||
							json_bool_at(doc, "timePartitioning.requirePartitionFilter", false);
	(void) json_int64_at(doc, "lastModifiedTime", &table->modified_ms);
	return message_read_fields(doc, "schema.fields", &table->fields, &table->nfields, f);
}

bool
message_read_tables(const JsonDoc *doc, List **tables, char **token, Failure *f)
{
	int n = json_length_at(doc, "tables");

	for (int i = 0; i < n; i++)
	{
		BqListed *listed = palloc0(sizeof(BqListed));

		const char *type = json_string_at(doc, psprintf("tables.%d.type", i));

		listed->name = copy_table_text(doc, psprintf("tables.%d.tableReference.tableId", i));
		listed->type = type ? pnstrdup(type, MAX_TYPE) : NULL;
		if (listed->name == NULL || strlen(listed->name) > MAX_NAME)
			return failure_set(f, ERRCODE_FDW_ERROR,
							   "BigQuery's answer lists a table without a name, or with one of more than %d bytes",
							   MAX_NAME);
		*tables = lappend(*tables, listed);
	}
	*token = copy_table_text(doc, "nextPageToken");
	return true;
}
