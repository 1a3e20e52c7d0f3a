/*
 * values_time.c
 *	  Dates, times and intervals.
 *
 * Only one form is read: ISO 8601 with four-digit years, as BigQuery writes it; with a
 * time zone if the column has one, and without if it has none.  So the result does not
 * depend on DateStyle, TimeZone or the current day, as it would if the input functions
 * read '01/02/03', 'today' or a time without a date.
 */
#include "postgres.h"

#include "common/int.h"
#include "utils/builtins.h"
#include "utils/date.h"
#include "utils/datetime.h"
#include "utils/timestamp.h"

#include "bigquery/bqtype.h"
#include "rows/rows.h"
#include "values/values_internal.h"

/* BigQuery's intervals have at most 10,000 years; a part with more digits is out of range. */
#define MAX_PART_DIGITS 9

/* --------------------------------------------------------------------------
 * Parsing
 * -------------------------------------------------------------------------- */

static bool
digits(const char **p, const char *end, int n, int *number)
{
	*number = 0;
	if (end - *p < n)
		return false;
	for (int i = 0; i < n; i++, (*p)++)
	{
		if (**p < '0' || **p > '9')
			return false;
		*number = *number * 10 + (**p - '0');
	}
	return true;
}

static bool
mark(const char **p, const char *end, const char *any)
{
	if (*p == end || **p == '\0' || strchr(any, **p) == NULL)
		return false;
	(*p)++;
	return true;
}

bool
values_parse_date(const char **p, const char *end, int *days)
{
	int year, month, day;

	*days = 0;
	if (!digits(p, end, 4, &year) || !mark(p, end, "-") || !digits(p, end, 2, &month) || !mark(p, end, "-") ||
		!digits(p, end, 2, &day))
		return false;
	if (year < 1 || month < 1 || month > MONTHS_PER_YEAR || day < 1 || day > day_tab[isleap(year)][month - 1])
		return false;
	*days = date2j(year, month, day) - POSTGRES_EPOCH_JDATE;
	return true;
}

bool
values_parse_fraction(const char **p, const char *end, int64 *micros, bool *exact)
{
	int64 unit = USECS_PER_SEC;

	*micros = 0;
	*exact = true;
	if (!mark(p, end, "."))
		return true;
	if (*p == end || **p < '0' || **p > '9')
		return false;
	for (; *p < end && **p >= '0' && **p <= '9'; (*p)++)
	{
		unit /= 10;
		*micros += (**p - '0') * unit;
		if (unit == 0 && **p != '0')
			*exact = false;
	}
	return true;
}

bool
values_parse_clock(const char **p, const char *end, bool loose, int64 *micros, bool *exact)
{
	int hour, minute, second = 0;
	int64 fraction = 0;

	*micros = 0;
	*exact = true;
	if (!digits(p, end, 2, &hour) || !mark(p, end, ":") || !digits(p, end, 2, &minute))
		return false;
	if (mark(p, end, ":"))
	{
		if (!digits(p, end, 2, &second) || !values_parse_fraction(p, end, &fraction, exact))
			return false;
	}
	else if (!loose)
		return false;
	if (hour >= HOURS_PER_DAY || minute >= MINS_PER_HOUR || second >= SECS_PER_MINUTE)
		return false;
	*micros = ((hour * MINS_PER_HOUR + minute) * (int64) SECS_PER_MINUTE + second) * USECS_PER_SEC + fraction;
	return true;
}

bool
values_parse_datetime(const char **p, const char *end, bool loose, int64 *micros, bool *exact)
{
	int days;
	int64 clock = 0;

	*micros = 0;
	*exact = true;
	if (!values_parse_date(p, end, &days))
		return false;
	if (*p < end || !loose)
	{
		if (!mark(p, end, "T ") || !values_parse_clock(p, end, loose, &clock, exact))
			return false;
	}
	*micros = days * USECS_PER_DAY + clock;
	return true;
}

