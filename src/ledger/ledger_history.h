/*
 * ledger_history.h
 *	  The history of a source's days in contratos_runs, and of the housekeeping's steps.
 */
#ifndef CONTRATOS_LEDGER_HISTORY_H
#define CONTRATOS_LEDGER_HISTORY_H

#include "postgres.h"

#include "datatype/timestamp.h"
#include "utils/date.h"

#include "base/day.h"
#include "ledger/schedule.h"

/*
 * The state of a source's days according to the ledger: ascending, a ScheduleDay
 * for each day from `first` to `last` whether or not it has rows, and for earlier
 * days that have something left to do (see schedule_next()).  A queued or waiting
 * row takes precedence over every attempt since.  A `running` row is expected to be
 * a stale run, and counts as failed with another attempt due at once (when nobody
 * holds the claim, ledger_stale_runs() recovers it first).
 */
extern ScheduleDay *ledger_days(const char *source, DateADT first, DateADT last, int *ndays);

/*
 * Rows of the last success of a day; -1 when it has none.
 */
extern int64 ledger_last_rows(const char *source, DateADT day);

/* Whether a day was neither loaded nor accepted. */
extern bool ledger_is_missing(const char *source, DateADT day);

/* Days that were neither loaded nor accepted: their number, the first few of them, and the last one. */
#define LEDGER_GAPS_NAMED 5
typedef struct LedgerGaps
{
	int64 count;
	int nnamed; /* the first of them, ascending */
	DateADT named[LEDGER_GAPS_NAMED];
	DateADT last;
} LedgerGaps;

/* Those of a source among the days from `first` to `last`, which may be earlier than `first`. */
extern void ledger_gaps(const char *source, DateADT first, DateADT last, LedgerGaps *gaps);

/* The last success of a day, or the row that has accepted it since, for a recheck. */
typedef struct LedgerSuccess
{
	int64 run;
	DayFigures loaded;
	DayFigures target; /* rows -1: not recorded */
	bool accepted; /* not loaded, but to stay as it is in the target; loaded.rows -1: not compared with BigQuery yet */
	int reloads; /* consecutive reloads up to this success that loaded this very count and fingerprint */
} LedgerSuccess;

/* False when the day has neither. */
extern bool ledger_last_success(const char *source, DateADT day, LedgerSuccess *success);

/*
 * The same for each day from first to last, with an element for each; `run` is 0
 * for a day that has none.  `reloads` is not counted; without `accepted` only
 * successes count.
 */
extern void ledger_last_successes(const char *source, DateADT first, DateADT last, bool accepted, LedgerSuccess *days);

/*
 * The last success of the newest day that has one: for a full-table source, the
 * contents of the target.  False when there is none.  `reloads` is not counted.
 */
extern bool ledger_newest_success(const char *source, LedgerSuccess *success);

/* Store what BigQuery has of an accepted day as the baseline of later checks, in the row that accepts it. */
extern void ledger_set_baseline(int64 run, const DayFigures *remote);

/* Set confirmed_at on the last success of a day. */
extern void ledger_confirm(const char *source, DateADT day);

/*
 * Whether a load that has ended for good makes its day a failed one: its rows are
 * not in the target, or are known to be wrong, and no load of the worker has failed
 * for good, with the same error, since the day's last success.
 * `unreported`: on_failure must be called, which is recorded.
 */
extern bool ledger_day_has_failed(int64 run, bool unreported);

/* contratos_runs.reason of an attempt in which the server did not answer, or only that it is not available. */
#define LEDGER_UNREACHABLE "unreachable"

/* Whether a recheck of the source has succeeded, whatever it found, in the UTC day of `now`. */
extern bool ledger_rechecked_today(const char *source, TimestampTz now);

/* `error` of the source's last run with that reason; NULL: there is none. */
extern char *ledger_last_error(const char *source, const char *reason);

/*
 * Bytes billed for the loads and comparisons of a source, or (NULL) of all, that ended
 * in the UTC day of `now`; calls by hand and what this session has kept included.
 */
extern int64 ledger_billed_today(const char *source, TimestampTz now);

/* A limit of the bytes billed in a UTC day. */
typedef struct LedgerBudget
{
	const char *setting; /* its name */
	bool total; /* it is that of all sources */
	int64 cap; /* 0: none */
	int64 billed;
} LedgerBudget;

/*
 * Whether something is left of the source's limit and of that of all sources, in the
 * UTC day of `now`.  *budget: the one that is used up; otherwise the one of which less
 * is left, that of the source if there is none.
 */
extern bool ledger_budget_left(const char *source, TimestampTz now, LedgerBudget *budget);

/*
 * Whether one of them is used up, and a run has failed because of it since something
 * was last billed, in the UTC day of `now`: the failure has been reported, and the rest
 * of the queue need not fail, too.
 */
extern bool ledger_ran_out(const char *source, TimestampTz now);

/*
 * Remove attempts that ended more than `days` days before `now`, with their
 * rejects, but never the last success of a day, nor the row that has accepted it or
 * found a difference since, nor open rows.  Returns the number of rows removed.
 */
extern int64 ledger_prune(int days, TimestampTz now);

/* --------------------------------------------------------------------------
 * Failed steps of the worker's housekeeping, and whether the ledger is a copy
 * -------------------------------------------------------------------------- */

/*
 * Record that a step of the worker's housekeeping has failed with this SQLSTATE
 * and error, or (NULL) succeeded.
 */
extern void ledger_note_step(const char *step, int sqlerrcode, const char *error);

/* The failed steps that have not succeeded since, as text; NULL: none. */
extern char *ledger_failed_steps(void);

/*
 * Whether a subscription replicates rows of the extension's own tables from
 * another server, whose worker has written them.
 */
extern bool ledger_is_subscribed(void);

#endif /* CONTRATOS_LEDGER_HISTORY_H */
