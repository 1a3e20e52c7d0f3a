/*
 * fuzz_values.c
 *	  libFuzzer target: the text of a cell, read as a scalar type into a column.
 *
 * The first byte of the input chooses both: A is the first of `cases`.
 *
 * A value that is taken is the one that the text says: written again by other means (the
 * C library's calendar, strtod, an encoder) it is the same text, or the same number.
 * What is refused has a reason.  And the conversions of a process without a database
 * give what the others give.
 */
#include "harness.h"

#include <math.h>
#include <time.h>

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/date.h"
#include "utils/fmgrprotos.h"
#include "utils/numeric.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

#include "values/values.h"
#include "values/values_internal.h"

/* --------------------------------------------------------------------------
 * Decimal numbers, by a parser of their own
 * -------------------------------------------------------------------------- */

#define MAX_TEXT 512

/* 0.DIGITS * 10^places, and 0 has no digits. */
typedef struct Exact
{
	bool negative;
	int n;
	int64 places;
	char digits[2 * MAX_TEXT];
	int scale; /* digits after the point, as written */
} Exact;

static bool
exact_of(const char *text, size_t len, Exact *e)
{
	const char *end = text + len;
	bool any = false, point = false;
	int64 exponent = 0, after = 0;

	*e = (Exact){.n = 0};
	if (text < end && (*text == '-' || *text == '+'))
		e->negative = *text++ == '-';
	for (; text < end && (*text == '.' ? !point : *text >= '0' && *text <= '9'); text++)
	{
		if (*text == '.')
		{
			point = true;
			continue;
		}
		any = true;
		after += point;
		if (*text != '0' || e->n > 0)
			e->digits[e->n++] = *text;
	}
	e->scale = (int) after;
	if (!any)
		return false;
	if (text < end)
	{
		char *rest;
		char number[MAX_TEXT] = "";

		if (*text != 'e' && *text != 'E')
			return false;
		text++;
		memcpy(number, text, end - text);
		if (strspn(number, "+-0123456789") != strlen(number) || strpbrk(number, "0123456789") == NULL)
			return false;
		exponent = strtoll(number, &rest, 10);
		if (*rest != '\0')
			return false;
		exponent = Min(Max(exponent, -INT_MAX), INT_MAX);
	}
	e->places = e->n - after + exponent;
	while (e->n > 0 && e->digits[e->n - 1] == '0')
		e->n--;
	if (e->n == 0)
		e->places = 0;
	return true;
}

static bool
same_exact(const Exact *a, const Exact *b)
{
	return a->n == b->n && a->places == b->places && (a->n == 0 || a->negative == b->negative) &&
		   memcmp(a->digits, b->digits, a->n) == 0;
}

/* numeric.c's short format as text; ours are no other. */
static const char *
short_text(Datum value)
{
	static char text[MAX_TEXT];
	char *at = text;
	const char *datum = DatumGetPointer(value);
	int n = (int) (VARSIZE(datum) - VARHDRSZ - 2) / 2;
	uint16 header;
	int weight, scale;

	memcpy(&header, datum + VARHDRSZ, 2);
	property((header & 0xC000) == 0x8000, "header %x", header);
	scale = header >> 7 & 0x3F;
	weight = (header & 0x3F) - (header & 0x40);
	if (header & 0x2000)
		*at++ = '-';
	*at++ = '0';
	for (int i = Min(weight + 1, 0); i <= Max(weight, n - 1); i++)
	{
		int16 group = 0;

		if (i >= 0 && i < n)
			memcpy(&group, datum + VARHDRSZ + 2 + 2 * i, 2);
		property(group >= 0 && group < 10000, "group %d", group);
		property(i < 0 || i >= n || group != 0 || (i != 0 && i != n - 1), "a group of zeros at an end");
		/* group 0 stands for 10000^weight */
		if (weight - i == -1)
			*at++ = '.';
		at += sprintf(at, "%04d", group);
	}
	*at = '\0';
	if (strchr(text, '.') != NULL)
		property((int) strspn(strchr(text, '.') + 1 + Min(scale, (int) strlen(strchr(text, '.') + 1)), "0") ==
					 (int) strlen(strchr(text, '.') + 1) - Min(scale, (int) strlen(strchr(text, '.') + 1)),
				 "more digits than its scale %d: %s", scale, text);
	return text;
}

/* The server's: it throws for what its grammar or its range lacks, so neither may come. */
static struct
{
	bool called;
	char text[MAX_TEXT];
	int32 typmod;
} server_numeric;

