/*
 * ledger_next.c
 *	  What is next for a source: the one place that puts together its row, the
 *	  settings, its days and the schedule's rules, for the worker and for who
 *	  wants to know what the worker will do.
 */
#include "postgres.h"

#include "base/day.h"
#include "ledger/ledger.h"

static int64
open_run_of(const ScheduleDay *days, int ndays, DateADT day)
{
	for (int i = 0; i < ndays; i++)
		if (days[i].day == day && (days[i].state == SCHEDULE_QUEUED || days[i].state == SCHEDULE_WAITING))
			return days[i].run;
	return 0;
}

/* What is billed from run_at on is yesterday's first: a queue that had to stop goes on after it. */
static TimestampTz
queue_from(const LedgerSchedule *schedule, TimestampTz now)
{
	const char *source = schedule->source.name;
	TimestampTz due = schedule_due_at(&schedule->rules, day_yesterday(now));

	if (ledger_ran_out(source, now))
		return schedule_due_at(&schedule->rules, day_of(now));
	return now < due && ledger_ran_out(source, now - USECS_PER_DAY) ? due : 0;
}

ScheduleAction
ledger_next(LedgerSchedule *schedule, TimestampTz changed_at, TimestampTz now, int64 *open_run)
{
	ScheduleRules *rules = &schedule->rules;
	ScheduleDay *days;
	ScheduleAction action;
	int ndays;

	rules->changed_at = changed_at;
	rules->queue_from = queue_from(schedule, now);
	days = ledger_days(schedule->source.name, schedule_first_day(rules, now), day_yesterday(now), &ndays);
	action = schedule_next(rules, days, ndays, now);
	*open_run = open_run_of(days, ndays, action.day);
	return action;
}
