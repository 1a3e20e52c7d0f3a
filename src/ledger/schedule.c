/*
 * schedule.c
 *	  Pure arithmetic on days and waits; schedule_due.c decides which action is
 *	  due.
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
