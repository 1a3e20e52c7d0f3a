/*
 * verify.c
 *	  There against here.
 *
 * One aggregate query says of a day how many rows there are, the latest
 * timestamp and the fingerprint: as cheap as a query of the same columns, and
 * one row to transfer.  The fingerprint here is the ledger's, taken from the
 * wire values while they were loaded: the table's own columns may not read
 * back as they came.
 */
#include "postgres.h"

#include "common/int.h"
#include "utils/timestamp.h"

#include "fingerprint.h"
#include "stream.h"
#include "verify.h"

static int64
read_count(const RowsCell *cell)
{
	char *text = pnstrdup(cell->data, cell->len);
	int64 count = strtoll(text, NULL, 10);

	if (cell->kind != ROWS_STRING || count < 0)
		ereport(ERROR, (errcode(ERRCODE_FDW_ERROR), errmsg("BigQuery's answer to a recheck has no count of rows")));
	return count;
}

/* Microseconds since 1970.  By hand: the other room's readers need a transaction. */
static void
read_max(const RowsCell *cell, VerifyAnswer *answer)
{
	const int64 epochs_apart = (int64) (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * USECS_PER_DAY;
	char *text = pnstrdup(cell->data, cell->len);
	char *end;

	errno = 0;
	answer->max_timestamp = strtoll(text, &end, 10);
	if (cell->kind != ROWS_STRING || errno != 0 || end == text || *end != '\0' ||
		pg_sub_s64_overflow(answer->max_timestamp, epochs_apart, &answer->max_timestamp))
		ereport(ERROR, (errcode(ERRCODE_FDW_ERROR), errmsg("BigQuery's answer to a recheck has no timestamp")));
	answer->has_max = true;
}

/* n, m, f of fingerprint_query(), in this order. */
static void
read_answer(BqJob *job, VerifyAnswer *answer)
{
	RowStream *stream = stream_open(job, job->context);
	const RowsCell *cells = stream_next(stream);

	if (cells == NULL || job->nfields != 3 || job->total_rows != 1)
		ereport(ERROR, (errcode(ERRCODE_FDW_ERROR), errmsg("BigQuery's answer to a recheck is not one row of three")));
	answer->rows = read_count(&cells[0]);
	answer->has_max = false;
	if (cells[1].kind != ROWS_NULL)
		read_max(&cells[1], answer);
	answer->fingerprint = pnstrdup(cells[2].data, cells[2].len);
	/* to the end of the page: what it has cost stands there */
	(void) stream_next(stream);
	answer->bytes_processed = job->bytes_processed;
	answer->bytes_billed = job->bytes_billed;
	stream_close(stream);
}

void
verify_ask(const LoadPlan *plan, Bigquery *bq, DateADT day, VerifyAnswer *answer)
{
	RemoteCondition window[2];
	int n = load_window(plan, day, window);
	BqQuery *query = fingerprint_query(plan->table, plan->columns, plan->ncolumns,
									   plan->timestamp ? plan->timestamp->attnum : InvalidAttrNumber, window, n);
	BqJob *job;
	Failure f;

	job = bigquery_query(bq, query, answer->job_id, 1, plan->source->name, CurrentMemoryContext, &f);
	if (job == NULL)
	{
		load_explain(plan, query->text, &f);
		failure_throw(&f);
	}
	read_answer(job, answer);
	bigquery_forget(job);
}

/* "rows 12 instead of 14", … */
static void
say_rows(StringInfo said, int64 now, int64 before)
{
	if (now != before)
		appendStringInfo(said, "%s" INT64_FORMAT " rows instead of " INT64_FORMAT, said->len > 0 ? ", " : "", now,
						 before);
}

static void
say_max(StringInfo said, bool has_now, TimestampTz now, bool has_before, TimestampTz before)
{
	if (has_now != has_before || (has_now && now != before))
		appendStringInfo(said, "%slatest timestamp %s", said->len > 0 ? ", " : "",
						 has_now ? timestamptz_to_str(now) : "none");
}

char *
verify_source(const VerifyAnswer *answer, const LedgerSuccess *success)
{
	StringInfoData said;

	initStringInfo(&said);
	say_rows(&said, answer->rows, success->rows_loaded);
	say_max(&said, answer->has_max, answer->max_timestamp, success->has_max_timestamp, success->source_max_timestamp);
	if (success->fingerprint != NULL && strcmp(success->fingerprint, answer->fingerprint) != 0 && said.len == 0)
		appendStringInfoString(&said, "other contents");
	return said.len > 0 ? psprintf("BigQuery has %s", said.data) : NULL;
}

char *
verify_target(const LoadPlan *plan, DateADT day, const LedgerSuccess *success)
{
	StringInfoData said;
	TimestampTz max = 0;
	bool has_max = false;

	if (success->target_rows < 0)
		return NULL;
	initStringInfo(&said);
	say_rows(&said, load_measure(plan, day, &max, &has_max), success->target_rows);
	say_max(&said, has_max, max, success->has_target_max, success->target_max_timestamp);
	return said.len > 0 ? psprintf("%s has %s", plan->target_name, said.data) : NULL;
}
