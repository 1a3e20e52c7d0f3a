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

/*
 * Refuse what a call that writes cannot do: in recovery, in a read-only transaction
 * (25006), or (25001) with a snapshot that was taken before another session loaded
 * the day: the DELETE would not see that day's rows, and the INSERT would double them.
 */
extern void run_check_transaction(const char *function);

/* Whether the caller may read the target. */
extern bool run_may_see_rows(const LoadPlan *plan);

/*
 * Remove from an error the values of rows, which PostgreSQL shows to the target's
 * owner, as whom statements on it run: a role that may load a table may not be
 * allowed to read it.
 */
extern void run_hide_rows(ErrorData *edata);

#endif /* CONTRATOS_RUN_INTERNAL_H */
