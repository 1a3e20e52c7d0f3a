/*
 * message.c
 *	  Encodes requests and decodes answers.
 *
 * Integers of 64 bits are JSON strings in both directions; types have their legacy
 * names.  (google/cloud/bigquery/v2/{job,query,table}.proto)
 */
#include "postgres.h"

#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/memutils.h"

#include "base/failure.h"
#include "base/json.h"
#include "bigquery/bqtype.h"
#include "bigquery/connection.h"
#include "bigquery/job.h"
#include "bigquery/message.h"
#include "http/http.h"

/* BigQuery bills whole MB, and at least 10 MB for each table. (pricing) */
#define BILLED_UNIT (1024 * 1024)
#define BILLED_MIN (10 * BILLED_UNIT)

char *
message_insert_path(const char *project)
{
	return psprintf("/bigquery/v2/projects/%s/jobs?prettyPrint=false", http_escape(project));
}

char *
message_job_path(const char *project, const char *kind, const char *job_id, const char *suffix, const char *location)
{
	return psprintf("/bigquery/v2/projects/%s/%s/%s%s?location=%s&prettyPrint=false", http_escape(project), kind,
					http_escape(job_id), suffix, http_escape(location));
}

/* BigQuery does not remember useInt64Timestamp: it is part of each page's request. */
char *
message_results_path(const BqJob *job, int64 start, int max_rows, int wait_ms)
{
	return psprintf("%s&startIndex=" INT64_FORMAT "&maxResults=%d&timeoutMs=%d&formatOptions.useInt64Timestamp=true",
					message_job_path(job->project, "queries", job->job_id, "", job->location), start, max_rows,
					wait_ms);
}

/* QueryParameterType and QueryParameterValue of an array */
static void
append_array(StringInfo buf, const BqParam *param)
{
	appendStringInfoString(buf, ",\"parameterType\":{\"type\":\"ARRAY\",\"arrayType\":{\"type\":");
	json_append_string(buf, bqtypes[param->type].name);
	appendStringInfoString(buf, "}},\"parameterValue\":{\"arrayValues\":[");
	for (int i = 0; i < param->nvalues; i++)
	{
		appendStringInfoString(buf, i > 0 ? ",{\"value\":" : "{\"value\":");
		json_append_string(buf, param->values[i]);
		appendStringInfoChar(buf, '}');
	}
	appendStringInfoString(buf, "]}}");
}

static void
append_scalar(StringInfo buf, const BqParam *param)
{
	appendStringInfoString(buf, ",\"parameterType\":{\"type\":");
	json_append_string(buf, bqtypes[param->type].name);
	appendStringInfoString(buf, "},\"parameterValue\":{\"value\":");
	json_append_string(buf, param->value);
	appendStringInfoString(buf, "}}");
}

static void
append_parameters(StringInfo buf, const BqQuery *query)
{
	appendStringInfoString(buf, ",\"parameterMode\":\"NAMED\",\"queryParameters\":[");
	for (int i = 0; i < query->nparams; i++)
	{
		appendStringInfoString(buf, i > 0 ? ",{\"name\":" : "{\"name\":");
		json_append_string(buf, query->params[i].name);
		if (query->params[i].is_array)
			append_array(buf, &query->params[i]);
		else
			append_scalar(buf, &query->params[i]);
	}
	appendStringInfoChar(buf, ']');
}

/* "query":{"query":…, up to the members that only a real run has */
static void
append_query(StringInfo buf, const BqQuery *query)
{
	appendStringInfoString(buf, "\"query\":{\"query\":");
	json_append_string(buf, query->text);
	appendStringInfoString(buf, ",\"useLegacySql\":false");
	if (query->nparams > 0)
		append_parameters(buf, query);
}

/* Body of jobs.insert (google/cloud/bigquery/v2, JobConfigurationQuery). */
char *
message_insert_body(const BqJob *job, const char *label)
{
	const BqConnection *connection = job->connection;
	StringInfoData buf;

	initStringInfo(&buf);
	appendStringInfoString(&buf, "{\"jobReference\":{\"projectId\":");
	json_append_string(&buf, job->project);
	appendStringInfoString(&buf, ",\"jobId\":");
	json_append_string(&buf, job->job_id);
	appendStringInfoString(&buf, ",\"location\":");
	json_append_string(&buf, job->location);
	appendStringInfoString(&buf, "},\"configuration\":{");
	append_query(&buf, &job->query);
	if (connection->max_bytes_billed > 0)
		appendStringInfo(&buf, ",\"maximumBytesBilled\":\"" INT64_FORMAT "\"", connection->max_bytes_billed);
	appendStringInfo(&buf, "},\"jobTimeoutMs\":\"%d\",\"labels\":{\"app\":\"contratos\"", connection->job_timeout_ms);
	if (label != NULL)
	{
		appendStringInfoString(&buf, ",\"source\":");
		json_append_string(&buf, label);
	}
	appendStringInfoString(&buf, "}}}");
	return buf.data;
}

