/*
 * schedule.c
 *	  Pure arithmetic on days and waits, and the choice of the action that is due next.
 */
#include "postgres.h"

#include "utils/timestamp.h"

#include "base/day.h"
#include "ledger/schedule.h"

/* A day so far in the future that it has no window is never due. */
TimestampTz
schedule_due_at(const ScheduleRules *rules, DateADT day)
{
	TimestampTz end = day_start(day + 1);

	return TIMESTAMP_NOT_FINITE(end) ? end : end + rules->run_at;
}

/*
 * A day loaded at run_at can only be confirmed on the next day but one, so it must
 * be considered that long even with catchup_days and recheck_days 0.
 */
#define DAYS_TO_CONFIRM 2

DateADT
schedule_first_day(const ScheduleRules *rules, TimestampTz now)
{
	DateADT yesterday = day_yesterday(now);
	DateADT kept = Max(rules->start_date, yesterday - Max(rules->catchup_days, DAYS_TO_CONFIRM));

	return Max(DAY_FIRST, Min(kept, yesterday - rules->recheck_days + 1));
}

/* A setting of 0 must not cause a busy loop. */
#define SHORTEST_WAIT USECS_PER_SEC
#define LONGEST_BACKOFF (6 * USECS_PER_HOUR)

TimestampTz
schedule_retry_at(const ScheduleRules *rules, int attempt, bool interrupted, TimestampTz now)
{
	int64 wait = Max(rules->retry_delay, SHORTEST_WAIT);

	if (attempt > rules->retries)
		return 0;
	for (int i = 1; interrupted && i < attempt && wait < LONGEST_BACKOFF; i++)
		wait = Min(wait * 2, LONGEST_BACKOFF);
	return now + wait;
}

TimestampTz
schedule_ready_at(const ScheduleRules *rules, DateADT day, TimestampTz now)
{
	if (now >= schedule_due_at(rules, day) + rules->ready_timeout)
		return 0;
	return now + Max(rules->ready_interval, SHORTEST_WAIT);
}

TimestampTz
schedule_locked_at(const ScheduleRules *rules, DateADT day, TimestampTz since, TimestampTz now)
{
	TimestampTz from = Max(schedule_due_at(rules, day), since != 0 ? since : now);

	if (now >= from + rules->ready_timeout)
		return 0;
	return now + Max(rules->ready_interval, SHORTEST_WAIT);
}

bool
schedule_confirms(DateADT day, TimestampTz now)
{
	return now >= day_start(day + 2);
}

/* --------------------------------------------------------------------------
 * The next action for a source
 *
 * Each day has at most one action, and the time from which it is due; the rest is
 * choosing.  The time is always derived from the ledger, never from an earlier
 * decision, so the result does not depend on when and how often this is called,
 * nor on whether the server was down in between.
 *
 * The clock may be set forward or back.  If it is set forward, everything becomes
 * due, which is intended.  If it is set back, the ledger's times are in the
 * future: short waits are kept; a time that no rule can have produced counts as
 * now, and the action that follows replaces it by a correct one.
 * -------------------------------------------------------------------------- */

#define PROVISIONAL_WAIT (6 * USECS_PER_HOUR)
#define RECHECK_WAIT USECS_PER_DAY

typedef enum Urgency
{
	URGENCY_YESTERDAY,
	URGENCY_GAP,
	URGENCY_QUEUE,
	URGENCY_RECHECK
} Urgency;

/* A possible action; among equally urgent ones the lower run comes first, then the earlier day. */
typedef struct Choice
{
	ScheduleAction action;
	Urgency urgency;
	int64 run; /* of the row in the queue; 0: none */
} Choice;

/* The input of the decisions, and values derived from it for all days alike. */
typedef struct View
{
	const ScheduleRules *rules;
	TimestampTz now;
	DateADT yesterday;
	DateADT first_gap; /* the first missing day that is loaded */
	DateADT first_provisional; /* the first day that is rechecked until confirmed */
	DateADT first_recheck; /* the first day that is rechecked in any case */
} View;

