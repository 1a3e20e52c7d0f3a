/*
 * values_simple.c
 *	  Values that need no catalog: the most common pairs of types, read by a process
 *	  that has no database.
 *
 * The functions in this file do not report errors: any value that is not in BigQuery's
 * usual form is left to values_read().
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "datatype/timestamp.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/date.h"
#include "utils/timestamp.h"

#include "bigquery/bqtype.h"
#include "bigquery/job.h"
#include "bigquery/message.h"
#include "rows/rows.h"
#include "values/values.h"
#include "values/values_internal.h"

/* A local type without a typmod, and the function that reads it. */
typedef struct SimplePair
{
	Oid local;
	ValueSimple simple;
} SimplePair;

#define MAX_PAIRS 3

/* By type; terminated by InvalidOid.  Each is read like by the reader of values.c for the pair. */
static const SimplePair pairs[][MAX_PAIRS] = {
	[BQ_UNKNOWN] = {{.local = InvalidOid}},
	[BQ_STRING] = {{TEXTOID, VALUE_SIMPLE_TEXT}, {VARCHAROID, VALUE_SIMPLE_TEXT}, {NUMERICOID, VALUE_SIMPLE_NUMERIC}},
	[BQ_BYTES] = {{.local = InvalidOid}},
	[BQ_INT64] = {{INT8OID, VALUE_SIMPLE_BIGINT}, {INT4OID, VALUE_SIMPLE_INTEGER}, {NUMERICOID, VALUE_SIMPLE_NUMERIC}},
	[BQ_FLOAT64] = {{FLOAT8OID, VALUE_SIMPLE_DOUBLE}},
	[BQ_NUMERIC] = {{NUMERICOID, VALUE_SIMPLE_NUMERIC}},
	[BQ_BIGNUMERIC] = {{NUMERICOID, VALUE_SIMPLE_NUMERIC}},
	[BQ_BOOL] = {{BOOLOID, VALUE_SIMPLE_BOOLEAN}},
	[BQ_TIMESTAMP] = {{TIMESTAMPTZOID, VALUE_SIMPLE_TIMESTAMPTZ}},
	[BQ_DATE] = {{DATEOID, VALUE_SIMPLE_DATE}},
	[BQ_TIME] = {{.local = InvalidOid}},
	[BQ_DATETIME] = {{TIMESTAMPOID, VALUE_SIMPLE_TIMESTAMP}},
	[BQ_GEOGRAPHY] = {{TEXTOID, VALUE_SIMPLE_TEXT}},
	[BQ_INTERVAL] = {{.local = InvalidOid}},
	[BQ_JSON] = {{TEXTOID, VALUE_SIMPLE_TEXT}},
	[BQ_STRUCT] = {{.local = InvalidOid}},
	[BQ_RANGE] = {{.local = InvalidOid}},
};

StaticAssertDecl(lengthof(pairs) == BQ_NTYPES, "each type needs its simple pairs, or none");

ValueSimple
values_simple(const BqField *field, Oid type, int32 typmod)
{
	const SimplePair *pair = pairs[field->type];
	/* the bytes of a text are the same in PostgreSQL and in BigQuery */
	bool keeps_utf8 = GetDatabaseEncoding() == PG_UTF8 || GetDatabaseEncoding() == PG_SQL_ASCII;

	if (field->repeated || typmod != -1)
		return VALUE_NOT_SIMPLE;
	for (int i = 0; i < MAX_PAIRS; i++)
	{
		if (pair[i].local != type)
			continue;
		if ((pair[i].simple == VALUE_SIMPLE_TEXT && !keeps_utf8) ||
			(pair[i].simple == VALUE_SIMPLE_NUMERIC && !values_numeric_layout_known()))
			return VALUE_NOT_SIMPLE;
		return pair[i].simple;
	}
	return VALUE_NOT_SIMPLE;
}

static bool
read_text(const RowsCell *cell, Datum *value)
{
	if (cell->len > 0 && memchr(cell->data, '\0', cell->len) != NULL)
		return false;
	*value = PointerGetDatum(cstring_to_text_with_len(cell->data, (int) cell->len));
	return true;
}

static bool
read_simple_integer(const RowsCell *cell, bool narrow, Datum *value)
{
	int64 number;

	if (values_parse_integer(cell->data, cell->len, &number) != INTEGER_OK)
		return false;
	if (narrow && (number < PG_INT32_MIN || number > PG_INT32_MAX))
		return false;
	*value = narrow ? Int32GetDatum((int32) number) : Int64GetDatum(number);
	return true;
}

/* The server's LC_NUMERIC is always C.  No double written by BigQuery fills the buffer. */
static bool
read_double(const RowsCell *cell, Datum *value)
{
	Decimal d = {.plain = true};
	char text[64];
	double number;

	if (cell->len >= sizeof(text) || !values_parse_decimal(cell->data, cell->data + cell->len, &d))
		return false;
	memcpy(text, cell->data, cell->len);
	text[cell->len] = '\0';

	if (!values_parse_double(&d, text, &number))
		return false;
	*value = Float8GetDatum(number);
	return true;
}

static bool
read_boolean(const RowsCell *cell, Datum *value)
{
	bool truth = cell->len == 4 && memcmp(cell->data, "true", 4) == 0;

	if (!truth && !(cell->len == 5 && memcmp(cell->data, "false", 5) == 0))
		return false;
	*value = BoolGetDatum(truth);
	return true;
}

static bool
read_date(const RowsCell *cell, Datum *value)
{
	const char *p = cell->data, *end = cell->data + cell->len;
	int days;

	if (!values_parse_date(&p, end, &days) || p != end)
		return false;
	*value = DateADTGetDatum(days);
	return true;
}

static bool
read_simple_datetime(const RowsCell *cell, Datum *value)
{
	const char *p = cell->data, *end = cell->data + cell->len;
	int64 micros;
	bool exact;

	if (!values_parse_datetime(&p, end, false, &micros, &exact) || p != end || !exact)
		return false;
	*value = TimestampGetDatum(micros);
	return true;
}

static bool
read_simple_micros(const RowsCell *cell, Datum *value)
{
	int64 micros;

	if (values_parse_micros(cell->data, cell->len, &micros) != INTEGER_OK)
		return false;
	*value = TimestampTzGetDatum(micros);
	return true;
}

bool
values_read_simple(ValueSimple simple, const RowsCell *cell, Datum *value)
{
	if (cell->kind != ROWS_STRING)
		return false;
	switch (simple)
	{
		case VALUE_NOT_SIMPLE:
			return false;
		case VALUE_SIMPLE_TEXT:
			return read_text(cell, value);
		case VALUE_SIMPLE_BIGINT:
			return read_simple_integer(cell, false, value);
		case VALUE_SIMPLE_INTEGER:
			return read_simple_integer(cell, true, value);
		case VALUE_SIMPLE_NUMERIC:
			return values_write_numeric(cell->data, cell->len, value);
		case VALUE_SIMPLE_DOUBLE:
			return read_double(cell, value);
		case VALUE_SIMPLE_BOOLEAN:
			return read_boolean(cell, value);
		case VALUE_SIMPLE_DATE:
			return read_date(cell, value);
		case VALUE_SIMPLE_TIMESTAMPTZ:
			return read_simple_micros(cell, value);
		case VALUE_SIMPLE_TIMESTAMP:
			return read_simple_datetime(cell, value);
	}
	return false;
}
