/*
 * ledger_run.c
 *	  A run from its beginning to its end.
 *
 * A run by the worker has a row from its beginning on, committed before the work,
 * and only the worker inserts such rows.  No function waits for another session's
 * transaction, except that ledger_end() waits for a transaction that cancels that
 * very run.
 */
#include "postgres.h"

#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "executor/tuptable.h"
#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"
#include "nodes/pg_list.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "utils/varlena.h"

#include "base/day.h"
#include "base/json.h"
#include "base/settings.h"
#include "ledger/extension.h"
#include "ledger/ledger_bills.h"
#include "ledger/ledger_internal.h"
#include "ledger/ledger_run.h"
#include "ledger/notify.h"
#include "ledger/trust.h"

/* --------------------------------------------------------------------------
 * Runs that are recorded at their end
 * -------------------------------------------------------------------------- */

/* As in contratos_runs. */
static const char *const status_names[] = {
	[RUN_SUCCEEDED] = "succeeded", [RUN_FAILED] = "failed",			  [RUN_REFUSED] = "refused",
	[RUN_CANCELED] = "canceled",   [RUN_INTERRUPTED] = "interrupted", [RUN_UNCHANGED] = "unchanged",
	[RUN_DIFFERS] = "differs",	   [RUN_ACCEPTED] = "accepted",		  [RUN_QUEUED] = "queued",
	[RUN_WAITING] = "waiting",	   [RUN_RUNNING] = "running",
};

StaticAssertDecl(lengthof(status_names) == RUN_NSTATUSES, "each status has a name");

const char *
ledger_status_name(RunStatus status)
{
	return status_names[status];
}

RunStatus
ledger_status(const char *name)
{
	for (int i = 0; i < RUN_NSTATUSES; i++)
		if (strcmp(name, status_names[i]) == 0)
			return (RunStatus) i;
	elog(ERROR, "contratos_runs has a status that is none: \"%s\"", name);
	return RUN_FAILED;
}

LedgerRun
ledger_new_run(const char *source, DateADT day, RunStatus status)
{
	return (LedgerRun){
		.source = source,
		.day = day,
		.status = status,
		.loaded = DAY_NOT_KNOWN,
		.target = DAY_NOT_KNOWN,
		.rows_replaced = -1,
		.rows_inserted = -1,
		.values_altered = -1,
		.bytes_processed = -1,
		.bytes_billed = -1,
		.pages = -1,
	};
}

/* "INSERT INTO %s.table (names…) VALUES ($1, …) RETURNING id" */
static char *
ledger_insert_text(const char *table, const LedgerArgs *args)
{
	StringInfoData names, places;

	initStringInfo(&names);
	initStringInfo(&places);
	for (int i = 0; i < args->n; i++)
	{
		appendStringInfo(&names, "%s%s", i > 0 ? ", " : "", args->names[i]);
		appendStringInfo(&places, "%s$%d", i > 0 ? ", " : "", i + 1);
	}
	return psprintf("INSERT INTO %%s.%s (%s) VALUES (%s) RETURNING id", table, names.data, places.data);
}

void
ledger_add_outcome(LedgerArgs *args, const LedgerRun *run)
{
	ledger_count(args, "rows_loaded", run->loaded.rows);
	ledger_count(args, "rows_replaced", run->rows_replaced);
	ledger_count(args, "rows_inserted", run->rows_inserted);
	ledger_count(args, "values_altered", run->values_altered);
	ledger_count(args, "bytes_processed", run->bytes_processed);
	ledger_count(args, "bytes_billed", run->bytes_billed);
	ledger_count(args, "pages", run->pages);
	ledger_time(args, "source_max_timestamp", run->loaded.max_timestamp, !run->loaded.has_max);
	ledger_text(args, "fingerprint", run->loaded.fingerprint[0] ? run->loaded.fingerprint : NULL);
	ledger_count(args, "target_rows", run->target.rows);
	ledger_time(args, "target_max_timestamp", run->target.max_timestamp, !run->target.has_max);
	ledger_time(args, "confirmed_at", settings_now(), !run->confirmed);
	ledger_text(args, "sqlstate", run->sqlstate);
	ledger_text(args, "reason", run->reason);
	ledger_text(args, "error", run->error);
}

