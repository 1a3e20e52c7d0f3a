/*
 * run_load.c
 *	  contratos_load(): a backfill that commits each day.
 *
 * Loaded days stay when the call is canceled or the server crashes, and no
 * transaction lasts longer than a day's load.  Between two days everything may
 * change: another session may load days or change the source, the extension may be
 * dropped.  So each transaction claims the source and resolves it anew.
 */
#include "postgres.h"

#include "executor/spi.h"
#include "miscadmin.h"
#include "tcop/pquery.h"
#include "utils/elog.h"
#include "utils/memutils.h"

#include "base/clock.h"
#include "base/day.h"
#include "bigquery/bigquery.h"
#include "call/run.h"
#include "call/run_internal.h"
#include "ledger/ledger_history.h"
#include "ledger/ledger_run.h"
#include "ledger/ledger_source.h"
#include "load/progress.h"

#define FUNCTION "contratos_load()"

/* How far the call is. */
typedef struct Position
{
	DateADT day;
	int number; /* of the day among those that are to be loaded, from 1 */
	int total;
	int committed; /* days that were loaded and are kept, whatever happens */
	int64 next_notice; /* by clock_ms() */
} Position;

/* In an error's CONTEXT: the days that it leaves. */
static void
explain_position(void *arg)
{
	const Position *at = arg;

	errcontext("%s: %s, day %d of %d; days loaded before it, which are kept: %d", FUNCTION, day_text(at->day),
			   at->number, at->total, at->committed);
}

/* Which of the days from first to last need not be loaded, by day - first. */
static bool *
find_loaded(const char *source, DateADT first, DateADT last, bool only_missing)
{
	int ndays = last - first + 1;
	bool *loaded = palloc0(ndays * sizeof(bool));

	if (only_missing)
	{
		LedgerSuccess *successes = palloc(ndays * sizeof(LedgerSuccess));

		ledger_last_successes(source, first, last, true, successes);
		for (int i = 0; i < ndays; i++)
			loaded[i] = successes[i].run != 0;
		pfree(successes);
	}
	return loaded;
}

/* A NOTICE, once a second at most: "day 12 of 365, 2026-01-12; 3 h 10 min left". */
static void
report_position(const Call *call, Position *at)
{
	int64 now = clock_ms();
	char left[PROGRESS_DURATION_SIZE];

	if (at->number >= at->total || now < at->next_notice)
		return;
	at->next_notice = now + 1000;
	progress_duration(progress_seconds_left(at->number, at->total, now - call->totals.began), left);
	ereport(NOTICE, (errmsg("load of source \"%s\": day %d of %d, %s; %s left", call->source->name, at->number,
							at->total, day_text(at->day), left)));
}

/* An error when every day has failed, apart from those that are empty. */
static void
check_success(const Call *call, const char *source, const char *last_error)
{
	int tried = call->totals.days[RUN_FAILED] + call->totals.days[RUN_REFUSED] - call->empty.ndays;

	if (tried == 0 || call->totals.days[RUN_SUCCEEDED] > 0)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE), errmsg("no day of source \"%s\" was loaded", source),
			 errdetail("Days that have failed or were refused: %d. The last error: %s", tried, last_error),
			 errhint("contratos_runs has the error of each day.")));
}

void
run_load(const char *source, DateADT first, DateADT last, bool only_missing)
{
	RunOptions options = {.only_missing = only_missing};
	MemoryContext context = CurrentMemoryContext;
	MemoryContext per_day = AllocSetContextCreate(context, "contratos load day", ALLOCSET_DEFAULT_SIZES);
	Call call = {.commits = true};
	Position at = {0};
	ErrorContextCallback callback = {.previous = error_context_stack, .callback = explain_position, .arg = &at};
	char *last_error = NULL;
	const char *stop = NULL;
	bool *loaded;

	/* raises the errors of a COMMIT, such as that of a loop over an UPDATE, before anything is billed */
	SPI_commit();
	EnsurePortalSnapshotExists();
	run_begin(&call, FUNCTION, source, "backfill");
	initStringInfo(&call.empty.text);
	run_check_days(call.source, first, last, "load", RUN_MAX_DAYS);
	loaded = find_loaded(source, first, last, only_missing);
	for (DateADT day = first; day <= last; day++)
		at.total += !loaded[day - first];

	call.totals.began = clock_ms();
	call.totals.skipped = last - first + 1 - at.total;
	for (DateADT day = first; day <= last && stop == NULL; day++)
	{
		if (loaded[day - first])
			continue;
		MemoryContextReset(per_day);
		MemoryContextSwitchTo(per_day);
		at.day = day;
		at.number++;
		error_context_stack = &callback;
		CHECK_FOR_INTERRUPTS();
		EnsurePortalSnapshotExists();
		run_begin(&call, FUNCTION, source, "backfill");
		run_check_day(call.source, day);
		run_claim(&call);
		if (only_missing && !ledger_is_missing(source, day))
			call.totals.skipped++; /* another session has loaded it meanwhile */
		else
		{
			int nempty = call.empty.ndays;
			RunResult *result = run_try_day(&call, day, &options, &stop);

			if (result->status != RUN_SUCCEEDED && call.empty.ndays == nempty)
				last_error = MemoryContextStrdup(context, result->message);
		}
		run_end(&call);
		SPI_commit();
		error_context_stack = callback.previous;
		at.committed = call.totals.days[RUN_SUCCEEDED];
		report_position(&call, &at);
	}
	MemoryContextSwitchTo(context);
	if (stop != NULL)
		run_report_stop(source, at.total - at.number, stop);
	run_report_empty(&call.empty, source);
	check_success(&call, source, last_error);
	run_report_days(&call.totals, source, last - first + 1);
}
