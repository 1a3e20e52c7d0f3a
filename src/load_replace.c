/*
 * load_replace.c
 *	  Replacing a day in the target: the statements, what their scan tells
 *	  while it runs, and the counts that must agree in the end.
 */
#include "postgres.h"

#include "access/table.h"
#include "catalog/pg_class.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "extension.h"
#include "load.h"
#include "load_internal.h"
#include "scan.h"
#include "schedule.h"
#include "settings.h"
#include "values.h"

/* Rejects kept of a run, and bytes of each. */
#define MAX_REJECTS 1000
#define MAX_RAW_BYTES 8192

/* Between two NOTICEs. */
#define NOTICE_MS 1000

/* True while rows are replaced: what runs then is triggers and rules. */
static bool replacing = false;

/*
 * A day loaded by a trigger of the same day's DELETE would be there twice, and
 * the scan of one load would find the job of the other.
 */
void
load_refuse_nested(void)
{
	if (replacing)
		ereport(ERROR, (errcode(ERRCODE_OBJECT_IN_USE), errmsg("a load cannot begin while another one replaces rows"),
						errdetail("A trigger, rule or function of the table that is being loaded called for it."),
						errhint("Load the other source after this load, in a statement of its own.")));
}

/* As soon as BigQuery has said it: a day that fails is billed as well. */
void
load_note_cost(LoadOutcome *outcome, const BqJob *job)
{
	outcome->bytes_processed = job->bytes_processed;
	outcome->bytes_billed = job->bytes_billed;
}

/* --------------------------------------------------------------------------
 * What the scan tells while it runs
 * -------------------------------------------------------------------------- */

typedef struct Progress
{
	const LoadPlan *plan;
	DateADT day;
	int64 total;
	int64 started; /* request_clock_ms() */
	LoadOutcome *outcome;
} Progress;

static void
show_progress(void *arg, int64 rows, int64 bytes)
{
	Progress *progress = arg;
	int64 now = request_clock_ms();
	double seconds = Max(now - progress->started, 1) / 1000.0;
	double rate = rows / seconds;
	char *text;

	if (now < progress->outcome->next_notice || rows == 0)
		return;
	progress->outcome->next_notice = now + NOTICE_MS;
	text = psprintf("%s %s: " INT64_FORMAT " of " INT64_FORMAT " rows (%.0f %%), %.1f MB, %.0f rows/s, %.0f s left",
					progress->plan->source->name, schedule_day_text(progress->day), rows, progress->total,
					progress->total > 0 ? 100.0 * rows / progress->total : 100.0, bytes / 1e6, rate,
					(progress->total - rows) / Max(rate, 1.0));
	if (progress->outcome->background)
		pgstat_report_activity(STATE_RUNNING, text);
	else
		ereport(NOTICE, (errmsg_internal("%s", text)));
}

static void
keep_reject(void *arg, int64 row_number, const char *column, const RowsCell *raw, const char *reason)
{
	LoadOutcome *outcome = ((Progress *) arg)->outcome;
	MemoryContext old;

	if (outcome->nrejects == MAX_REJECTS)
		return;
	old = MemoryContextSwitchTo(outcome->context);
	if (outcome->rejects == NULL)
		outcome->rejects = palloc(sizeof(LedgerReject) * MAX_REJECTS);
	outcome->rejects[outcome->nrejects++] = (LedgerReject){
		.row_number = row_number,
		.column = pstrdup(column),
		.raw_value = values_shown(raw, MAX_RAW_BYTES),
		.reason = pstrdup(reason),
	};
	MemoryContextSwitchTo(old);
}

/* --------------------------------------------------------------------------
 * Replace
 * -------------------------------------------------------------------------- */

/* What a load must not depend on.  JIT would cost more than the statement. */
static int
pin_settings(void)
{
	static const char *const settings[][2] = {{"timezone", "UTC"}, {"datestyle", "ISO"}, {"jit", "off"}};
	int nest_level = extension_pin_settings();

	for (int i = 0; i < (int) lengthof(settings); i++)
		(void) set_config_option(settings[i][0], settings[i][1], PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, 0,
								 false);
	return nest_level;
}

