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
#include "ledger/ledger.h"
#include "ledger/schedule.h"
#include "load/verify.h"
#include "load/verify_internal.h"

static void
ask(const LoadPlan *plan, Bigquery *bq, DateADT first, DateADT last, VerifyJob *job, VerifyThere *there)
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

/* A target whose days have no time of day cannot have the latest one. */
static TimestampTz
as_kept(const LoadPlan *plan, TimestampTz timestamp)
{
	return plan->timestamp_target == DATEOID ? day_start(day_of(timestamp)) : timestamp;
}

static bool
same_max(bool has_one, TimestampTz one, bool has_other, TimestampTz other)
{
	return has_one == has_other && (!has_one || one == other);
}

/* Whether the target has what it should: what the load left in it, if that is known. */
static bool
is_kept(const LoadPlan *plan, const VerifyDay *day)
{
	const LoadMeasure *here = &day->here;
	const LedgerSuccess *ledger = &day->ledger;
	const VerifyThere *there = &day->there;

	if (ledger->run != 0 && ledger->target_rows >= 0)
		return here->rows == ledger->target_rows &&
			   same_max(here->has_max, here->max_timestamp, ledger->has_target_max, ledger->target_max_timestamp);
	return here->rows == there->rows && same_max(here->has_max, here->max_timestamp, there->has_max,
												 there->has_max ? as_kept(plan, there->max_timestamp) : 0);
}

static VerifyDay
compare(const LoadPlan *plan, DateADT day, const VerifyThere *there, const LoadMeasure *here,
		const LedgerSuccess *ledger)
{
	VerifyDay result = {.day = day, .there = *there, .here = *here, .ledger = *ledger};

	result.agrees = (ledger->run == 0 || verify_source(there, ledger) == NULL) && is_kept(plan, &result);
	return result;
}

VerifyDay *
verify_days(const LoadPlan *plan, Bigquery *bq, DateADT first, DateADT last, VerifyJob *job)
{
	int n = last - first + 1;
	VerifyDay *days = palloc(sizeof(VerifyDay) * n);
	VerifyThere *there = palloc(sizeof(VerifyThere) * n);
	LoadMeasure *here = palloc(sizeof(LoadMeasure) * n);
	LedgerSuccess *ledger = palloc(sizeof(LedgerSuccess) * n);

	ask(plan, bq, first, last, job, there);
	look_up(plan, first, last, ledger);
	load_measure_days(plan, first, last, here);
	for (int i = 0; i < n; i++)
		days[i] = compare(plan, first + i, &there[i], &here[i], &ledger[i]);
	return days;
}
