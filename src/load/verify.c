/*
 * verify.c
 *	  A day's rows in BigQuery compared with those that were loaded.
 *
 * One aggregate query returns the number of rows of a day, the latest timestamp
 * and the fingerprint: as cheap as a query of the same columns, with one row to
 * transfer.  The local fingerprint is the ledger's, computed from the wire values
 * while they were loaded: reading the table's own columns back may not give the
 * same values.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "common/int.h"
#include "utils/timestamp.h"

#include "base/bill.h"
#include "base/day.h"
#include "base/failure.h"
#include "bigquery/bigquery.h"
#include "bigquery/job.h"
#include "bigquery/message.h"
#include "ledger/ledger_history.h"
#include "ledger/schedule.h"
#include "load/drift.h"
#include "load/verify.h"
#include "read/rowhash.h"
#include "read/stream.h"
#include "remote/deparse.h"
#include "remote/fingerprint.h"
#include "rows/rows.h"

/* Not with the readers of the values layer, which need a transaction. */
static bool
read_cell_integer(const RowsCell *cell, int64 *value)
{
	char *text;
	char *end;

	if (cell->kind != ROWS_STRING)
		return false;
	text = pnstrdup(cell->data, cell->len);
	errno = 0;
	*value = strtoll(text, &end, 10);
	return errno == 0 && end != text && *end == '\0';
}

static int64
read_count(const RowsCell *cell)
{
	int64 count;

	if (!read_cell_integer(cell, &count) || count < 0)
		ereport(ERROR, (errcode(ERRCODE_FDW_ERROR), errmsg("BigQuery's answer to a recheck has no count of rows")));
	return count;
}

