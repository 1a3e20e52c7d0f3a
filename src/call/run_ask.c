/*
 * run_ask.c
 *	  Calls that load nothing themselves: the estimate of a query's cost, the
 *	  comparison of days with the loaded rows, and the queue of days for the worker.
 */
#include "postgres.h"

#include "access/xact.h"
#include "access/xlog.h"
#include "miscadmin.h"
#include "tcop/utility.h"
#include "utils/memutils.h"

#include "base/bill.h"
#include "base/day.h"
#include "base/failure.h"
#include "base/settings.h"
#include "bigquery/bigquery.h"
#include "bigquery/connection.h"
#include "bigquery/message.h"
#include "call/run.h"
#include "call/run_internal.h"
#include "ledger/extension.h"
#include "ledger/ledger_bills.h"
#include "ledger/ledger_claim.h"
#include "ledger/ledger_run.h"
#include "ledger/ledger_source.h"
#include "ledger/schedule.h"
#include "ledger/worker_signal.h"
#include "load/load.h"

/* --------------------------------------------------------------------------
 * The cost of days: a dry run of the very query of a load.  BigQuery reads and
 * bills nothing for it.  The estimate is an upper bound: a load may read less of a
 * clustered table.
 * -------------------------------------------------------------------------- */

void
run_estimate(const char *source, DateADT first, DateADT last, void (*emit)(void *arg, const RunEstimate *estimate),
			 void *arg)
{
	extension_lock_for_call();

	LedgerSource *found = ledger_source(source);
	run_check_days(found, first, last, "estimate", RUN_MAX_DAYS);

	LoadPlan *plan = load_plan(found);
	const BqConnection *connection = plan->connection;
	MemoryContext context = CurrentMemoryContext;
	MemoryContext per_day = AllocSetContextCreate(context, "contratos estimate", ALLOCSET_DEFAULT_SIZES);
	Bigquery *bq = bigquery_open(connection, context);
	bool warned = connection->max_bytes_billed == 0;
	bool hidden = false; /* BigQuery has not said what a day would process */

	for (DateADT day = first; day <= last; day++)
	{
		CHECK_FOR_INTERRUPTS();
		MemoryContextReset(per_day);
		MemoryContextSwitchTo(per_day);

		RunEstimate estimate = {.day = day};
		Failure f;

		if (!bigquery_estimate(bq, load_query(plan, day), &estimate.bytes_processed, &f))
			failure_throw(&f);
		estimate.bytes_billed = estimate.bytes_processed < 0 ? -1 : message_billed(estimate.bytes_processed);
		if (estimate.bytes_processed < 0 && !hidden)
			ereport(NOTICE,
					(errmsg("BigQuery does not say what a load of source \"%s\" would process", found->name),
					 errdetail("It hides this from accounts that see a table through row access policies. %s",
							   connection->max_bytes_billed > 0
								   ? psprintf("A load counts as the byte cap, %s.", connection->cap_name)
								   : "There is no byte cap, so a load counts as all that is allowed for a day.")));
		hidden |= estimate.bytes_processed < 0;
		/* warn before the load is refused */
		if (!warned && estimate.bytes_billed > connection->max_bytes_billed)
		{
			warned = true;
			ereport(NOTICE, (errmsg("a load of %s would be refused", day_text(day)),
							 errdetail("It would bill " INT64_FORMAT " bytes, and %s allows " INT64_FORMAT ".",
									   estimate.bytes_billed, connection->cap_name, connection->max_bytes_billed),
							 errhint("Raise %s before loading.", connection->cap_name)));
		}
		emit(arg, &estimate);
	}
	MemoryContextSwitchTo(context);
	bigquery_close(bq);
}

/* --------------------------------------------------------------------------
 * The comparison of days.  It does not load any, so its row of the ledger only has the
 * cost; and it must work where nothing can be written.
 * -------------------------------------------------------------------------- */

/* A hundred years: the limit of one result. */
#define MAX_VERIFIED_DAYS 36600

