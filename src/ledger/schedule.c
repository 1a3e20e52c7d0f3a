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

/* The late checks of a day, in days after its end. */
static const int late_checks[] = {14, 30, 60};
#define LAST_LATE_CHECK 60

DateADT
schedule_first_day(const ScheduleRules *rules, TimestampTz now)
{
	DateADT yesterday = day_yesterday(now);
	DateADT kept = Max(rules->start_date, yesterday - Max(rules->catchup_days, DAYS_TO_CONFIRM));

	return Max(DAY_FIRST,
			   Min(kept, yesterday - Max(rules->recheck_days, rules->late_checks ? LAST_LATE_CHECK + 1 : 0) + 1));
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
#define FIRST_WEEK 7 /* days after a day's end in which a failed check is retried soon */

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
	DateADT first_retry; /* the first day that is tried again once it has finally failed */
	DateADT first_check; /* the first day that is rechecked at all */
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
		.first_retry = schedule_first_day(rules, now),
		.first_check = DAY_FIRST,
		.first_recheck = yesterday - rules->recheck_days + 1,
	};

	for (int i = 0; i < ndays && rules->snapshot; i++)
		if (days[i].loaded && days[i].day <= yesterday)
		{
			view.first_check = Max(view.first_check, days[i].day);
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
next_at(const View *view, const ScheduleTry *last)
{
	const ScheduleRules *rules = view->rules;
	int64 wait = last->state == SCHEDULE_WAITING
					 ? Max(rules->ready_interval, USECS_PER_SEC)
					 : schedule_retry_at(rules, Min(last->attempt, rules->retries), true, 0);
	TimestampTz latest = view->now + 2 * wait;

	if (last->next_at == 0)
		return after(last->ended_at, wait, view->now);
	/*
	 * the latest time that can have been set: once the byte budget is used up, a
	 * day waits for run_at of the next UTC day
	 */
	if (last->state != SCHEDULE_WAITING)
		latest = Max(latest, schedule_due_at(rules, day_of(view->now)));
	if (last->next_at > latest)
		return view->now;
	/* so long a wait is only for the byte budget, which a change may have raised */
	if (last->state == SCHEDULE_FAILED && last->next_at > last->ended_at + 2 * wait &&
		rules->changed_at > last->ended_at)
		return Min(last->next_at, rules->changed_at);
	return last->next_at;
}

/* When something that has finally failed is tried again: at run_at, or after a change. */
static TimestampTz
again_at(const View *view, const ScheduleTry *last)
{
	const ScheduleRules *rules = view->rules;
	TimestampTz at;

	if (last->ended_at > view->now + USECS_PER_DAY)
		return view->now;
	at = day_start(day_of(last->ended_at)) + rules->run_at;
	if (at <= last->ended_at)
		at += USECS_PER_DAY;
	/* it may have failed because of that */
	if (rules->postponed_until > last->ended_at)
		at = Min(at, rules->postponed_until);
	if (last->unreachable && rules->answered_at > last->ended_at)
		at = Min(at, rules->answered_at);
	return rules->changed_at > last->ended_at ? Min(at, rules->changed_at) : at;
}

static bool
has_failed(const ScheduleTry *last)
{
	return last->state == SCHEDULE_FAILED || last->state == SCHEDULE_INTERRUPTED || last->state == SCHEDULE_REFUSED;
}

/* Whether it has failed, and the ledger has a time for another attempt. */
static bool
is_pending(const ScheduleTry *last)
{
	return has_failed(last) && last->next_at != 0;
}

/*
 * The number of the next attempt: 1 for a new series, unless this series continues
 * or the day may be what crashes the server.
 */
static int
next_attempt(const ScheduleTry *last)
{
	return is_pending(last) || last->state == SCHEDULE_INTERRUPTED ? last->attempt + 1 : 1;
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
				.cause = day->reload && day->load.state != SCHEDULE_QUEUED ? "reload" : "queue",
				.attempt = next_attempt(&day->load),
				.due = due,
			},
		.urgency = URGENCY_QUEUE,
		.run = day->run,
	};

	if (missing)
	{
		choice.urgency = yesterday ? URGENCY_YESTERDAY : URGENCY_GAP;
		choice.run = 0; /* oldest first, queued or not */
		if (day->load.state != SCHEDULE_QUEUED)
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
				.attempt = next_attempt(&day->check),
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

	if (day->check.state == SCHEDULE_WAITING)
		*choice = recheck_at(day, Max(end, next_at(view, &day->check)));
	else if (day->load.state == SCHEDULE_QUEUED)
		*choice = load_at(view, day, Max(end, view->rules->queue_from));
	else if (day->load.state == SCHEDULE_WAITING || is_pending(&day->load))
		*choice = load_at(view, day, Max(end, next_at(view, &day->load)));
	else
		return false;
	choice->action.waits_since = day->waits_since;
	return true;
}

