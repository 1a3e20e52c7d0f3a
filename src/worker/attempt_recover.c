/*
 * attempt_recover.c
 *	  What a worker that has died has left: its rows `running`, and jobs that
 *	  nobody waits for any more.
 */
#include "postgres.h"

#include "access/xact.h"
#include "utils/guc.h"
#include "utils/memutils.h"

#include "base/catch.h"
#include "base/clock.h"
#include "base/day.h"
#include "base/settings.h"
#include "bigquery/bigquery.h"
#include "ledger/ledger_run.h"
#include "ledger/ledger_source.h"
#include "ledger/schedule.h"
#include "worker/attempt_internal.h"

static const LedgerSchedule *
schedule_of(const List *schedules, const char *source)
{
	ListCell *cell;

	foreach (cell, schedules)
		if (strcmp(((LedgerSchedule *) lfirst(cell))->source.name, source) == 0)
			return lfirst(cell);
	return NULL; /* deleted meanwhile */
}

static LedgerRun
interrupted(const LedgerStaleRun *dead)
{
	LedgerRun run = ledger_new_run(dead->source, dead->day, RUN_INTERRUPTED);

	run.sqlstate = unpack_sql_state(ERRCODE_CRASH_SHUTDOWN);
	run.error = "the process that loaded the day ended before it was done";
	run.message = run.error;
	return run;
}

/* The error that on_failure is to be told; NULL: there is another attempt, or nobody to tell. */
static const char *
end_dead(const LedgerSchedule *schedule, const LedgerStaleRun *dead)
{
	const AttemptUnrecorded *known = attempt_unrecorded(dead->run);
	LedgerRun run = known ? known->end : interrupted(dead);
	TimestampTz next = 0;
	bool stays;

	run.source = dead->source;
	if (known != NULL)
		next = known->next;
	else if (schedule != NULL)
		next = schedule_retry_at(&schedule->rules, dead->attempt, true, settings_now());
	run.untold = next == 0 && schedule != NULL && schedule->on_failure != NULL;
	stays = ledger_end(dead->run, &run, next);
	ereport(LOG, (errmsg("source \"%s\": %s %s (attempt %d)", dead->source, day_text(dead->day),
						 ledger_status_name(stays ? run.status : RUN_CANCELED), dead->attempt),
				  known ? errdetail("That could not be recorded when it happened.")
						: errdetail("The process that loaded it ended before it was done.")));
	return stays && run.untold ? run.error : NULL;
}

/* A dead run, with its source. */
typedef struct DeadRun
{
	const LedgerStaleRun *dead;
	const LedgerSchedule *schedule; /* NULL: it was deleted meanwhile */
	const char *error; /* for on_failure; NULL: it is not told */
	MemoryContext context;
} DeadRun;

/* All of them, in one transaction. */
static List *
end_all(MemoryContext context)
{
	List *runs = NIL;
	List *schedules;
	ListCell *cell;

	if (!attempt_begin_transaction())
		return NIL;
	MemoryContextSwitchTo(context);
	foreach (cell, ledger_stale_runs())
	{
		DeadRun *run = palloc0(sizeof(DeadRun));

		run->dead = lfirst(cell);
		run->context = context;
		runs = lappend(runs, run);
	}
	schedules = runs != NIL ? ledger_schedules(NULL) : NIL;
	foreach (cell, runs)
	{
		DeadRun *run = lfirst(cell);

		run->schedule = schedule_of(schedules, run->dead->source);
		run->error = end_dead(run->schedule, run->dead);
	}
	attempt_commit(context);
	return runs;
}

/* Nobody waits for its job any more; and what is locked keeps others waiting only so long. */
static void
cancel_job(void *arg)
{
	const DeadRun *run = arg;
	int nest_level;
	LoadPlan *plan;
	Bigquery *bq;

	if (!attempt_begin_transaction())
		return;
	MemoryContextSwitchTo(run->context);
	load_show("canceling its job");
	nest_level = load_bound_waits();
	plan = load_plan(&run->schedule->source);
	AtEOXact_GUC(false, nest_level);
	attempt_commit(run->context);
	load_show("canceling its job");
	bq = bigquery_open(plan->connection, run->context);
	bigquery_cancel_by_id(bq, run->dead->job_id);
	bigquery_close(bq);
}

/*
 * A process before this one may have ended when it had a day to tell, or was
 * just telling it.  That is tried once more, and not for ever: what is called
 * may be what ended it.
 */
static void
tell_untold(MemoryContext context)
{
	List *untold;
	List *schedules;
	ListCell *cell;

	if (!attempt_begin_transaction())
		return;
	MemoryContextSwitchTo(context);
	untold = ledger_take_untold();
	schedules = untold != NIL ? ledger_schedules(NULL) : NIL;
	attempt_commit(context);
	foreach (cell, untold)
	{
		const LedgerUntold *run = lfirst(cell);
		const LedgerSchedule *schedule = schedule_of(schedules, run->source);

		if (schedule != NULL)
			attempt_tell_failure(schedule, run->run, run->day, run->error, context);
	}
}

void
attempt_recover(MemoryContext context)
{
	static bool has_told = false;
	List *runs;
	ListCell *cell;

	if (!has_told || (attempt_tells_at() != 0 && attempt_tells_at() <= clock_ms()))
	{
		attempt_tells_now();
		tell_untold(context);
	}
	has_told = true;
	runs = end_all(context);
	foreach (cell, runs)
	{
		const DeadRun *run = lfirst(cell);

		if (run->error != NULL)
			attempt_tell_failure(run->schedule, run->dead->run, run->dead->day, run->error, context);
	}
	foreach (cell, runs)
	{
		DeadRun *run = lfirst(cell);

		/* the source may not resolve any more: its day will say so */
		if (run->schedule == NULL || run->dead->job_id == NULL)
			continue;
		load_show_begin(run->dead->source, run->dead->day);
		(void) catch_with_transactions(cancel_job, run, catch_emit);
		load_show_end();
	}
}
