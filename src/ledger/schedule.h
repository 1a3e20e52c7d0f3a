/*
 * schedule.h
 *	  Pure arithmetic on days and times: what is due, when to wake, how long to
 *	  back off.  No catalog, no clock, no settings:
 *	  all of it comes in as arguments.
 */
#ifndef CONTRATOS_SCHEDULE_H
#define CONTRATOS_SCHEDULE_H

#include "postgres.h"
#include "datatype/timestamp.h"
#include "utils/date.h"

/*
 * How the latest attempt at a day, load or recheck, ended: that of its row with
 * the highest id, whatever the times in it (the clock may have been put back).
 * A loaded day taken off the queue before it began stays what it was.
 */
typedef enum ScheduleState
{
	SCHEDULE_UNTRIED = 0,
	SCHEDULE_QUEUED, /* an open row `queued` */
	SCHEDULE_WAITING, /* upstream had nothing, or a table was locked: an open row `waiting` */
	SCHEDULE_SUCCEEDED, /* or, of a recheck, `unchanged` or `differs` */
	SCHEDULE_FAILED, /* next_at says whether there is another attempt */
	SCHEDULE_REFUSED, /* by the guard */
	SCHEDULE_CANCELED, /* by a person */
	SCHEDULE_INTERRUPTED /* its process died; otherwise like SCHEDULE_FAILED */
} ScheduleState;

/*
 * What the worker knows of one day of one source, from the ledger.  Times are
 * those of the clock that `now` comes from; 0: none.
 */
typedef struct ScheduleDay
{
	DateADT day;
	ScheduleState state;
	bool recheck; /* the latest attempt was a recheck, not a load */
	bool loaded; /* it has a success, whatever came later */
	bool confirmed; /* … that a recheck has confirmed for good */
	bool differs; /* reported as differing: not reloaded again */
	int64 run; /* of the queued or waiting row */
	int attempt; /* number of the latest attempt, from 1 */
	TimestampTz waits_since; /* the open row's first attempt; 0: it has none */
	TimestampTz started_at; /* of the first attempt since the last success; for
							 * people: nothing here is decided by it */
	TimestampTz ended_at; /* of the latest attempt */
	TimestampTz next_at; /* next_attempt_at of the latest attempt */
	TimestampTz checked_at; /* of the latest load or recheck, by id, that found
							 * out: succeeded, unchanged, differs */
} ScheduleDay;

/* What of a source and the settings decides. */
typedef struct ScheduleRules
{
	DateADT start_date;
	TimeADT run_at; /* microseconds of the UTC day, less than a day */
	bool enabled;
	bool snapshot; /* no timestamp column: only D-1 */
	int catchup_days; /* days before yesterday in which gaps are filled */
	int recheck_days; /* days, yesterday included, rechecked every day */
	int64 ready_timeout; /* microseconds */
	int64 ready_interval; /* microseconds */
	int retries; /* attempts after the first */
	int64 retry_delay; /* microseconds */
	TimestampTz queue_from; /* the queue waits until then: what may be billed
							 * is used up; 0: it does not wait */
	TimestampTz changed_at; /* source row, credentials file or configuration
							 * changed: failed days deserve another attempt; 0.
							 * Starting up is no change: a day that takes the
							 * server down would be tried for ever. */
} ScheduleRules;

typedef enum ScheduleWhat
{
	SCHEDULE_NOTHING,
	SCHEDULE_LOAD,
	SCHEDULE_RECHECK
} ScheduleWhat;

typedef struct ScheduleAction
{
	ScheduleWhat what;
	DateADT day;
	const char *cause; /* of the run: "schedule", "catchup", "queue", "recheck" */
	int attempt; /* its number */
	TimestampTz due; /* <= now: do it; later: wake then */
	TimestampTz waits_since; /* the day's first attempt, if it has waited since; else 0 */
} ScheduleAction;

/*
 * The next thing to do for a source at `now`: the most urgent of what is due,
 * or else what is due first.  An enabled source always has something ahead, if
 * only the load of today's rows tomorrow; SCHEDULE_NOTHING, with `due`
 * infinite: nothing ever, until something changes.  `days` in ascending order,
 * every one from schedule_first_day() to yesterday, and any others that are
 * queued, waiting, or have a next_at.
 *
 * Urgency: yesterday, then gaps oldest first, then the queue in its order, then
 * rechecks oldest first.
 *
 * - A day is due at run_at of the day after it, so that any before yesterday is
 *   due at once.  Missing days are loaded from start_date on, catchup_days back
 *   (a snapshot: yesterday only).
 * - What has been begun is finished, however old the day: queued days at once
 *   or at queue_from, waiting ones and retries at next_at.  Only a recheck that has left the
 *   rechecked range is let go.
 * - A day that has finally failed or was refused comes again at the first
 *   run_at after that, or when changed_at is later than that, with a new series
 *   of attempts; an interrupted one with a single attempt, its number counting
 *   on.  A missing day that was canceled comes again only when it is queued.
 * - An answer from upstream, if only "nothing yet", starts the attempts anew.
 * - A loaded day not confirmed yet is rechecked 6 h after it was last looked
 *   at, however small recheck_days, from schedule_first_day() on; a confirmed
 *   or differing one 24 h after, within recheck_days.  Of a snapshot only the
 *   newest load is, as the others are gone.
 * - A disabled source is left alone; its queue stays queued.
 * - A time so far ahead that no rule can have put it there, the clock having
 *   been wrong, counts as now.
 */
extern ScheduleAction schedule_next(const ScheduleRules *rules, const ScheduleDay *days, int ndays, TimestampTz now);

/* When a day becomes due: at run_at of the day after it. */
extern TimestampTz schedule_due_at(const ScheduleRules *rules, DateADT day);

/*
 * The first day the worker looks at: bounded by start_date, catch-up, recheck.
 * Later than yesterday: none yet.
 */
extern DateADT schedule_first_day(const ScheduleRules *rules, TimestampTz now);

/*
 * When to try again after attempt number `attempt` of a day has failed in a
 * way that may pass, or was interrupted (then twice as long after each
 * attempt, up to 6 h); 0: it was the last.
 */
extern TimestampTz schedule_retry_at(const ScheduleRules *rules, int attempt, bool interrupted, TimestampTz now);

/*
 * When to ask again for a day that upstream has not written; 0: it is too late,
 * ready_timeout after the day became due.  So an old day never waits.
 */
extern TimestampTz schedule_ready_at(const ScheduleRules *rules, DateADT day, TimestampTz now);

/*
 * The same for a day whose table is locked by somebody: an old day waits as long,
 * since `since`, its first attempt (0: this is it).
 */
extern TimestampTz schedule_locked_at(const ScheduleRules *rules, DateADT day, TimestampTz since, TimestampTz now);

/*
 * Whether a recheck at `now` that finds the day equal confirms it for good: 24
 * hours after its end.
 */
extern bool schedule_confirms(DateADT day, TimestampTz now);

#endif /* CONTRATOS_SCHEDULE_H */
