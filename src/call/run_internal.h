/*
 * run_internal.h
 *	  Functions that the run*.c files share.
 */
#ifndef CONTRATOS_RUN_INTERNAL_H
#define CONTRATOS_RUN_INTERNAL_H

#include "postgres.h"
#include "utils/date.h"

#include "call/run.h"
#include "ledger/ledger_run.h"
#include "ledger/ledger_source.h"
#include "load/load.h"

/* Check that a day is over, and that BigQuery can express it; 22023 if not. */
extern void run_check_day(const LedgerSource *source, DateADT day);

/* Whether the caller may read the target. */
extern bool run_may_see_rows(const LoadPlan *plan);

/*
 * Remove from an error the values of rows, which PostgreSQL shows to the target's
 * owner, as whom statements on it run: a role that may load a table may not be
 * allowed to read it.
 */
extern void run_hide_rows(ErrorData *edata);

/* --------------------------------------------------------------------------
 * run_totals.c: the line at the end of a call
 * -------------------------------------------------------------------------- */

typedef struct RunTotals
{
	int64 began; /* clock_ms() */
	int days[RUN_NSTATUSES]; /* by status */
	int skipped; /* days that were already loaded */
	int64 rows; /* loaded */
	int64 bytes; /* of BigQuery's responses */
} RunTotals;

extern RunTotals run_totals_begin(void);

/* Add the result of a day; `bytes` were received for it. */
extern void run_totals_add(RunTotals *totals, const RunResult *result, int64 bytes);

/*
 * A NOTICE with the totals, of one day or of a backfill; nothing is computed where
 * neither client nor log want a NOTICE.
 */
extern void run_totals_tell_day(const RunTotals *totals, const char *source, DateADT day);
extern void run_totals_tell_days(const RunTotals *totals, const char *source, int ndays);

#endif /* CONTRATOS_RUN_INTERNAL_H */