/* Microseconds since 1970. */
static TimestampTz
read_max(const RowsCell *cell)
{
	const int64 epochs_apart = (int64) (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * USECS_PER_DAY;
	int64 micros;

	if (!read_cell_integer(cell, &micros) || pg_sub_s64_overflow(micros, epochs_apart, &micros))
		ereport(ERROR, (errcode(ERRCODE_FDW_ERROR), errmsg("BigQuery's answer to a recheck has no timestamp")));
	return micros;
}

/* n, m, f of fingerprint_query(), in this order. */
static DayFigures
read_remote_day(const RowsCell *cells)
{
	DayFigures remote = {.rows = read_count(&cells[0]), .has_max = cells[1].kind != ROWS_NULL};
	size_t len = Min(cells[2].len, FINGERPRINT_SIZE - 1);

	if (remote.has_max)
		remote.max_timestamp = read_max(&cells[1]);
	/* a longer one is not a fingerprint: the part that is kept already differs from ours */
	memcpy(remote.fingerprint, cells[2].data, len);
	return remote;
}

/* A row of four columns for each day that has rows; the first is d of fingerprint_query_by_day(). */
static void
read_figures_by_day(RowStream *stream, const BqJob *job, DateADT first, DateADT last, DayFigures *remote)
{
	const int64 unix_first = (int64) first + (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE);
	const RowsCell *cells;

	for (DateADT day = first; day <= last; day++)
		remote[day - first] = (DayFigures){.fingerprint = FINGERPRINT_NOTHING};
	while ((cells = stream_next(stream)) != NULL)
	{
		int64 day;

		if (job->nfields != 4 || !read_cell_integer(&cells[0], &day) || day < unix_first ||
			day - unix_first > (int64) last - first)
			ereport(ERROR,
					(errcode(ERRCODE_FDW_ERROR), errmsg("BigQuery returned a row outside the requested days %s to %s",
														day_text(first), day_text(last))));
		remote[day - unix_first] = read_remote_day(&cells[1]);
	}
}

/* Start the query and wait; explains errors that are caused by changed tables. */
static BqJob *
ask_figures(const LoadPlan *plan, Bigquery *bq, const BqQuery *query, Bill *bill)
{
	bool recorded = bill->job_id[0] != '\0';
	BqQuestion question = {
		.query = query,
		.job_id = recorded ? bill->job_id : NULL,
		.max_jobs = recorded ? 1 : BIGQUERY_MAX_JOBS,
		.label = plan->source->name,
		.bill = bill,
	};
	Failure f;
	BqJob *job = bigquery_query(bq, &question, CurrentMemoryContext, &f);

	if (job == NULL)
	{
		drift_explain(plan, query->text, &f);
		failure_throw(&f);
	}
	return job;
}

/* Once its rows are read. */
static void
finish(RowStream *stream, BqJob *job, Bill *bill)
{
	stream_close(stream);
	bigquery_note_bill(job, bill);
	bigquery_free_job(job);
}

static AttrNumber
timestamp_of(const LoadPlan *plan)
{
	return plan->timestamp ? plan->timestamp->attnum : InvalidAttrNumber;
}

void
verify_ask(const LoadPlan *plan, Bigquery *bq, DateADT day, Bill *bill, DayFigures *remote)
{
	RemoteCondition window[2];
	int n = load_window(plan, day, day, window);
	BqJob *job = ask_figures(
		plan, bq, fingerprint_query(plan->table, plan->columns, plan->ncolumns, timestamp_of(plan), window, n), bill);
	RowStream *stream = stream_open(job, job->context);
	const RowsCell *cells;

	cells = stream_next(stream);
	if (cells == NULL || job->nfields != 3 || job->total_rows != 1)
		ereport(ERROR, (errcode(ERRCODE_FDW_ERROR), errmsg("BigQuery's answer to a recheck is not one row of three")));
	*remote = read_remote_day(cells);
	/* to the end of the page, which has the cost */
	(void) stream_next(stream);
	finish(stream, job, bill);
}

/*
 * verify_ask() for the days from first to last: one query, a result for each day.
 * Not for a full-table source.
 */
static void
ask_days(const LoadPlan *plan, Bigquery *bq, DateADT first, DateADT last, Bill *bill, DayFigures *remote)
{
	RemoteCondition window[2];
	int n = load_window(plan, first, last, window);
	BqJob *job = ask_figures(
		plan, bq, fingerprint_query_by_day(plan->table, plan->columns, plan->ncolumns, timestamp_of(plan), window, n),
		bill);
	RowStream *stream = stream_open(job, job->context);

	read_figures_by_day(stream, job, first, last, remote);
	finish(stream, job, bill);
}

/* "rows 12 instead of 14", … */
static void
append_rows(StringInfo difference, int64 now, int64 before)
{
	if (now != before)
		appendStringInfo(difference, "%s" INT64_FORMAT " rows instead of " INT64_FORMAT,
						 difference->len > 0 ? ", " : "", now, before);
}

static void
append_max(StringInfo difference, const DayFigures *now, const DayFigures *before)
{
	if (!day_same_max(now, before))
		appendStringInfo(difference, "%slatest timestamp %s", difference->len > 0 ? ", " : "",
						 now->has_max ? timestamptz_to_str(now->max_timestamp) : "none");
}

char *
verify_source(const DayFigures *remote, const LedgerSuccess *success)
{
	StringInfoData difference;

	initStringInfo(&difference);
	append_rows(&difference, remote->rows, success->loaded.rows);
	append_max(&difference, remote, &success->loaded);
	if (success->loaded.fingerprint[0] && strcmp(success->loaded.fingerprint, remote->fingerprint) != 0 &&
		difference.len == 0)
		appendStringInfoString(&difference, "other contents");
	return difference.len > 0 ? psprintf("BigQuery has %s", difference.data) : NULL;
}

char *
verify_target(const LoadPlan *plan, DateADT day, const LedgerSuccess *success)
{
	StringInfoData difference;
	DayFigures local;

	if (success->target.rows < 0)
		return NULL;
	initStringInfo(&difference);
	local = load_measure(plan, day);
	append_rows(&difference, local.rows, success->target.rows);
	append_max(&difference, &local, &success->target);
	return difference.len > 0 ? psprintf("%s has %s", plan->target_name, difference.data) : NULL;
}

/* --------------------------------------------------------------------------
 * Several days at once
 * -------------------------------------------------------------------------- */

/* Whether the target has the expected rows: those that the load left in it, if they are known. */
static bool
is_kept(const LoadPlan *plan, const VerifyDay *day)
{
	DayFigures wanted = day->remote;

	if (day->ledger.run != 0 && day->ledger.target.rows >= 0)
		wanted = day->ledger.target;
	/* a date column has no time of day */
	else if (wanted.has_max && plan->timestamp_target == DATEOID)
		wanted.max_timestamp = day_start(day_of(wanted.max_timestamp));
	return day->target.rows == wanted.rows && day_same_max(&day->target, &wanted);
}

VerifyDay *
verify_days(const LoadPlan *plan, Bigquery *bq, DateADT first, DateADT last, Bill *bill)
{
	int n = last - first + 1;
	VerifyDay *days = palloc(sizeof(VerifyDay) * n);
	DayFigures *remote = palloc(sizeof(DayFigures) * n);
	DayFigures *local = palloc(sizeof(DayFigures) * n);
	LedgerSuccess *ledger = palloc(sizeof(LedgerSuccess) * n);

	if (plan->timestamp == NULL)
	{
		verify_ask(plan, bq, first, bill, remote);
		(void) ledger_newest_success(plan->source->name, ledger);
	}
	else
	{
		ask_days(plan, bq, first, last, bill, remote);
		ledger_last_successes(plan->source->name, first, last, true, ledger);
	}
	load_measure_days(plan, first, last, local);
	for (int i = 0; i < n; i++)
	{
		VerifyDay *day = &days[i];

		*day = (VerifyDay){.day = first + i, .remote = remote[i], .target = local[i], .ledger = ledger[i]};
		day->agrees = (day->ledger.run == 0 || verify_source(&day->remote, &day->ledger) == NULL) && is_kept(plan, day);
	}
	return days;
}