static int64
execute(const char *sql, int nargs, Datum *values)
{
	Oid types[2] = {TIMESTAMPTZOID, TIMESTAMPTZOID};
	int code = SPI_execute_with_args(sql, nargs, types, values, NULL, false, 0);

	/* a rule may have put something else in its place */
	if (code != SPI_OK_DELETE && code != SPI_OK_INSERT && code != SPI_OK_REWRITTEN && code != SPI_OK_SELECT)
		elog(ERROR, "unexpected result of a load's statement: %s", SPI_result_code_string(code));
	return (int64) SPI_processed;
}

static int64
insert_adopting(const char *sql, int nargs, Datum *values, ScanAdoption *adoption, LoadOutcome *outcome)
{
	volatile int64 inserted = 0;

	scan_arm(adoption);
	PG_TRY();
	{
		inserted = execute(sql, nargs, values);
	}
	PG_FINALLY();
	{
		scan_disarm();
		load_note_cost(outcome, adoption->job);
	}
	PG_END_TRY();
	return inserted;
}

/* Whether the target itself may take fewer rows than it is given. */
static bool
may_filter(Oid relid)
{
	bool filters = false;
	ListCell *cell;

	foreach (cell, find_all_inheritors(relid, AccessShareLock, NULL))
	{
		Relation relation = table_open(lfirst_oid(cell), NoLock);
		TriggerDesc *triggers = relation->trigdesc;

		if (relation->rd_rel->relhasrules || relation->rd_rel->relkind == RELKIND_VIEW ||
			relation->rd_rel->relkind == RELKIND_FOREIGN_TABLE)
			filters = true;
		if (triggers != NULL && (triggers->trig_insert_before_row || triggers->trig_insert_instead_row))
			filters = true;
		table_close(relation, NoLock);
	}
	return filters;
}

static void
check_counts(const LoadPlan *plan, const BqJob *job, const ScanAdoption *adoption, int64 inserted)
{
	if (!adoption->complete || adoption->rows != job->total_rows)
		ereport(ERROR, (errcode(ERRCODE_FDW_ERROR),
						errmsg("only " INT64_FORMAT " of " INT64_FORMAT " rows were read for table %s", adoption->rows,
							   job->total_rows, plan->target_name),
						errhint("A rule of the table may replace the INSERT: a load needs one that reads all rows.")));
	if (inserted != adoption->rows && !may_filter(plan->target))
		ereport(ERROR, (errcode(ERRCODE_FDW_ERROR),
						errmsg("table %s took " INT64_FORMAT " of " INT64_FORMAT " rows", plan->target_name, inserted,
							   adoption->rows),
						errdetail("BigQuery sent rows outside of the day that was asked for.")));
}

static char *
window_clause(const LoadPlan *plan)
{
	const char *column;

	if (plan->timestamp == NULL)
		return "";
	column = quote_identifier(plan->timestamp->name);
	return psprintf(" WHERE %s >= $1 AND %s < $2", column, column);
}

static void
take_from_scan(LoadOutcome *outcome, const ScanAdoption *adoption)
{
	outcome->rows_loaded = adoption->rows;
	outcome->values_altered = adoption->values_altered;
	outcome->pages = adoption->pages;
	outcome->has_max_timestamp = adoption->has_max_timestamp;
	outcome->source_max_timestamp = adoption->max_timestamp;
	strlcpy(outcome->fingerprint, adoption->fingerprint, FINGERPRINT_SIZE);
}

/*
 * What of the day is in the target now, whatever its triggers made of it: by
 * this a recheck tells whether somebody has changed it since.
 */
static int64
measure(const LoadPlan *plan, int nargs, Datum *window, TimestampTz *max_timestamp, bool *has_max)
{
	const char *column = plan->timestamp ? quote_identifier(plan->timestamp->name) : "NULL";
	TupleDesc desc;
	bool isnull;

	execute(psprintf("SELECT count(*), max(%s)::timestamptz FROM %s%s", column, plan->target_name, window_clause(plan)),
			nargs, window);
	desc = SPI_tuptable->tupdesc;
	*max_timestamp = DatumGetTimestampTz(SPI_getbinval(SPI_tuptable->vals[0], desc, 2, &isnull));
	*has_max = !isnull;
	return DatumGetInt64(SPI_getbinval(SPI_tuptable->vals[0], desc, 1, &isnull));
}

