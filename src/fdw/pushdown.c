/*
 * pushdown.c
 *	  Which conditions may be sent to BigQuery, and why that is safe.
 *
 * Everything pushed down is checked locally as well.  So it only has to be shown
 * that no row is lost: each row that satisfies the condition in PostgreSQL must
 * satisfy it in BigQuery.  For all types:
 *
 * - The clauses of a scan are ANDed, so leaving one out only widens the result.
 * - A comparison with NULL is true for no row, on either side; IN is tested
 *   against the elements that are not NULL, since NULLs never make it true.
 * - A row whose value PostgreSQL cannot hold fails the query, or the value is
 *   read as NULL if the table's on_bad_value is 'null'.  Either way it satisfies
 *   no comparison, so that BigQuery may return it or not.  In the second case it
 *   satisfies IS NULL, although BigQuery's value is not NULL: IS NULL is then not
 *   pushed down.  IS NOT NULL is: a value that is not NULL in PostgreSQL is not
 *   NULL in BigQuery.
 * - A value that BigQuery's type cannot express exactly (NaN, infinite, out of
 *   range, too many digits) is not sent; no parameter is rounded.
 * - Only the operators of the operator families below are known, on a column of
 *   one of the types below; conditions on a domain over one are checked locally
 *   only.  A typmod changes nothing: a value that varchar(5) or numeric(10,2)
 *   would truncate or round is one that the column cannot hold.
 * - The column must have the assumed type in BigQuery.  This is the option `type`,
 *   or else follows from the column's own type; the answer's schema is compared
 *   with it, since BigQuery compares some types by converting them
 *   (scan_conditions.c).
 *
 * And for each type:
 *
 * INT64 as smallint, integer or bigint: both are integers in order.  If PostgreSQL
 * compares the column as a numeric, because of a numeric constant, the constant is
 * sent if it is an integer of 64 bits: then the order of the numerics is that of
 * the integers.
 *
 * BOOL as boolean: two values, false before true on both sides.  A bare column
 * and IS TRUE are "= true", NOT and IS FALSE "= false".  IS NOT TRUE would be
 * true for NULL, unlike any comparison, and is not pushed down.
 *
 * DATE as date: days of the same (proleptic Gregorian) calendar in order.  For a
 * timestamp its day is sent, whose midnight is not after it: a date equal to, on
 * or after the timestamp is so relative to its day, and a date before or on the
 * timestamp cannot be after its day.  Unless the timestamp is midnight, "<" becomes
 * "<=", ">=" becomes ">", and no date is equal to it.
 *
 * TIMESTAMP as timestamptz: both are microseconds since an epoch in UTC, in
 * order; all six digits are sent.  A date or a timestamp without time zone is
 * converted locally in the same way as by the operator itself, in the session's
 * time zone.
 *
 * DATETIME as timestamp: the same without a zone.  This does not hold for a
 * timestamptz that such a column is compared with: PostgreSQL converts the
 * column's value, not the constant, and the order changes where clocks are put
 * back.
 *
 * NUMERIC and BIGNUMERIC as numeric: exact decimal numbers in order, in which
 * trailing zeros have no meaning.  Constants of up to 29 digits before and 9 after
 * the point (38 and 38) fit; BigQuery would round or reject others.
 *
 * STRING as text or varchar: equal if the bytes are equal, under a deterministic
 * collation in PostgreSQL and without a collation in BigQuery.  (A collation in
 * BigQuery, "und:ci", makes more strings equal, which is wider.)  Under a
 * nondeterministic collation in PostgreSQL more strings are equal.  The order
 * differs between the two sides.  The bytes are the same on both sides only if
 * - the database's encoding is UTF8, or SQL_ASCII, which converts nothing, and
 * - no U+0000 has been dropped.  A SELECT raises an error for such a value,
 *   unless the column's on_bad_value is 'null': then "a\0b" might be read as 'ab', and nothing
 *   is pushed down.  A load drops it, but has conditions only on its timestamp
 *   column.
 */
#include "postgres.h"

#include "catalog/pg_opfamily.h"
#include "catalog/pg_type.h"
#include "utils/array.h"
#include "utils/date.h"
#include "utils/lsyscache.h"
#include "utils/timestamp.h"

#include "bigquery/bqtype.h"
#include "fdw/pushdown_internal.h"
#include "remote/deparse.h"
#include "remote/options.h"
#include "values/values.h"

