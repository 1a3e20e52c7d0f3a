/*
 * load_sql.c
 *	  Statements on the target: the locks they wait for, the role and the settings
 *	  under which they run, and the day's figures that they find.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "base/day.h"
#include "base/settings.h"
#include "ledger/extension.h"
#include "ledger/schedule.h"
#include "load/load.h"
#include "load/load_internal.h"

/* --------------------------------------------------------------------------
 * Waiting for locks on users' tables: for how long, and what is shown meanwhile.
 *
 * A worker serves many sources, and a table that somebody has locked must not stop
 * them all.  Its waits for locks on users' tables are bounded.  Those on its
 * ledger are not, because a load that has been paid for would be thrown away.
 * -------------------------------------------------------------------------- */

/* The worker's task: "tokens 2026-11-29"; NULL: none, or this process is not a worker. */
static char *task = NULL;

/* The current step of the task. */
static char shown[256] = "";

void
load_show_begin(const char *source, DateADT day)
{
	load_show_end();
	task = MemoryContextStrdup(TopMemoryContext, psprintf("%s %s", source, day_text(day)));
	load_show("beginning");
}

void
load_show_end(void)
{
	if (task == NULL)
		return;
	pfree(task);
	task = NULL;
	shown[0] = '\0';
	pgstat_report_activity(STATE_IDLE, NULL);
}

void
load_show(const char *format, ...)
{
	va_list args;

	if (task == NULL)
		return;
	va_start(args, format);
	vsnprintf(shown, sizeof(shown), format, args);
	va_end(args);

	char *text = psprintf("%s: %s", task, shown);

	pgstat_report_activity(STATE_RUNNING, text);
	pfree(text);
}

const char *
load_shown(void)
{
	return shown;
}

int
load_bound_waits(void)
{
	int nest_level = NewGUCNestLevel();

	(void) set_config_option("lock_timeout", psprintf("%d", settings_lock_timeout), PGC_USERSET, PGC_S_SESSION,
							 GUC_ACTION_SAVE, true, 0, false);
	return nest_level;
}

void
load_lock(Oid relid, LOCKMODE mode, const char *name)
{
	if (ConditionalLockRelationOid(relid, mode))
		return;
	load_show("waiting for a lock on %s", name);
	LockRelationOid(relid, mode);
}

/* --------------------------------------------------------------------------
 * The security context
 * -------------------------------------------------------------------------- */

/* Pin the settings that could change a load. */
static int
pin_settings(bool background)
{
	static const char *const settings[][2] = {
		{"timezone", "UTC"},
		{"datestyle", "ISO"},
		/* "on" makes the planner call functions in the foreign table's CHECKs */
		{"constraint_exclusion", "partition"},
	};
	int nest_level = extension_pin_settings();

	for (int i = 0; i < (int) lengthof(settings); i++)
		(void) set_config_option(settings[i][0], settings[i][1], PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, 0,
								 false);
	if (background)
		(void) load_bound_waits(); /* a nested level, which ends with this one */
	return nest_level;
}

void
load_enter_security_context(LoadSecurityContext *scope, const LoadPlan *plan, bool background)
{
	scope->nest_level = pin_settings(background);
	load_check_again(plan);
	GetUserIdAndSecContext(&scope->user, &scope->context);
	if (scope->user != plan->owner)
	{
		/*
		 * deferred triggers would fail inside the security-restricted operation, or
		 * run at commit as the worker, outside of it
		 */
		if (background)
		{
			if (SPI_connect() != SPI_OK_CONNECT)
				elog(ERROR, "SPI_connect failed");
			statement_execute("SET CONSTRAINTS ALL IMMEDIATE", &(StatementArgs){0}, NULL, SPI_OK_UTILITY);
			SPI_finish();
		}
		SetUserIdAndSecContext(plan->owner, scope->context | SECURITY_RESTRICTED_OPERATION);
	}
	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
}

void
load_leave_security_context(const LoadSecurityContext *scope)
{
	SPI_finish();
	/* not as at a commit: settings that a trigger has SET would stay in the session */
	AtEOXact_GUC(false, scope->nest_level);
	SetUserIdAndSecContext(scope->user, scope->context);
}

/* --------------------------------------------------------------------------
 * Days in the target
 * -------------------------------------------------------------------------- */

