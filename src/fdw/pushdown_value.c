/*
 * pushdown_value.c
 *	  Converts the values of conditions to parameters.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/array.h"
#include "utils/date.h"
#include "utils/lsyscache.h"
#include "utils/timestamp.h"

#include "bigquery/bqtype.h"
#include "fdw/pushdown_internal.h"
#include "remote/deparse.h"
#include "values/values.h"

/*
 * The largest list that an IN sends: BigQuery accepts requests of 10 MB, and a longer
 * list is better written as a join.
 */
#define MAX_ELEMENTS 10000
#define MAX_ELEMENT_BYTES (1024 * 1024)

/* All numbers with at most these digits before and after the point fit. */
#define NUMERIC_BEFORE 29
#define NUMERIC_AFTER 9
#define BIGNUMERIC_BEFORE 38
#define BIGNUMERIC_AFTER 38

/*
 * The text of a value as a parameter, or NULL.  *is_below is set when it is the text of
 * a smaller value, with no value of the column's type between the two.
 */
typedef char *(*TextFunction)(Oid type, Datum value, bool *is_below);

static char *
integer_text(Oid type, Datum value, bool *is_below pg_attribute_unused())
{
	char *text;

	switch (type)
	{
		case INT2OID:
			return psprintf("%d", DatumGetInt16(value));
		case INT4OID:
			return psprintf("%d", DatumGetInt32(value));
		case INT8OID:
			return psprintf(INT64_FORMAT, DatumGetInt64(value));
		default:
			text = values_numeric_text(value, 19, 0);
			if (text == NULL)
				return NULL;
			/* 19 digits may exceed 64 bits */
			errno = 0;
			(void) strtoi64(text, NULL, 10);
			return errno == 0 ? text : NULL;
	}
}

static char *
bool_text(Oid type pg_attribute_unused(), Datum value, bool *is_below pg_attribute_unused())
{
	return pstrdup(DatumGetBool(value) ? "true" : "false");
}

static char *
day_text(Oid type, Datum value, bool *is_below)
{
	Timestamp timestamp = DatumGetTimestamp(value);
	Timestamp midnight;

	if (type == DATEOID)
		return values_date_text(DatumGetDateADT(value));
	if (!values_timestamp_in_range(timestamp))
		return NULL;
	midnight = timestamp - (timestamp % USECS_PER_DAY + USECS_PER_DAY) % USECS_PER_DAY;
	*is_below |= midnight != timestamp;
	return values_date_text((DateADT) (midnight / USECS_PER_DAY));
}

/* Convert it in the same way as the cross-type operators. */
static char *
timestamp_text(Oid type, Datum value, bool *is_below pg_attribute_unused())
{
	int overflow = 0;
	TimestampTz timestamp;

	if (type == DATEOID)
		timestamp = date2timestamptz_opt_overflow(DatumGetDateADT(value), &overflow);
	else if (type == TIMESTAMPOID)
		timestamp = timestamp2timestamptz_opt_overflow(DatumGetTimestamp(value), &overflow);
	else
		timestamp = DatumGetTimestampTz(value);
	return overflow == 0 && values_timestamp_in_range(timestamp) ? values_timestamp_text(timestamp) : NULL;
}

static char *
datetime_text(Oid type, Datum value, bool *is_below pg_attribute_unused())
{
	int overflow = 0;
	Timestamp timestamp;

	if (type == DATEOID)
		timestamp = date2timestamp_opt_overflow(DatumGetDateADT(value), &overflow);
	else
		timestamp = DatumGetTimestamp(value);
	return overflow == 0 && values_timestamp_in_range(timestamp) ? values_datetime_text(timestamp) : NULL;
}

static char *
numeric_text(Oid type pg_attribute_unused(), Datum value, bool *is_below pg_attribute_unused())
{
	return values_numeric_text(value, NUMERIC_BEFORE, NUMERIC_AFTER);
}

static char *
bignumeric_text(Oid type pg_attribute_unused(), Datum value, bool *is_below pg_attribute_unused())
{
	return values_numeric_text(value, BIGNUMERIC_BEFORE, BIGNUMERIC_AFTER);
}

static char *
string_text(Oid type pg_attribute_unused(), Datum value, bool *is_below pg_attribute_unused())
{
	return values_string_text(value);
}

