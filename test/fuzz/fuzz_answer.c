/*
 * fuzz_answer.c
 *	  libFuzzer target: the answers of BigQuery, but for their rows: a job, the head of a
 *	  result, a dry run, a list of tables, a table, an error.
 *
 * The first byte is the HTTP status, as an index.  Whatever is read of a document is
 * read of the same document in another order and with other blanks; sizes and counts are
 * not negative; each field of a schema has a name and a type; and no refusal is silent.
 */
#include "harness.h"

#include <jansson.h>

#include "base/json.h"
#include "bigquery/job.h"
#include "bigquery/message.h"
#include "bigquery/request.h"

/* What was read, as a text, to compare. */
typedef struct Reading
{
	StringInfoData text;
} Reading;

static void
note(Reading *r, const char *format, ...)
{
	char line[2048];
	va_list args;

	va_start(args, format);
	vsnprintf(line, sizeof(line), format, args);
	va_end(args);
	appendStringInfoString(&r->text, line);
	appendStringInfoChar(&r->text, '\n');
}

static void
note_failure(Reading *r, const Failure *f)
{
	check_failure(f);
	note(r, "%d %d %d %d %s|%s|%s|%s", f->sqlstate, f->retry, f->every_day, f->http_status, f->reason, f->message,
		 f->detail, f->hint);
}

/* -------- the network: one answer */

static HttpResponse given;

bool
http_fetch(HttpClient *client, const HttpRequest *request, HttpResponse *response, Failure *f)
{
	*response = given;
	response->body = palloc(given.len + 1);
	memcpy(response->body, given.body, given.len + 1);
	return true;
}

const char *
auth_quota_project(const char *token)
{
	return NULL;
}

AuthConfig
connection_auth(const BqConnection *connection, int timeout_ms)
{
	return (AuthConfig){.timeout_ms = timeout_ms};
}

void
http_pause(int ms)
{
}

/* -------- what is read */

static void
note_fields(Reading *r, const BqField *fields, int n, int depth, int *total)
{
	property(n >= 0 && (n == 0 || depth <= MESSAGE_MAX_NESTING), "%d fields at depth %d", n, depth);
	*total += n;
	property(*total <= MESSAGE_MAX_FIELDS, "%d fields", *total);
	for (int i = 0; i < n; i++)
	{
		const BqField *field = &fields[i];

		property(field->name != NULL && is_utf8(field->name), "a field without a name");
		property((field->type == BQ_UNKNOWN) <= (field->unknown != NULL), "an unknown type without its name");
		property(field->unknown == NULL || field->unknown[0] != '\0' || field->type == BQ_UNKNOWN,
				 "a type without a name");
		property(!(field->repeated && field->required), "repeated and required");
		note(r, "%d %s %s %s %d %d %s", depth, field->name, message_field_type(field), message_type_name(field),
			 field->required, field->finer, field->description ? field->description : "-");
		note_fields(r, field->fields, field->nfields, depth + 1, total);
	}
}

static BqJob
new_job(const BqConnection *connection)
{
	return (BqJob){.connection = connection,
				   .context = CurrentMemoryContext,
				   .location = pstrdup("US"),
				   .bytes_processed = -1,
				   .bytes_billed = -1};
}

static void
note_job(Reading *r, const char *what, bool ok, const BqJob *job, const Failure *f)
{
	property(job->bytes_processed >= -1, "%s: " INT64_FORMAT " bytes processed", what, job->bytes_processed);
	property(job->bytes_billed >= -1, "%s: " INT64_FORMAT " bytes billed", what, job->bytes_billed);
	property(job->total_rows >= 0, "%s: " INT64_FORMAT " rows", what, job->total_rows);
	note(r, "%s %d %s " INT64_FORMAT " " INT64_FORMAT " " INT64_FORMAT " %d", what, ok, job->location, job->total_rows,
		 job->bytes_processed, job->bytes_billed, job->cache_hit);
	if (!ok && f != NULL)
		note_failure(r, f);
}

