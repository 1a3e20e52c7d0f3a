/*
 * schedule.h
 *	  Pure arithmetic on days and times: which action is due, when to wake, how
 *	  long to back off.  No catalog, no clock, no settings: all of them are
 *	  arguments.
 */
#ifndef CONTRATOS_SCHEDULE_H
#define CONTRATOS_SCHEDULE_H

#include "postgres.h"
#include "datatype/timestamp.h"
#include "utils/date.h"

/*
 * How the latest load of a day ended, or its latest check: that of the row with the
 * highest id, whatever the times in it (the clock may have been set back).
 */
typedef enum ScheduleState
{
	SCHEDULE_UNTRIED = 0,
	SCHEDULE_QUEUED, /* an open row `queued` */
	SCHEDULE_WAITING, /* upstream had nothing, or a table was locked: an open row `waiting` */
	SCHEDULE_SUCCEEDED, /* or, for a check, `unchanged` or `differs`; for a load, `accepted` */
	SCHEDULE_FAILED, /* next_at says whether there is another attempt */
	SCHEDULE_REFUSED, /* by the guard */
	SCHEDULE_CANCELED, /* by a person */
	SCHEDULE_INTERRUPTED /* its process died; otherwise like SCHEDULE_FAILED */
} ScheduleState;

/* The latest attempt to load a day, or to check it; times 0: none. */
typedef struct ScheduleTry
{
	ScheduleState state;
	int attempt; /* its number, from 1 */
	TimestampTz ended_at;
	TimestampTz next_at; /* its next_attempt_at */
	bool unreachable; /* it has failed, as the server could not be reached */
} ScheduleTry;

/*
 * The state of one day of one source, from the ledger: its last load and its last
 * check, which are never mixed.  Times are on the same clock as `now`; 0: none.
 */
typedef struct ScheduleDay
{
	DateADT day;
	/*
	 * A loaded day that was removed from the queue before it began, or that a call
	 * has failed to load again, keeps its state.
	 */
	ScheduleTry load;
	ScheduleTry check; /* since the last success */
	bool asked; /* the last load was queued by a person, or called for by a check … */
	bool reload; /* … and by a check */
	bool loaded; /* it has a success, or was accepted, whatever came later */
	bool confirmed; /* … that is confirmed for good */
	bool differs; /* the last check that was done found a difference */
	int64 run; /* of the queued or waiting row, of a load or a check */
	TimestampTz waits_since; /* the open row's first attempt; 0: it has none */
	TimestampTz started_at; /* of the first attempt since the last success */
	TimestampTz checked_at; /* of the latest load or check, by id, with a result: succeeded, unchanged, differs */
} ScheduleDay;

/* The values of a source and the settings that decide. */
typedef struct ScheduleRules
{
	DateADT start_date;
	TimeADT run_at; /* microseconds of the UTC day, less than a day */
	bool enabled;
	bool snapshot; /* no timestamp column: only D-1 */
	int catchup_days; /* days before yesterday in which gaps are filled */
	int recheck_days; /* days, yesterday included, rechecked every day */
	bool late_checks; /* older days are rechecked 14, 30 and 60 days after their end */
	int64 ready_timeout; /* microseconds */
	int64 ready_interval; /* microseconds */
	int retries; /* attempts after the first */
	int64 retry_delay; /* microseconds */
	/*
	 * The server cannot be reached: nothing but yesterday's load is begun before then;
	 * 0: it can, as far as is known.
	 */
	TimestampTz postponed_until;
	TimestampTz answered_at; /* when the server last answered; 0: not known */
	TimestampTz queue_from; /* the queue waits until then, because the byte budget is used up; 0: it does not wait */
	/*
	 * When source row, credentials file or configuration changed: failed days get
	 * another attempt; 0.  Starting up is not a change: a day that crashes the
	 * server would be tried forever.
	 */
	TimestampTz changed_at;
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
	const char *cause; /* of the run: "schedule", "catchup", "queue", "recheck", "reload" */
	int attempt; /* its number */
	bool again; /* the day has finally failed before */
	TimestampTz due; /* <= now: do it; later: wake then */
	TimestampTz waits_since; /* the day's first attempt, if it has waited since; else 0 */
} ScheduleAction;

