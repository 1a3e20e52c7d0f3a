/*
 * run.c
 *	  One day, or consecutive days, of a source: claim it, load in
 *	  subtransactions, record the runs, return the results.
 *
 * An error in contratos_run() is raised, and nothing of the run is kept.  A
 * backfill puts each day into a subtransaction, so that one bad day does not undo
 * the others, and records it in the call's own transaction.  An error that every
 * day would have ends the call: 365 attempts with a wrong key help nobody.
 */
#include "postgres.h"

#include "access/xact.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "tcop/utility.h"
#include "utils/acl.h"
#include "utils/memutils.h"
#include "utils/resowner.h"
#include "utils/timestamp.h"

#include "base/clock.h"
#include "base/day.h"
#include "base/failure.h"
#include "base/settings.h"
#include "bigquery/bigquery.h"
#include "bigquery/job.h"
#include "bigquery/message.h"
#include "bigquery/request.h"
#include "call/run.h"
#include "call/run_internal.h"
#include "ledger/extension.h"
#include "ledger/ledger_claim.h"
#include "ledger/ledger_history.h"
#include "ledger/ledger_run.h"
#include "ledger/ledger_source.h"
#include "ledger/schedule.h"
#include "load/error_class.h"
#include "load/load.h"
#include "load/progress.h"
#include "load/setup.h"

/* --------------------------------------------------------------------------
 * Totals: one line at the end of a call
 * -------------------------------------------------------------------------- */

typedef struct CallTotals
{
	int64 began; /* clock_ms() */
	int days[RUN_NSTATUSES]; /* by status */
	int skipped; /* days that were already loaded */
	int64 rows; /* loaded */
	int64 bytes; /* of BigQuery's responses */
	int64 billed; /* bytes */
} CallTotals;

static CallTotals
totals_begin(void)
{
	return (CallTotals){.began = clock_ms()};
}

/* Add the result of a day; `bytes` were received for it. */
static void
totals_add(CallTotals *totals, const RunResult *result, int64 bytes)
{
	totals->days[result->status]++;
	totals->rows += Max(result->rows_loaded, 0);
	totals->bytes += bytes;
}

static char *
how_it_went(const CallTotals *totals)
{
	return progress_totals_text(totals->rows, totals->bytes, clock_ms() - totals->began);
}

/*
 * A NOTICE with the totals, of one day or (below) of a backfill; nothing is computed
 * where neither client nor log want a NOTICE.
 */
static void
report_day(const CallTotals *totals, const char *source, DateADT day)
{
	if (message_level_is_interesting(NOTICE))
		ereport(NOTICE, (errmsg("load of source \"%s\", %s: %s", source, day_text(day), how_it_went(totals))));
}

/* "3 succeeded, 1 failed, 2 already loaded" */
static char *
days_text(const CallTotals *totals)
{
	StringInfoData buf;

	initStringInfo(&buf);
	for (int i = 0; i < RUN_NSTATUSES; i++)
		if (totals->days[i] > 0)
			appendStringInfo(&buf, "%s%d %s", buf.len > 0 ? ", " : "", totals->days[i],
							 ledger_status_name((RunStatus) i));
	if (totals->skipped > 0)
		appendStringInfo(&buf, "%s%d already loaded", buf.len > 0 ? ", " : "", totals->skipped);
	return buf.data;
}

static void
report_days(const CallTotals *totals, const char *source, int ndays)
{
	if (message_level_is_interesting(NOTICE))
		ereport(NOTICE, (errmsg("backfill of source \"%s\": %d %s (%s), %s", source, ndays, ndays == 1 ? "day" : "days",
								days_text(totals), how_it_went(totals))));
}

/* --------------------------------------------------------------------------
 * A call
 * -------------------------------------------------------------------------- */

/* A call's source and connections, for all its days. */
typedef struct Call
{
	const char *cause;
	MemoryContext context; /* lives as long as the call */
	LedgerSource *source;
	LoadPlan *plan;
	Bigquery *bq;
	bool may_see_rows; /* of the target, in an error's detail */
	int64 next_notice; /* NOTICEs are a second apart, also from one day to the next */
	CallTotals totals;
} Call;

void
run_check_day(const LedgerSource *source, DateADT day)
{
	TimestampTz now = settings_now();

	if (DATE_NOT_FINITE(day) || day < DAY_FIRST)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("day is out of range"),
						errhint("Days go from 0001-01-01 to yesterday in UTC.")));
	if (day >= day_of(now))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("day %s is not over yet", day_text(day)),
						errdetail("Days are UTC days, and today is %s in UTC.", day_text(day_of(now))),
						errhint("The last day that can be loaded is %s.", day_text(day_yesterday(now)))));
	load_check_snapshot(source, day);
}

