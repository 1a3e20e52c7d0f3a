/*
 * attempt_internal.h
 *	  Functions that the attempt*.c files share.
 */
#ifndef CONTRATOS_ATTEMPT_INTERNAL_H
#define CONTRATOS_ATTEMPT_INTERNAL_H

#include "bigquery/bigquery.h"
#include "ledger/ledger_run.h"
#include "ledger/ledger_source.h"
#include "load/drift.h"
#include "load/load.h"
#include "load/verify.h"
#include "worker/attempt.h"

/* How an attempt failed; private to attempt_end.c. */
typedef struct Ending Ending;

/* One attempt, while it lasts; in the caller's context. */
typedef struct Attempt
{
	const LedgerSchedule *schedule;
	const ScheduleAction *action;
	int64 open; /* queued or waiting row of the day; 0: none */
	int64 run; /* row of the ledger; 0: none yet */
	int number; /* of the attempt, as counted in the ledger */
	char *kept_job; /* of a load that was stopped by a lock; NULL: none */
	AttemptResult *result;
	bool check; /* a recheck that is comparing */
	bool compare_columns; /* the first recheck of the source today, which compares its columns, too */
	Drift *drift; /* new differences of the columns; NULL: none */
	int64 began; /* clock_ms() */
	bool claimed; /* the source */
	Ending *ending; /* how it failed; NULL: it has not */
	LoadDay load; /* its plan is NULL until the source is resolved */
} Attempt;

/* Begin a transaction in the attempt's context; 42704 when the extension has been dropped. */
extern void attempt_must_begin(Attempt *attempt);

/* For catch_with_transactions(): classify the error for the day, and report it. */
extern void attempt_report(void *arg, ErrorData *edata);

/*
 * After an error that was reported: undo the attempt, record its end, and call
 * on_failure.  Errors of these steps are only logged.
 */
extern void attempt_fail(Attempt *attempt);

/*
 * Call the source's on_failure, if it has one, for a day that has finally failed,
 * in a transaction of its own; the function's error is only logged, but if it was
 * stopped by a lock (55P03) it is called again after the source's ready_interval.
 * `run`: the row that then counts as reported.
 */
extern void attempt_report_failure(const LedgerSchedule *schedule, int64 run, DateADT day, const char *error,
								   MemoryContext context);

/* The ledger has recorded the beginning of a run: the next failure to record is reported again. */
extern void attempt_has_begun(void);

/* on_failure is about to be called for all days that are left. */
extern void attempt_reports_now(void);

/* An end of an attempt of this process that could not be recorded. */
typedef struct AttemptUnrecorded
{
	int64 run; /* its row, which is still `running`, or was canceled */
	LedgerRun end; /* without source and job */
	TimestampTz next; /* when the next attempt is due; 0: never */
} AttemptUnrecorded;

/* The one of a row; NULL when there is none, or another could not be recorded since. */
extern const AttemptUnrecorded *attempt_unrecorded(int64 run);

/* The next attempt_recover() looks for ended runs without a cost, too. */
extern void attempt_recover_costs(void);

/*
 * The line in the log at the end of a day, however it ended; called once it is
 * recorded in the ledger.  `next`: when it will be tried again (0: not before the
 * schedule decides so).  `why`: for an end that is not an error, what was found;
 * NULL: nothing, or it has been reported.
 */
extern void attempt_log_end(const Attempt *attempt, int elevel, RunStatus status, TimestampTz next, const char *why);

#endif /* CONTRATOS_ATTEMPT_INTERNAL_H */
