/*
 * run_report.c
 *	  What a call reports besides its rows: totals, empty days, the reason why the
 *	  rest was not tried.
 */
#include "postgres.h"

#include "lib/stringinfo.h"

#include "base/clock.h"
#include "base/day.h"
#include "call/run.h"
#include "call/run_internal.h"
#include "ledger/ledger_run.h"
#include "load/progress.h"

/* --------------------------------------------------------------------------
 * Totals: one line at the end of a call
 * -------------------------------------------------------------------------- */

void
run_add_totals(CallTotals *totals, const RunResult *result, int64 bytes)
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

/* Nothing is computed where neither client nor log want a NOTICE. */
void
run_report_day(const CallTotals *totals, const char *source, DateADT day)
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

void
run_report_days(const CallTotals *totals, const char *source, int ndays)
{
	if (message_level_is_interesting(NOTICE))
		ereport(NOTICE, (errmsg("backfill of source \"%s\": %d %s (%s), %s", source, ndays, ndays == 1 ? "day" : "days",
								days_text(totals), how_it_went(totals))));
}

/* --------------------------------------------------------------------------
 * Days that BigQuery has no rows of: one WARNING for all of a call
 * -------------------------------------------------------------------------- */

/* A WARNING names no more ranges than these. */
#define MAX_EMPTY_RANGES 20

static void
append_empty_range(EmptyDays *empty)
{
	if (empty->ndays == 0 || empty->nranges++ >= MAX_EMPTY_RANGES)
		return;
	appendStringInfo(&empty->text, "%s%s", empty->nranges > 1 ? ", " : "", day_text(empty->first));
	if (empty->last > empty->first)
		appendStringInfo(&empty->text, " to %s", day_text(empty->last));
}

void
run_add_empty(EmptyDays *empty, DateADT day)
{
	if (empty->ndays == 0 || day != empty->last + 1)
	{
		append_empty_range(empty);
		empty->first = day;
	}
	empty->last = day;
	empty->ndays++;
}

void
run_report_empty(EmptyDays *empty, const char *source)
{
	if (empty->ndays == 0)
		return;
	append_empty_range(empty);
	ereport(WARNING,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("empty days of source \"%s\" were refused: %s%s", source, empty->text.data,
					empty->nranges > MAX_EMPTY_RANGES ? ", and others" : ""),
			 errdetail("BigQuery has no rows of them. Rows that were loaded before are kept."),
			 errhint("contratos_backfill_range() loads days that are really empty with allow_empty => true.")));
}

void
run_report_stop(const char *source, int ndays, const char *why)
{
	if (ndays == 0)
		return;
	ereport(WARNING, (errmsg("backfill of source \"%s\" stopped: %d %s not tried", source, ndays,
							 ndays == 1 ? "day was" : "days were"),
					  errdetail("They would fail for the same reason: %s", why)));
}
