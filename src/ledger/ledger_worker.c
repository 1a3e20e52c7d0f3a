/*
 * ledger_worker.c
 *	  The worker's side of the ledger: runs that are opened and ended, what is
 *	  to be known for a recheck, what is left of dead processes, pruning.
 *
 * A run is a row from its beginning on, committed before the work, and the
 * worker alone makes such rows.  Nothing here waits for a transaction of
 * somebody else's, except ledger_end() for a person who is about to cancel
 * that very run.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "lib/stringinfo.h"
#include "nodes/pg_list.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "base/day.h"
#include "base/settings.h"
#include "ledger/extension.h"
#include "ledger/ledger.h"
#include "ledger/ledger_internal.h"
#include "ledger/trust.h"

/* Into a List * of LedgerSchedule. */
static void
read_schedules(void *result)
{
	List *schedules = NIL;
	for (uint64 row = 0; row < SPI_processed; row++)
	{
		bool isnull;
		LedgerSchedule *schedule = palloc0(sizeof(LedgerSchedule));
		schedule->rules.retries = settings_retries;
		schedule->rules.retry_delay = (int64) settings_retry_delay * 1000;
		ledger_fill_source(&schedule->source, row);
		schedule->rules.start_date = schedule->source.start_date;
		schedule->rules.snapshot = schedule->source.timestamp_column == NULL;
		schedule->rules.run_at = DatumGetTimeADT(ledger_value(row, 11, &isnull));
		schedule->rules.enabled = DatumGetBool(ledger_value(row, 12, &isnull));
		schedule->rules.catchup_days = DatumGetInt32(ledger_value(row, 13, &isnull));
		schedule->rules.recheck_days = DatumGetInt32(ledger_value(row, 14, &isnull));
		schedule->rules.ready_timeout = ledger_value_int64(row, 15, 0);
		schedule->rules.ready_interval = ledger_value_int64(row, 16, 0);
		schedule->on_failure = ledger_value_text(row, 17);
		schedule->version = (uint64) ledger_value_int64(row, 18, 0);
		schedules = lappend(schedules, schedule);
	}
	*(List **) result = schedules;
}

List *
ledger_schedules(const char *name)
{
	LedgerArgs args = {0};
	List *schedules;
	ledger_text(&args, "name", name);
	ledger_execute("contratos_sources",
				   "SELECT " LEDGER_SOURCE_COLUMNS ", run_at, enabled, catchup_days, recheck_days, "
				   "(extract(epoch FROM ready_timeout) * 1000000)::bigint, "
				   "(extract(epoch FROM ready_interval) * 1000000)::bigint, on_failure, "
				   "xmin::text::bigint FROM %s.contratos_sources WHERE $1 IS NULL OR name = $1 ORDER BY name",
				   &args, SPI_OK_SELECT, read_schedules, &schedules);
	return schedules;
}

/* --------------------------------------------------------------------------
 * A run from its beginning to its end
 * -------------------------------------------------------------------------- */

/* What a row becomes when its run begins. */
static void
add_beginning(LedgerArgs *args, const char *cause, int attempt, const char *job_id)
{
	ledger_text(args, "status", ledger_status_name(RUN_RUNNING));
	ledger_text(args, "cause", cause);
	ledger_arg(args, "attempt", INT4OID, Int32GetDatum(attempt), false);
	ledger_text(args, "job_id", job_id);
	ledger_time(args, "started_at", settings_now(), false);
}