int64
ledger_record(const LedgerRun *run)
{
	LedgerArgs args = {0};

	ledger_text(&args, "source", run->source);
	ledger_arg(&args, "day", DATEOID, DateADTGetDatum(run->day), false);
	ledger_text(&args, "cause", run->cause);
	ledger_text(&args, "status", ledger_status_name(run->status));
	ledger_time(&args, "started_at", run->started_at, false);
	/* the clock may have been set back; that must not undo a load */
	ledger_time(&args, "finished_at", Max(run->started_at, settings_now()), false);
	ledger_text(&args, "job_id", run->job_id);
	ledger_add_outcome(&args, run);

	int64 id = 0;
	ledger_execute("contratos_runs", ledger_insert_text("contratos_runs", &args), &args, SPI_OK_INSERT_RETURNING,
				   ledger_read_int64, &id);
	if (run->job_id != NULL)
		ledger_bills_recorded(run->job_id);
	ledger_notify(run, id);
	return id;
}

void
ledger_record_rejects(int64 run, const LedgerReject *rejects, int nrejects)
{
	if (nrejects == 0)
		return;
	Datum *rows = palloc(4 * nrejects * sizeof(Datum));
	Datum *columns = rows + nrejects, *raws = columns + nrejects, *reasons = raws + nrejects;
	bool *nulls = palloc0(nrejects * sizeof(bool));
	for (int i = 0; i < nrejects; i++)
	{
		rows[i] = Int64GetDatum(rejects[i].row_number);
		columns[i] = CStringGetTextDatum(rejects[i].column);
		nulls[i] = rejects[i].raw_value == NULL;
		raws[i] = nulls[i] ? (Datum) 0 : CStringGetTextDatum(rejects[i].raw_value);
		reasons[i] = CStringGetTextDatum(rejects[i].reason);
	}

	LedgerArgs args = {0};
	int dimension = nrejects, bound = 1;
	ArrayType *raw = construct_md_array(raws, nulls, 1, &dimension, &bound, TEXTOID, -1, false, TYPALIGN_INT);
	ledger_count(&args, "run", run);
	ledger_arg(&args, "row_number", INT8ARRAYOID,
			   PointerGetDatum(construct_array(rows, nrejects, INT8OID, 8, FLOAT8PASSBYVAL, TYPALIGN_DOUBLE)), false);
	ledger_arg(&args, "column_name", TEXTARRAYOID,
			   PointerGetDatum(construct_array(columns, nrejects, TEXTOID, -1, false, TYPALIGN_INT)), false);
	ledger_arg(&args, "raw_value", TEXTARRAYOID, PointerGetDatum(raw), false);
	ledger_arg(&args, "reason", TEXTARRAYOID,
			   PointerGetDatum(construct_array(reasons, nrejects, TEXTOID, -1, false, TYPALIGN_INT)), false);
	ledger_execute("contratos_rejects",
				   "INSERT INTO %s.contratos_rejects (run, row_number, column_name, raw_value, reason) SELECT $1, r.* "
				   "FROM ROWS FROM (unnest($2), unnest($3), unnest($4), unnest($5)) r",
				   &args, SPI_OK_INSERT, NULL, NULL);
}

/* --------------------------------------------------------------------------
 * Runs that are recorded at their beginning
 * -------------------------------------------------------------------------- */

