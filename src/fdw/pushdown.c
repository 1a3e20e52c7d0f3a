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
 * timestamp cannot be after its day.  Only "<" has to become "<=", unless the
 * timestamp is midnight.
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
 *   unless on_bad_value is 'null': then "a\0b" might be read as 'ab', and nothing
 *   is pushed down.  A load drops it, but has conditions only on its timestamp
 *   column.
 */
#include "postgres.h"

#include "catalog/pg_opfamily.h"
#include "catalog/pg_type.h"

#include "bigquery/bqtype.h"
#include "fdw/pushdown_internal.h"
#include "remote/deparse.h"
#include "remote/options.h"

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
pushdown_sends_as(const RemoteTable *table, const RemoteColumn *column)
{
	BqType type = deparse_column_type(column);

	if (table->null_on_bad_value && type == BQ_STRING)
		return BQ_UNKNOWN;
	for (int i = 0; i < PUSHDOWN_MAX_LOCAL; i++)
		if (pushdown_kinds[type].local[i] == column->type)
			return type;
	return BQ_UNKNOWN;
}

bool
pushdown_can_compare(const RemoteTable *table, const RemoteColumn *column)
{
	return pushdown_sends_as(table, column) != BQ_UNKNOWN;
}

List *
pushdown_make(const RemoteColumn *column, const char *op, BqType type)
{
	return list_make3(makeInteger(column->attnum), makeString(pstrdup(op)), makeInteger(type));
}

AttrNumber
pushdown_column(const List *condition)
{
	return (AttrNumber) intVal(linitial(condition));
}

const char *
pushdown_operator(const List *condition)
{
	return strVal(lsecond(condition));
}

BqType
pushdown_type(const List *condition)
{
	return (BqType) intVal(lthird(condition));
}

bool
pushdown_is_null_test(const List *condition)
{
	return deparse_takes_no_value(pushdown_operator(condition));
}

RemoteCondition
pushdown_unknown(const List *condition)
{
	return (RemoteCondition){
		.attnum = pushdown_column(condition),
		.op = pushdown_operator(condition),
		.type = pushdown_type(condition),
	};
}