/* A dry run has no job ID: its answer need not be recovered, and there is no job to cancel. */
char *
message_estimate_body(const BqQuery *query, const char *project, const char *location)
{
	StringInfoData buf;

	initStringInfo(&buf);
	appendStringInfoString(&buf, "{\"jobReference\":{\"projectId\":");
	json_append_string(&buf, project);
	appendStringInfoString(&buf, ",\"location\":");
	json_append_string(&buf, location);
	appendStringInfoString(&buf, "},\"configuration\":{\"dryRun\":true,");
	append_query(&buf, query);
	appendStringInfoString(&buf, "}}}");
	return buf.data;
}

/* A number of rows, bytes or milliseconds; one below 0 is none, and *count is then unchanged. */
static bool
count_at(const JsonDoc *doc, const char *path, int64 *count)
{
	int64 number;

	if (!json_int64_at(doc, path, &number) || number < 0)
		return false;
	*count = number;
	return true;
}

bool
message_read_estimate(const JsonDoc *doc, int64 *bytes, Failure *f)
{
	if (count_at(doc, "statistics.totalBytesProcessed", bytes) ||
		count_at(doc, "statistics.query.totalBytesProcessed", bytes))
		return true;
	*bytes = -1;
	return json_has(doc, "statistics") ||
		   failure_set(f, ERRCODE_FDW_ERROR, "BigQuery's answer to a dry run has no estimate");
}

/* The bill is final only once the job is done; a sum that still grows must not be taken. */
static bool
read_bill(BqJob *job, const JsonDoc *doc, const char *prefix, bool *done)
{
	const char *status = json_string_at(doc, psprintf("%sstatus.state", prefix));

	*done = status != NULL && strcmp(status, "DONE") == 0;
	return *done && count_at(doc, psprintf("%sstatistics.query.totalBytesBilled", prefix), &job->bytes_billed);
}

bool
message_read_job_cost(BqJob *job, const JsonDoc *doc, const char *prefix)
{
	bool done;

	if (read_bill(job, doc, prefix, &done))
		(void) count_at(doc, psprintf("%sstatistics.query.totalBytesProcessed", prefix), &job->bytes_processed);
	return done;
}

bool
message_read_job(BqJob *job, const JsonDoc *doc, Failure *f)
{
	const char *location = json_string_at(doc, "jobReference.location");
	bool done;

	if (location != NULL)
		job->location = MemoryContextStrdup(job->context, location);
	if (json_has(doc, "status.errorResult"))
	{
		request_error(f, 0, json_string_at(doc, "status.errorResult.reason"),
					  json_string_at(doc, "status.errorResult.message"), job->connection);
		/* a retry with the same job would fail again, a new job may succeed */
		if (f->retry == FAILURE_ASK_AGAIN)
			f->retry = FAILURE_NEW_JOB;
		return false;
	}
	(void) read_bill(job, doc, "", &done);
	return true;
}

int64
message_billed(int64 bytes_processed)
{
	int64 units = bytes_processed / BILLED_UNIT + (bytes_processed % BILLED_UNIT > 0);
	int64 bytes = Min(units, PG_INT64_MAX / BILLED_UNIT) * BILLED_UNIT; /* of a number near the maximum */

	return bytes_processed == 0 ? 0 : Max(bytes, BILLED_MIN);
}

bool
message_read_head(BqJob *job, const JsonDoc *doc, Failure *f)
{
	MemoryContext old;
	bool ok;

	if (!count_at(doc, "totalRows", &job->total_rows))
		return failure_set(f, ERRCODE_FDW_ERROR, "BigQuery's answer does not say how many rows there are");
	old = MemoryContextSwitchTo(job->context);
	ok = message_read_fields(doc, "schema.fields", &job->fields, &job->nfields, f);
	MemoryContextSwitchTo(old);
	if (!ok)
		return false;
	message_read_cost(job, doc);
	return true;
}

void
message_read_cost(BqJob *job, const JsonDoc *doc)
{
	if (!count_at(doc, "totalBytesProcessed", &job->bytes_processed))
		return;
	job->cache_hit = json_bool_at(doc, "cacheHit", false);
	/* if the answer has no bill, apply BigQuery's own rule for one table */
	if (job->bytes_billed < 0)
		job->bytes_billed = job->cache_hit ? 0 : message_billed(job->bytes_processed);
}