Datum
numeric_in(PG_FUNCTION_ARGS)
{
	const char *text = PG_GETARG_CSTRING(0);
	Exact e;

	server_numeric.called = true;
	strlcpy(server_numeric.text, text, MAX_TEXT);
	server_numeric.typmod = PG_GETARG_INT32(2);
	if (!values_is_special_number(text, text + strlen(text)))
	{
		property(exact_of(text, strlen(text), &e), "numeric_in(%s) would throw", text);
		property(e.places <= 131072 && e.scale <= 16383 + 131072, "numeric_in(%s) would overflow", text);
	}
	return PointerGetDatum(cstring_to_text_with_len(text, (int) strlen(text)));
}

Datum
interval_scale(PG_FUNCTION_ARGS)
{
	PG_RETURN_DATUM(PG_GETARG_DATUM(0));
}

/* --------------------------------------------------------------------------
 * Properties of a value that was taken
 * -------------------------------------------------------------------------- */

/* The text of the cell, without blanks around it, as far as the first NUL. */
typedef struct Given
{
	char text[MAX_TEXT];
	size_t len;
	char trimmed[MAX_TEXT];
	size_t trimmed_len;
} Given;

typedef struct Case
{
	BqType remote;
	Oid local;
	int32 typmod;
} Case;

static bool
is_special(const Given *g)
{
	return strpbrk(g->trimmed, "nN") != NULL; /* nan, inf; no number has an n */
}

static void
check_numeric(const Case *c, const Given *g, Datum value)
{
	Exact want, got;

	if (is_special(g))
	{
		property(server_numeric.called, "%s is no number", g->trimmed);
		return;
	}
	property(exact_of(g->trimmed, g->trimmed_len, &want), "%s is no number", g->trimmed);
	if (server_numeric.called)
		property(exact_of(server_numeric.text, strlen(server_numeric.text), &got) && same_exact(&want, &got),
				 "numeric_in got %s for %s", server_numeric.text, g->trimmed);
	else
	{
		const char *text = short_text(value);

		property(exact_of(text, strlen(text), &got) && same_exact(&want, &got), "%s became %s", g->trimmed, text);
	}
	if (c->typmod >= 0)
	{
		int scale = (((c->typmod - VARHDRSZ) & 0x7ff) ^ 1024) - 1024;
		int precision = (c->typmod - VARHDRSZ) >> 16 & 0xffff;

		property(want.n == 0 || (want.n - want.places <= scale && want.places <= precision - scale),
				 "%s is no numeric(%d,%d)", g->trimmed, precision, scale);
	}
}

static void
check_integer(const Given *g, int64 number)
{
	char shown[32];
	Exact want, got;

	sprintf(shown, INT64_FORMAT, number);
	property(exact_of(g->trimmed, g->trimmed_len, &want) && exact_of(shown, strlen(shown), &got) &&
				 same_exact(&want, &got),
			 "%s became %s", g->trimmed, shown);
}

static void
check_double(const Case *c, const Given *g, double number)
{
	char shown[64];
	Exact want, got;
	char *rest;

	if (is_special(g))
	{
		property(isnan(number) || isinf(number), "%s became %g", g->trimmed, number);
		return;
	}
	property(exact_of(g->trimmed, g->trimmed_len, &want), "%s is no number", g->trimmed);
	if (c->local == FLOAT4OID && c->remote != BQ_FLOAT64)
		property((float) number == strtof(g->trimmed, &rest), "%s became %.17g", g->trimmed, number);
	else
		property(number == strtod(g->trimmed, &rest), "%s became %.17g", g->trimmed, number);
	if (c->remote == BQ_FLOAT64)
		return;
	/* a decimal number that is shown again */
	for (int precision = 1; precision <= 17; precision++)
	{
		sprintf(shown, "%.*e", precision - 1, number);
		if (exact_of(shown, strlen(shown), &got) && same_exact(&want, &got))
			return;
	}
	property(false, "%s is shown as %.17g", g->trimmed, number);
}

