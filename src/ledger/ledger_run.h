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
	RUN_INTERRUPTED, /* its process died, or was canceled otherwise than by contratos_cancel() */
	RUN_UNCHANGED, /* a recheck that found the day as it was loaded */
	RUN_DIFFERS, /* a recheck that found it different; if it is loaded again, a row with the cause `reload` follows */
	RUN_ACCEPTED, /* by contratos_accept(): the day is to stay as it is in the target */
	RUN_QUEUED,
	RUN_WAITING, /* for BigQuery, or for a lock */
	RUN_RUNNING
} RunStatus;

#define RUN_NSTATUSES (RUN_RUNNING + 1)

/* The name of a status, and the status of a name (XX000 when there is no such status). */
extern const char *ledger_status_name(RunStatus status);

extern RunStatus ledger_status(const char *name);

/* The values of a row of contratos_runs.  -1: null, for the counts. */
typedef struct LedgerRun
{
	const char *source;
	DateADT day;
	const char *cause; /* "manual", "backfill", … */
	RunStatus status;
	TimestampTz started_at;
	DayFigures loaded; /* in BigQuery */
	DayFigures target; /* of the day in the target, at the end of the load; without a fingerprint */
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
	const char *message; /* the message alone, which NOTIFY may send to anybody; or NULL */
	bool confirmed; /* a success that needs no recheck to be confirmed */
} LedgerRun;

/* A run with nothing else known. */
extern LedgerRun ledger_new_run(const char *source, DateADT day, RunStatus status);

/* A value that could not be stored unchanged; text in the server encoding. */
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
 * Open a run: insert a row `running` with its job id, or turn the queued or
 * waiting row `run` (0: none) into it; a waiting one keeps its started_at.
 * Returns its id; 0 when another session uses that day or row (canceled or queued
 * meanwhile, perhaps not yet committed): in this case look at the days again, a
 * little later if nothing has changed.  Never waits.
 */
extern int64 ledger_begin(int64 run, const char *source, DateADT day, const char *cause, int attempt,
						  const char *job_id);

/*
 * The job of the waiting row `run` whose result only needs to be loaded: the
 * attempt was stopped by a lock (55P03), and began less than LEDGER_JOB_HOURS ago.
 * NULL: there is none.  BigQuery keeps a result for about 24 hours
 * (cloud.google.com/bigquery/docs/cached-results).
 */
#define LEDGER_JOB_HOURS 23
extern char *ledger_kept_job(int64 run, TimestampTz now);

/*
 * The run continues with another job: record its id, and the cost of the job
 * before it (-1: not known).  Or the id is the present one, and the cost is its own.
 */
extern void ledger_next_job(int64 run, const char *job_id, int64 bytes_processed, int64 bytes_billed);

/*
 * End an open run as `run` says; next_attempt_at as given (0: none).  Rows are
 * found by id; a run that no longer exists (deleted by a user) is not an error.  A
 * NULL job_id keeps the present one; `waiting` does not end the run, and causes no
 * NOTIFY.
 *
 * False when contratos_cancel() has made the row `canceled`: it keeps this status,
 * with no next attempt, and gets only the other values of `run`.  A success must
 * not be kept then: 57014 is raised instead, so that the data are rolled back too.
 */
extern bool ledger_end(int64 id, const LedgerRun *run, TimestampTz next_attempt_at);

/*
 * NOTIFY contratos when this transaction commits: source, day, status, rows, run,
 * sqlstate, error as JSON of at most 4 kB (the error is cut).  Anybody may listen,
 * so the error is the run's message and never its detail, which quotes rows.
 * Every function that ends a run calls it.
 */
extern void ledger_notify(const LedgerRun *run, int64 id);

/* on_failure has been called for a run, successfully or not. */
extern void ledger_mark_reported(int64 run);

/* It could not be called: it must be called later. */
extern void ledger_report_later(int64 run);

/*
 * Runs for which it has not been called, because the process died before the call,
 * or because of a lock; from now on they count as reported.
 */
typedef struct LedgerUnreported
{
	char *source;
	DateADT day;
	char *error;
	int64 run;
} LedgerUnreported;

extern List *ledger_take_unreported(void);

/*
 * Stale runs: rows `running` of sources whose claim nobody holds, not even the
 * caller; their process has died.  Returns them (a List of LedgerStaleRun), so
 * that the caller can end them in the same transaction (ledger_end(),
 * `interrupted`) and have their jobs canceled.  Nobody can claim those sources
 * until the end of the transaction.
 *
 * With *ended also runs of the last day that have ended, by contratos_cancel() or as stale
 * ones, and whose process died, or failed, before their cost was recorded: no index leads
 * to them.  It is set to whether some are left because of a claim.
 */
typedef struct LedgerStaleRun
{
	int64 run;
	char *source;
	DateADT day;
	bool check; /* a recheck, not a load */
	int attempt;
	char *job_id; /* NULL: none */
	RunStatus status; /* `running`, or `canceled` or `interrupted` without a cost */
} LedgerStaleRun;

extern List *ledger_stale_runs(bool *ended);

#endif /* CONTRATOS_LEDGER_RUN_H */