char *
message_size_text(int64 bytes)
{
	return text_to_cstring(DatumGetTextPP(DirectFunctionCall1(pg_size_pretty, Int64GetDatum(bytes))));
}

/* --------------------------------------------------------------------------
 * Datasets and tables: tables.list and tables.get (table.proto)
 * -------------------------------------------------------------------------- */

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
	(void) count_at(doc, "lastModifiedTime", &table->modified_ms);
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

/* --------------------------------------------------------------------------
 * Schemas: the columns of a result or a table, with all nested fields
 * -------------------------------------------------------------------------- */

const char *
message_type_name(const BqField *field)
{
	return field->type == BQ_UNKNOWN ? field->unknown : bqtypes[field->type].name;
}

char *
message_field_type(const BqField *field)
{
	if (field->unknown != NULL)
		return field->repeated ? psprintf("ARRAY<%s>", field->unknown) : pstrdup(field->unknown);
	return bqtype_text((BqColumnType){
		.type = field->type,
		.range_element = field->range_element,
		.repeated = field->repeated,
	});
}

/* RANGE alone leaves its elements open, and fits any. */
bool
message_type_fits(BqColumnType declared, const BqField *field)
{
	return declared.type == field->type && declared.repeated == field->repeated &&
		   (declared.range_element == BQ_UNKNOWN || declared.range_element == field->range_element);
}

static bool read_level(const JsonDoc *doc, const char *path, int depth, int *left, BqField **fields, int *nfields,
					   Failure *f);

static char *
copy_at(const JsonDoc *doc, const char *path, const char *member)
{
	const char *text = json_string_at(doc, psprintf("%s.%s", path, member));

	return text ? pstrdup(text) : NULL;
}

/* Returns false if it has none.  A type that this version does not know keeps its name. */
static bool
read_type(const JsonDoc *doc, const char *path, BqField *field)
{
	const char *type = json_string_at(doc, psprintf("%s.type", path));
	const char *element = json_string_at(doc, psprintf("%s.rangeElementType.type", path));

	if (type == NULL)
		return false;
	field->type = bqtype_find(type);
	field->range_element = element ? bqtype_find(element) : BQ_UNKNOWN;
	if (element != NULL && field->range_element == BQ_UNKNOWN)
		field->unknown = psprintf("%s<%s>", field->type == BQ_UNKNOWN ? type : bqtypes[field->type].name, element);
	else if (field->type == BQ_UNKNOWN)
		field->unknown = pstrdup(type);
	return true;
}

static bool
read_field(const JsonDoc *doc, const char *path, int depth, int *left, BqField *field, Failure *f)
{
	char *mode = copy_at(doc, path, "mode");
	char *precision = copy_at(doc, path, "timestampPrecision");

	field->name = copy_at(doc, path, "name");
	if (field->name == NULL || !read_type(doc, path, field))
		return failure_set(f, ERRCODE_FDW_ERROR, "BigQuery's answer describes a column without name or type");
	field->repeated = mode != NULL && strcmp(mode, "REPEATED") == 0;
	field->required = mode != NULL && strcmp(mode, "REQUIRED") == 0;
	field->finer = precision != NULL && strcmp(precision, "6") != 0;
	field->description = copy_at(doc, path, "description");
	return read_level(doc, psprintf("%s.fields", path), depth + 1, left, &field->fields, &field->nfields, f);
}

/* `left` is the number of further fields that are allowed. */
static bool
read_level(const JsonDoc *doc, const char *path, int depth, int *left, BqField **fields, int *nfields, Failure *f)
{
	*nfields = json_length_at(doc, path);
	*left -= *nfields;
	if (*left < 0)
		return failure_set(f, ERRCODE_PROGRAM_LIMIT_EXCEEDED, "BigQuery's answer describes more than %d columns",
						   MESSAGE_MAX_FIELDS);
	*fields = palloc0(sizeof(BqField) * Max(*nfields, 1));
	if (depth > MESSAGE_MAX_NESTING && *nfields > 0)
		return failure_set(f, ERRCODE_FDW_ERROR, "BigQuery's answer nests columns more than %d deep",
						   MESSAGE_MAX_NESTING);
	for (int i = 0; i < *nfields; i++)
		if (!read_field(doc, psprintf("%s.%d", path, i), depth, left, &(*fields)[i], f))
			return false;
	return true;
}

bool
message_read_fields(const JsonDoc *doc, const char *path, BqField **fields, int *nfields, Failure *f)
{
	int left = MESSAGE_MAX_FIELDS;

	return read_level(doc, path, 0, &left, fields, nfields, f);
}
