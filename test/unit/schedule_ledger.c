/*
 * schedule_ledger.c
 *	  See schedule_ledger.h.
 */
#include "schedule_ledger.h"

#include <string.h>

ScheduleRules rules;
ScheduleDay ledger[MAX_DAYS];
int ndays;

TimestampTz
clock_at(DateADT day, int64 time)
{
	return (TimestampTz) day * DAY + time;
}

/* All days that the worker looks at, loaded, confirmed and just looked at. */
static void
all_done(TimestampTz now)
{
	ndays = 0;
	for (DateADT day = schedule_first_day(&rules, now); day <= day_yesterday(now); day++)
		ledger[ndays++] = (ScheduleDay){.day = day,
										.load = {.state = SCHEDULE_SUCCEEDED, .attempt = 1, .ended_at = now},
										.loaded = true,
										.confirmed = true,
										.checked_at = now};
}

ScheduleDay *
on(DateADT day)
{
	int at = 0;
	while (at < ndays && ledger[at].day < day)
		at++;
	if (at == ndays || ledger[at].day != day)
	{
		memmove(&ledger[at + 1], &ledger[at], (ndays++ - at) * sizeof(ScheduleDay));
		ledger[at] = (ScheduleDay){.day = day};
	}
	return &ledger[at];
}

void
missing(DateADT day)
{
	*on(day) = (ScheduleDay){.day = day};
}

void
queued(DateADT day, int64 run)
{
	ScheduleDay *row = on(day);
	row->load.state = SCHEDULE_QUEUED;
	row->load.attempt = 1;
	row->run = run;
}

ScheduleDay *
ended(DateADT day, ScheduleState state, int attempt, TimestampTz at, TimestampTz next_at)
{
	ScheduleDay *row = on(day);
	*row = (ScheduleDay){.day = day, .load = {.state = state, .attempt = attempt, .ended_at = at, .next_at = next_at}};
	return row;
}

ScheduleDay *
rechecked(DateADT day, ScheduleState state, TimestampTz at, TimestampTz next_at)
{
	ScheduleDay *row = on(day);
	row->check = (ScheduleTry){.state = state, .attempt = 1, .ended_at = at, .next_at = next_at};
	return row;
}

ScheduleDay *
provisional(DateADT day, TimestampTz checked_at)
{
	ScheduleDay *row = on(day);
	row->confirmed = false;
	row->checked_at = row->load.ended_at = checked_at;
	return row;
}

void
expect(TimestampTz now, ScheduleWhat what, DateADT day, const char *cause, int attempt, TimestampTz due,
	   const char *name)
{
	ScheduleAction action = schedule_next(&rules, ledger, ndays, now);
	bool same = action.what == what && action.due == due;
	if (what != SCHEDULE_NOTHING)
		same = same && action.day == day && strcmp(action.cause, cause) == 0 && action.attempt == attempt;
	ok(same, "%s", name);
	if (!same)
		note("got what %d, day %d, %s, attempt %d, at %s; now is %s", action.what, action.day,
			 action.cause ? action.cause : "-", action.attempt, timetext(action.due), timetext(now));
	if (!same)
		note("for what %d, day %d, %s, attempt %d, at %s", what, day, cause, attempt, timetext(due));
}

void
begin(TimestampTz now)
{
	rules = default_rules(TODAY - 100);
	all_done(now);
}