static void
read_jobs(Reading *r, const JsonDoc *doc, const BqConnection *connection)
{
	Failure f = {0};
	BqJob job = new_job(connection);
	int total = 0;
	bool ok = message_read_job(&job, doc, &f);

	note_job(r, "job", ok, &job, &f);
	if (!ok)
		property(f.retry != FAILURE_ASK_AGAIN, "a failed job is asked for again");

	job = new_job(connection);
	ok = message_read_job_cost(&job, doc, "");
	note_job(r, "cost", ok, &job, NULL);
	job = new_job(connection);
	ok = message_read_job_cost(&job, doc, "job.");
	note_job(r, "cost of a canceled job", ok, &job, NULL);

	job = new_job(connection);
	ok = message_read_head(&job, doc, &f);
	if (!ok)
		job.total_rows = 0;
	note_job(r, "head", ok, &job, &f);
	if (ok)
		note_fields(r, job.fields, job.nfields, 0, &total);
}

static void
read_tables(Reading *r, const JsonDoc *doc)
{
	Failure f = {0};
	BqTable table;
	List *tables = NIL;
	ListCell *cell;
	char *token = NULL;
	int total = 0;
	int64 bytes;

	if (message_read_estimate(doc, &bytes, &f))
	{
		property(bytes >= -1, "an estimate of " INT64_FORMAT, bytes);
		note(r, "estimate " INT64_FORMAT, bytes);
	}
	else
		note_failure(r, &f);

	if (message_read_table(doc, &table, &f))
	{
		property(table.type != NULL, "a table without a type");
		property(table.modified_ms >= 0, "modified at " INT64_FORMAT, table.modified_ms);
		note(r, "table %s %s %d %s %d " INT64_FORMAT, table.type, table.location ? table.location : "-",
			 table.ingestion_time, table.partition_field ? table.partition_field : "-", table.require_filter,
			 table.modified_ms);
		note_fields(r, table.fields, table.nfields, 0, &total);
	}
	else
		note_failure(r, &f);

	if (message_read_tables(doc, &tables, &token, &f))
	{
		foreach (cell, tables)
		{
			BqListed *listed = lfirst(cell);

			property(listed->name != NULL && strlen(listed->name) <= 1024, "a listed name");
			note(r, "listed %s %s", listed->name, listed->type ? listed->type : "-");
		}
		note(r, "token %s", token ? message_tables_path("p.d", token) : "-");
	}
	else
		note_failure(r, &f);
}

static void
read_all(Reading *r, int status, const char *text, size_t len)
{
	static const BqConnection connection = {.endpoint = "https://bigquery.googleapis.com",
											.max_bytes_billed = 1000,
											.request_timeout_ms = 400,
											.connect_timeout_ms = 1};
	Requester requester = {.connection = &connection};
	HttpResponse response;
	Failure f = {0};
	JsonDoc *doc;

	initStringInfo(&r->text);
	given = (HttpResponse){.status = status, .body = unconstify(char *, text), .len = len};
	if (request_fetch(&requester, "/bigquery/v2/x", NULL, &response, &f))
	{
		property(status == 200, "HTTP status %d is a success", status);
		doc = json_parse_document(response.body, response.len, &f);
		if (doc == NULL)
		{
			note_failure(r, &f);
			property(strlen(f.message) < 100, "the document itself: %s", f.message);
		}
		else
		{
			read_jobs(r, doc, &connection);
			read_tables(r, doc);
		}
		json_free_document(doc);
	}
	else
	{
		property(status != 200 && f.http_status == status, "HTTP status %d became %d", status, f.http_status);
		f.detail[0] = '\0'; /* how long it has taken */
		note_failure(r, &f);
	}
}

int
fuzz_input(const uint8_t *data, size_t size)
{
	static const int statuses[] = {200, 400, 401, 403, 404, 409, 429, 500, 503, 302};
	json_t *parsed;
	Reading read, again;
	char *text, *other;
	int status;

	if (size < 2 || data[0] < '0' || data[0] > '9')
		return -1;
	status = statuses[data[0] - '0'];
	text = copy_of(data + 1, size - 1);
	read_all(&read, status, text, size - 1);

	parsed = json_loadb(text, size - 1, JSON_ALLOW_NUL | JSON_REJECT_DUPLICATES, NULL);
	if (!json_is_object(parsed))
	{
		json_decref(parsed);
		return 0;
	}
	other = json_dumps(parsed, JSON_SORT_KEYS | JSON_ENSURE_ASCII | JSON_INDENT(1));
	json_decref(parsed);
	if (other == NULL)
		return 0;
	read_all(&again, status, other, strlen(other));
	property(strcmp(read.text.data, again.text.data) == 0, "%s\nreads\n%s\nbut\n%s\nreads\n%s", text, read.text.data,
			 other, again.text.data);
	free(other);
	return 0;
}