LoadWindow
load_local_window(const LoadPlan *plan, Oid type, DateADT first, DateADT last)
{
	LoadWindow window = {.nargs = plan->timestamp != NULL ? 2 : 0};

	for (int i = 0; i < 2; i++)
	{
		DateADT day = i == 0 ? first : last + 1;

		window.types[i] = type;
		/* a timestamp without time zone is in UTC */
		window.values[i] = type == DATEOID ? DateADTGetDatum(day) : TimestampTzGetDatum(day_start(day));
	}
	return window;
}

char *
load_window_clause(const LoadPlan *plan)
{
	const char *column;

	if (plan->timestamp == NULL)
		return "";
	column = quote_identifier(plan->timestamp->name);
	return psprintf(" WHERE %s >= $1 AND %s < $2", column, column);
}

StatementObjects
load_objects(const LoadPlan *plan)
{
	return (StatementObjects){.nrelations = 2, .relations = {plan->target, plan->table->relid}};
}

int64
load_execute(const LoadPlan *plan, const char *sql, LoadWindow window)
{
	StatementArgs args = {.n = window.nargs, .types = window.types, .values = window.values};
	StatementObjects objects = load_objects(plan);
	int code = statement_run(sql, &args, &objects);

	/* a rule may have replaced the statement */
	if (code != SPI_OK_DELETE && code != SPI_OK_INSERT && code != SPI_OK_REWRITTEN && code != SPI_OK_SELECT)
		elog(ERROR, "unexpected result of a load's statement: %s", SPI_result_code_string(code));
	return (int64) SPI_processed;
}

/* Count and maximum, starting at the column of that number. */
static DayFigures
read_measure(uint64 row, int column)
{
	HeapTuple tuple = SPI_tuptable->vals[row];
	TupleDesc desc = SPI_tuptable->tupdesc;
	DayFigures figures = {0};
	bool isnull;

	figures.rows = DatumGetInt64(SPI_getbinval(tuple, desc, column, &isnull));
	figures.max_timestamp = DatumGetTimestampTz(SPI_getbinval(tuple, desc, column + 1, &isnull));
	figures.has_max = !isnull;
	return figures;
}

DayFigures
load_measure_now(const LoadPlan *plan, DateADT day)
{
	const char *column = plan->timestamp ? quote_identifier(plan->timestamp->name) : "NULL";

	/* the cast uses UTC, the TimeZone of the scope */
	load_execute(plan,
				 psprintf("SELECT count(*), max(%s)::timestamptz FROM %s%s", column, plan->target_name,
						  load_window_clause(plan)),
				 load_local_window(plan, plan->timestamp_target, day, day));
	return read_measure(0, 1);
}

DayFigures
load_measure(const LoadPlan *plan, DateADT day)
{
	LoadSecurityContext scope;
	DayFigures figures;

	load_enter_security_context(&scope, plan, true);
	figures = load_measure_now(plan, day);
	load_leave_security_context(&scope);
	return figures;
}

/* A day without rows stays as it is. */
static void
measure_by_day(const LoadPlan *plan, DateADT first, DateADT last, DayFigures *figures)
{
	const char *column = quote_identifier(plan->timestamp->name);

	/* for old days the window, and an index, keep it from reading the whole table */
	load_execute(plan,
				 psprintf("SELECT %s::date, count(*), max(%s)::timestamptz FROM %s%s GROUP BY 1", column, column,
						  plan->target_name, load_window_clause(plan)),
				 load_local_window(plan, plan->timestamp_target, first, last));
	for (uint64 row = 0; row < SPI_processed; row++)
	{
		bool isnull;
		DateADT day = DatumGetDateADT(SPI_getbinval(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, 1, &isnull));

		/* possible only if a function of a view has changed TimeZone between the condition and the cast */
		if (day < first || day > last)
			ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
							errmsg("%s returned a row of %s, outside the requested days %s to %s", plan->target_name,
								   day_text(day), day_text(first), day_text(last)),
							errdetail("A function that it calls has changed TimeZone."),
							errhint("Let the function leave TimeZone as it was.")));
		figures[day - first] = read_measure(row, 2);
	}
}

void
load_measure_days(const LoadPlan *plan, DateADT first, DateADT last, DayFigures *figures)
{
	LoadSecurityContext scope;

	memset(figures, 0, sizeof(DayFigures) * (last - first + 1));
	load_enter_security_context(&scope, plan, false);
	if (plan->timestamp != NULL)
		measure_by_day(plan, first, last, figures);
	else
		figures[0] = load_measure_now(plan, first);
	load_leave_security_context(&scope);
}
