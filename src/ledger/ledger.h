/*
 * ledger.h
 *	  SQL on contratos_sources, contratos_runs and contratos_rejects.
 *
 * Every call connects to SPI by itself, runs as the owner of the table it
 * touches (so that who may call contratos_run() needs no right on them) with a
 * pinned search_path, and puts back user and settings.  Times written are
 * settings_now()'s, as the schedule compares them with it.
 */
#ifndef CONTRATOS_LEDGER_H
#define CONTRATOS_LEDGER_H

#include "postgres.h"
#include "datatype/timestamp.h"
#include "nodes/pg_list.h"
#include "utils/date.h"

#include "base/day.h"
#include "ledger/schedule.h"

/* A row of contratos_sources; strings in CurrentMemoryContext. */
typedef struct LedgerSource
{
	char *name;
	char *remote_table; /* schema.table, quoted where needed */
	char *target_table;
	char *timestamp_column; /* NULL: days are not cut out of it … */
	bool snapshot; /* … and then this must be true */
	DateADT start_date;
	double max_shrink;
	bool allow_empty;
	char *after_load; /* called at the end of each load; NULL: none */
	TimestampTz registered_at;
} LedgerSource;

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

/* Neither a source nor a run: the built-in source has never been set up. */
extern bool ledger_is_untouched(void);

/*
 * The source of that name, in CurrentMemoryContext; 42704, naming the ones
 * there are, when there is none.
 */
extern LedgerSource *ledger_source(const char *name);

/* Whether there is a source of that name. */
extern bool ledger_has_source(const char *name);

/* What a source's rows are put into. */
typedef struct LedgerTarget
{
	char *source;
	char *target_table;
	TimestampTz registered_at;
} LedgerTarget;

/*
 * Those of all sources there are by now (a List of LedgerTarget), this statement's
 * own included, whatever this transaction's isolation level lets it see.  `alone`:
 * wait for other transactions that have registered a source, and let others wait,
 * until this one ends.
 */
extern List *ledger_targets(bool alone);

/* Put the built-in source in, unless a source of that name is there. */
extern bool ledger_add_source(const char *name, const char *remote_table, const char *target_table,
							  const char *timestamp_column);

/*
 * Rows of the last success of a day; -1 when it has none.
 */
extern int64 ledger_last_rows(const char *source, DateADT day);

/* Days without a success, from the first to the last of them. */
#define LEDGER_GAPS_NAMED 5
typedef struct LedgerGaps
{
	int64 count;
	int nnamed; /* the first of them, ascending */
	DateADT named[LEDGER_GAPS_NAMED];
	DateADT last;
} LedgerGaps;

/* Those of a source among the days from `first` to `last`, which may be before it. */
extern void ledger_gaps(const char *source, DateADT first, DateADT last, LedgerGaps *gaps);

/* Write one finished run; returns its id. */
extern int64 ledger_record(const LedgerRun *run);

/* Write the rejects of a run. */
extern void ledger_record_rejects(int64 run, const LedgerReject *rejects, int nrejects);

/*
 * Serialise loads of one source, until the end of the transaction.  When
 * another session holds the claim, a NOTICE says which, then it waits
 * (lock_timeout and cancel work).
 */
extern void ledger_claim(const char *source);

/*
 * The trigger function's work: the name of a relation as schema.table, quoted
 * where needed, in CurrentMemoryContext.  A name without schema that is not
 * found: 42P01.  One with schema that is not found: as it is written, with a
 * WARNING (a restore may fill this table before that one is made).  A temporary
 * table: 42P16.
 */
extern char *ledger_normalize_name(const char *name, const char *column);

/* --------------------------------------------------------------------------
 * For the worker.  Each of these is called in a transaction of the caller's.
 * -------------------------------------------------------------------------- */

/*
 * All sources, by name, or the one called `name` (if not NULL): what
 * LedgerSource holds and what decides when they are loaded.  `version` changes with every UPDATE of the row.
 */
typedef struct LedgerSchedule
{
	LedgerSource source;
	ScheduleRules rules; /* what comes from the row and the settings; the rest is ledger_next()'s */
	char *on_failure; /* NULL: none */
	uint64 version;
} LedgerSchedule;

extern List *ledger_schedules(const char *name);

/*
 * What the ledger knows of a source's days: ascending, a ScheduleDay for each
 * day from `first` to `last` whether or not it has rows, and for earlier days
 * that are queued, waiting or to be tried again.  A queued or waiting row goes
 * before whatever was tried since.  `running`, which here is a dead process's,
 * counts as failed with another attempt due at once (when nobody holds the
 * claim, ledger_dead_runs() clears it away first).  A recheck that failed is an
 * attempt that failed: `loaded` tells it apart.  A queued day that was canceled
 * before it began leaves a loaded day as it was.
 */
