/*
 * attempt_bury.c
 *	  What a worker that has died has left: its rows `running`, and jobs that
 *	  nobody waits for any more.
 */
#include "postgres.h"

#include "access/xact.h"
#include "pgstat.h"
#include "utils/memutils.h"

#include "attempt.h"
#include "load.h"
#include "settings.h"

static const LedgerSchedule *
schedule_of(const List *schedules, const char *source)
{
	ListCell *cell;

	foreach (cell, schedules)
		if (strcmp(((LedgerSchedule *) lfirst(cell))->source.name, source) == 0)
			return lfirst(cell);
	return NULL; /* deleted meanwhile */
}

static void
end_dead(const LedgerSchedule *schedule, const LedgerDead *dead)
{
	TimestampTz next = schedule ? schedule_retry_at(&schedule->rules, dead->attempt, true, settings_now()) : 0;
	LedgerRun run = {
		.source = dead->source,
		.day = dead->day,
		.status = "interrupted",
		.rows_loaded = -1,
		.rows_replaced = -1,
		.rows_inserted = -1,
		.values_altered = -1,
		.bytes_processed = -1,
		.bytes_billed = -1,
		.pages = -1,
		.target_rows = -1,
		.job_id = dead->job_id,
		.sqlstate = unpack_sql_state(ERRCODE_CRASH_SHUTDOWN),
		.error = "the process that loaded the day ended before it was done",
	};
	run.message = run.error;

	ledger_end(dead->run, &run, next);
	ereport(LOG, (errmsg("source \"%s\": %s interrupted (attempt %d)", dead->source, schedule_day_text(dead->day),
						 dead->attempt),
				  errdetail("The process that loaded it ended before it was done.")));
}

/* Nobody waits for its job any more. */
static void
cancel_job(const LedgerSchedule *schedule, const LedgerDead *dead, MemoryContext context)
{
	LoadPlan *plan;
	Bigquery *bq;

	if (schedule == NULL || dead->job_id == NULL || !attempt_begin_transaction())
		return;
	MemoryContextSwitchTo(context);
	plan = load_plan(&schedule->source);
	attempt_commit(context);
	pgstat_report_activity(STATE_RUNNING,
						   psprintf("%s %s: canceling its job", dead->source, schedule_day_text(dead->day)));
	bq = bigquery_open(plan->connection, context);
	bigquery_cancel_by_id(bq, dead->job_id);
	bigquery_close(bq);
}

bool
attempt_bury(const List *schedules, MemoryContext context)
{
	List *dead;
	ListCell *cell;

	if (!attempt_begin_transaction())
		return false;
	MemoryContextSwitchTo(context);
	dead = ledger_dead_runs();
	foreach (cell, dead)
		end_dead(schedule_of(schedules, ((LedgerDead *) lfirst(cell))->source), lfirst(cell));
	attempt_commit(context);

	foreach (cell, dead)
	{
		PG_TRY();
		{
			cancel_job(schedule_of(schedules, ((LedgerDead *) lfirst(cell))->source), lfirst(cell), context);
		}
		PG_CATCH();
		{
			/* the source may not resolve any more: its day will say so */
			MemoryContextSwitchTo(context);
			EmitErrorReport();
			FlushErrorState();
			AbortOutOfAnyTransaction();
			MemoryContextSwitchTo(context);
		}
		PG_END_TRY();
		pgstat_report_activity(STATE_IDLE, NULL);
	}
	return dead != NIL;
}
