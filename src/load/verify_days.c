/*
 * verify_days.c
 *	  Days compared because a person asks: there, here and in the ledger.
 *
 * BigQuery is asked first: what it thinks about for long is older than what is
 * then read here, and a day that is loaded meanwhile is loaded from the same
 * table.  The ledger comes before the target, at once, so that hardly a load can
 * end between the two; one that does makes its day look different, once.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/timestamp.h"

#include "base/day.h"
#include "bigquery/bigquery.h"
#include "ledger/ledger_history.h"
#include "ledger/schedule.h"
#include "load/verify.h"
#include "load/verify_internal.h"

static void
ask(const LoadPlan *plan, Bigquery *bq, DateADT first, DateADT last, VerifyJob *job, DayFigures *there)
{
	if (plan->timestamp == NULL)
		verify_ask(plan, bq, first, job, there);
	else
		verify_ask_days(plan, bq, first, last, job, there);
}

static void
look_up(const LoadPlan *plan, DateADT first, DateADT last, LedgerSuccess *days)
{
	if (plan->timestamp == NULL)
		(void) ledger_newest_success(plan->source->name, days);
	else
		ledger_last_successes(plan->source->name, first, last, days);
}

/* As the target can have it: days without a time of day have no latest one. */
static DayFigures
as_kept(const LoadPlan *plan, DayFigures remote)
{
	if (remote.has_max && plan->timestamp_target == DATEOID)
		remote.max_timestamp = day_start(day_of(remote.max_timestamp));
	return remote;
}

/* Whether the target has what it should: what the load left in it, if that is known. */
static bool
is_kept(const LoadPlan *plan, const VerifyDay *day)
{
	DayFigures wanted =
		day->ledger.run != 0 && day->ledger.target.rows >= 0 ? day->ledger.target : as_kept(plan, day->remote);

	return day->target.rows == wanted.rows && day_same_max(&day->target, &wanted);
}

static VerifyDay
compare(const LoadPlan *plan, DateADT day, const DayFigures *there, const DayFigures *here, const LedgerSuccess *ledger)
{
	VerifyDay result = {.day = day, .remote = *there, .target = *here, .ledger = *ledger};

	result.agrees = (ledger->run == 0 || verify_source(there, ledger) == NULL) && is_kept(plan, &result);
	return result;
}

VerifyDay *
verify_days(const LoadPlan *plan, Bigquery *bq, DateADT first, DateADT last, VerifyJob *job)
{
	int n = last - first + 1;
	VerifyDay *days = palloc(sizeof(VerifyDay) * n);
	DayFigures *there = palloc(sizeof(DayFigures) * n);
	DayFigures *here = palloc(sizeof(DayFigures) * n);
	LedgerSuccess *ledger = palloc(sizeof(LedgerSuccess) * n);

	ask(plan, bq, first, last, job, there);
	look_up(plan, first, last, ledger);
	load_measure_days(plan, first, last, here);
	for (int i = 0; i < n; i++)
		days[i] = compare(plan, first + i, &there[i], &here[i], &ledger[i]);
	return days;
}