/* A date as the C library writes it. */
static const char *
date_shown(int days)
{
	static char text[32];
	time_t seconds = ((time_t) days + POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * SECS_PER_DAY;
	struct tm tm;

	gmtime_r(&seconds, &tm);
	sprintf(text, "%04d-%02d-%02d", tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday);
	return text;
}

/* HH:MM:SS.ffffff, and *written, what of it a text has, to compare. */
static void
check_clock(const char *text, int64 micros)
{
	char shown[32];
	size_t len = strlen(text);
	size_t same = Min(len, 15);

	property(micros >= 0 && micros < USECS_PER_DAY, "%s became " INT64_FORMAT, text, micros);
	sprintf(shown, "%02d:%02d:%02d.%06d", (int) (micros / USECS_PER_HOUR), (int) (micros / USECS_PER_MINUTE % 60),
			(int) (micros / USECS_PER_SEC % 60), (int) (micros % USECS_PER_SEC));
	property(strncmp(text, shown, same) == 0, "%s became %s", text, shown);
	/* neither is there more in the one nor in the other */
	property(len != 6 && len != 9 && strspn(text + same, "0") == len - same, "%s became %s", text, shown);
	property(strspn(shown + same, "0:.") == strlen(shown + same), "%s became %s", text, shown);
}

static void
check_datetime(const Given *g, int64 micros)
{
	int64 clock = (micros % USECS_PER_DAY + USECS_PER_DAY) % USECS_PER_DAY;
	const char *day = date_shown((int) ((micros - clock) / USECS_PER_DAY));

	property(strncmp(g->text, day, 10) == 0, "%s is of %s", g->text, day);
	if (g->len == 10)
		property(clock == 0, "%s is at " INT64_FORMAT, g->text, clock);
	else
	{
		property(g->text[10] == ' ' || g->text[10] == 'T', "%s", g->text);
		check_clock(g->text + 11, clock);
	}
}

/* As the text of a parameter, which is another file's. */
static void
check_micros(const Given *g, int64 micros)
{
	const int64 apart = (int64) (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * USECS_PER_DAY;

	check_integer(g, micros + apart);
	if (values_timestamp_in_range(micros))
	{
		const char *text = values_datetime_text(micros), *p = text;
		int64 again;
		bool exact;

		property(values_parse_datetime(&p, text + strlen(text), false, &again, &exact) && exact && again == micros,
				 "%s becomes " INT64_FORMAT, text, again);
	}
}

/* A zone moves it by less than 16 hours. */
static void
check_zoned(const Given *g, int64 micros)
{
	int64 local;
	bool exact;
	const char *p = g->text;

	property(values_parse_datetime(&p, g->text + g->len, true, &local, &exact) && exact, "%s", g->text);
	property(llabs(local - micros) < 16 * USECS_PER_HOUR && (local - micros) % USECS_PER_MINUTE == 0,
			 "%s is off by " INT64_FORMAT, g->text, local - micros);
	property(p < g->text + g->len, "%s has no zone", g->text);
}

static void
check_interval(const Given *g, const Interval *i)
{
	char shown[128];
	int64 clock = llabs(i->time);
	Interval again;
	bool exact;
	int len = sprintf(shown, "%s%d-%d %d %s" INT64_FORMAT ":%d:%d.%06d", i->month < 0 ? "-" : "", abs(i->month) / 12,
					  abs(i->month) % 12, i->day, i->time < 0 ? "-" : "", clock / USECS_PER_HOUR,
					  (int) (clock / USECS_PER_MINUTE % 60), (int) (clock / USECS_PER_SEC % 60),
					  (int) (clock % USECS_PER_SEC));

	property(strspn(g->text, "0123456789-:. ") == g->len, "%s", g->text);
	property(values_parse_interval(shown, shown + len, &again, &exact) && exact && again.month == i->month &&
				 again.day == i->day && again.time == i->time,
			 "%s became %s", g->text, shown);
}

static void
check_bytes(const Given *g, const bytea *bytes)
{
	static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	const unsigned char *b = (const unsigned char *) VARDATA(bytes);
	size_t n = VARSIZE(bytes) - VARHDRSZ;
	char shown[2 * MAX_TEXT], *at = shown;

	for (size_t i = 0; i < n; i += 3)
	{
		uint32 three = (uint32) b[i] << 16 | (i + 1 < n ? (uint32) b[i + 1] << 8 : 0) | (i + 2 < n ? b[i + 2] : 0);

		for (int j = 0; j < 4; j++)
			*at++ = (size_t) j > n - i ? '=' : letters[three >> (18 - 6 * j) & 63];
	}
	*at = '\0';
	property(strcmp(shown, g->text) == 0, "%s became %s", g->text, shown);
}

static void
check_uuid(const Given *g, const pg_uuid_t *uuid)
{
	char shown[2 * UUID_LEN + 1];
	const char *at = g->text + (g->text[0] == '{');

	for (int i = 0; i < UUID_LEN; i++)
		sprintf(shown + 2 * i, "%02x", uuid->data[i]);
	for (const char *c = shown; *c != '\0'; c++, at++)
	{
		at += *at == '-';
		property(pg_ascii_tolower((unsigned char) *at) == (unsigned char) *c, "%s became %s", g->text, shown);
	}
}

/* [LOWER, UPPER) has both bounds, each of them valid. */
static void
check_range(const Given *g, const text *made)
{
	int len = (int) (VARSIZE(made) - VARHDRSZ);
	const char *shown = VARDATA(made);

	property(len >= 3 && strchr("[(", shown[0]) != NULL && shown[len - 1] == ')', "%s became %.*s", g->text, len,
			 shown);
	property(memchr(shown, ',', len) != NULL && memchr(shown, 'T', len) == NULL, "%s became %.*s", g->text, len, shown);
}

static void
check_value(const Case *c, const Given *g, Datum value)
{
	switch (c->local)
	{
		case NUMERICOID:
			check_numeric(c, g, value);
			break;
		case INT8OID:
			check_integer(g, DatumGetInt64(value));
			break;
		case INT4OID:
			check_integer(g, DatumGetInt32(value));
			break;
		case INT2OID:
			check_integer(g, DatumGetInt16(value));
			break;
		case FLOAT8OID:
			check_double(c, g, DatumGetFloat8(value));
			break;
		case FLOAT4OID:
			check_double(c, g, DatumGetFloat4(value));
			break;
		case DATEOID:
			if (c->remote == BQ_DATE || c->remote == BQ_STRING)
				property(strcmp(g->text, date_shown(DatumGetDateADT(value))) == 0, "%s became %s", g->text,
						 date_shown(DatumGetDateADT(value)));
			break;
		case TIMEOID:
			check_clock(g->text, DatumGetTimeADT(value));
			break;
		case TIMESTAMPOID:
		case TIMESTAMPTZOID:
			if (c->remote == BQ_TIMESTAMP)
				check_micros(g, DatumGetTimestamp(value));
			else if (c->local == TIMESTAMPTZOID)
				check_zoned(g, DatumGetTimestamp(value));
			else
				check_datetime(g, DatumGetTimestamp(value));
			break;
		case INTERVALOID:
			check_interval(g, DatumGetIntervalP(value));
			break;
		case BYTEAOID:
			check_bytes(g, DatumGetByteaPP(value));
			break;
		case UUIDOID:
			check_uuid(g, DatumGetUUIDP(value));
			break;
		default:
			break;
	}
}

/* --------------------------------------------------------------------------
 * The cases
 * -------------------------------------------------------------------------- */

#define NUMERIC_TYPMOD(precision, scale) ((((precision) << 16) | ((scale) &0x7ff)) + VARHDRSZ)

static const Case cases[] = {
	{BQ_INT64, INT8OID, -1},
	{BQ_INT64, INT2OID, -1},
	{BQ_INT64, NUMERICOID, -1},
	{BQ_STRING, INT4OID, -1},
	{BQ_FLOAT64, INT8OID, -1},
	{BQ_FLOAT64, FLOAT8OID, -1},
	{BQ_FLOAT64, FLOAT4OID, -1},
	{BQ_NUMERIC, FLOAT8OID, -1},
	{BQ_NUMERIC, FLOAT4OID, -1},
	{BQ_NUMERIC, NUMERICOID, -1},
	{BQ_BIGNUMERIC, NUMERICOID, NUMERIC_TYPMOD(10, 2)},
	{BQ_STRING, NUMERICOID, NUMERIC_TYPMOD(5, -2)},
	{BQ_STRING, NUMERICOID, NUMERIC_TYPMOD(60, 50)},
	{BQ_BOOL, BOOLOID, -1},
	{BQ_DATE, DATEOID, -1},
	{BQ_DATE, TIMESTAMPOID, -1},
	{BQ_TIME, TIMEOID, -1},
	{BQ_STRING, TIMEOID, 3},
	{BQ_DATETIME, TIMESTAMPOID, -1},
	{BQ_STRING, TIMESTAMPOID, 3},
	{BQ_DATETIME, DATEOID, -1},
	{BQ_TIMESTAMP, TIMESTAMPTZOID, -1},
	{BQ_TIMESTAMP, DATEOID, -1},
	{BQ_STRING, TIMESTAMPTZOID, -1},
	{BQ_INTERVAL, INTERVALOID, -1},
	{BQ_BYTES, BYTEAOID, -1},
	{BQ_STRING, UUIDOID, -1},
	{BQ_INTERVAL, TEXTOID, -1},
	{BQ_TIMESTAMP, TEXTOID, -1},
	{BQ_FLOAT64, TEXTOID, -1},
	{BQ_TIME, TEXTOID, -1},
	{BQ_STRING, VARCHAROID, VARHDRSZ + 8},
	{BQ_RANGE, TEXTOID, -1},
};

/* Takes it by hand and through the server's input function, where there are two ways. */
static ValueResult
read_case(const Case *c, const Given *g, const RowsCell *cell, bool by_hand, Datum *value)
{
	BqField field = {.type = c->remote};
	ValueReader reader = {.read = values_find_read(c->remote, c->local),
						  .field = &field,
						  .column = "c",
						  .type = c->local,
						  .typmod = c->typmod,
						  .by_hand = by_hand};
	const char *reason;
	bool isnull;
	ValueResult result;

	server_numeric.called = false;
	property(reader.read != NULL, "no such conversion");
	result = values_read(&reader, cell, value, &isnull, &reason);
	property(isnull == (result == VALUE_BAD), "NULL and not bad");
	if (result != VALUE_OK)
		property(reason != NULL && reason[0] != '\0' && is_utf8(reason), "bad without a reason");
	if (result == VALUE_OK)
		check_value(c, g, *value);
	return result;
}

static void
check_simple(const Case *c, const RowsCell *cell, ValueResult result, Datum value)
{
	BqField field = {.type = c->remote};
	ValueSimple simple;
	Datum other;

	/* not values_simple(), which would ask the server how it stores a numeric */
	simple = c->typmod != -1		  ? VALUE_NOT_SIMPLE
			 : c->local == NUMERICOID ? VALUE_SIMPLE_NUMERIC
									  : values_simple(&field, c->local, c->typmod);
	if (!values_read_simple(simple, cell, &other))
		return;
	property(result == VALUE_OK, "refused, but not without a database");
	if (c->local == NUMERICOID || c->local == TEXTOID)
		property(server_numeric.called ||
					 (VARSIZE(DatumGetPointer(value)) == VARSIZE(DatumGetPointer(other)) &&
					  memcmp(DatumGetPointer(value), DatumGetPointer(other), VARSIZE(DatumGetPointer(value))) == 0),
				 "another value without a database");
	else
		property(value == other, "another value without a database");
}

static void
check_ranges(const Given *g, const RowsCell *cell)
{
	static const BqType elements[] = {BQ_DATE, BQ_DATETIME, BQ_TIMESTAMP};
	const char *reason;
	StringInfoData buf;

	for (size_t i = 0; i < lengthof(elements); i++)
	{
		BqField field = {.type = BQ_RANGE, .range_element = elements[i]};

		initStringInfo(&buf);
		if (values_range_text(&field, cell->data, cell->len, &buf, &reason))
			check_range(g, cstring_to_text_with_len(buf.data, buf.len));
		else
			property(buf.len == 0 && reason != NULL, "a range that is none leaves %s", buf.data);
	}
}

int
fuzz_input(const uint8_t *data, size_t size)
{
	static Given g;
	RowsCell cell;
	char *exact;
	Datum value;

	if (size == 0 || size >= MAX_TEXT / 2 || data[0] < 'A' || data[0] - 'A' >= (int) lengthof(cases))
		return -1;

	const Case *c = &cases[data[0] - 'A'];

	/* a cell has no NUL at its end */
	g.len = size - 1;
	exact = palloc(g.len);
	memcpy(exact, data + 1, g.len);
	cell = (RowsCell){.data = exact, .len = g.len, .kind = ROWS_STRING};
	memcpy(g.text, exact, g.len);
	g.text[g.len] = '\0';

	const char *from = g.text, *to = g.text + g.len;

	values_trim(&from, &to);
	g.trimmed_len = to - from;
	memcpy(g.trimmed, from, g.trimmed_len);
	g.trimmed[g.trimmed_len] = '\0';

	if (c->remote == BQ_RANGE)
	{
		check_ranges(&g, &cell);
		return 0;
	}

	ValueResult result = read_case(c, &g, &cell, true, &value);

	check_simple(c, &cell, result, value);
	if (c->local == NUMERICOID)
		property(read_case(c, &g, &cell, false, &value) == result, "by hand or not: %s", g.text);
	return 0;
}