/* Parse Z, UTC, +HH, +HHMM or +HH:MM, after an optional blank, up to the end of the text: the offset east. */
static bool
parse_zone(const char *p, const char *end, int64 *east)
{
	int hours, minutes = 0;

	(void) mark(&p, end, " ");
	*east = 0;
	if (end - p == 3 && memcmp(p, "UTC", 3) == 0)
		return true;
	if (mark(&p, end, "Zz"))
		return p == end;

	bool west = p < end && *p == '-';

	if (!mark(&p, end, "+-") || !digits(&p, end, 2, &hours))
		return false;
	if (p < end)
	{
		(void) mark(&p, end, ":");
		if (!digits(&p, end, 2, &minutes))
			return false;
	}
	*east = (hours * MINS_PER_HOUR + minutes) * (west ? -USECS_PER_MINUTE : USECS_PER_MINUTE);
	return p == end && hours < 16 && minutes < MINS_PER_HOUR;
}

/* --------------------------------------------------------------------------
 * Making values
 * -------------------------------------------------------------------------- */

/* Whether time(n) and timestamp(n) can hold it; *exact comes from the text's parser. */
static bool
fits_precision(const ValueReader *reader, int64 micros, bool exact)
{
	int64 unit = 1;

	if (reader->typmod < 0)
		return exact;
	for (int i = reader->typmod; i < MAX_TIMESTAMP_PRECISION; i++)
		unit *= 10;
	return exact && micros % unit == 0;
}

