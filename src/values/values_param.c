/*
 * values_param.c
 *	  The reverse: one Datum → the text of a query's parameter.
 *
 * BigQuery parses these texts as GoogleSQL literals of the parameter's type.
 * All of them are exact, and equal values always have the same text.
 */
#include "postgres.h"

#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/date.h"
#include "utils/datetime.h"
#include "utils/numeric.h"
#include "utils/timestamp.h"

#include "values/values.h"

#define FIRST_DAY (date2j(1, 1, 1) - POSTGRES_EPOCH_JDATE)
#define END_DAY (date2j(10000, 1, 1) - POSTGRES_EPOCH_JDATE)

bool
values_timestamp_in_range(int64 timestamp)
{
	return timestamp >= FIRST_DAY * USECS_PER_DAY && timestamp < END_DAY * USECS_PER_DAY;
}

/* "YYYY-MM-DD HH:MM:SS.ffffff", in UTC or without a zone. */
static char *
clock_text(int64 timestamp, const char *zone)
{
	struct pg_tm tm;
	fsec_t fraction;

	if (!values_timestamp_in_range(timestamp) || timestamp2tm(timestamp, NULL, &tm, &fraction, NULL, NULL) != 0)
		elog(ERROR, "timestamp " INT64_FORMAT " is out of BigQuery's range", timestamp);
	return psprintf("%04d-%02d-%02d %02d:%02d:%02d.%06d%s", tm.tm_year, tm.tm_mon, tm.tm_mday, tm.tm_hour, tm.tm_min,
					tm.tm_sec, (int) fraction, zone);
}

char *
values_timestamp_text(int64 timestamp)
{
	return clock_text(timestamp, "+00:00");
}

char *
values_datetime_text(int64 timestamp)
{
	return clock_text(timestamp, "");
}

char *
values_date_text(int32 day)
{
	int year, month, mday;

	if (day < FIRST_DAY || day >= END_DAY)
		return NULL;
	j2date(day + POSTGRES_EPOCH_JDATE, &year, &month, &mday);
	return psprintf("%04d-%02d-%02d", year, month, mday);
}

char *
values_numeric_text(Datum value, int before, int after)
{
	/* without trailing zeros or an exponent */
	char *text = numeric_normalize(DatumGetNumeric(value));
	const char *digits = *text == '-' ? text + 1 : text;
	size_t whole = strspn(digits, "0123456789");
	size_t fraction = digits[whole] == '.' ? strspn(digits + whole + 1, "0123456789") : 0;

	if (whole == 0 || whole > (size_t) before || fraction > (size_t) after)
		return NULL;
	return text;
}

char *
values_string_text(Datum value)
{
	char *string = TextDatumGetCString(value);
	int encoding = GetDatabaseEncoding();

	if (encoding == PG_UTF8)
		return string;
	/* SQL_ASCII keeps the bytes unchanged, but may also hold invalid UTF-8 */
	if (encoding == PG_SQL_ASCII && pg_verify_mbstr(PG_UTF8, string, (int) strlen(string), true))
		return string;
	return NULL;
}
