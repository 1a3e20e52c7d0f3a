/*
 * schedule.h
 *	  Pure arithmetic on days and times: what is due, when to wake, how long to
 *	  back off.  A day is a DateADT in UTC.  No catalog, no clock, no settings:
 *	  all of it comes in as arguments.
 */
#ifndef CONTRATOS_SCHEDULE_H
#define CONTRATOS_SCHEDULE_H

#include "postgres.h"
#include "datatype/timestamp.h"
#include "utils/date.h"

/* The UTC day that `now` lies in, whatever the session's TimeZone. */
extern DateADT schedule_day_of(TimestampTz now);

/* The last complete day: the one before schedule_day_of(now). */
extern DateADT schedule_yesterday(TimestampTz now);

/* First instant of a day; the window of a day is [start, start of next). */
extern TimestampTz schedule_day_start(DateADT day);

/* YYYY-MM-DD, in CurrentMemoryContext, whatever DateStyle says. */
extern char *schedule_day_text(DateADT day);

/* First day with a window BigQuery can express, 0001-01-01. */
#define SCHEDULE_FIRST_DAY ((DateADT) -730119)

/* What the worker knows of one day of one source, from the ledger. */
typedef enum ScheduleState
{
	SCHEDULE_UNTRIED = 0,
	SCHEDULE_QUEUED, /* an open row `queued` */
	SCHEDULE_WAITING, /* upstream had nothing: an open row `waiting` */
	SCHEDULE_SUCCEEDED,
	SCHEDULE_FAILED, /* `failed` or `interrupted`; next_attempt_at says
						  * whether there is another attempt */
	SCHEDULE_REFUSED, /* by the guard */
	SCHEDULE_CANCELED /* by a person: not taken up again */
} ScheduleState;

typedef struct ScheduleDay
{
	DateADT day;
	ScheduleState state; /* how its latest attempt to load it ended */
	bool loaded; /* it has a success, whatever came later */
	bool confirmed; /* … that a recheck has confirmed for good */
	bool differs; /* reported as differing: not reloaded again */
	int64 run; /* of the queued or waiting row */
	int attempt; /* number of the latest attempt, from 1 */
	TimestampTz started_at; /* of the first attempt since the last success or
							  * since it was due (readiness counts from there) */
	TimestampTz ended_at; /* of the latest attempt */
	TimestampTz next_at; /* next_attempt_at of the latest attempt; 0: none */
	TimestampTz checked_at; /* last load or recheck that succeeded; 0: none */
} ScheduleDay;

/* What of a source and the settings decides. */
typedef struct ScheduleRules
{
	DateADT start_date;
	TimeADT run_at; /* microseconds of the UTC day */
	bool enabled;
	bool snapshot; /* no timestamp column: only D-1 */
	int catchup_days;
	int recheck_days;
	int64 ready_timeout; /* microseconds */
	int64 ready_interval; /* microseconds */
	int retries; /* attempts after the first */
	int64 retry_delay; /* microseconds */
	TimestampTz changed_at; /* source row, credentials file or configuration
							 * changed: failed days deserve another attempt; 0 */
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
} ScheduleAction;

/*
 * The next thing to do for a source at `now`: the most urgent of what is due,
 * or else what is due first (SCHEDULE_NOTHING: nothing ever, until something
 * changes).  `days` in ascending order, from schedule_first_day() to
 * yesterday, and any older queued ones.  Urgency: yesterday, then gaps oldest
 * first, then the queue in its order, then rechecks oldest first.
 */
extern ScheduleAction schedule_next(const ScheduleRules *rules, const ScheduleDay *days, int ndays, TimestampTz now);

/* The first day the worker looks at: bounded by start_date, catch-up, recheck. */
extern DateADT schedule_first_day(const ScheduleRules *rules, TimestampTz now);

/*
 * When to try again after attempt number `attempt` of a day has failed in a
 * way that may pass, or was interrupted (longer with each attempt); 0: it was
 * the last.
 */
extern TimestampTz schedule_retry_at(const ScheduleRules *rules, int attempt, bool interrupted, TimestampTz now);

/* When to ask again for a day that upstream has not written; 0: it is too late. */
extern TimestampTz schedule_ready_at(const ScheduleRules *rules, DateADT day, TimestampTz now);

/*
 * Whether a recheck at `now` that finds the day equal confirms it for good: 24
 * hours after its end.
 */
extern bool schedule_confirms(DateADT day, TimestampTz now);

#endif /* CONTRATOS_SCHEDULE_H */