IntegerResult
values_parse_micros(const char *data, size_t len, int64 *micros)
{
	const int64 epochs_apart = (int64) (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * USECS_PER_DAY;
	IntegerResult result = values_parse_integer(data, len, micros);

	if (result == INTEGER_OK && (pg_sub_s64_overflow(*micros, epochs_apart, micros) || !IS_VALID_TIMESTAMP(*micros)))
		return INTEGER_OVERFLOW;
	return result;
}

static ValueResult
read_micros(ValueReader *reader, const RowsCell *cell, int64 *micros, const char **reason)
{
	switch (values_parse_micros(cell->data, cell->len, micros))
	{
		case INTEGER_MALFORMED:
			return values_bad(reason, "not a timestamp in microseconds");
		case INTEGER_OVERFLOW:
			return values_out_of_range(reader, reason);
		case INTEGER_OK:
			break;
	}
	return VALUE_OK;
}

/* A date and time without zone, or only a date. */
static ValueResult
read_datetime(ValueReader *reader, const RowsCell *cell, int64 *micros, const char **reason)
{
	const char *p = cell->data, *end = cell->data + cell->len;
	bool exact;

	if (reader->field->type == BQ_TIMESTAMP)
		return read_micros(reader, cell, micros, reason);
	if (!values_parse_datetime(&p, end, reader->field->type != BQ_DATETIME, micros, &exact) || p != end)
		return values_bad(reason, "not a date and time as YYYY-MM-DD HH:MM:SS");
	return exact ? VALUE_OK : values_inexact(reader, reason);
}

static ValueResult
hold_timestamp(const ValueReader *reader, int64 micros, Datum *value, const char **reason)
{
	if (!fits_precision(reader, micros, true))
		return values_inexact(reader, reason);
	*value = TimestampGetDatum(micros);
	return VALUE_OK;
}

ValueResult
values_read_timestamp(ValueReader *reader, const RowsCell *cell, Datum *value, const char **reason)
{
	int64 micros;

	if (read_datetime(reader, cell, &micros, reason) != VALUE_OK)
		return VALUE_BAD;
	return hold_timestamp(reader, micros, value, reason);
}

/* From a STRING, which must have a zone: otherwise the result would depend on the session's. */
static ValueResult
read_with_zone(ValueReader *reader, const RowsCell *cell, int64 *micros, const char **reason)
{
	const char *p = cell->data, *end = cell->data + cell->len;
	int64 east;
	bool exact;

	if (!values_parse_datetime(&p, end, true, micros, &exact))
		return values_bad(reason, "not a date and time as YYYY-MM-DD HH:MM:SS+00");
	if (!parse_zone(p, end, &east))
		return values_bad(reason, p == end ? "without a time zone" : "with a time zone other than +HH:MM");
	*micros -= east;
	return exact ? VALUE_OK : values_inexact(reader, reason);
}

ValueResult
values_read_timestamptz(ValueReader *reader, const RowsCell *cell, Datum *value, const char **reason)
{
	int64 micros;
	bool wire = reader->field->type == BQ_TIMESTAMP;

	if ((wire ? read_micros : read_with_zone)(reader, cell, &micros, reason) != VALUE_OK)
		return VALUE_BAD;
	return hold_timestamp(reader, micros, value, reason);
}

/* The day of a TIMESTAMP is its day in UTC, at any time; a DATETIME must be midnight. */
static ValueResult
date_of_datetime(ValueReader *reader, const RowsCell *cell, Datum *value, const char **reason)
{
	bool utc = reader->field->type == BQ_TIMESTAMP;
	int64 micros;

	if (read_datetime(reader, cell, &micros, reason) != VALUE_OK)
		return VALUE_BAD;

	int64 clock = micros % USECS_PER_DAY;

	if (clock != 0 && !utc)
		return values_bad(reason, "not midnight, and a date has no time");
	*value = DateADTGetDatum((DateADT) ((micros - (clock < 0 ? clock + USECS_PER_DAY : clock)) / USECS_PER_DAY));
	return VALUE_OK;
}

ValueResult
values_read_date(ValueReader *reader, const RowsCell *cell, Datum *value, const char **reason)
{
	const char *p = cell->data, *end = cell->data + cell->len;
	int days;

	if (reader->field->type == BQ_DATETIME || reader->field->type == BQ_TIMESTAMP)
		return date_of_datetime(reader, cell, value, reason);
	if (!values_parse_date(&p, end, &days) || p != end)
		return values_bad(reason, "not a date as YYYY-MM-DD");
	*value = DateADTGetDatum(days);
	return VALUE_OK;
}

ValueResult
values_read_time(ValueReader *reader, const RowsCell *cell, Datum *value, const char **reason)
{
	const char *p = cell->data, *end = cell->data + cell->len;
	bool loose = reader->field->type == BQ_STRING;
	int64 micros;
	bool exact;

	if (!values_parse_clock(&p, end, loose, &micros, &exact) || p != end)
		return values_bad(reason, "not a time as HH:MM:SS");
	if (!fits_precision(reader, micros, exact))
		return values_inexact(reader, reason);
	*value = TimeADTGetDatum(micros);
	return VALUE_OK;
}

/* --------------------------------------------------------------------------
 * Intervals: months, days and a clock, each with its own sign.  They are parsed by
 * hand, since interval_in() interprets the sign of "-1-2 3 4:5:6" according to
 * IntervalStyle, and silently rounds a seventh digit.
 * -------------------------------------------------------------------------- */

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
parse_months(const char **p, const char *end, int32 *months)
{
	bool negative = mark(p, end, "-");
	int64 years, rest;

	if (!part(p, end, &years) || !mark(p, end, "-") || !part(p, end, &rest) || rest >= MONTHS_PER_YEAR)
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
	bool negative = mark(p, end, "-");
	int64 hours, minutes, seconds, fraction;

	if (!part(p, end, &hours) || !mark(p, end, ":") || !part(p, end, &minutes) || !mark(p, end, ":") ||
		!part(p, end, &seconds) || !values_parse_fraction(p, end, &fraction, exact))
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

	if (!parse_months(&p, end, &interval->month) || !mark(&p, end, " "))
		return false;

	bool negative = mark(&p, end, "-");

	if (!part(&p, end, &days) || !mark(&p, end, " ") || !parse_clock(&p, end, &interval->time, exact))
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
