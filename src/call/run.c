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
#include "executor/spi.h"
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
#include "ledger/ledger_bills.h"
#include "ledger/ledger_claim.h"
#include "ledger/ledger_history.h"
#include "ledger/ledger_run.h"
#include "ledger/ledger_source.h"
#include "ledger/schedule.h"
#include "ledger/statement.h"
#include "load/error_class.h"
#include "load/load.h"
#include "load/progress.h"
#include "load/setup.h"

/* --------------------------------------------------------------------------
 * A call
 * -------------------------------------------------------------------------- */

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

void
run_check_transaction(const char *function)
{
	PreventCommandDuringRecovery(function);
	PreventCommandIfReadOnly(function);
	if (IsolationUsesXactSnapshot())
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_TRANSACTION_STATE),
				 errmsg("%s cannot run in a transaction of isolation level REPEATABLE READ or SERIALIZABLE", function),
				 errdetail("It could not see a day that another session loads meanwhile."),
				 errhint("Run it in a READ COMMITTED transaction.")));
}

void
run_check_days(const LedgerSource *source, DateADT first, DateADT last, const char *verb, int limit)
{
	run_check_day(source, first);
	run_check_day(source, last);
	if (last - first >= limit)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("cannot %s more than %d days", verb, limit),
				 errdetail("From first to last there are %d.", last - first + 1), errhint("Use several calls.")));
}

void
run_begin(Call *call, const char *function, const char *source, const char *cause)
{
	run_check_transaction(function);
	/* now, because a backfill would catch the error, day by day, and go on */
	load_refuse_nested();
	extension_lock_for_call();
	setup_if_untouched();
	call->context = CurrentMemoryContext;
	call->cause = cause;
	call->source = ledger_source(source);
}

void
run_claim(Call *call)
{
	ledger_claim(call->source->name);
	call->source = ledger_source(call->source->name);
	call->plan = load_plan(call->source);
	call->may_see_rows = run_may_see_rows(call->plan);
	call->bq = bigquery_open(call->plan->connection, call->context);
}

void
run_end(Call *call)
{
	bigquery_close(call->bq);
}