/* Errors of BigQuery are for everybody, the target's errors about its rows are not. */
static VerifyDay *
compare_hiding_rows(const LoadPlan *plan, Bigquery *bq, DateADT first, DateADT last, Bill *bill)
{
	MemoryContext context = CurrentMemoryContext;
	bool may_see_rows = run_may_see_rows(plan); /* in PG_CATCH the current user may still be another one */
	VerifyDay *days = NULL;

	PG_TRY();
	{
		days = verify_days(plan, bq, first, last, bill);
	}
	PG_CATCH();
	{
		ErrorData *edata;

		if (may_see_rows)
			PG_RE_THROW();
		MemoryContextSwitchTo(context);
		edata = CopyErrorData();
		FlushErrorState();
		run_hide_rows(edata);
		ReThrowError(edata);
	}
	PG_END_TRY();
	return days;
}

void
run_verify(const char *source, DateADT first, DateADT last, void (*emit)(void *arg, const VerifyDay *day), void *arg)
{
	extension_lock_for_call();

	LedgerSource *found = ledger_source(source);
	run_check_days(found, first, last, "compare", MAX_VERIFIED_DAYS);
	LoadPlan *plan = load_plan(found);
	load_check_budget(found);

	Bigquery *bq = bigquery_open(plan->connection, CurrentMemoryContext);
	bool writes = !XactReadOnly && !RecoveryInProgress();
	Bill unwritten = BILL_NOTHING;
	Bill *bill = writes ? ledger_bills_begin(found->name, first, last, "verify") : &unwritten;
	VerifyDay *days = compare_hiding_rows(plan, bq, first, last, bill);
	bool agrees = true;

	bigquery_close(bq);
	for (DateADT day = first; day <= last; day++)
		agrees &= days[day - first].agrees;
	if (writes)
		ledger_bills_write_comparison(bill, agrees ? RUN_UNCHANGED : RUN_DIFFERS);
	else
		ereport(
			NOTICE,
			(bill->bytes_processed >= 0
				 ? errmsg("BigQuery bills " INT64_FORMAT " bytes for comparing source \"%s\"", bill->bytes_billed,
						  found->name)
				 : errmsg("BigQuery does not say what it bills for comparing source \"%s\"", found->name),
			 errdetail("In a read-only transaction and on a standby they are not in the ledger, and do not count for "
					   "contratos.max_bytes_per_day.")));
	for (DateADT day = first; day <= last; day++)
		emit(arg, &days[day - first]);
}

/* --------------------------------------------------------------------------
 * Queued days
 *
 * Neither call uses the network or waits for the worker: both write to the ledger,
 * and when that is committed the worker is woken.
 * -------------------------------------------------------------------------- */

/* A hundred years: a typing error must not fill the ledger. */
#define MAX_QUEUED_DAYS 36600

static void
begin_queueing(const char *function)
{
	PreventCommandDuringRecovery(function);
	PreventCommandIfReadOnly(function);
	extension_lock_for_call();
}

int
run_enqueue(const char *source, DateADT first, DateADT last, bool only_missing)
{
	begin_queueing("contratos_enqueue()");
	LedgerSource *found = ledger_source(source);
	run_check_days(found, first, last, "queue", MAX_QUEUED_DAYS);

	int queued = ledger_enqueue(found->name, first, last, only_missing);
	if (queued == 0)
		return 0;
	worker_signal_at_commit();
	if (worker_signal_pid(MyDatabaseId) == 0 && !worker_signal_is_expected(MyDatabaseId))
		ereport(NOTICE, (errmsg("no worker is running in this database: the days stay queued"),
						 errhint("Put contratos into shared_preload_libraries and this database into "
								 "contratos.databases.")));
	return queued;
}

bool
run_cancel(int64 run)
{
	bool running;

	begin_queueing("contratos_cancel()");
	if (!ledger_cancel(run, &running))
		return false;
	if (running)
		worker_signal_stop_run();
	else
		worker_signal_at_commit();
	return true;
}

int64
run_accept(const char *source, DateADT day, const char *why)
{
	LedgerSource *found;
	LoadPlan *plan;
	DayFigures target;
	int64 run;

	run_check_transaction("contratos_accept()");
	extension_lock_for_call();
	found = ledger_source(source);
	run_check_day(found, day);
	ledger_claim(found->name);
	found = ledger_source(found->name);
	plan = load_plan_tables(found);
	target = load_measure(plan, day);
	run = ledger_accept(found->name, day, why, &target);
	if (run == 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("%s of source \"%s\" is loaded, and there is nothing to accept", day_text(day), found->name),
				 errhint("contratos_verify() compares a loaded day with BigQuery.")));
	worker_signal_at_commit();
	return run;
}
