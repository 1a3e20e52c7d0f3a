/*
 * day.c
 *	  Days.
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

#include "base/day.h"

/* Rounds down, also before 2000.  "now" is finite. */
DateADT
day_of(TimestampTz now)
{
	int64 day = now / USECS_PER_DAY;

	if (now % USECS_PER_DAY < 0)
		day--;
	return (DateADT) day;
}

DateADT
day_yesterday(TimestampTz now)
{
	return day_of(now) - 1;
}

/* A date reaches further than a timestamp: days outside its range become infinite. */
TimestampTz
day_start(DateADT day)
{
	int64 start;

	if (DATE_NOT_FINITE(day) || pg_mul_s64_overflow(day, USECS_PER_DAY, &start) || !IS_VALID_TIMESTAMP(start))
		return day < 0 ? DT_NOBEGIN : DT_NOEND;
	return start;
}

char *
day_text(DateADT day)
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

bool
day_same_max(const DayFigures *one, const DayFigures *other)
{
	return one->has_max == other->has_max && (!one->has_max || one->max_timestamp == other->max_timestamp);
}
