/*
 * ledger_run.h
 *	  A run, a row of contratos_runs, from its beginning to its end, and its rejects.
 */
#ifndef CONTRATOS_LEDGER_RUN_H
#define CONTRATOS_LEDGER_RUN_H

#include "postgres.h"

#include "datatype/timestamp.h"
#include "nodes/pg_list.h"
#include "utils/date.h"

#include "base/day.h"

/* How a run ended, or how far it is; contratos_runs.status has the names. */
typedef enum RunStatus
{
	RUN_SUCCEEDED = 0,
	RUN_FAILED,
	RUN_REFUSED, /* by the guard */
	RUN_CANCELED,
	RUN_INTERRUPTED, /* its process died, or was canceled by another hand */
	RUN_UNCHANGED, /* a recheck that found the day as it was loaded */
	RUN_DIFFERS, /* a recheck that found it different, again */
	RUN_QUEUED,
	RUN_WAITING, /* for BigQuery, or for a lock */
	RUN_RUNNING
} RunStatus;

#define RUN_NSTATUSES (RUN_RUNNING + 1)

/* The name of a status, and the status of a name (XX000 when it has none). */
extern const char *ledger_status_name(RunStatus status);

extern RunStatus ledger_status(const char *name);

/* What becomes a row of contratos_runs.  -1: null, for the counts. */
typedef struct LedgerRun
{
	const char *source;
	DateADT day;
	const char *cause; /* "manual", "backfill", … */
	RunStatus status;
	TimestampTz started_at;
	DayFigures loaded; /* as BigQuery had them */
	DayFigures target; /* of the day in the target, at the end; without a fingerprint */
	int64 rows_replaced;
	int64 rows_inserted;
	int64 values_altered;
	int64 bytes_processed;
	int64 bytes_billed;
	int64 pages;
	const char *job_id; /* NULL: none was asked for */
	const char *sqlstate; /* five characters, or NULL */
	const char *reason; /* BigQuery's, or NULL */
	const char *error; /* message and detail, or NULL */
	const char *message; /* the message alone, as NOTIFY may tell it to anybody; or NULL */
	bool untold; /* on_failure is to be called for it; of a run that is ended */
} LedgerRun;

/* A run of which nothing else is known. */
extern LedgerRun ledger_new_run(const char *source, DateADT day, RunStatus status);

/* A value that could not be kept as it was; text in the server encoding. */
typedef struct LedgerReject
{
	int64 row_number;
	char *column;
	char *raw_value; /* already cut and free of U+0000; may be NULL */
	const char *reason;
} LedgerReject;

/* Write one finished run; returns its id. */
extern int64 ledger_record(const LedgerRun *run);

/* Write the rejects of a run. */
extern void ledger_record_rejects(int64 run, const LedgerReject *rejects, int nrejects);

/*
 * Open a run: a row `running` with its job id, or the queued or waiting row
 * `run` (0: none) turned into it; a waiting one keeps its started_at.  Returns
 * its id; 0 when somebody else is at that day or row (canceled or queued
 * meanwhile, perhaps not yet committed): look at the days again, a little later
 * if nothing has changed.  Never waits.
 */
extern int64 ledger_begin(int64 run, const char *source, DateADT day, const char *cause, int attempt,
						  const char *job_id);

/*
 * The job that the row `run` waits with, all but the rows' replacement done: it met
 * a lock (55P03) less than LEDGER_JOB_HOURS after its beginning.  NULL: there is
 * none.  BigQuery keeps a result for about 24 hours
 * (cloud.google.com/bigquery/docs/cached-results).
 */
#define LEDGER_JOB_HOURS 23
extern char *ledger_kept_job(int64 run, TimestampTz now);

/*
 * The run goes on with another job: note its id, and what the one before it
 * has cost (-1: not known).
 */
extern void ledger_next_job(int64 run, const char *job_id, int64 bytes_processed, int64 bytes_billed);

/*
 * End an open run as `run` says; next_attempt_at as given (0: none).  Rows are
 * found by id; a run that is gone (removed by a person) is no error.  A NULL
 * job_id leaves the one that is there; `waiting` is no end, and not notified.
 *
 * False when contratos_cancel() has made the row `canceled`: that it stays,
 * with no next attempt, whatever `run` says of the rest.  A success cannot stay
 * then: 57014 is raised instead, so that the data are rolled back too.
 */
extern bool ledger_end(int64 id, const LedgerRun *run, TimestampTz next_attempt_at);

/*
 * NOTIFY contratos when this transaction commits: source, day, status, rows, run,
 * sqlstate, error as JSON of at most 4 kB (the error is cut).  Anybody may listen,
 * so the error is the run's message and never its detail, which quotes rows.
 * All that ends a run here does it.
 */
extern void ledger_notify(const LedgerRun *run, int64 id);

/* on_failure has been called for a run, well or not. */
extern void ledger_told(int64 run);

/* It could not be: it is to be called later. */
extern void ledger_tell_later(int64 run);

/* Runs for which it has not been, a dead process having been about to, or for a lock; they count as told from now on. */
typedef struct LedgerUntold
{
	char *source;
	DateADT day;
	char *error;
	int64 run;
} LedgerUntold;

extern List *ledger_take_untold(void);

/*
 * Rows `running` of sources whose claim nobody holds, not even the caller, are
 * those of a dead process.  Returns them (a List of LedgerStaleRun), so that the
 * caller can end them in the same transaction (ledger_end(), `interrupted`) and
 * have their jobs cancelled.  Nobody can claim those sources until the end of
 * the transaction.
 */
typedef struct LedgerStaleRun
{
	int64 run;
	char *source;
	DateADT day;
	int attempt;
	char *job_id; /* NULL: none */
} LedgerStaleRun;

extern List *ledger_stale_runs(void);

#endif /* CONTRATOS_LEDGER_RUN_H */
