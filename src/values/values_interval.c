/*
 * values_interval.c
 *	  Intervals: months, days and a clock, each with its own sign.
 *
 * Intervals are parsed by hand, since interval_in() interprets the sign of "-1-2 3
 * 4:5:6" according to IntervalStyle, and silently rounds a seventh digit.
 */
#include "postgres.h"

#include "common/int.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "rows/rows.h"
#include "values/values_internal.h"

/* BigQuery's intervals have at most 10,000 years; a part with more digits is out of range. */
#define MAX_PART_DIGITS 9

/* Parse digits, at least one; false if there are too many. */
static bool
part(const char **p, const char *end, int64 *number)
{
	const char *start = *p;

	*number = 0;
	for (; *p < end && **p >= '0' && **p <= '9'; (*p)++)
	{
		if (*p - start == MAX_PART_DIGITS)
			return false;
		*number = *number * 10 + (**p - '0');
	}
	return *p > start;
}

static bool
interval_sign(const char **p, const char *end)
{
	if (*p == end || **p != '-')
		return false;
	(*p)++;
	return true;
}

static bool
mark_interval(const char **p, const char *end, char c)
{
	if (*p == end || **p != c)
		return false;
	(*p)++;
	return true;
}

static bool
parse_months(const char **p, const char *end, int32 *months)
{
	bool negative = interval_sign(p, end);
	int64 years, rest;

	if (!part(p, end, &years) || !mark_interval(p, end, '-') || !part(p, end, &rest) || rest >= MONTHS_PER_YEAR)
		return false;
	/* no more than nine digits: the product fits 64 bits */
	rest += years * MONTHS_PER_YEAR;
	if (rest > PG_INT32_MAX)
		return false;
	*months = (int32) (negative ? -rest : rest);
	return true;
}

static bool
parse_clock(const char **p, const char *end, int64 *micros, bool *exact)
{
	bool negative = interval_sign(p, end);
	int64 hours, minutes, seconds, fraction;

	if (!part(p, end, &hours) || !mark_interval(p, end, ':') || !part(p, end, &minutes) ||
		!mark_interval(p, end, ':') || !part(p, end, &seconds) || !values_parse_fraction(p, end, &fraction, exact))
		return false;
	if (minutes >= MINS_PER_HOUR || seconds >= SECS_PER_MINUTE)
		return false;
	/* nine digits of hours are a third of what 64 bits of microseconds hold */
	*micros = ((hours * MINS_PER_HOUR + minutes) * SECS_PER_MINUTE + seconds) * USECS_PER_SEC + fraction;
	if (negative)
		*micros = -*micros;
	return true;
}

bool
values_parse_interval(const char *p, const char *end, Interval *interval, bool *exact)
{
	int64 days;

	if (!parse_months(&p, end, &interval->month) || !mark_interval(&p, end, ' '))
		return false;

	bool negative = interval_sign(&p, end);

	if (!part(&p, end, &days) || !mark_interval(&p, end, ' ') || !parse_clock(&p, end, &interval->time, exact))
		return false;
	interval->day = (int32) (negative ? -days : days);
	return p == end;
}

ValueResult
values_read_interval(ValueReader *reader, const RowsCell *cell, Datum *value, const char **reason)
{
	Interval *interval = palloc0(sizeof(Interval));
	bool exact;

	if (!values_parse_interval(cell->data, cell->data + cell->len, interval, &exact))
		return values_bad(reason, "not an interval as Y-M D H:M:S");
	*value = IntervalPGetDatum(interval);
	if (exact && reader->typmod < 0)
		return VALUE_OK;

	Interval *scaled = DatumGetIntervalP(DirectFunctionCall2(interval_scale, *value, Int32GetDatum(reader->typmod)));

	if (exact && scaled->month == interval->month && scaled->day == interval->day && scaled->time == interval->time)
		return VALUE_OK;
	return values_inexact(reader, reason);
}