static View
view_of(const ScheduleRules *rules, const ScheduleDay *days, int ndays, TimestampTz now)
{
	DateADT yesterday = day_yesterday(now);
	View view = {
		.rules = rules,
		.now = now,
		.yesterday = yesterday,
		.first_gap = Max(rules->start_date, yesterday - (rules->snapshot ? 0 : rules->catchup_days)),
		.first_provisional = schedule_first_day(rules, now),
		.first_recheck = yesterday - rules->recheck_days + 1,
	};

	for (int i = 0; i < ndays && rules->snapshot; i++)
		if (days[i].loaded && days[i].day <= yesterday)
		{
			view.first_provisional = Max(view.first_provisional, days[i].day);
			view.first_recheck = Max(view.first_recheck, days[i].day);
		}
	return view;
}

/*
 * `wait` after `from`; now, when `from` is so far in the future that it was
 * written with a wrong clock.  (A clock that is synchronized may step back a
 * little.)
 */
static TimestampTz
after(TimestampTz from, int64 wait, TimestampTz now)
{
	return from > now + wait ? now : from + wait;
}

/* When the next attempt, according to the ledger, is due. */
static TimestampTz
next_at(const View *view, const ScheduleDay *day)
{
	const ScheduleRules *rules = view->rules;
	int64 wait = day->state == SCHEDULE_WAITING ? Max(rules->ready_interval, USECS_PER_SEC)
												: schedule_retry_at(rules, Min(day->attempt, rules->retries), true, 0);
	TimestampTz latest = view->now + 2 * wait;

	if (day->next_at == 0)
		return after(day->ended_at, wait, view->now);
	/*
	 * the latest time that can have been set: once the byte budget is used up, a
	 * day waits for run_at of the next UTC day
	 */
	if (day->state != SCHEDULE_WAITING)
		latest = Max(latest, schedule_due_at(rules, day_of(view->now)));
	if (day->next_at > latest)
		return view->now;
	/* so long a wait is only for the byte budget, which a change may have raised */
	if (day->state == SCHEDULE_FAILED && day->next_at > day->ended_at + 2 * wait && rules->changed_at > day->ended_at)
		return Min(day->next_at, rules->changed_at);
	return day->next_at;
}

/* When a day that has finally failed is tried again: at run_at, or after a change. */
static TimestampTz
again_at(const View *view, const ScheduleDay *day)
{
	const ScheduleRules *rules = view->rules;
	TimestampTz at;

	if (day->ended_at > view->now + USECS_PER_DAY)
		return view->now;
	at = day_start(day_of(day->ended_at)) + rules->run_at;
	if (at <= day->ended_at)
		at += USECS_PER_DAY;
	return rules->changed_at > day->ended_at ? Min(at, rules->changed_at) : at;
}

static bool
has_failed(const ScheduleDay *day)
{
	return day->state == SCHEDULE_FAILED || day->state == SCHEDULE_INTERRUPTED || day->state == SCHEDULE_REFUSED;
}

/* Whether it has failed, and the ledger has a time for another attempt. */
static bool
is_pending(const ScheduleDay *day)
{
	return has_failed(day) && day->next_at != 0;
}

/*
 * The number of the next attempt: 1 for a new series, unless this series continues
 * or the day may be what crashes the server.
 */
static int
next_attempt(const ScheduleDay *day)
{
	return is_pending(day) || day->state == SCHEDULE_INTERRUPTED ? day->attempt + 1 : 1;
}

static Choice
load_at(const View *view, const ScheduleDay *day, TimestampTz due)
{
	bool missing = !day->loaded && day->day >= view->first_gap;
	bool yesterday = day->day >= view->yesterday;
	Choice choice = {
		.action =
			{
				.what = SCHEDULE_LOAD,
				.day = day->day,
				.cause = "queue",
				.attempt = next_attempt(day),
				.due = due,
			},
		.urgency = URGENCY_QUEUE,
		.run = day->run,
	};

	if (missing)
	{
		choice.urgency = yesterday ? URGENCY_YESTERDAY : URGENCY_GAP;
		choice.run = 0; /* oldest first, queued or not */
		if (day->state != SCHEDULE_QUEUED)
			choice.action.cause = yesterday ? "schedule" : "catchup";
	}
	return choice;
}

