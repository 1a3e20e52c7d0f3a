/*
 * ledger_history.h
 *	  What contratos_runs knows of a source's days.
 */
#ifndef CONTRATOS_LEDGER_HISTORY_H
#define CONTRATOS_LEDGER_HISTORY_H

#include "postgres.h"

#include "datatype/timestamp.h"
#include "utils/date.h"

#include "base/day.h"
#include "ledger/schedule.h"

/*
 * What the ledger knows of a source's days: ascending, a ScheduleDay for each
 * day from `first` to `last` whether or not it has rows, and for earlier days
 * that are queued, waiting or to be tried again.  A queued or waiting row goes
 * before whatever was tried since.  `running`, which here is a dead process's,
 * counts as failed with another attempt due at once (when nobody holds the
 * claim, ledger_stale_runs() clears it away first).  A recheck that failed is an
 * attempt that failed: `loaded` tells it apart.  A queued day that was canceled
 * before it began leaves a loaded day as it was.
 */
extern ScheduleDay *ledger_days(const char *source, DateADT first, DateADT last, int *ndays);

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

/* Set confirmed_at on the last success of a day. */
extern void ledger_confirm(const char *source, DateADT day);

/* Whether a recheck of the source has come to an answer in the UTC day of `now`. */
extern bool ledger_rechecked_today(const char *source, TimestampTz now);

/* `error` of the source's last run with that reason; NULL: there is none. */
extern char *ledger_last_error(const char *source, const char *reason);

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
 * Remove attempts that ended more than `days` days before `now`, with their
 * rejects, but never the last success of a day nor open rows.  Rows removed.
 */
extern int64 ledger_prune(int days, TimestampTz now);

#endif /* CONTRATOS_LEDGER_HISTORY_H */