static LoadDay *
new_load(Call *call, DateADT day, const RunOptions *options)
{
	LoadDay *load = palloc(sizeof(LoadDay));

	load_begin(load, call->source->name, day, call->cause, CurrentMemoryContext);
	load->plan = call->plan;
	load->bq = call->bq;
	load->bill = ledger_bills_begin(call->source->name, day, day, call->cause);
	load->allow_shrink = options->allow_shrink;
	load->allow_empty = options->allow_empty;
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

/* The same, and fire deferred triggers, whose errors become those of the day, and not of a COMMIT. */
static void
load_and_fire(void *arg)
{
	load_now(arg);
	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	statement_execute("SET CONSTRAINTS ALL IMMEDIATE", &(StatementArgs){0}, NULL, SPI_OK_UTILITY);
	SPI_finish();
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
	int undone = call->commits ? 0 : call->totals.days[RUN_SUCCEEDED];
	int64 billed = call->totals.billed + Max(load->run.bytes_billed, 0);
	bool is_known = load->run.bytes_processed >= 0 || load->run.bytes_billed <= 0;
	StringInfoData detail;

	if (edata->sqlerrcode != ERRCODE_QUERY_CANCELED && undone == 0)
		return;
	initStringInfo(&detail);
	if (edata->detail != NULL)
		appendStringInfo(&detail, "%s\n", edata->detail);
	appendStringInfo(&detail, "The target is as it was before the %s", call->commits ? "day" : "call");
	if (undone > 0)
		appendStringInfo(&detail, ": %d %s that it had loaded %s undone", undone, undone == 1 ? "day" : "days",
						 undone == 1 ? "is" : "are");
	appendStringInfo(&detail, ". BigQuery bills " INT64_FORMAT " bytes%s for the jobs of the call that ended.", billed,
					 is_known ? "" : " at most");
	edata->detail = detail.data;
}

/* The error of a day is the call's; it also takes back the day's run, but not what its job has cost. */
static void
fail_call(const Call *call, LoadDay *load, ErrorData *edata)
{
	load_end(load);
	hide_rows(call, load, edata);
	explain_end(call, load, edata);
	ReThrowError(edata);
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
		fail_call(call, load, edata);
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
	run_add_totals(&call->totals, result, load->bytes_received);
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
run_day(const char *source, DateADT day, const RunOptions *options)
{
	Call call = {0};
	LoadDay *load;
	RunResult *result;

	run_begin(&call, "contratos_run()", source, "manual");
	run_check_day(call.source, day);
	run_claim(&call);
	call.totals.began = clock_ms();
	load = new_load(&call, day, options);
	load_only_day(&call, load);
	result = record_success(&call, load);
	run_end(&call);
	run_report_day(&call.totals, call.source->name, day);
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
	if (load->no_rows)
	{
		run_add_empty(&call->empty, load->day);
		return result;
	}
	hide_rows(call, load, edata);
	ereport(WARNING,
			(errcode(edata->sqlerrcode),
			 errmsg("%s of source \"%s\" %s: %s", day_text(load->day), call->source->name,
					ledger_status_name(run.status), edata->message),
			 edata->detail ? errdetail("%s", edata->detail) : 0, edata->hint ? errhint("%s", edata->hint) : 0));
	return result;
}

RunResult *
run_try_day(Call *call, DateADT day, const RunOptions *options, const char **stop)
{
	LoadDay *load = new_load(call, day, options);
	ErrorData *edata = catch_in_subtransaction(call->commits ? load_and_fire : load_now, load, true);

	call->next_notice = load->next_notice;
	*stop = NULL;
	if (edata == NULL)
		return record_success(call, load);
	if (error_must_rethrow(edata) || (call->totals.days[RUN_SUCCEEDED] == 0 && error_fails_every_day(edata)))
	{
		hide_rows(call, load, edata);
		explain_end(call, load, edata);
		ReThrowError(edata);
	}
	if (error_fails_every_day(edata))
		*stop = edata->message;
	return record_failure(call, load, edata);
}

void
run_days(const char *function, const char *source, DateADT first, DateADT last, const RunOptions *options,
		 void (*emit)(void *arg, const RunResult *result), void *arg)
{
	Call call = {0};
	MemoryContext context = CurrentMemoryContext;
	MemoryContext per_day = AllocSetContextCreate(context, "contratos backfill day", ALLOCSET_DEFAULT_SIZES);
	const char *stop = NULL;

	run_begin(&call, function, source, "backfill");
	initStringInfo(&call.empty.text);
	run_check_days(call.source, first, last, "load", RUN_MAX_DAYS);
	run_claim(&call);
	call.totals.began = clock_ms();
	for (DateADT day = first; day <= last; day++)
	{
		CHECK_FOR_INTERRUPTS();
		if (stop != NULL)
		{
			RunResult result = {
				.day = day, .status = RUN_CANCELED, .rows_loaded = -1, .rows_replaced = -1, .message = stop};

			run_add_totals(&call.totals, &result, 0);
			emit(arg, &result);
			continue;
		}
		MemoryContextReset(per_day);
		MemoryContextSwitchTo(per_day);
		if (options->only_missing && !ledger_is_missing(call.source->name, day))
		{
			call.totals.skipped++;
			continue;
		}
		emit(arg, run_try_day(&call, day, options, &stop));
		if (stop != NULL)
			run_report_stop(call.source->name, (int) (last - day), stop);
	}
	MemoryContextSwitchTo(context);
	run_end(&call);
	run_report_empty(&call.empty, call.source->name);
	run_report_days(&call.totals, call.source->name, (int) (last - first + 1));
}