static Choice
recheck_at(const ScheduleDay *day, TimestampTz due)
{
	return (Choice){
		.action =
			{
				.what = SCHEDULE_RECHECK,
				.day = day->day,
				.cause = "recheck",
				.attempt = next_attempt(day),
				.due = due,
			},
		.urgency = URGENCY_RECHECK,
	};
}

/* A day that is queued, waiting, or to be retried: finished however old it is. */
static bool
choose_begun(const View *view, const ScheduleDay *day, Choice *choice)
{
	TimestampTz end = day_start(day->day + 1);
	TimestampTz due = Max(end, view->rules->queue_from);

	if (day->state == SCHEDULE_WAITING || (is_pending(day) && !day->recheck))
		due = Max(end, next_at(view, day));
	else if (day->state != SCHEDULE_QUEUED)
		return false;
	*choice = day->state == SCHEDULE_WAITING && day->recheck ? recheck_at(day, due) : load_at(view, day, due);
	choice->action.waits_since = day->state == SCHEDULE_WAITING ? day->waits_since : 0;
	return true;
}

/* A day that has not been loaded. */
static bool
choose_gap(const View *view, const ScheduleDay *day, Choice *choice)
{
	TimestampTz due = schedule_due_at(view->rules, day->day);

	if (day->day < view->first_gap || day->day > view->yesterday || day->state == SCHEDULE_CANCELED)
		return false;
	if (has_failed(day))
		due = Max(due, again_at(view, day));
	*choice = load_at(view, day, due);
	return true;
}

/* A day that has been loaded. */
static bool
choose_recheck(const View *view, const ScheduleDay *day, Choice *choice)
{
	bool settled = day->confirmed || day->differs;
	int64 wait = settled ? RECHECK_WAIT : PROVISIONAL_WAIT;
	TimestampTz due = after(day->checked_at, wait, view->now);

	if (day->day < (settled ? view->first_recheck : view->first_provisional) || day->day > view->yesterday)
		return false;
	if (is_pending(day))
		due = next_at(view, day);
	else if (has_failed(day))
		due = Max(due, again_at(view, day));
	else if (day->state == SCHEDULE_CANCELED)
		due = Max(due, after(day->ended_at, wait, view->now));
	*choice = recheck_at(day, due);
	return true;
}

/* Due actions come first; the others in order of due time. */
static bool
goes_before(const Choice *a, const Choice *b, TimestampTz now)
{
	bool a_due = a->action.due <= now;
	bool b_due = b->action.due <= now;

	if (a_due != b_due)
		return a_due;
	if (!a_due && a->action.due != b->action.due)
		return a->action.due < b->action.due;
	if (a->urgency != b->urgency)
		return a->urgency < b->urgency;
	if (a->run != b->run)
		return a->run < b->run;
	return a->action.day < b->action.day;
}

ScheduleAction
schedule_next(const ScheduleRules *rules, const ScheduleDay *days, int ndays, TimestampTz now)
{
	View view = view_of(rules, days, ndays, now);
	/* the next day: today, or the source's first */
	ScheduleDay coming = {.day = Max(day_of(now), rules->start_date)};
	Choice best;

	if (!rules->enabled)
		return (ScheduleAction){.what = SCHEDULE_NOTHING, .due = DT_NOEND};
	best = load_at(&view, &coming, schedule_due_at(rules, coming.day));
	for (int i = 0; i < ndays; i++)
	{
		const ScheduleDay *day = &days[i];
		Choice choice;
		bool chosen = choose_begun(&view, day, &choice);
		if (!chosen)
			chosen = day->loaded ? choose_recheck(&view, day, &choice) : choose_gap(&view, day, &choice);
		if (chosen && goes_before(&choice, &best, now))
			best = choice;
	}
	return best.action;
}