const PushdownKind pushdown_kinds[] = {
	[BQ_UNKNOWN] = {.family = InvalidOid},
	[BQ_STRING] = {TEXT_BTREE_FAM_OID, true, {TEXTOID, VARCHAROID}},
	[BQ_BYTES] = {.family = InvalidOid},
	[BQ_INT64] = {INTEGER_BTREE_FAM_OID, false, {INT2OID, INT4OID, INT8OID}},
	[BQ_FLOAT64] = {.family = InvalidOid},
	[BQ_NUMERIC] = {NUMERIC_BTREE_FAM_OID, false, {NUMERICOID}},
	[BQ_BIGNUMERIC] = {NUMERIC_BTREE_FAM_OID, false, {NUMERICOID}},
	[BQ_BOOL] = {BOOL_BTREE_FAM_OID, false, {BOOLOID}},
	[BQ_TIMESTAMP] = {DATETIME_BTREE_FAM_OID, false, {TIMESTAMPTZOID}},
	[BQ_DATE] = {DATETIME_BTREE_FAM_OID, false, {DATEOID}},
	[BQ_TIME] = {.family = InvalidOid},
	[BQ_DATETIME] = {DATETIME_BTREE_FAM_OID, false, {TIMESTAMPOID}},
	[BQ_GEOGRAPHY] = {.family = InvalidOid},
	[BQ_INTERVAL] = {.family = InvalidOid},
	[BQ_JSON] = {.family = InvalidOid},
	[BQ_STRUCT] = {.family = InvalidOid},
	[BQ_RANGE] = {.family = InvalidOid},
};

StaticAssertDecl(lengthof(pushdown_kinds) == BQ_NTYPES, "each type needs an entry in pushdown_kinds");

BqType
pushdown_sends_as(const RemoteColumn *column)
{
	BqType type = deparse_column_type(column);

	if (column->null_on_bad_value && type == BQ_STRING)
		return BQ_UNKNOWN;
	for (int i = 0; i < PUSHDOWN_MAX_LOCAL; i++)
		if (pushdown_kinds[type].local[i] == column->type)
			return type;
	return BQ_UNKNOWN;
}

bool
pushdown_can_compare(const RemoteColumn *column)
{
	return pushdown_sends_as(column) != BQ_UNKNOWN;
}

List *
pushdown_make(const RemoteColumn *column, const char *op, BqType type)
{
	return list_make3(makeInteger(column->attnum), makeString(pstrdup(op)), makeInteger(type));
}

static AttrNumber
condition_column(const List *condition)
{
	return (AttrNumber) intVal(linitial(condition));
}

static const char *
condition_operator(const List *condition)
{
	return strVal(lsecond(condition));
}

static BqType
condition_type(const List *condition)
{
	return (BqType) intVal(lthird(condition));
}

bool
pushdown_is_null_test(const List *condition)
{
	return deparse_takes_no_value(condition_operator(condition));
}

RemoteCondition
pushdown_unknown(const List *condition)
{
	return (RemoteCondition){
		.attnum = condition_column(condition),
		.op = condition_operator(condition),
		.type = condition_type(condition),
	};
}

/* --------------------------------------------------------------------------
 * The values of conditions as parameters
 * -------------------------------------------------------------------------- */

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

/* A comparison with a value slightly above the one that is sent; NULL: no value satisfies it. */
static const char *
operator_above(const char *op)
{
	if (strcmp(op, "=") == 0)
		return NULL;
	if (strcmp(op, "<") == 0)
		return "<=";
	return strcmp(op, ">=") == 0 ? ">" : op;
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

	get_typlenbyvalalign(element, &len, &byval, &align);
	deconstruct_array(array, element, len, byval, align, &elements, &nulls, &n);
	remote->values = palloc(sizeof(char *) * Max(n, 1));
	for (int i = 0; i < n; i++)
	{
		if (nulls[i])
			continue;
		if (remote->nvalues == MAX_ELEMENTS || bytes > MAX_ELEMENT_BYTES)
			return PUSHDOWN_LEFT;

		bool is_below = false;
		char *one = text(type, elements[i], &is_below);

		if (one == NULL)
			return PUSHDOWN_LEFT;
		if (is_below)
			continue;
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
	if (remote->value == NULL || strlen(remote->value) > MAX_ELEMENT_BYTES)
		return PUSHDOWN_LEFT;
	if (!is_below)
		return PUSHDOWN_SENT;

	const char *above = operator_above(remote->op);

	if (above == NULL)
		return PUSHDOWN_NO_ROWS;
	remote->op = above;
	return PUSHDOWN_SENT;
}
