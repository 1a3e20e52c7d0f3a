/*
 * run_verify.c
 *	  Days compared with BigQuery by call.
 *
 * The cost of it is real but in no ledger: a row there is an attempt at one day,
 * and a comparison, which is none, must work where nothing can be written.
 */
#include "postgres.h"

#include "miscadmin.h"

#include "base/failure.h"
#include "bigquery/bigquery.h"
#include "call/run.h"
#include "call/run_internal.h"
#include "ledger/extension.h"

/* A hundred years: what one answer may hold here. */
#define MAX_VERIFIED_DAYS 36600

static LedgerSource *
check_arguments(const char *name, DateADT first, DateADT last)
{
	LedgerSource *source = ledger_source(name);

	run_check_day(source, first);
	run_check_day(source, last);
	if (last - first >= MAX_VERIFIED_DAYS)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("cannot compare more than %d days", MAX_VERIFIED_DAYS),
						errdetail("From first to last there are %d.", last - first + 1)));
	return source;
}

static void
say_cost(const LedgerSource *source, const VerifyJob *job)
{
	if (job->bytes_billed < 0)
		return;
	ereport(NOTICE, (errmsg("BigQuery bills " INT64_FORMAT " bytes for comparing source \"%s\"", job->bytes_billed,
							source->name),
					 errdetail("They are not in the ledger, and do not count for contratos.max_bytes_per_day.")));
}

/* What BigQuery says is for everybody, what the target says of its rows is not. */
static VerifyDay *
compare(const LoadPlan *plan, Bigquery *bq, DateADT first, DateADT last, VerifyJob *job)
{
	MemoryContext context = CurrentMemoryContext;
	bool may_see_rows = run_may_see_rows(plan); /* in PG_CATCH it would be whom the error has left */
	VerifyDay *days = NULL;

	failure_forget();
	PG_TRY();
	{
		days = verify_days(plan, bq, first, last, job);
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
	extension_lock();

	LedgerSource *found = check_arguments(source, first, last);
	LoadPlan *plan = load_plan(found);
	load_check_budget(found);

	Bigquery *bq = bigquery_open(plan->connection, CurrentMemoryContext);
	VerifyJob job = {0};
	VerifyDay *days = compare(plan, bq, first, last, &job);

	bigquery_close(bq);
	say_cost(found, &job);
	for (DateADT day = first; day <= last; day++)
		emit(arg, &days[day - first]);
}