/* Everything before the first query; errors in it are the call's. */
static Call *
begin_call(const char *function, const char *source, const char *cause)
{
	Call *call;

	PreventCommandDuringRecovery(function);
	PreventCommandIfReadOnly(function);
	/*
	 * with a snapshot that was taken before another session loaded the day, the
	 * DELETE would not see that day's rows, and the INSERT would duplicate them
	 */
	if (IsolationUsesXactSnapshot())
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_TRANSACTION_STATE),
				 errmsg("%s cannot run in a transaction of isolation level REPEATABLE READ or SERIALIZABLE", function),
				 errdetail("It could not see a day that another session loads meanwhile, and would double it."),
				 errhint("Run it in a READ COMMITTED transaction.")));
	/* now, because a backfill would catch the error, day by day, and go on */
	load_refuse_nested();
	extension_lock();
	setup_if_untouched();
	call = palloc0(sizeof(Call));
	call->context = CurrentMemoryContext;
	call->cause = cause;
	call->source = ledger_source(source);
	return call;
}

/* Wait for the claim; the source is read again once it is held. */
static void
claim_source(Call *call)
{
	ledger_claim(call->source->name);
	call->source = ledger_source(call->source->name);
	call->plan = load_plan(call->source);
	call->may_see_rows = run_may_see_rows(call->plan);
	/* the wait for another load does not count for this one */
	call->totals = totals_begin();
	call->bq = bigquery_open(call->plan->connection, call->context);
}

static void
end_call(Call *call)
{
	bigquery_close(call->bq);
}

static LoadDay *
new_load(Call *call, DateADT day, bool allow_shrink)
{
	LoadDay *load = palloc(sizeof(LoadDay));

	load_begin(load, call->source->name, day, call->cause, CurrentMemoryContext);
	load->plan = call->plan;
	load->bq = call->bq;
	load->allow_shrink = allow_shrink;
	load->next_notice = call->next_notice;
	return load;
}

/* Query the day and replace it, all in the current (sub)transaction. */
static void
load_now(void *arg)
{
	LoadDay *load = arg;

	CHECK_FOR_INTERRUPTS();
	load_check_budget(load->plan->source);
	/* the errors of the statements, and the locks, before anything is billed */
	load_check_statements(load->plan, load->day);
	load_day(load, NULL);
	load_end(load);
}

bool
run_may_see_rows(const LoadPlan *plan)
{
	return pg_class_aclcheck(plan->target, GetUserId(), ACL_SELECT) == ACLCHECK_OK;
}

void
run_hide_rows(ErrorData *edata)
{
	if (failure_of(edata) != NULL)
		return;
	edata->detail = NULL;
	if (error_blames_row(edata))
		edata->context = NULL;
}

/* Hide the rows, but not the number of the row that was refused. */
static void
hide_rows(const Call *call, const LoadDay *load, ErrorData *edata)
{
	bool had_context = edata->context != NULL;

	if (call->may_see_rows || load->refused)
		return;
	run_hide_rows(edata);
	if (had_context && edata->context == NULL && load->at_row > 0)
		edata->context = load_row_text(load, edata->sqlerrcode);
}

/* Say in the error that ends a call what it undoes, and what that has cost. */
static void
explain_end(const Call *call, const LoadDay *load, ErrorData *edata)
{
	int undone = call->totals.days[RUN_SUCCEEDED];
	int64 billed = call->totals.billed + Max(load->run.bytes_billed, 0);
	StringInfoData detail;

	if (edata->sqlerrcode != ERRCODE_QUERY_CANCELED && undone == 0)
		return;
	initStringInfo(&detail);
	if (edata->detail != NULL)
		appendStringInfo(&detail, "%s\n", edata->detail);
	appendStringInfoString(&detail, "The target is as it was before the call");
	if (undone > 0)
		appendStringInfo(&detail, ": %d %s that it had loaded %s undone", undone, undone == 1 ? "day" : "days",
						 undone == 1 ? "is" : "are");
	appendStringInfo(&detail, ". BigQuery bills " INT64_FORMAT " bytes for the jobs of the call that ended.", billed);
	edata->detail = detail.data;
}

/* Load the only day of a call.  An error is the call's. */
static void
load_only_day(Call *call, LoadDay *load)
{
	MemoryContext context = CurrentMemoryContext;

	PG_TRY();
	{
		load_now(load);
	}
	PG_CATCH();
	{
		ErrorData *edata;

		MemoryContextSwitchTo(context);
		edata = CopyErrorData();
		FlushErrorState();
		hide_rows(call, load, edata);
		explain_end(call, load, edata);
		ReThrowError(edata);
	}
	PG_END_TRY();
}

static char *
success_message(const LedgerRun *run)
{
	StringInfoData buf;

	initStringInfo(&buf);
	if (run->values_altered > 0)
		appendStringInfo(&buf, INT64_FORMAT " values could not be kept as they were: see contratos_rejects",
						 run->values_altered);
	if (run->rows_inserted != run->loaded.rows)
		appendStringInfo(&buf, "%sthe target's triggers or rules took " INT64_FORMAT " of the rows",
						 buf.len > 0 ? "; " : "", run->rows_inserted);
	return buf.len > 0 ? buf.data : NULL;
}

