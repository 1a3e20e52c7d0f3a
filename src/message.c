/*
 * message.c
 *	  What requests say and what answers mean.
 *
 * Integers of 64 bits travel as JSON strings, both ways; types come under
 * their legacy names.  (google/cloud/bigquery/v2/{job,query,table}.proto)
 */
#include "postgres.h"

#include "utils/memutils.h"

#include "message.h"

/* BigQuery bills whole MB, and 10 MB at least for each table. (pricing) */
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

/* useInt64Timestamp is not remembered by BigQuery: it goes with each page. */
char *
message_results_path(const BqJob *job, int64 start, int max_rows, int wait_ms)
{
	return psprintf("%s&startIndex=" INT64_FORMAT "&maxResults=%d&timeoutMs=%d&formatOptions.useInt64Timestamp=true",
					message_job_path(job->project, "queries", job->job_id, "", job->location), start, max_rows,
					wait_ms);
}

static void
append_parameters(StringInfo buf, const BqQuery *query)
{
	appendStringInfoString(buf, ",\"parameterMode\":\"NAMED\",\"queryParameters\":[");
	for (int i = 0; i < query->nparams; i++)
	{
		appendStringInfoString(buf, i > 0 ? ",{\"name\":" : "{\"name\":");
		json_append_string(buf, query->params[i].name);
		appendStringInfoString(buf, ",\"parameterType\":{\"type\":");
		json_append_string(buf, query->params[i].type);
		appendStringInfoString(buf, "},\"parameterValue\":{\"value\":");
		json_append_string(buf, query->params[i].value);
		appendStringInfoString(buf, "}}");
	}
	appendStringInfoChar(buf, ']');
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
	appendStringInfoString(&buf, "},\"configuration\":{\"query\":{\"query\":");
	json_append_string(&buf, job->query.text);
	appendStringInfoString(&buf, ",\"useLegacySql\":false");
	if (job->query.nparams > 0)
		append_parameters(&buf, &job->query);
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

bool
message_read_job(BqJob *job, const JsonDoc *doc, Failure *f)
{
	const char *location = json_string_at(doc, "jobReference.location");
	const char *status;

	if (location != NULL)
		job->location = MemoryContextStrdup(job->context, location);
	if (json_has(doc, "status.errorResult"))
	{
		request_error(f, 0, json_string_at(doc, "status.errorResult.reason"),
					  json_string_at(doc, "status.errorResult.message"), job->connection);
		/* asking for the same job again will not mend it, a new one may */
		if (f->retry == FAILURE_ASK_AGAIN)
			f->retry = FAILURE_NEW_JOB;
		return false;
	}
	/* there only once it is done; a sum still growing must not be taken */
	status = json_string_at(doc, "status.state");
	if (status != NULL && strcmp(status, "DONE") == 0)
		(void) json_int64_at(doc, "statistics.query.totalBytesBilled", &job->bytes_billed);
	return true;
}

static bool
read_fields(BqJob *job, const JsonDoc *doc, Failure *f)
{
	int n = json_length_at(doc, "schema.fields");

	job->fields = MemoryContextAllocZero(job->context, sizeof(BqField) * Max(n, 1));
	for (int i = 0; i < n; i++)
	{
		const char *name = json_string_at(doc, psprintf("schema.fields.%d.name", i));
		const char *type = json_string_at(doc, psprintf("schema.fields.%d.type", i));
		const char *mode = json_string_at(doc, psprintf("schema.fields.%d.mode", i));

		if (name == NULL || type == NULL)
			return failure_set(f, ERRCODE_FDW_ERROR, "BigQuery's answer describes column %d without name or type",
							   i + 1);
		job->fields[i].name = MemoryContextStrdup(job->context, name);
		job->fields[i].type =
			MemoryContextStrdup(job->context, message_type_name(type) ? message_type_name(type) : type);
		job->fields[i].repeated = mode != NULL && strcmp(mode, "REPEATED") == 0;
	}
	job->nfields = n;
	return true;
}

/* Without a word on the bill, BigQuery's own rule for one table is applied. */
static void
estimate_bill(BqJob *job)
{
	int64 units = (job->bytes_processed + BILLED_UNIT - 1) / BILLED_UNIT;

	if (job->bytes_billed < 0 && job->bytes_processed >= 0)
		job->bytes_billed = (job->cache_hit || job->bytes_processed == 0) ? 0 : Max(units * BILLED_UNIT, BILLED_MIN);
}

bool
message_read_head(BqJob *job, const JsonDoc *doc, Failure *f)
{
	if (!json_int64_at(doc, "totalRows", &job->total_rows) || job->total_rows < 0)
		return failure_set(f, ERRCODE_FDW_ERROR, "BigQuery's answer does not say how many rows there are");
	if (!read_fields(job, doc, f))
		return false;
	message_read_cost(job, doc);
	return true;
}

void
message_read_cost(BqJob *job, const JsonDoc *doc)
{
	if (!json_int64_at(doc, "totalBytesProcessed", &job->bytes_processed))
		return;
	job->cache_hit = json_bool_at(doc, "cacheHit", false);
	estimate_bill(job);
}

/*
 * The REST API says the legacy names (INTEGER, FLOAT, BOOLEAN, RECORD), DDL and
 * INFORMATION_SCHEMA GoogleSQL's; everything here speaks GoogleSQL.
 */
static const struct
{
	const char *said;
	const char *name;
} type_names[] = {
	{"STRING", "STRING"},
	{"INT64", "INT64"},
	{"TIMESTAMP", "TIMESTAMP"},
	{"NUMERIC", "NUMERIC"},
	{"BIGNUMERIC", "BIGNUMERIC"},
	{"FLOAT64", "FLOAT64"},
	{"BOOL", "BOOL"},
	{"DATE", "DATE"},
	{"DATETIME", "DATETIME"},
	{"TIME", "TIME"},
	{"BYTES", "BYTES"},
	{"JSON", "JSON"},
	{"GEOGRAPHY", "GEOGRAPHY"},
	{"INTERVAL", "INTERVAL"},
	{"RANGE", "RANGE"},
	{"STRUCT", "STRUCT"},
	/* legacy names */
	{"INTEGER", "INT64"},
	{"FLOAT", "FLOAT64"},
	{"BOOLEAN", "BOOL"},
	{"RECORD", "STRUCT"},
	/* GoogleSQL's own aliases */
	{"INT", "INT64"},
	{"SMALLINT", "INT64"},
	{"BIGINT", "INT64"},
	{"TINYINT", "INT64"},
	{"BYTEINT", "INT64"},
	{"DECIMAL", "NUMERIC"},
	{"BIGDECIMAL", "BIGNUMERIC"},
};

const char *
message_type_name(const char *type)
{
	for (size_t i = 0; i < lengthof(type_names); i++)
	{
		if (pg_strcasecmp(type, type_names[i].said) == 0)
			return type_names[i].name;
	}
	return NULL;
}
