/*
 * run_internal.h
 *	  What run's own files share.
 */
#ifndef CONTRATOS_RUN_INTERNAL_H
#define CONTRATOS_RUN_INTERNAL_H

#include "postgres.h"
#include "utils/date.h"

#include "call/run.h"
#include "ledger/ledger_run.h"
#include "ledger/ledger_source.h"
#include "load/load.h"

/* A day must be over, and one that BigQuery can express; 22023 if not. */
extern void run_check_day(const LedgerSource *source, DateADT day);

/* Whether the caller may read the target. */
extern bool run_may_see_rows(const LoadPlan *plan);

/*
 * Take out of an error what PostgreSQL says of a row to the target's owner, as whom
 * statements on it run: who may load a table need not be one who may read it.
 */
extern void run_hide_rows(ErrorData *edata);

/* --------------------------------------------------------------------------
 * run_totals.c: the line at the end of a call
 * -------------------------------------------------------------------------- */

typedef struct RunTotals
{
	int64 began; /* clock_ms() */
	int days[RUN_NSTATUSES]; /* by status */
	int skipped; /* days that were there already */
	int64 rows; /* loaded */
	int64 bytes; /* of BigQuery's answers */
} RunTotals;

extern RunTotals run_totals_begin(void);

/* A day has ended so; `bytes` were received for it. */
extern void run_totals_add(RunTotals *totals, const RunResult *result, int64 bytes);

/*
 * A NOTICE with the totals, of one day or of a backfill; no work is done for it
 * where neither client nor log want a NOTICE.
 */
extern void run_totals_tell_day(const RunTotals *totals, const char *source, DateADT day);
extern void run_totals_tell_days(const RunTotals *totals, const char *source, int ndays);

#endif /* CONTRATOS_RUN_INTERNAL_H */
