/*
 * pushdown.c
 *	  Which conditions may be sent to BigQuery, and why that is safe.
 *
 * Everything pushed is checked here as well.  So the only thing to argue is
 * that no row is lost: each row that satisfies the condition here must satisfy
 * it there.  What holds for all types:
 *
 * - The clauses of a scan are ANDed, so leaving one out only widens.
 * - A comparison with NULL is true for no row, on either side; IN is tested
 *	 against the elements that are not NULL, since NULLs never make it true.
 * - A row whose value cannot be held here fails the query, or is NULL here if
 *	 the table's on_bad_value is 'null'.  Either way it satisfies no comparison,
 *	 so that BigQuery may keep it or not.  IS NULL it does satisfy in the second
 *	 case, while BigQuery's value is not NULL: there IS NULL is not pushed.  IS
 *	 NOT NULL is: what is not NULL here has a value there.
 * - A value that BigQuery's type cannot express exactly (NaN, infinite, out of
 *	 range, too many digits) is not sent; nothing is rounded on its way.
 * - Only the operators of the operator families below are known, on a column of
 *	 one of the types below; a domain over one stays here.  A typmod changes
 *	 nothing: what varchar(5) or numeric(10,2) would cut or round is a value that
 *	 cannot be held.
 * - The column must be there what it is taken for.  The option `type` says that,
 *	 else the column's own type; the answer's schema is held against it, since
 *	 BigQuery compares some types by converting them (scan_conditions.c).
 *
 * And type by type:
 *
 * INT64 as smallint, integer or bigint: both are whole numbers in order.  Where
 * PostgreSQL compares the column as a numeric, because of a numeric constant,
 * the constant is sent if it is a whole number of 64 bits: then the order among
 * numerics is that of the integers.
 *
 * BOOL as boolean: two values, false before true on both sides.  A bare column
 * and IS TRUE are "= true", NOT and IS FALSE "= false".  IS NOT TRUE would be
 * true for NULL, which no comparison is, and stays here.
 *
 * DATE as date: days of the same (proleptic Gregorian) calendar in order.  Of a
 * timestamp the day is sent, whose midnight is not after it: what is equal to,
 * on or after the timestamp is so to its day, and what is before or on it cannot
 * be after its day.  Only "<" has to become "<=", unless it is midnight.
 *
 * TIMESTAMP as timestamptz: both are microseconds since an epoch in UTC, in
 * order; all six digits are sent.  A date or a timestamp without time zone is
 * converted here just as the operator itself does, in the session's time zone.
 *
 * DATETIME as timestamp: the same without a zone.  Not so a timestamptz that
 * such a column is compared with: PostgreSQL moves the column's value, not the
 * constant, and not in order where clocks are put back.
 *
 * NUMERIC and BIGNUMERIC as numeric: exact decimal numbers in order, the number
 * of zeros at the end meaning nothing.  Constants of up to 29 digits before and
 * 9 after the point (38 and 38) fit; others would be rounded or refused there.
 *
 * STRING as text or varchar: equal when the bytes are, under a deterministic
 * collation here and without one there.  (A collation there, "und:ci", makes
 * more equal: wider.)  Under a nondeterministic one more is equal here.  Order
 * is another on each side.  The bytes here are those there only if
 * - the database's encoding is UTF8, or SQL_ASCII, which converts nothing, and
 * - no U+0000 has been dropped.  A SELECT raises an error for such a value,
 *	 unless on_bad_value is 'null': then "a\0b" might be 'ab' here, and nothing
 *	 is pushed.  A load drops it, but has conditions on its timestamp alone.
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

StaticAssertDecl(lengthof(pushdown_kinds) == BQ_NTYPES, "of each type it must be said whether it is pushed");

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