/* DELETE and INSERT as whoever we are now, with the settings pinned. */
static void
delete_and_insert(const LoadPlan *plan, BqJob *job, DateADT day, LoadOutcome *outcome)
{
	Datum window[2] = {TimestampTzGetDatum(schedule_day_start(day)), TimestampTzGetDatum(schedule_day_start(day + 1))};
	int nargs = plan->timestamp ? 2 : 0;
	RemoteCondition conditions[2];
	Progress progress = {
		.plan = plan, .day = day, .total = job->total_rows, .started = request_clock_ms(), .outcome = outcome};
	ScanAdoption adoption = {
		.relid = plan->table->relid,
		.rows_key = deparse_rows_key(plan->table, conditions, load_window(plan, day, conditions)),
		.ncolumns = plan->ncolumns,
		.columns = plan->columns,
		.timestamp_column = plan->timestamp ? plan->timestamp->attnum : InvalidAttrNumber,
		.job = job,
		.progress = show_progress,
		.reject = keep_reject,
		.arg = &progress,
	};

	outcome->rows_replaced =
		execute(psprintf("DELETE FROM %s%s", plan->target_name, window_clause(plan)), nargs, window);
	outcome->rows_inserted =
		insert_adopting(psprintf("INSERT INTO %s (%s) SELECT %s FROM %s%s", plan->target_name, plan->column_list,
								 plan->column_list, plan->remote_name, window_clause(plan)),
						nargs, window, &adoption, outcome);
	check_counts(plan, job, &adoption, outcome->rows_inserted);
	take_from_scan(outcome, &adoption);
	outcome->target_rows = measure(plan, nargs, window, &outcome->target_max_timestamp, &outcome->has_target_max);
}

/*
 * Deferred triggers would fail inside the security-restricted operation, or
 * run at commit as the worker, outside of it.
 */
static void
set_constraints_immediate(void)
{
	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	extension_execute("SET CONSTRAINTS ALL IMMEDIATE", 0, NULL, NULL, NULL, SPI_OK_UTILITY);
	SPI_finish();
}

/*
 * Everything on the target runs under one role, its owner (a distributed table
 * accepts no second one in a transaction).  User and settings need no PG_TRY:
 * an error ends the (sub)transaction, which puts both back.
 */
typedef struct Scope
{
	Oid user;
	int context;
	int nest_level;
} Scope;

static void
enter(Scope *scope, const LoadPlan *plan, bool background)
{
	GetUserIdAndSecContext(&scope->user, &scope->context);
	if (scope->user != plan->owner)
	{
		if (background)
			set_constraints_immediate();
		SetUserIdAndSecContext(plan->owner, scope->context | SECURITY_RESTRICTED_OPERATION);
	}
	scope->nest_level = pin_settings();
	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
}

static void
leave(const Scope *scope)
{
	SPI_finish();
	AtEOXact_GUC(true, scope->nest_level);
	SetUserIdAndSecContext(scope->user, scope->context);
}

void
load_replace_rows(const LoadPlan *plan, BqJob *job, DateADT day, LoadOutcome *outcome)
{
	Scope scope;

	if (outcome->next_notice == 0)
		outcome->next_notice = request_clock_ms() + NOTICE_MS;
	enter(&scope, plan, outcome->background);
	replacing = true;
	PG_TRY();
	{
		delete_and_insert(plan, job, day, outcome);
	}
	PG_FINALLY();
	{
		replacing = false;
	}
	PG_END_TRY();
	leave(&scope);
}

int64
load_measure(const LoadPlan *plan, DateADT day, TimestampTz *max_timestamp, bool *has_max)
{
	Datum window[2] = {TimestampTzGetDatum(schedule_day_start(day)), TimestampTzGetDatum(schedule_day_start(day + 1))};
	Scope scope;
	int64 rows;

	enter(&scope, plan, true);
	rows = measure(plan, plan->timestamp ? 2 : 0, window, max_timestamp, has_max);
	leave(&scope);
	return rows;
}