/* Write a run to the ledger, and return its result for the caller. */
static RunResult *
record_run(Call *call, const LoadDay *load, const LedgerRun *run, const char *message)
{
	RunResult *result = palloc0(sizeof(RunResult));

	result->day = load->day;
	result->status = run->status;
	result->rows_loaded = run->loaded.rows;
	result->rows_replaced = run->rows_replaced;
	result->message = message;
	result->run = ledger_record(run);
	totals_add(&call->totals, result, load->bytes_received);
	call->totals.billed += Max(run->bytes_billed, 0);
	progress_end();
	return result;
}

static RunResult *
record_success(Call *call, const LoadDay *load)
{
	LedgerRun run = load_result(load, RUN_SUCCEEDED);
	RunResult *result = record_run(call, load, &run, success_message(&run));

	ledger_record_rejects(result->run, load->rejects, load->nrejects);
	return result;
}

RunResult *
run_day(const char *source, DateADT day, bool allow_shrink)
{
	Call *call = begin_call("contratos_run()", source, "manual");
	LoadDay *load;
	RunResult *result;

	run_check_day(call->source, day);
	claim_source(call);
	load = new_load(call, day, allow_shrink);
	load_only_day(call, load);
	result = record_success(call, load);
	end_call(call);
	report_day(&call->totals, call->source->name, day);
	return result;
}

/* --------------------------------------------------------------------------
 * Backfill
 * -------------------------------------------------------------------------- */

static RunResult *
record_failure(Call *call, LoadDay *load, ErrorData *edata)
{
	const Failure *f = failure_of(edata);
	LedgerRun run;
	RunResult *result;

	load_end(load);
	run = load_result(load, load->refused ? RUN_REFUSED : RUN_FAILED);
	run.sqlstate = unpack_sql_state(edata->sqlerrcode);
	run.reason = f != NULL && f->reason[0] ? f->reason : NULL;
	run.error = load_error_text(load, edata);
	run.message = edata->message;
	load->bytes_received = 0;
	result = record_run(call, load, &run, edata->message);
	hide_rows(call, load, edata);
	ereport(WARNING,
			(errcode(edata->sqlerrcode),
			 errmsg("%s of source \"%s\" %s: %s", day_text(load->day), call->source->name,
					ledger_status_name(run.status), edata->message),
			 edata->detail ? errdetail("%s", edata->detail) : 0, edata->hint ? errhint("%s", edata->hint) : 0));
	return result;
}

typedef void (*Emit)(void *arg, const RunResult *result);

/* Cancel the remaining days, which would fail with the same error. */
static void
cancel_rest(Call *call, DateADT first, DateADT last, const char *why, Emit emit, void *arg)
{
	if (first > last)
		return;
	ereport(WARNING, (errmsg("backfill of source \"%s\" stopped: %d days were not tried", call->source->name,
							 (int) (last - first + 1)),
					  errdetail("They would fail for the same reason: %s", why)));
	for (DateADT day = first; day <= last; day++)
	{
		RunResult result = {.day = day, .status = RUN_CANCELED, .rows_loaded = -1, .rows_replaced = -1, .message = why};

		totals_add(&call->totals, &result, 0);
		emit(arg, &result);
	}
}

void
run_days(const char *function, const char *source, DateADT first, DateADT last, bool only_missing, bool allow_shrink,
		 Emit emit, void *arg)
{
	Call *call = begin_call(function, source, "backfill");
	MemoryContext per_day = AllocSetContextCreate(call->context, "contratos backfill day", ALLOCSET_DEFAULT_SIZES);
	bool any_success = false;

	run_check_day(call->source, first);
	run_check_day(call->source, last);
	claim_source(call);
	for (DateADT day = first; day <= last; day++)
	{
		LoadDay *load;
		ErrorData *edata;

		MemoryContextReset(per_day);
		MemoryContextSwitchTo(per_day);
		if (only_missing && ledger_last_rows(call->source->name, day) >= 0)
		{
			call->totals.skipped++;
			continue;
		}
		load = new_load(call, day, allow_shrink);
		edata = catch_in_subtransaction(load_now, load, true);
		call->next_notice = load->next_notice;
		if (edata == NULL)
			emit(arg, record_success(call, load));
		else if (error_must_rethrow(edata) || (!any_success && error_fails_every_day(edata)))
		{
			hide_rows(call, load, edata);
			explain_end(call, load, edata);
			ReThrowError(edata);
		}
		else
		{
			emit(arg, record_failure(call, load, edata));
			if (error_fails_every_day(edata))
			{
				cancel_rest(call, day + 1, last, edata->message, emit, arg);
				break;
			}
		}
		any_success |= edata == NULL;
	}
	MemoryContextSwitchTo(call->context);
	end_call(call);
	report_days(&call->totals, call->source->name, (int) (last - first + 1));
}
