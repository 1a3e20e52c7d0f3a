/*
 * attempt_recover.c
 *	  Recovery after a worker that has died: its `running` rows, and jobs that
 *	  nobody waits for any more.
 */
#include "postgres.h"

#include "access/xact.h"
#include "utils/guc.h"
#include "utils/memutils.h"

#include "base/bill.h"
#include "base/clock.h"
#include "base/day.h"
#include "base/failure.h"
#include "base/settings.h"
#include "bigquery/bigquery.h"
#include "ledger/ledger_history.h"
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

/* End a stale run.  Returns the error to pass to on_failure; NULL: the day has not failed, or there is no function. */
static const char *
end_stale(const LedgerSchedule *schedule, const LedgerStaleRun *stale)
{
	const AttemptUnrecorded *known = attempt_unrecorded(stale->run);
	LedgerRun run;
	TimestampTz next = 0;
	bool stays;
	bool reports;

	if (known != NULL)
	{
		run = known->end;
		run.source = stale->source;
		next = known->next;
	}
	else
	{
		run = ledger_new_run(stale->source, stale->day, RUN_INTERRUPTED);
		run.sqlstate = unpack_sql_state(ERRCODE_CRASH_SHUTDOWN);
		run.error = "the process that loaded the day ended before it was done";
		run.message = run.error;
	}
	if (known == NULL && schedule != NULL)
		next = schedule_retry_at(&schedule->rules, stale->attempt, true, settings_now());
	stays = ledger_end(stale->run, &run, next);
	reports = stays && next == 0 && !stale->check && schedule != NULL && schedule->on_failure != NULL &&
			  ledger_day_has_failed(stale->run, true);
	ereport(LOG, (errmsg("source \"%s\": %s %s (attempt %d)", stale->source, day_text(stale->day),
						 ledger_status_name(stays ? run.status : RUN_CANCELED), stale->attempt),
				  known ? errdetail("That could not be recorded when it happened.")
						: errdetail("The process that loaded it ended before it was done.")));
	return reports ? run.error : NULL;
}

/* A stale run, with its source. */
typedef struct StaleRun
{
	const LedgerStaleRun *stale;
	const LedgerSchedule *schedule; /* NULL: it was deleted meanwhile */
	const char *error; /* for on_failure; NULL: it is not called */
	bool has_cost; /* its end has: its job has ended, too, and is not asked for twice */
	MemoryContext context;
} StaleRun;

/* Whether to look for ended runs without a cost, too: a process before this one may have left some. */
static bool look_for_costs = true;

void
attempt_recover_costs(void)
{
	look_for_costs = true;
}

/* End all stale runs, in one transaction. */
static List *
end_all(MemoryContext context)
{
	bool ended = look_for_costs;
	List *runs = NIL;
	List *schedules;
	ListCell *cell;

	if (!attempt_begin_transaction())
		return NIL;
	MemoryContextSwitchTo(context);
	foreach (cell, ledger_stale_runs(&ended))
	{
		StaleRun *run = palloc0(sizeof(StaleRun));

		run->stale = lfirst(cell);
		run->context = context;
		runs = lappend(runs, run);
	}
	schedules = runs != NIL ? ledger_schedules(NULL) : NIL;
	foreach (cell, runs)
	{
		StaleRun *run = lfirst(cell);
		const AttemptUnrecorded *known;

		run->schedule = schedule_of(schedules, run->stale->source);
		if (run->stale->status != RUN_INTERRUPTED)
			run->error = end_stale(run->schedule, run->stale);
		known = attempt_unrecorded(run->stale->run);
		run->has_cost = known != NULL && known->end.bytes_billed >= 0;
	}
	attempt_commit(context);
	look_for_costs = ended;
	return runs;
}

/*
 * Cancel its job, which nobody waits for any more, and record what it has cost; the
 * waits for locks are bounded, so that others are not delayed for long.
 */
static void
cancel_job(void *arg)
{
	const StaleRun *run = arg;
	int nest_level;
	LoadPlan *plan;
	Bigquery *bq;
	Bill bill;

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
	bigquery_cancel_by_id(bq, run->stale->job_id, &bill);
	bigquery_close(bq);
	/* nothing is recorded, too: the run is not found again */
	if (bill.bytes_billed < 0 || !attempt_begin_transaction())
		return;
	ledger_next_job(run->stale->run, run->stale->job_id, bill.bytes_processed, bill.bytes_billed);
	attempt_commit(run->context);
}

/*
 * An earlier process may have ended before or while it called on_failure for a
 * day.  The call is tried once more, and not forever: the function may be what
 * ended the process.
 */
static void
report_unreported(MemoryContext context)
{
	List *unreported;
	List *schedules;
	ListCell *cell;

	if (!attempt_begin_transaction())
		return;
	MemoryContextSwitchTo(context);
	unreported = ledger_take_unreported();
	schedules = unreported != NIL ? ledger_schedules(NULL) : NIL;
	attempt_commit(context);
	foreach (cell, unreported)
	{
		const LedgerUnreported *run = lfirst(cell);
		const LedgerSchedule *schedule = schedule_of(schedules, run->source);

		if (schedule != NULL)
			attempt_report_failure(schedule, run->run, run->day, run->error, context);
	}
}

void
attempt_recover(MemoryContext context)
{
	static bool has_reported = false;
	List *runs;
	ListCell *cell;

	if (!has_reported || (attempt_reports_at() != 0 && attempt_reports_at() <= clock_ms()))
	{
		attempt_reports_now();
		report_unreported(context);
	}
	has_reported = true;
	runs = end_all(context);
	foreach (cell, runs)
	{
		const StaleRun *run = lfirst(cell);

		if (run->error != NULL)
			attempt_report_failure(run->schedule, run->stale->run, run->stale->day, run->error, context);
	}
	foreach (cell, runs)
	{
		StaleRun *run = lfirst(cell);
		ErrorData *edata;

		/* if the source cannot be resolved any more, its day reports that */
		if (run->schedule == NULL || run->stale->job_id == NULL || run->has_cost)
			continue;
		load_show_begin(run->stale->source, run->stale->day);
		edata = catch_with_transactions(cancel_job, run, catch_emit);
		if (edata != NULL && edata->sqlerrcode == ERRCODE_QUERY_CANCELED)
			attempt_recover_costs();
		load_show_end();
	}
}
