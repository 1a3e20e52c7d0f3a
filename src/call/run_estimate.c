/*
 * run_estimate.c
 *	  What days would cost before they are loaded.
 *
 * A dry run of just the query that a load asks: BigQuery reads nothing for it,
 * and takes nothing.  What it says is the most that a table may cost; of a
 * clustered one a load may read less.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/memutils.h"

#include "base/failure.h"
#include "base/settings.h"
#include "bigquery/bigquery.h"
#include "bigquery/message.h"
#include "call/run.h"
#include "call/run_internal.h"
#include "ledger/extension.h"
#include "ledger/schedule.h"
#include "load/load.h"

static RunEstimate
estimate_day(const LoadPlan *plan, Bigquery *bq, DateADT day)
{
	RunEstimate estimate = {.day = day};
	Failure f;

	if (!bigquery_estimate(bq, load_query(plan, day), &estimate.bytes_processed, &f))
		failure_throw(&f);
	estimate.bytes_billed = message_billed(estimate.bytes_processed);
	return estimate;
}

/* Better said now than when the load is refused. */
static void
say_cap(const LoadPlan *plan, const RunEstimate *estimate)
{
	ereport(NOTICE, (errmsg("a load of %s would be refused", schedule_day_text(estimate->day)),
					 errdetail("It would bill " INT64_FORMAT " bytes, and %s allows " INT64_FORMAT ".",
							   estimate->bytes_billed, plan->connection->cap_name, plan->connection->max_bytes_billed),
					 errhint("Raise %s before loading.", plan->connection->cap_name)));
}

void
run_estimate(const char *source, DateADT first, DateADT last, void (*emit)(void *arg, const RunEstimate *estimate),
			 void *arg)
{
	extension_lock();

	LedgerSource *found = ledger_source(source);
	run_check_day(found, first);
	run_check_day(found, last);

	LoadPlan *plan = load_plan(found);
	MemoryContext context = CurrentMemoryContext;
	MemoryContext per_day = AllocSetContextCreate(context, "contratos estimate", ALLOCSET_DEFAULT_SIZES);
	Bigquery *bq = bigquery_open(plan->connection, context);
	bool said = plan->connection->max_bytes_billed == 0;

	for (DateADT day = first; day <= last; day++)
	{
		CHECK_FOR_INTERRUPTS();
		MemoryContextReset(per_day);
		MemoryContextSwitchTo(per_day);

		RunEstimate estimate = estimate_day(plan, bq, day);

		if (!said && estimate.bytes_billed > plan->connection->max_bytes_billed)
			say_cap(plan, &estimate);
		said |= estimate.bytes_billed > plan->connection->max_bytes_billed;
		emit(arg, &estimate);
	}
	MemoryContextSwitchTo(context);
	bigquery_close(bq);
}