/* The PostgreSQL types that can become parameters of each BigQuery type.  NULL: none. */
static const struct
{
	TextFunction text;
	Oid types[4]; /* terminated by InvalidOid */
} parameters[] = {
	[BQ_UNKNOWN] = {.text = NULL},
	[BQ_STRING] = {string_text, {TEXTOID}},
	[BQ_BYTES] = {.text = NULL},
	[BQ_INT64] = {integer_text, {INT2OID, INT4OID, INT8OID, NUMERICOID}},
	[BQ_FLOAT64] = {.text = NULL},
	[BQ_NUMERIC] = {numeric_text, {NUMERICOID}},
	[BQ_BIGNUMERIC] = {bignumeric_text, {NUMERICOID}},
	[BQ_BOOL] = {bool_text, {BOOLOID}},
	[BQ_TIMESTAMP] = {timestamp_text, {TIMESTAMPTZOID, TIMESTAMPOID, DATEOID}},
	[BQ_DATE] = {day_text, {DATEOID, TIMESTAMPOID}},
	[BQ_TIME] = {.text = NULL},
	[BQ_DATETIME] = {datetime_text, {TIMESTAMPOID, DATEOID}},
	[BQ_GEOGRAPHY] = {.text = NULL},
	[BQ_INTERVAL] = {.text = NULL},
	[BQ_JSON] = {.text = NULL},
	[BQ_STRUCT] = {.text = NULL},
	[BQ_RANGE] = {.text = NULL},
};

StaticAssertDecl(lengthof(parameters) == BQ_NTYPES, "each type needs an entry in parameters");

static TextFunction
find_text(BqType remote, Oid type)
{
	for (size_t i = 0; OidIsValid(type) && i < lengthof(parameters[remote].types); i++)
		if (parameters[remote].types[i] == type)
			return parameters[remote].text;
	return NULL;
}

bool
pushdown_takes(BqType remote, Oid type)
{
	return find_text(remote, type) != NULL;
}

static PushdownResult
send_list(TextFunction text, Oid type, Datum value, RemoteCondition *remote)
{
	ArrayType *array = DatumGetArrayTypeP(value);
	Oid element = ARR_ELEMTYPE(array); /* may be varchar instead of text */
	int16 len;
	bool byval;
	char align;
	Datum *elements;
	bool *nulls;
	int n;
	size_t bytes = 0;
	bool is_below = false;

	get_typlenbyvalalign(element, &len, &byval, &align);
	deconstruct_array(array, element, len, byval, align, &elements, &nulls, &n);
	remote->values = palloc(sizeof(char *) * Max(n, 1));
	for (int i = 0; i < n; i++)
	{
		if (nulls[i])
			continue;
		if (remote->nvalues == MAX_ELEMENTS || bytes > MAX_ELEMENT_BYTES)
			return PUSHDOWN_LEFT;

		char *one = text(type, elements[i], &is_below);

		if (one == NULL)
			return PUSHDOWN_LEFT;
		bytes += strlen(one);
		remote->values[remote->nvalues++] = one;
	}
	return remote->nvalues == 0 ? PUSHDOWN_NO_ROWS : PUSHDOWN_SENT;
}

PushdownResult
pushdown_condition(const List *condition, Oid type, Datum value, bool isnull, RemoteCondition *remote)
{
	Oid element = get_element_type(type);
	bool is_below = false;
	TextFunction text;

	*remote = pushdown_unknown(condition);
	if (deparse_takes_no_value(remote->op))
		return PUSHDOWN_SENT;
	if (isnull)
		return PUSHDOWN_NO_ROWS;
	text = find_text(remote->type, OidIsValid(element) ? element : type);
	if (text == NULL)
		return PUSHDOWN_LEFT;
	if (deparse_takes_list(remote->op))
		return send_list(text, element, value, remote);
	remote->value = text(type, value, &is_below);
	if (is_below && strcmp(remote->op, "<") == 0)
		remote->op = "<=";
	if (remote->value == NULL || strlen(remote->value) > MAX_ELEMENT_BYTES)
		return PUSHDOWN_LEFT;
	return PUSHDOWN_SENT;
}