int64
ledger_begin(int64 run, const char *source, DateADT day, const char *cause, int attempt, const char *job_id)
{
	LedgerArgs args = {0};
	int64 id = 0;
	add_beginning(&args, cause, attempt, job_id);
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
	/* a day that waits began when it was first asked for */
	ledger_execute("contratos_runs",
				   "UPDATE %1$s.contratos_runs SET status = $1, cause = $2, attempt = $3, job_id = $4, "
				   "started_at = coalesce(started_at, $5), finished_at = NULL, next_attempt_at = NULL, "
				   "sqlstate = NULL, reason = NULL, error = NULL "
				   "WHERE id = (SELECT id FROM %1$s.contratos_runs WHERE id = $8 AND source = $6 AND day = $7 "
				   "AND status IN ('queued', 'waiting') FOR UPDATE SKIP LOCKED) RETURNING id",
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
 * add up: a day that waits is asked for again and again under one row.
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

/* Whether the row was there; *was: the status it had until now. */
static bool
end_row(int64 id, const LedgerRun *run, TimestampTz next_attempt_at, RunStatus *was)
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
	ledger_arg(&args, "untold", BOOLOID, BoolGetDatum(run->untold), false);
	/* greatest(): the clock may have been set back; that must not undo a load */
	appendStringInfo(&sql,
					 ", job_id = coalesce($%d, r.job_id)"
					 ", finished_at = greatest($%d, r.finished_at, CASE WHEN $%d IS NOT NULL THEN r.started_at END)"
					 ", next_attempt_at = CASE WHEN r.status = 'running' THEN $%d END"
					 ", untold = r.status = 'running' AND $%d"
					 ", status = CASE WHEN r.status = 'running' THEN $%d ELSE r.status END"
					 " FROM (SELECT id, status FROM %%1$s.contratos_runs WHERE id = $%d FOR UPDATE) old"
					 " WHERE r.id = old.id AND old.status IN ('running', 'canceled') RETURNING old.status",
					 n + 3, n + 4, n + 4, n + 5, n + 6, n + 2, n + 1);
	ledger_execute("contratos_runs", sql.data, &args, SPI_OK_UPDATE_RETURNING, ledger_read_text, &status);
	if (status != NULL)
		*was = ledger_status(status);
	return status != NULL;
}

bool
ledger_end(int64 id, const LedgerRun *run, TimestampTz next_attempt_at)
{
	RunStatus was;
	bool canceled = end_row(id, run, next_attempt_at, &was) && was == RUN_CANCELED;
	if (canceled && run->status == RUN_SUCCEEDED)
		ereport(ERROR, (errcode(ERRCODE_QUERY_CANCELED), errmsg("run %lld has been canceled", (long long) id),
						errdetail("It was canceled with contratos_cancel() while it was loading its day.")));
	if (!canceled && run->status != RUN_WAITING)
		ledger_notify(run, id);
	return !canceled;
}

void
ledger_told(int64 run)
{
	LedgerArgs args = {0};
	ledger_count(&args, "id", run);
	ledger_execute("contratos_runs", "UPDATE %s.contratos_runs SET untold = false WHERE id = $1 AND untold", &args,
				   SPI_OK_UPDATE, NULL, NULL);
}

/* Into a List * of LedgerUntold. */
static void
read_untold(void *result)
{
	List *runs = NIL;
	for (uint64 row = 0; row < SPI_processed; row++)
	{
		bool isnull;
		LedgerUntold *untold = palloc(sizeof(LedgerUntold));
		untold->source = ledger_value_text(row, 1);
		untold->day = DatumGetDateADT(ledger_value(row, 2, &isnull));
		untold->error = ledger_value_text(row, 3);
		untold->run = ledger_value_int64(row, 4, 0);
		runs = lappend(runs, untold);
	}
	*(List **) result = runs;
}

void
ledger_tell_later(int64 run)
{
	LedgerArgs args = {0};
	ledger_count(&args, "id", run);
	ledger_execute("contratos_runs", "UPDATE %s.contratos_runs SET untold = true WHERE id = $1", &args, SPI_OK_UPDATE,
				   NULL, NULL);
}

List *
ledger_take_untold(void)
{
	LedgerArgs args = {0};
	List *runs;
	ledger_execute("contratos_runs",
				   "UPDATE %s.contratos_runs SET untold = false WHERE untold RETURNING source, day, error, id", &args,
				   SPI_OK_UPDATE_RETURNING, read_untold, &runs);
	return runs;
}

/* --------------------------------------------------------------------------
 * For rechecks
 * -------------------------------------------------------------------------- */

void
ledger_confirm(const char *source, DateADT day)
{
	LedgerArgs args = {0};
	ledger_text(&args, "source", source);
	ledger_arg(&args, "day", DATEOID, DateADTGetDatum(day), false);
	ledger_time(&args, "confirmed_at", settings_now(), false);
	ledger_execute("contratos_runs",
				   "UPDATE %1$s.contratos_runs SET confirmed_at = $3 WHERE id = (SELECT id FROM %1$s.contratos_runs "
				   "WHERE source = $1 AND day = $2 AND status = 'succeeded' ORDER BY id DESC LIMIT 1)",
				   &args, SPI_OK_UPDATE, NULL, NULL);
}

bool
ledger_rechecked_today(const char *source, TimestampTz now)
{
	LedgerArgs args = {0};
	DateADT today = day_of(now);
	bool found = false;
	ledger_text(&args, "source", source);
	ledger_time(&args, "from", day_start(today), false);
	ledger_time(&args, "to", day_start(today + 1), false);
	ledger_execute(
		"contratos_runs",
		"SELECT FROM %s.contratos_runs WHERE source = $1 AND cause = 'recheck' "
		"AND status IN ('succeeded', 'unchanged', 'differs') AND finished_at >= $2 AND finished_at < $3 LIMIT 1",
		&args, SPI_OK_SELECT, ledger_read_found, &found);
	return found;
}

char *
ledger_last_error(const char *source, const char *reason)
{
	LedgerArgs args = {0};
	char *error = NULL;
	ledger_text(&args, "source", source);
	ledger_text(&args, "reason", reason);
	ledger_execute("contratos_runs",
				   "SELECT error FROM %s.contratos_runs WHERE source = $1 AND reason = $2 ORDER BY id DESC LIMIT 1",
				   &args, SPI_OK_SELECT, ledger_read_text, &error);
	return error;
}

/* --------------------------------------------------------------------------
 * Housekeeping
 * -------------------------------------------------------------------------- */

/* Into a List * of LedgerDead. */
static void
read_running(void *result)
{
	List *runs = NIL;
	for (uint64 row = 0; row < SPI_processed; row++)
	{
		bool isnull;
		LedgerDead *dead = palloc0(sizeof(LedgerDead));
		dead->run = ledger_value_int64(row, 1, 0);
		dead->source = ledger_value_text(row, 2);
		dead->day = DatumGetDateADT(ledger_value(row, 3, &isnull));
		dead->attempt = DatumGetInt32(ledger_value(row, 4, &isnull));
		dead->job_id = ledger_value_text(row, 5);
		runs = lappend(runs, dead);
	}
	*(List **) result = runs;
}

List *
ledger_dead_runs(void)
{
	LedgerArgs args = {0};
	List *running;
	List *dead = NIL;
	ledger_execute("contratos_runs",
				   "SELECT id, source, day, attempt, job_id FROM %s.contratos_runs WHERE status = 'running' "
				   "ORDER BY source, id",
				   &args, SPI_OK_SELECT, read_running, &running);

	const char *source = "";
	bool free_claim = false;
	ListCell *cell;
	foreach (cell, running)
	{
		LedgerDead *run = lfirst(cell);
		if (strcmp(run->source, source) != 0)
			free_claim = ledger_claim_is_free(run->source);
		source = run->source;
		if (free_claim)
			dead = lappend(dead, run);
	}
	return dead;
}

int64
ledger_billed_today(const char *source, TimestampTz now)
{
	LedgerArgs args = {0};
	DateADT today = day_of(now);
	int64 bytes = 0;
	ledger_text(&args, "source", source);
	ledger_time(&args, "from", day_start(today), false);
	ledger_time(&args, "to", day_start(today + 1), false);
	ledger_execute("contratos_runs",
				   "SELECT sum(bytes_billed)::bigint FROM %s.contratos_runs WHERE source = $1 "
				   "AND coalesce(finished_at, started_at) >= $2 AND coalesce(finished_at, started_at) < $3",
				   &args, SPI_OK_SELECT, ledger_read_int64, &bytes);
	return bytes;
}

bool
ledger_ran_out(const char *source, TimestampTz now)
{
	LedgerArgs args = {0};
	int64 cap = settings_bytes_per_day(), failures = 0;
	if (cap == 0 || ledger_billed_today(source, now) < cap)
		return false;
	ledger_text(&args, "source", source);
	ledger_text(&args, "sqlstate", unpack_sql_state(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED));
	ledger_time(&args, "from", day_start(day_of(now)), false);
	ledger_execute("contratos_runs",
				   "SELECT count(*) FROM %1$s.contratos_runs WHERE source = $1 AND sqlstate = $2 "
				   "AND finished_at >= $3 AND finished_at >= ALL (SELECT finished_at FROM %1$s.contratos_runs "
				   "WHERE source = $1 AND bytes_billed > 0 AND finished_at >= $3)",
				   &args, SPI_OK_SELECT, ledger_read_int64, &failures);
	return failures > 0;
}

int64
ledger_prune(int days, TimestampTz now)
{
	LedgerArgs args = {0};
	int64 removed = 0;
	ledger_arg(&args, "days", INT4OID, Int32GetDatum(days), false);
	ledger_time(&args, "now", now, false);
	trust_check(extension_relation("contratos_rejects"), extension_relation_owner(extension_relation("contratos_runs")),
				RowExclusiveLock, NULL);
	ledger_execute(
		"contratos_runs",
		"WITH gone AS (SELECT id FROM %1$s.contratos_runs r WHERE finished_at < $2 - $1 * interval '24 hours' "
		"AND status NOT IN ('queued', 'running', 'waiting') AND (status <> 'succeeded' OR EXISTS "
		"(SELECT 1 FROM %1$s.contratos_runs n WHERE n.source = r.source AND n.day = r.day AND n.id > r.id "
		"AND n.status = 'succeeded')) FOR UPDATE), "
		"rejects AS (DELETE FROM %1$s.contratos_rejects USING gone WHERE run = gone.id) "
		"DELETE FROM %1$s.contratos_runs r USING gone WHERE r.id = gone.id",
		&args, SPI_OK_DELETE, ledger_read_count, &removed);
	return removed;
}