int64
ledger_begin(int64 run, const char *source, DateADT day, const char *cause, int attempt, const char *job_id)
{
	LedgerArgs args = {0};
	int64 id = 0;

	ledger_text(&args, "status", ledger_status_name(RUN_RUNNING));
	ledger_text(&args, "cause", cause);
	ledger_arg(&args, "attempt", INT4OID, Int32GetDatum(attempt), false);
	ledger_text(&args, "job_id", job_id);
	ledger_time(&args, "started_at", settings_now(), false);
	ledger_text(&args, "source", source);
	ledger_arg(&args, "day", DATEOID, DateADTGetDatum(day), false);
	if (run == 0)
	{
		if (!ledger_lock_queue(source, false))
			return 0;
		ledger_execute("contratos_runs",
					   "INSERT INTO %s.contratos_runs (status, cause, attempt, job_id, started_at, source, day) "
					   "VALUES ($1, $2, $3, $4, $5, $6, $7) "
					   "ON CONFLICT (source, day) WHERE status IN ('queued', 'running', 'waiting') DO NOTHING "
					   "RETURNING id",
					   &args, SPI_OK_INSERT_RETURNING, ledger_read_int64, &id);
		return id;
	}
	ledger_count(&args, "id", run);
	/* a waiting day began with its first attempt */
	ledger_execute("contratos_runs",
				   "UPDATE %1$s.contratos_runs SET status = $1, cause = $2, attempt = $3, job_id = $4, "
				   "started_at = coalesce(started_at, $5), finished_at = NULL, next_attempt_at = NULL, "
				   "sqlstate = NULL, reason = NULL, error = NULL "
				   "WHERE id = (SELECT id FROM %1$s.contratos_runs WHERE id = $8 AND source = $6 AND day = $7 "
				   "AND status IN ('queued', 'waiting') AND (cause = 'recheck') = ($2 = 'recheck') "
				   "FOR UPDATE SKIP LOCKED) RETURNING id",
				   &args, SPI_OK_UPDATE_RETURNING, ledger_read_int64, &id);
	return id;
}

char *
ledger_kept_job(int64 run, TimestampTz now)
{
	LedgerArgs args = {0};
	char *job_id;

	ledger_count(&args, "id", run);
	ledger_time(&args, "from", now - LEDGER_JOB_HOURS * USECS_PER_HOUR, false);
	ledger_execute("contratos_runs",
				   "SELECT job_id FROM %s.contratos_runs WHERE id = $1 AND status = 'waiting' AND sqlstate = '55P03' "
				   "AND started_at > $2",
				   &args, SPI_OK_SELECT, ledger_read_text, &job_id);
	return job_id;
}

void
ledger_next_job(int64 run, const char *job_id, int64 bytes_processed, int64 bytes_billed)
{
	LedgerArgs args = {0};

	ledger_count(&args, "id", run);
	ledger_text(&args, "job_id", job_id);
	ledger_count(&args, "bytes_processed", bytes_processed);
	ledger_count(&args, "bytes_billed", bytes_billed);
	ledger_execute("contratos_runs",
				   "UPDATE %1$s.contratos_runs SET job_id = $2, "
				   "bytes_processed = coalesce(bytes_processed + $3, bytes_processed, $3), "
				   "bytes_billed = coalesce(bytes_billed + $4, bytes_billed, $4) WHERE id = $1",
				   &args, SPI_OK_UPDATE, NULL, NULL);
}

/*
 * "UPDATE %1$s.contratos_runs r SET name = $1, …" for all arguments so far.  Bytes
 * add up, because a waiting day is queried several times under one row.
 */
static void
begin_update(StringInfo sql, const LedgerArgs *args)
{
	appendStringInfoString(sql, "UPDATE %1$s.contratos_runs r SET ");
	for (int i = 0; i < args->n; i++)
	{
		const char *name = args->names[i];
		appendStringInfo(sql, i > 0 ? ", %s = " : "%s = ", name);
		if (strncmp(name, "bytes_", strlen("bytes_")) == 0)
			appendStringInfo(sql, "coalesce(%s + $%d, %s, $%d)", name, i + 1, name, i + 1);
		else
			appendStringInfo(sql, "$%d", i + 1);
	}
}

