/*
 * schedule.c
 *	  Pure arithmetic on days and waits; what is due is in schedule_due.c.
 *
 * Both a timestamptz and a date count from 2000-01-01, the former in UTC, so a
 * day is a plain division: no time zone, no DateStyle and no catalog is asked,
 * unlike timestamptz's own cast to date.
 */
#include "postgres.h"

#include "common/int.h"
#include "miscadmin.h"
#include "utils/datetime.h"
#include "utils/timestamp.h"

#include "ledger/schedule.h"

/* Rounds down, also before 2000.  "now" is finite. */
DateADT
schedule_day_of(TimestampTz now)
{
	int64 day = now / USECS_PER_DAY;
	if (now % USECS_PER_DAY < 0)
		day--;
	return (DateADT) day;
}

DateADT
schedule_yesterday(TimestampTz now)
{
	return schedule_day_of(now) - 1;
}

/* A date reaches further than a timestamp: what lies beyond is infinite. */
TimestampTz
schedule_day_start(DateADT day)
{
	int64 start;
	if (DATE_NOT_FINITE(day) || pg_mul_s64_overflow(day, USECS_PER_DAY, &start) || !IS_VALID_TIMESTAMP(start))
		return day < 0 ? DT_NOBEGIN : DT_NOEND;
	return start;
}

char *
schedule_day_text(DateADT day)
{
	char text[MAXDATELEN + 1];
	if (DATE_NOT_FINITE(day))
		EncodeSpecialDate(day, text);
	else
	{
		struct pg_tm tm = {0};
		j2date(day + POSTGRES_EPOCH_JDATE, &tm.tm_year, &tm.tm_mon, &tm.tm_mday);
		EncodeDateOnly(&tm, USE_ISO_DATES, text);
	}
	return pstrdup(text);
}

/* A day so far ahead that it has no window is never due. */
TimestampTz
schedule_due_at(const ScheduleRules *rules, DateADT day)
{
	TimestampTz end = schedule_day_start(day + 1);
	return TIMESTAMP_NOT_FINITE(end) ? end : end + rules->run_at;
}

/*
 * A day loaded at run_at can only be confirmed on the next day but one, so that
 * it has to be in sight that long even with catchup_days and recheck_days 0.
 */
#define DAYS_TO_CONFIRM 2

DateADT
schedule_first_day(const ScheduleRules *rules, TimestampTz now)
{
	DateADT yesterday = schedule_yesterday(now);
	DateADT kept = Max(rules->start_date, yesterday - Max(rules->catchup_days, DAYS_TO_CONFIRM));
	return Max(SCHEDULE_FIRST_DAY, Min(kept, yesterday - rules->recheck_days + 1));
}

/* A setting of 0 must not become a loop that never pauses. */
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
	return now >= schedule_day_start(day + 2);
}