/*
 * The next action for a source at `now`: the most urgent one that is due, or else
 * the one that is due first.  An enabled source always has a next action, if only
 * the load of today's rows tomorrow; SCHEDULE_NOTHING, with `due` infinite, means
 * none until something changes.  `days` in ascending order, every one from
 * schedule_first_day() to yesterday, and any others that are queued or waiting, have
 * a next_at, are loaded and not confirmed, or whose last check, or last load that was
 * asked for, has failed.
 *
 * Urgency: yesterday, then gaps oldest first, then the queue in its order, then
 * rechecks oldest first.
 *
 * - A day is due at run_at of the day after it, so that any before yesterday is
 *   due at once.  Missing days are loaded from start_date on, catchup_days back
 *   (a full-table source: yesterday only).
 * - Queued or begun work is finished, however old the day: queued days at once
 *   or at queue_from, waiting ones and retries at next_at.
 * - A day that has finally failed or was refused is tried again at the first
 *   run_at after that, or when changed_at is later than that, with a new series
 *   of attempts; an interrupted one with a single attempt, whose number counts
 *   on.  An older day that was asked for is tried again as well, for catchup_days
 *   after its first attempt, unless it was refused.  A missing day that was
 *   canceled is tried again only when it is queued.
 * - An answer from upstream, if only "nothing yet", starts a new series of
 *   attempts.
 * - A loaded day not confirmed yet is rechecked 6 h after its last check, however
 *   old it is; a confirmed or differing one after 24 h, within recheck_days, and
 *   with late_checks at run_at of 14, 30 and 60 days after its end.  A check that
 *   has failed is repeated like a load until one succeeds, whatever the window;
 *   a week after the day's end at most once a day.  For a full-table source only
 *   the newest load is rechecked, as it has replaced the others.
 * - While the server cannot be reached, all work waits until postponed_until, and
 *   days that have finally failed are tried again then; but yesterday is begun at
 *   run_at, and retried at next_at.  A day that has finally failed because of that is
 *   tried again once the server has answered.
 * - A disabled source is left alone; its queue stays queued.
 * - A time so far in the future that no rule can have produced it (the clock
 *   was wrong) counts as now.
 */
extern ScheduleAction schedule_next(const ScheduleRules *rules, const ScheduleDay *days, int ndays, TimestampTz now);

/* When a day becomes due: at run_at of the day after it. */
extern TimestampTz schedule_due_at(const ScheduleRules *rules, DateADT day);

/*
 * The first day that the worker considers: bounded by start_date, catch-up,
 * recheck.  Later than yesterday: none yet.
 */
extern DateADT schedule_first_day(const ScheduleRules *rules, TimestampTz now);

/*
 * When to try again after attempt number `attempt` of a day has failed with a
 * transient error, or was interrupted (then the wait doubles after each attempt,
 * up to 6 h); 0: it was the last.
 */
extern TimestampTz schedule_retry_at(const ScheduleRules *rules, int attempt, bool interrupted, TimestampTz now);

/*
 * When to query again for a day that upstream has not written; 0: it is too late,
 * ready_timeout after the day became due.  So an old day never waits.
 */
extern TimestampTz schedule_ready_at(const ScheduleRules *rules, DateADT day, TimestampTz now);

/*
 * The same for a day whose table is locked by another session: an old day waits as
 * long, from `since` on, its first attempt (0: this is the first).
 */
extern TimestampTz schedule_locked_at(const ScheduleRules *rules, DateADT day, TimestampTz since, TimestampTz now);

/*
 * Whether what BigQuery has of a day at `now` confirms it for good, by a load or by
 * a recheck that finds it equal: 24 hours after its end.
 */
extern bool schedule_confirms(DateADT day, TimestampTz now);

#endif /* CONTRATOS_SCHEDULE_H */