/* Whether the row existed; *was: its status until now. */
static bool
end_run_row(int64 id, const LedgerRun *run, TimestampTz next_attempt_at, RunStatus *was)
{
	LedgerArgs args = {0};
	StringInfoData sql;
	char *status;
	bool waits = run->status == RUN_WAITING;

	ledger_add_outcome(&args, run);
	initStringInfo(&sql);
	begin_update(&sql, &args);
	int n = args.n;
	ledger_arg(&args, "id", INT8OID, Int64GetDatum(id), false);
	ledger_text(&args, "status", ledger_status_name(run->status));
	ledger_text(&args, "job_id", run->job_id);
	ledger_time(&args, "finished_at", settings_now(), waits);
	ledger_time(&args, "next_attempt_at", next_attempt_at, next_attempt_at == 0);
	/* greatest(): the clock may have been set back; that must not undo a load */
	appendStringInfo(&sql,
					 ", job_id = coalesce($%d, r.job_id)"
					 ", finished_at = greatest($%d, r.finished_at, CASE WHEN $%d IS NOT NULL THEN r.started_at END)"
					 ", next_attempt_at = CASE WHEN r.status = 'running' THEN $%d END"
					 ", status = CASE WHEN r.status = 'running' THEN $%d ELSE r.status END"
					 " FROM (SELECT id, status FROM %%1$s.contratos_runs WHERE id = $%d FOR UPDATE) old"
					 " WHERE r.id = old.id AND old.status IN ('running', 'canceled') RETURNING old.status",
					 n + 3, n + 4, n + 4, n + 5, n + 2, n + 1);
	ledger_execute("contratos_runs", sql.data, &args, SPI_OK_UPDATE_RETURNING, ledger_read_text, &status);
	if (status != NULL)
		*was = ledger_status(status);
	return status != NULL;
}

bool
ledger_end(int64 id, const LedgerRun *run, TimestampTz next_attempt_at)
{
	RunStatus was;
	bool canceled = end_run_row(id, run, next_attempt_at, &was) && was == RUN_CANCELED;

	if (canceled && run->status == RUN_SUCCEEDED)
		ereport(ERROR, (errcode(ERRCODE_QUERY_CANCELED), errmsg("run %lld has been canceled", (long long) id),
						errdetail("It was canceled with contratos_cancel() while it was loading its day.")));
	if (!canceled && run->status != RUN_WAITING)
		ledger_notify(run, id);
	return !canceled;
}

/* --------------------------------------------------------------------------
 * NOTIFY
 * -------------------------------------------------------------------------- */

/* Append a JSON string of at most `room` bytes, quotes included: as many whole characters as fit. */
static void
append_cut_string(StringInfo buf, const char *text, int room)
{
	StringInfoData one;

	initStringInfo(&one);
	appendStringInfoChar(buf, '"');
	for (room -= 2; *text; text += pg_mblen(text))
	{
		char character[MAX_MULTIBYTE_CHAR_LEN + 1] = {0};
		memcpy(character, text, pg_mblen(text));
		resetStringInfo(&one);
		json_append_string(&one, character);
		room -= one.len - 2; /* without its own quotes */
		if (room < 0)
			break;
		appendBinaryStringInfo(buf, one.data + 1, one.len - 2);
	}
	appendStringInfoChar(buf, '"');
	pfree(one.data);
}

void
ledger_notify(const LedgerRun *run, int64 id)
{
	StringInfoData buf;

	initStringInfo(&buf);
	appendStringInfoString(&buf, "{\"source\": ");
	json_append_string(&buf, run->source);
	appendStringInfo(&buf, ", \"day\": \"%s\", \"status\": \"%s\", \"rows\": ", day_text(run->day),
					 ledger_status_name(run->status));
	if (run->loaded.rows < 0)
		appendStringInfoString(&buf, "null");
	else
		appendStringInfo(&buf, INT64_FORMAT, run->loaded.rows);
	appendStringInfo(&buf, ", \"run\": " INT64_FORMAT ", \"sqlstate\": ", id);
	if (run->sqlstate == NULL)
		appendStringInfoString(&buf, "null");
	else
		json_append_string(&buf, run->sqlstate);
	appendStringInfoString(&buf, ", \"error\": ");
	if (run->message == NULL)
		appendStringInfoString(&buf, "null");
	else
		append_cut_string(&buf, run->message, NOTIFY_MAX_BYTES - buf.len - 1);
	appendStringInfoChar(&buf, '}');
	notify_at_commit(buf.data);
}

