/*
 * run_internal.h
 *	  Functions that the run*.c files share.
 */
#ifndef CONTRATOS_RUN_INTERNAL_H
#define CONTRATOS_RUN_INTERNAL_H

#include "postgres.h"
#include "lib/stringinfo.h"
#include "utils/date.h"

#include "bigquery/bigquery.h"
#include "call/run.h"
#include "ledger/ledger_run.h"
#include "ledger/ledger_source.h"
#include "load/load.h"

/* The totals of a call. */
typedef struct CallTotals
{
	int64 began; /* clock_ms(); the wait for another load does not count */
	int days[RUN_NSTATUSES]; /* by status */
	int skipped; /* days that were already loaded */
	int64 rows; /* loaded */
	int64 bytes; /* of BigQuery's responses */
	int64 billed; /* bytes */
} CallTotals;

/* Days that BigQuery has no rows of. */
typedef struct EmptyDays
{
	StringInfoData text; /* "2026-11-01 to 2026-11-10, 2026-11-15" */
	int nranges;
	DateADT first; /* of the range that is not in the text yet */
	DateADT last;
	int ndays;
} EmptyDays;

/* A call, and the source and connections of its current transaction. */
typedef struct Call
{
	const char *cause;
	bool commits; /* each day */
	MemoryContext context; /* lives as long as source, plan and connections */
	LedgerSource *source;
	LoadPlan *plan;
	Bigquery *bq;
	bool may_see_rows; /* of the target, in an error's detail */
	int64 next_notice; /* NOTICEs are a second apart, also from one day to the next */
	CallTotals totals;
	EmptyDays empty;
} Call;

/* Everything before the first query of a transaction; `function` is for errors. */
extern void run_begin(Call *call, const char *function, const char *source, const char *cause);

/* Wait for the claim on the source, read it again once it is held, and resolve it. */
extern void run_claim(Call *call);

/*
 * Load a day in a subtransaction, and record how that ended.  *stop is the error
 * that every other day would have as well, NULL if there is none.  Errors of the
 * session are raised, and until a day has succeeded those of every day.
 */
extern RunResult *run_try_day(Call *call, DateADT day, const RunOptions *options, const char **stop);

/* Close the connections. */
extern void run_end(Call *call);

/* Check that a day is over, and that BigQuery can express it; 22023 if not. */
extern void run_check_day(const LedgerSource *source, DateADT day);

/*
 * Refuse a call that writes: in recovery, in a read-only transaction
 * (25006), or (25000) with a snapshot that was taken before another session loaded
 * the day: the DELETE would not see that day's rows, and the INSERT would double them.
 */
extern void run_check_transaction(const char *function);

/* The same for the days from first to last, of which a call can `verb` at most `limit`. */
extern void run_check_days(const LedgerSource *source, DateADT first, DateADT last, const char *verb, int limit);

/* Whether the caller may read the target. */
extern bool run_may_see_rows(const LoadPlan *plan);

/*
 * Remove from an error the values of rows, which PostgreSQL shows to the target's
 * owner, as whom statements on it run: a role that may load a table may not be
 * allowed to read it.
 */
extern void run_hide_rows(ErrorData *edata);

/* --------------------------------------------------------------------------
 * run_report.c: NOTICEs and WARNINGs
 * -------------------------------------------------------------------------- */

/* Add the result of a day; `bytes` were received for it. */
extern void run_add_totals(CallTotals *totals, const RunResult *result, int64 bytes);

/* The totals of one day, or of a backfill of so many days. */
extern void run_report_day(const CallTotals *totals, const char *source, DateADT day);
extern void run_report_days(const CallTotals *totals, const char *source, int ndays);

/* Collect a day that was refused because it is empty, and report all of them by one WARNING with their ranges. */
extern void run_add_empty(EmptyDays *empty, DateADT day);
extern void run_report_empty(EmptyDays *empty, const char *source);

/* So many days were not tried, for that reason. */
extern void run_report_stop(const char *source, int ndays, const char *why);

#endif /* CONTRATOS_RUN_INTERNAL_H */
