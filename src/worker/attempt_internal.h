/*
 * attempt_internal.h
 *	  Between the files of the attempt room.
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

/* How an attempt failed; attempt_end.c knows. */
typedef struct Ending Ending;

/* One attempt, while it lasts; in the caller's context. */
typedef struct Attempt
{
	const LedgerSchedule *schedule;
	const ScheduleAction *action;
	int64 open; /* queued or waiting row of the day; 0: none */
	int64 run; /* row of the ledger; 0: none yet */
	int number; /* of the attempt, as the ledger counts */
	char *kept_job; /* of a load that a lock stopped; NULL: none */
	ErrorData *unrecorded; /* why there is no row of an attempt that failed; NULL: there is */
	bool reloads; /* a recheck that has compared, and only loads */
	bool looks; /* first recheck of the source today: at its columns, too */
	Drift *drift; /* news of them; NULL: none */
	int64 began; /* clock_ms() */
	bool claimed; /* the source */
	bool busy; /* somebody else is at the day */
	int64 bytes_compared; /* billed for comparing, before the day is loaded again */
	Ending *ending; /* how it failed; NULL: it has not */
	LoadDay load; /* its plan is NULL until the source is resolved */
} Attempt;

/* Begin a transaction in the attempt's context; 42704 when the extension has gone. */
extern void attempt_must_begin(Attempt *attempt);

/* Of catch_with_transactions(): what the error means for the day, and its report. */
extern void attempt_report(void *arg, ErrorData *edata);

/*
 * After an error that was reported: undo what was begun, record it, and tell the
 * user's function.  What goes wrong in it is logged and no more.
 */
extern void attempt_fail(Attempt *attempt);

/*
 * Tell the source's on_failure, if it has one, that a day has finally failed, in
 * a transaction of its own; the function's error is only logged, but where it was
 * a lock (55P03) the day is told again after the source's ready_interval.  `run`:
 * the row that is told then.
 */
extern void attempt_tell_failure(const LedgerSchedule *schedule, int64 run, DateADT day, const char *error,
								 MemoryContext context);

/* The ledger has taken the beginning of a run: what it may not take next is news. */
extern void attempt_has_begun(void);

/* All days that are still to be told, are about to be. */
extern void attempt_tells_now(void);

/* How an attempt of this process ended whose end could not be recorded. */
typedef struct AttemptUnrecorded
{
	int64 run; /* its row, which is still `running` */
	LedgerRun end; /* without source and job */
	TimestampTz next; /* when the next attempt is due; 0: never */
} AttemptUnrecorded;

/* That of a row; NULL when it is none, or another could not be recorded since. */
extern const AttemptUnrecorded *attempt_unrecorded(int64 run);

/*
 * The one line of the log at the end of a day, however it ended; to be called
 * once the ledger has it.  `next`: when it will be tried again (0: not before
 * the schedule says so).  `why`: of an end that is no error, what was found;
 * NULL: nothing to say, or it has been reported.
 */
extern void attempt_log_end(const Attempt *attempt, RunStatus status, TimestampTz next, const char *why);

#endif /* CONTRATOS_ATTEMPT_INTERNAL_H */
