/*
 * run.h
 *	  One day of one source from start to finish, and consecutive days.
 */
#ifndef CONTRATOS_RUN_H
#define CONTRATOS_RUN_H

#include "postgres.h"
#include "utils/date.h"

#include "ledger/ledger_run.h"
#include "load/verify.h"

/* How a day ended; strings in the caller's context. */
typedef struct RunResult
{
	DateADT day;
	RunStatus status; /* succeeded, failed, refused or canceled */
	int64 rows_loaded; /* -1: null */
	int64 rows_replaced; /* -1: null */
	const char *message; /* NULL: nothing to say */
	int64 run; /* id in contratos_runs; 0: null */
} RunResult;

/* Ten years: the limit of one backfill or estimate. */
#define RUN_MAX_DAYS 3660

/* The optional arguments of a call. */
typedef struct RunOptions
{
	bool only_missing; /* of several days: not those that have a success */
	bool allow_shrink; /* days that have far fewer rows than before */
	bool allow_empty; /* days that BigQuery has no rows of */
} RunOptions;

/*
 * Load one day now, in this transaction.  An error is raised, and leaves nothing
 * in the ledger.
 */
extern RunResult *run_day(const char *source, DateADT day, const RunOptions *options);

/*
 * Load the days from first to last, oldest first, each in a subtransaction;
 * `emit` is called for each with its result; errors name `function`.  A day that is
 * refused because it is empty is one of the ranges that a single WARNING names.
 */
extern void run_days(const char *function, const char *source, DateADT first, DateADT last, const RunOptions *options,
					 void (*emit)(void *arg, const RunResult *result), void *arg);

/*
 * The same, but each day is committed: through the caller's SPI connection, which is
 * nonatomic and not in a subtransaction.  The work that the caller has not committed is committed first.
 * 55000 when every day that is not empty has failed; the failures stay in the ledger.
 */
extern void run_load(const char *source, DateADT first, DateADT last, bool only_missing);

/* The estimated cost of a load of a day. */
typedef struct RunEstimate
{
	DateADT day;
	int64 bytes_processed;
	int64 bytes_billed; /* by BigQuery's rule for one table */
} RunEstimate;

/*
 * Estimate, free of charge, the cost of loading the days from first to last;
 * `emit` is called for each, oldest first.  Reads and writes no rows; the days are
 * checked like those of run_days().
 */
extern void run_estimate(const char *source, DateADT first, DateADT last,
						 void (*emit)(void *arg, const RunEstimate *estimate), void *arg);

/*
 * Compare the days from first to last in BigQuery, in the target and in the ledger
 * (see verify_days()) by one query; `emit` is called for each, oldest first.
 * Writes nothing, so that it works in a read-only transaction and at any isolation
 * level; its cost is not in the ledger, but reported by a NOTICE.  The days are
 * checked like those of run_days(); 22023 also for more than 36,600 of them, 53400
 * when the daily byte budget of the source is exhausted.
 */
extern void run_verify(const char *source, DateADT first, DateADT last, void (*emit)(void *arg, const VerifyDay *day),
					   void *arg);

/*
 * Queue the days from first to last for the worker, which is woken at commit;
 * returns how many were newly queued.  A NOTICE when no worker runs in this
 * database.
 */
extern int run_enqueue(const char *source, DateADT first, DateADT last, bool only_missing);

/*
 * Cancel a queued or waiting run, or one that is to be retried, or have the worker
 * stop the one in progress when this transaction commits.  False: it has ended, or
 * never existed.
 */
extern bool run_cancel(int64 run);

/*
 * Accept a day as it stands in the target, for the reason `why` (NULL: none is
 * given); returns the number of the ledger's row.  Waits for the claim on the
 * source.  22023 for a day that is not over, 25000 at a higher isolation level,
 * 55000 when the day is loaded and nothing is wrong with it.
 */
extern int64 run_accept(const char *source, DateADT day, const char *why);

#endif /* CONTRATOS_RUN_H */