extern ScheduleDay *ledger_days(const char *source, DateADT first, DateADT last, int *ndays);

/*
 * What schedule_next() says of the source at `now`, by its row, its days, and `changed_at` (ScheduleRules; 0).
 * *open_run: the queued or waiting row of that day; 0: there is none.  Writes
 * nothing, so that it works on a standby.
 */
extern ScheduleAction ledger_next(LedgerSchedule *schedule, TimestampTz changed_at, TimestampTz now, int64 *open_run);

/*
 * The claim for the worker: at session level, without waiting.  False when
 * another session holds it.  ledger_unclaim() gives it back: once for each
 * success, with or without a transaction, also when the extension is gone; it
 * does nothing when the claim is not held.
 */
extern bool ledger_try_claim(const char *source);
extern void ledger_unclaim(const char *source);

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

/* Whether a recheck of the source has come to an answer in the UTC day of `now`. */
extern bool ledger_rechecked_today(const char *source, TimestampTz now);

/* `error` of the source's last run with that reason; NULL: there is none. */
extern char *ledger_last_error(const char *source, const char *reason);

/* Set confirmed_at on the last success of a day. */
extern void ledger_confirm(const char *source, DateADT day);

/* What the last success of a day looked like, for a recheck. */
typedef struct LedgerSuccess
{
	int64 run;
	DayFigures loaded;
	DayFigures target; /* rows -1: not recorded */
	int reloads; /* rechecks that loaded this very count and fingerprint, one
				  * after the other up to this success */
} LedgerSuccess;

/* False when the day has no success. */
extern bool ledger_last_success(const char *source, DateADT day, LedgerSuccess *success);

/*
 * The same of each day from first to last, as many as they are; `run` is 0 for a
 * day that has none.  `reloads` is not counted.
 */
extern void ledger_last_successes(const char *source, DateADT first, DateADT last, LedgerSuccess *days);

/*
 * The last success of the newest day that has one: of a snapshot, what stands in
 * the target.  False when there is none.  `reloads` is not counted.
 */
extern bool ledger_newest_success(const char *source, LedgerSuccess *success);

/*
 * Rows `running` of sources whose claim nobody holds, not even the caller, are
 * those of a dead process.  Returns them (a List of LedgerDead), so that the
 * caller can end them in the same transaction (ledger_end(), `interrupted`) and
 * have their jobs cancelled.  Nobody can claim those sources until the end of
 * the transaction.
 */
typedef struct LedgerDead
{
	int64 run;
	char *source;
	DateADT day;
	int attempt;
	char *job_id; /* NULL: none */
} LedgerDead;

extern List *ledger_dead_runs(void);

/*
 * Bytes billed for a source's loads and rechecks that ended in the UTC day of
 * `now`; calls by hand included.
 */
extern int64 ledger_billed_today(const char *source, TimestampTz now);

/*
 * Whether contratos.max_bytes_per_day is used up, and a run has failed for it
 * since something was billed last, in the UTC day of `now`: somebody has been
 * told, and what else is queued need not fail, too.
 */
extern bool ledger_ran_out(const char *source, TimestampTz now);

/*
 * Queue the days from first to last; those that are open already, and with
 * only_missing those that have a success, are left out.  Days newly queued.
 * Waits for other transactions that queue days of the source.  Rows have
 * attempt 0 and no started_at until ledger_begin().
 */
extern int ledger_enqueue(const char *source, DateADT first, DateADT last, bool only_missing);

/*
 * Make a queued, waiting or running run `canceled`, or one that has failed and
 * is to be tried again; true if it was one.
 * *running: it was running, and the worker has to be told: see
 * wake_stop_run_at_commit().
 */
extern bool ledger_cancel(int64 run, bool *running);

/*
 * Remove attempts that ended more than `days` days before `now`, with their
 * rejects, but never the last success of a day nor open rows.  Rows removed.
 */
extern int64 ledger_prune(int days, TimestampTz now);

/*
 * A step of the worker's housekeeping has failed with this SQLSTATE and error, or
 * (NULL) been done.
 */
extern void ledger_note_step(const char *step, int sqlerrcode, const char *error);

/* What has failed of it and not been done since, in words; NULL: nothing. */
extern char *ledger_failed_steps(void);

/*
 * Whether a subscription brings rows of the extension's own tables from another
 * server: whoever loads there has written them.
 */
extern bool ledger_is_subscribed(void);

/*
 * NOTIFY contratos when this transaction commits: source, day, status, rows, run,
 * sqlstate, error as JSON of at most 4 kB (the error is cut).  Anybody may listen,
 * so the error is the run's message and never its detail, which quotes rows.
 * All that ends a run here does it.
 */
extern void ledger_notify(const LedgerRun *run, int64 id);

#endif /* CONTRATOS_LEDGER_H */