/* --------------------------------------------------------------------------
 * Runs that on_failure must still be called for
 * -------------------------------------------------------------------------- */

void
ledger_mark_reported(int64 run)
{
	LedgerArgs args = {0};

	ledger_count(&args, "id", run);
	ledger_execute("contratos_runs", "UPDATE %s.contratos_runs SET unreported = false WHERE id = $1 AND unreported",
				   &args, SPI_OK_UPDATE, NULL, NULL);
}

/* Into a List * of LedgerUnreported. */
static void
read_unreported(void *result)
{
	List *runs = NIL;

	for (uint64 row = 0; row < SPI_processed; row++)
	{
		bool isnull;
		LedgerUnreported *unreported = palloc(sizeof(LedgerUnreported));
		unreported->source = ledger_value_text(row, 1);
		unreported->day = DatumGetDateADT(ledger_value(row, 2, &isnull));
		unreported->error = ledger_value_text(row, 3);
		unreported->run = ledger_value_int64(row, 4, 0);
		runs = lappend(runs, unreported);
	}
	*(List **) result = runs;
}

void
ledger_report_later(int64 run)
{
	LedgerArgs args = {0};

	ledger_count(&args, "id", run);
	ledger_execute("contratos_runs", "UPDATE %s.contratos_runs SET unreported = true WHERE id = $1", &args,
				   SPI_OK_UPDATE, NULL, NULL);
}

List *
ledger_take_unreported(void)
{
	LedgerArgs args = {0};
	List *runs;

	ledger_execute("contratos_runs",
				   "UPDATE %s.contratos_runs SET unreported = false WHERE unreported RETURNING source, day, error, id",
				   &args, SPI_OK_UPDATE_RETURNING, read_unreported, &runs);
	return runs;
}

/* --------------------------------------------------------------------------
 * Stale runs
 * -------------------------------------------------------------------------- */

/* Into a List * of LedgerStaleRun. */
static void
read_running(void *result)
{
	List *runs = NIL;

	for (uint64 row = 0; row < SPI_processed; row++)
	{
		bool isnull;
		LedgerStaleRun *stale = palloc0(sizeof(LedgerStaleRun));
		stale->run = ledger_value_int64(row, 1, 0);
		stale->source = ledger_value_text(row, 2);
		stale->day = DatumGetDateADT(ledger_value(row, 3, &isnull));
		stale->attempt = DatumGetInt32(ledger_value(row, 4, &isnull));
		stale->job_id = ledger_value_text(row, 5);
		stale->check = DatumGetBool(ledger_value(row, 6, &isnull));
		stale->status = ledger_status(ledger_value_text(row, 7));
		runs = lappend(runs, stale);
	}
	*(List **) result = runs;
}

List *
ledger_stale_runs(bool *ended)
{
	LedgerArgs args = {0};
	List *running;
	List *stale = NIL;

	ledger_arg(&args, "ended", BOOLOID, BoolGetDatum(*ended), false);
	ledger_time(&args, "from", settings_now() - USECS_PER_DAY, false);
	/* contratos_cancel() gives a row no error, and the end of its attempt does; 57P02 is of a dead process */
	ledger_execute("contratos_runs",
				   "SELECT id, source, day, attempt, job_id, cause = 'recheck', status "
				   "FROM %s.contratos_runs WHERE status = 'running' OR ($1 AND status IN ('canceled', 'interrupted') "
				   "AND NOT only_cost AND job_id IS NOT NULL AND bytes_billed IS NULL "
				   "AND coalesce(sqlstate, '57P02') = '57P02' AND started_at > $2) "
				   "ORDER BY source, id",
				   &args, SPI_OK_SELECT, read_running, &running);
	*ended = false;

	const char *source = "";
	bool free_claim = false;
	ListCell *cell;
	foreach (cell, running)
	{
		LedgerStaleRun *run = lfirst(cell);
		if (strcmp(run->source, source) != 0)
			free_claim = ledger_claim_is_free(run->source);
		source = run->source;
		if (free_claim)
			stale = lappend(stale, run);
		else if (run->status != RUN_RUNNING)
			*ended = true;
	}
	return stale;
}
