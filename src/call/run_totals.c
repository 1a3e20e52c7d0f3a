/*
 * run_totals.c
 *	  The totals of a call: one line at its end.
 */
#include "postgres.h"

#include "lib/stringinfo.h"

#include "base/clock.h"
#include "base/day.h"
#include "bigquery/request.h"
#include "call/run_internal.h"
#include "ledger/ledger_run.h"
#include "ledger/schedule.h"
#include "load/progress.h"

RunTotals
run_totals_begin(void)
{
	return (RunTotals){.began = clock_ms()};
}

void
run_totals_add(RunTotals *totals, const RunResult *result, int64 bytes)
{
	totals->days[result->status]++;
	totals->rows += Max(result->rows_loaded, 0);
	totals->bytes += bytes;
}

static char *
how_it_went(const RunTotals *totals)
{
	return progress_totals_text(totals->rows, totals->bytes, clock_ms() - totals->began);
}

void
run_totals_tell_day(const RunTotals *totals, const char *source, DateADT day)
{
	if (message_level_is_interesting(NOTICE))
		ereport(NOTICE, (errmsg("load of source \"%s\", %s: %s", source, day_text(day), how_it_went(totals))));
}

/* "3 succeeded, 1 failed, 2 already loaded" */
static char *
days_text(const RunTotals *totals)
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

void
run_totals_tell_days(const RunTotals *totals, const char *source, int ndays)
{
	if (message_level_is_interesting(NOTICE))
		ereport(NOTICE, (errmsg("backfill of source \"%s\": %d %s (%s), %s", source, ndays, ndays == 1 ? "day" : "days",
								days_text(totals), how_it_went(totals))));
}
