/*
 * verify.h
 *	  There against here: what BigQuery has of a day now, and whether that is
 *	  what was loaded and what still stands in the target.
 */
#ifndef CONTRATOS_VERIFY_H
#define CONTRATOS_VERIFY_H

#include "base/day.h"
#include "bigquery/bigquery.h"
#include "bigquery/message.h"
#include "ledger/ledger_history.h"
#include "load/load.h"

/* One query: the job it was, and what that has cost. */
typedef struct VerifyJob
{
	char job_id[128]; /* "": any */
	int64 bytes_processed; /* -1: not known */
	int64 bytes_billed; /* -1: not known */
} VerifyJob;

/*
 * Ask for a day under the id in job->job_id.  Needs no transaction; strings live
 * in CurrentMemoryContext; throws what BigQuery fails with.
 */
extern void verify_ask(const LoadPlan *plan, Bigquery *bq, DateADT day, VerifyJob *job, DayFigures *there);

/* In words what differs there from the last success of the day; NULL: nothing. */
extern char *verify_source(const DayFigures *there, const LedgerSuccess *success);

/*
 * In words what differs in the target from what was measured at the end of the
 * load; NULL: nothing.  In the current transaction.
 */
extern char *verify_target(const LoadPlan *plan, DateADT day, const LedgerSuccess *success);

/* A day in BigQuery, in the target and in the ledger. */
typedef struct VerifyDay
{
	DateADT day;
	DayFigures remote; /* as BigQuery has it */
	DayFigures target;
	LedgerSuccess ledger; /* run 0: the day has no success */
	bool agrees;
} VerifyDay;

/*
 * The days from first to last, oldest first, in CurrentMemoryContext: one query
 * for all of them, then one look at the target and one at the ledger, in the
 * current transaction, which may be read-only.  Of a snapshot first and last are
 * the same day, and the ledger's newest success stands for it.
 *
 * A day agrees when a recheck would leave it as it is: BigQuery has the rows,
 * latest timestamp and fingerprint that were loaded, and the target what was
 * measured in it at the end of the load.  A day that was never loaded, or not
 * measured, agrees when the target has as many rows as BigQuery and the same
 * latest timestamp, or neither has any.
 *
 * Throws what BigQuery fails with, and what a SELECT from the target may.
 */
extern VerifyDay *verify_days(const LoadPlan *plan, Bigquery *bq, DateADT first, DateADT last, VerifyJob *job);

#endif /* CONTRATOS_VERIFY_H */
