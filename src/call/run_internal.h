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

#endif /* CONTRATOS_RUN_INTERNAL_H */
