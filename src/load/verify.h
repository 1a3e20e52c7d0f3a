/*
 * verify.h
 *	  A day's rows in BigQuery now, compared with those that were loaded and those
 *	  that are still in the target.
 */
#ifndef CONTRATOS_VERIFY_H
#define CONTRATOS_VERIFY_H

#include "base/bill.h"
#include "base/day.h"
#include "bigquery/bigquery.h"
#include "ledger/ledger_history.h"
#include "load/load.h"

/*
 * Query a day's figures; the job's id is that in *bill, if there is one, and *bill
 * becomes its cost, also after an error.  Needs no transaction; strings live in
 * CurrentMemoryContext; throws BigQuery's errors.
 */
extern void verify_ask(const LoadPlan *plan, Bigquery *bq, DateADT day, Bill *bill, DayFigures *remote);

/* Describe how BigQuery's figures differ from the last success of the day; NULL: not at all. */
extern char *verify_source(const DayFigures *remote, const LedgerSuccess *success);

/*
 * Describe how the target differs from what was measured at the end of the load;
 * NULL: not at all.  In the current transaction.
 */
extern char *verify_target(const LoadPlan *plan, DateADT day, const LedgerSuccess *success);

/* A day in BigQuery, in the target and in the ledger. */
typedef struct VerifyDay
{
	DateADT day;
	DayFigures remote; /* in BigQuery */
	DayFigures target;
	LedgerSuccess ledger; /* run 0: the day has no success */
	bool agrees;
} VerifyDay;

/*
 * The days from first to last, oldest first, in CurrentMemoryContext: one query
 * for all of them, then one look at the target and one at the ledger, in the
 * current transaction, which may be read-only.  For a full-table source first and
 * last are the same day, and the ledger's newest success stands for it.
 *
 * A day agrees when a recheck would not load it again: BigQuery has the rows,
 * latest timestamp and fingerprint that were loaded, and the target has the
 * figures that were measured at the end of the load.  A day that was never loaded,
 * or not measured, agrees when the target has as many rows as BigQuery and the
 * same latest timestamp, or neither has any.
 *
 * Throws BigQuery's errors, and those of a SELECT from the target.
 */
extern VerifyDay *verify_days(const LoadPlan *plan, Bigquery *bq, DateADT first, DateADT last, Bill *bill);

#endif /* CONTRATOS_VERIFY_H */