/* A day that has finally failed, and whose time to be tried again has not passed for good. */
static bool
choose_failed(const View *view, const ScheduleDay *day, Choice *choice)
{
	const ScheduleRules *rules = view->rules;
	bool asked = day->asked && day->load.state != SCHEDULE_REFUSED &&
				 after(day->started_at, rules->catchup_days * USECS_PER_DAY, view->now) > view->now;

	if (!has_failed(&day->load) || day->day > view->yesterday || (rules->snapshot && day->day < view->yesterday))
		return false;
	if (day->day < (day->loaded ? view->first_retry : view->first_gap) && !asked)
		return false;
	*choice = load_at(view, day, Max(schedule_due_at(rules, day->day), again_at(view, &day->load)));
	choice->action.again = true;
	return true;
}

/* A day that has not been loaded. */
static bool
choose_gap(const View *view, const ScheduleDay *day, Choice *choice)
{
	if (day->loaded || day->load.state != SCHEDULE_UNTRIED || day->day < view->first_gap || day->day > view->yesterday)
		return false;
	*choice = load_at(view, day, schedule_due_at(view->rules, day->day));
	return true;
}

/* When a settled day is checked late; 0: not any more. */
static TimestampTz
late_check_at(const View *view, const ScheduleDay *day)
{
	for (int i = 0; view->rules->late_checks && i < (int) lengthof(late_checks); i++)
	{
		TimestampTz at = schedule_due_at(view->rules, day->day + late_checks[i]);

		if (day->checked_at < at)
			return at;
	}
	return 0;
}

/* A day that has been loaded. */
static bool
choose_recheck(const View *view, const ScheduleDay *day, Choice *choice)
{
	bool settled = day->confirmed || day->differs;
	int64 wait = settled ? RECHECK_WAIT : PROVISIONAL_WAIT;
	TimestampTz due = after(day->checked_at, wait, view->now);

	if (!day->loaded || day->day < view->first_check || day->day > view->yesterday)
		return false;
	if (is_pending(&day->check))
		due = next_at(view, &day->check);
	else if (has_failed(&day->check))
		due = Max(due, again_at(view, &day->check));
	else if (settled && day->day < view->first_recheck)
	{
		due = late_check_at(view, day);
		if (due == 0)
			return false;
	}
	/* a person has stopped it: not at once */
	if (day->load.state == SCHEDULE_CANCELED)
		due = Max(due, after(day->load.ended_at, wait, view->now));
	if (day->check.state == SCHEDULE_CANCELED)
		due = Max(due, after(day->check.ended_at, wait, view->now));
	if (has_failed(&day->check) && day->day <= view->yesterday - FIRST_WEEK)
		due = Max(due, after(day->check.ended_at, USECS_PER_DAY, view->now));
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
		bool chosen = choose_begun(&view, day, &choice) || choose_failed(&view, day, &choice) ||
					  choose_gap(&view, day, &choice) || choose_recheck(&view, day, &choice);
		if (chosen && choice.urgency != URGENCY_YESTERDAY)
			choice.action.due = Max(choice.action.due, rules->postponed_until);
		if (chosen && goes_before(&choice, &best, now))
			best = choice;
	}
	return best.action;
}
