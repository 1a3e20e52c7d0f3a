/*
 * load_fit.c
 *	  How well a target fits: effects of a load that the user may not expect.
 *
 * None of them is an error.  A table that existed before contratos may have
 * columns that something else has filled until now, and columns that are narrower
 * than BigQuery's: a load leaves the former NULL, and fails at the first value
 * that does not fit into the latter.
 */
#include "postgres.h"

#include "access/sysattr.h"
#include "access/table.h"
#include "catalog/partition.h"
#include "catalog/pg_type.h"
#include "lib/stringinfo.h"
#include "nodes/bitmapset.h"
#include "optimizer/optimizer.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

#include "load/load.h"
#include "load/load_internal.h"
#include "load/setup.h"

/* --------------------------------------------------------------------------
 * Columns that are narrower than the foreign table's
 * -------------------------------------------------------------------------- */

/* Rank of a number type by its range; 0: not one of these types. */
static int
rank_of_number(Oid type)
{
	static const Oid ascending[] = {INT2OID, INT4OID, INT8OID, NUMERICOID};

	for (int i = 0; i < (int) lengthof(ascending); i++)
		if (ascending[i] == type)
			return i + 1;
	return 0;
}

/* The scale in the typmod of numeric(p, s). */
static int
scale_of(int32 typmod)
{
	return (((typmod - VARHDRSZ) & 0x7ff) ^ 1024) - 1024;
}

static int
precision_of(int32 typmod)
{
	return ((typmod - VARHDRSZ) >> 16) & 0xffff;
}

/* Maximum number of digits before the decimal point; -1: no limit. */
static int
whole_digits(Oid type, int32 typmod)
{
	switch (type)
	{
		case INT2OID:
			return 5;
		case INT4OID:
			return 10;
		case INT8OID:
			return 19;
		default:
			return typmod < 0 ? -1 : precision_of(typmod) - scale_of(typmod);
	}
}

static bool
number_is_narrower(Oid from, int32 from_typmod, Oid to, int32 to_typmod)
{
	int digits = whole_digits(from, from_typmod);

	if (to != NUMERICOID)
		return rank_of_number(from) > rank_of_number(to);
	if (to_typmod < 0)
		return false;
	if (from == NUMERICOID && (from_typmod < 0 || scale_of(from_typmod) > scale_of(to_typmod)))
		return true;
	return digits > whole_digits(to, to_typmod);
}

/* For types with one limit in their typmod: a text's length, a fraction's digits. */
static bool
limit_is_narrower(int32 from_typmod, int32 to_typmod)
{
	return to_typmod >= 0 && (from_typmod < 0 || from_typmod > to_typmod);
}

static bool
is_text(Oid type)
{
	return type == TEXTOID || type == VARCHAROID || type == BPCHAROID;
}

static bool
is_instant(Oid type)
{
	return type == TIMESTAMPOID || type == TIMESTAMPTZOID;
}

static bool
is_float_type(Oid type)
{
	return type == FLOAT4OID || type == FLOAT8OID;
}

/* Length of the longest text that a value of the type is converted to; INT_MAX: no limit. */
static int
longest_text(Oid type)
{
	switch (type)
	{
		case BOOLOID:
			return 5;
		case INT2OID:
			return 6;
		case INT4OID:
			return 11;
		case INT8OID:
			return 20;
		case UUIDOID:
			return 36;
		default:
			return INT_MAX;
	}
}

/* Whether a text or char column may be too short for the other type's values, as an INSERT converts them. */
static bool
text_is_narrower(Oid from, int32 from_typmod, Oid to, int32 to_typmod)
{
	if (is_text(from))
		return to == NAMEOID || to == CHAROID || limit_is_narrower(from_typmod, to_typmod);
	return is_text(to) && to_typmod >= 0 && longest_text(from) > to_typmod - VARHDRSZ;
}

/* Whether some value of the one may not fit into the other unchanged; base types. */
static bool
is_narrower(Oid from, int32 from_typmod, Oid to, int32 to_typmod)
{
	if (rank_of_number(from) > 0 && rank_of_number(to) > 0)
		return number_is_narrower(from, from_typmod, to, to_typmod);
	if (is_float_type(to))
		return from == NUMERICOID || from == INT8OID || (to == FLOAT4OID && (from == FLOAT8OID || from == INT4OID));
	if (is_float_type(from) && rank_of_number(to) > 0)
		return to != NUMERICOID || to_typmod >= 0;
	if (is_text(to) || to == NAMEOID || to == CHAROID)
		return text_is_narrower(from, from_typmod, to, to_typmod);
	if (is_instant(from) && is_instant(to))
		return to_typmod < LOAD_FRACTION_DIGITS && limit_is_narrower(from_typmod, to_typmod);
	if (is_instant(from))
		return to == DATEOID;
	return from == to && to_typmod != from_typmod && limit_is_narrower(from_typmod, to_typmod);
}

/* A type without its domain; for an array, its element type, to which its typmod applies. */
static Oid
judged_type(Oid type, int32 *typmod, bool *is_array)
{
	Oid base = getBaseTypeAndTypmod(type, typmod);
	Oid element = get_base_element_type(base);

	*is_array = OidIsValid(element);
	return *is_array ? getBaseTypeAndTypmod(element, typmod) : base;
}

/*
 * The type that a column of the type `to` should have instead.  Every type
 * converts to text, but text does not convert to every type; and timestamps
 * without a time zone would become other instants, depending on the TimeZone in
 * which the statement is run.
 */
static char *
wide_type(Oid from, int32 from_typmod, Oid to, bool is_array)
{
	if (is_text(to) && !is_text(from))
		from = TEXTOID;
	else if (is_instant(to))
		from = to;
	else if (to == DATEOID)
		from = TIMESTAMPOID;
	else
		return format_type_with_typemod(is_array ? get_array_type(from) : from, from_typmod);
	return format_type_be(is_array ? get_array_type(from) : from);
}

/* The type of a narrow column, and the type that it should have; false: it is wide enough. */
static bool
narrow_column(const RemoteColumn *column, Form_pg_attribute attribute, char **type, char **wanted)
{
	int32 from_typmod = column->typmod;
	int32 to_typmod = attribute->atttypmod;
	bool from_array;
	bool to_array;
	Oid from = judged_type(column->type, &from_typmod, &from_array);
	Oid to = judged_type(attribute->atttypid, &to_typmod, &to_array);

	/* '{a,b}' in a text column */
	if (from_array && !to_array)
		from = ANYARRAYOID;
	if (!is_narrower(from, from_typmod, to, to_typmod))
		return false;
	*type = format_type_with_typemod(attribute->atttypid, attribute->atttypmod);
	*wanted = wide_type(from, from_typmod, to, from_array && to_array);
	return true;
}

/* --------------------------------------------------------------------------
 * Misfits
 * -------------------------------------------------------------------------- */

static List *
add_misfit(List *misfits, const char *name, char *what, char *hint)
{
	LoadMisfit *misfit = palloc(sizeof(LoadMisfit));

	*misfit = (LoadMisfit){.name = name, .what = what, .hint = hint};
	return lappend(misfits, misfit);
}

/* All narrow columns, separated by commas; and the clauses that widen them, if `alters`. */
static char *
list_narrow_columns(const LoadPlan *plan, Relation target, StringInfo alters)
{
	StringInfoData columns;

	initStringInfo(&columns);
	for (int i = 0; i < plan->ncolumns; i++)
	{
		const RemoteColumn *column = &plan->table->columns[i];
		const char *name = quote_identifier(column->name);
		char *type;
		char *wanted;

		if (!narrow_column(column, load_attribute(target, column->name), &type, &wanted))
			continue;
		appendStringInfo(&columns, "%s%s %s (%s)", columns.len > 0 ? ", " : "", name, type, wanted);
		if (alters != NULL)
			appendStringInfo(alters, "%sALTER COLUMN %s TYPE %s", alters->len > 0 ? ", " : "", name, wanted);
	}
	return columns.len > 0 ? columns.data : NULL;
}

char *
load_narrow_columns(const LoadPlan *plan)
{
	Relation target = table_open(plan->target, AccessShareLock);
	char *columns = list_narrow_columns(plan, target, NULL);

	table_close(target, NoLock);
	return columns;
}

/* Their numbers, in the format of pull_varattnos(). */
static Bitmapset *
numbers_of_narrow(const LoadPlan *plan, Relation target)
{
	Bitmapset *numbers = NULL;

	for (int i = 0; i < plan->ncolumns; i++)
	{
		const RemoteColumn *column = &plan->table->columns[i];
		Form_pg_attribute attribute = load_attribute(target, column->name);
		char *type;
		char *wanted;

		if (narrow_column(column, attribute, &type, &wanted))
			numbers = bms_add_member(numbers, attribute->attnum - FirstLowInvalidHeapAttributeNumber);
	}
	return numbers;
}

/*
 * PostgreSQL cannot change the type of a column that a generated column uses: drop
 * the latter first and add it again.
 */
static void
around_generated(Relation target, const Bitmapset *narrow, StringInfo before, StringInfo after)
{
	TupleConstr *constr = RelationGetDescr(target)->constr;

	for (int i = 0; constr != NULL && i < constr->num_defval; i++)
	{
		const AttrDefault *value = &constr->defval[i];
		Form_pg_attribute attribute = TupleDescAttr(RelationGetDescr(target), value->adnum - 1);
		const char *name = quote_identifier(NameStr(attribute->attname));
		Bitmapset *used = NULL;
		Datum expression;

		if (!attribute->attgenerated)
			continue;
		pull_varattnos(stringToNode(value->adbin), 1, &used);
		if (!bms_overlap(used, narrow))
			continue;
		expression = DirectFunctionCall2(pg_get_expr, CStringGetTextDatum(value->adbin),
										 ObjectIdGetDatum(RelationGetRelid(target)));
		appendStringInfo(before, "DROP COLUMN %s, ", name);
		appendStringInfo(after, ", ADD COLUMN %s %s GENERATED ALWAYS AS (%s) %s", name,
						 format_type_with_typemod(attribute->atttypid, attribute->atttypmod),
						 TextDatumGetCString(expression),
						 attribute->attgenerated == ATTRIBUTE_GENERATED_STORED ? "STORED" : "VIRTUAL");
	}
}

static bool
is_inherited(Relation target)
{
	for (int i = 0; i < RelationGetNumberOfAttributes(target); i++)
		if (TupleDescAttr(RelationGetDescr(target), i)->attinhcount > 0)
			return true;
	return false;
}

/* The statement that widens them, or what to do where there is none. */
static char *
widen(const LoadPlan *plan, Relation target, const char *alters)
{
	Bitmapset *narrow = numbers_of_narrow(plan, target);
	bool in_expression;
	StringInfoData before;
	StringInfoData after;

	if (target->rd_rel->relkind == RELKIND_VIEW)
		return psprintf("Widen the columns of the table that %s shows, and recreate the view.", plan->target_name);
	if (is_inherited(target))
		return psprintf("Widen the columns of the table that %s is part of, or inherits from.", plan->target_name);
	if (target->rd_rel->relkind == RELKIND_PARTITIONED_TABLE && has_partition_attrs(target, narrow, &in_expression))
		return psprintf("Recreate the table: %s is partitioned by one of them, and the type of such a column cannot be "
						"changed.",
						plan->target_name);
	initStringInfo(&before);
	initStringInfo(&after);
	around_generated(target, narrow, &before, &after);
	return psprintf("ALTER TABLE %s %s%s%s;", plan->target_name, before.data, alters, after.data);
}

static List *
add_narrow_columns(List *misfits, const LoadPlan *plan, Relation target)
{
	StringInfoData alters;
	char *columns;

	initStringInfo(&alters);
	columns = list_narrow_columns(plan, target, &alters);
	if (columns == NULL)
		return misfits;
	return add_misfit(misfits, LOAD_NARROW_COLUMNS,
					  psprintf("table %s has columns that are narrower than those of foreign table %s: %s",
							   plan->target_name, plan->remote_name, columns),
					  widen(plan, target, alters.data));
}

/* Whether it would be NULL in each row that a load inserts. */
static bool
is_unfilled(const LoadPlan *plan, Form_pg_attribute attribute)
{
	return !attribute->attisdropped && !attribute->atthasdef && !attribute->attidentity &&
		   get_typdefault(attribute->atttypid) == NULL &&
		   options_column(plan->table, NameStr(attribute->attname)) == NULL;
}

static List *
add_unfilled_columns(List *misfits, const LoadPlan *plan, Relation target, bool doubtful)
{
	StringInfoData columns;
	char *remedy = NULL;

	initStringInfo(&columns);
	for (int i = 0; i < RelationGetNumberOfAttributes(target); i++)
	{
		Form_pg_attribute attribute = TupleDescAttr(RelationGetDescr(target), i);

		if (!is_unfilled(plan, attribute))
			continue;
		appendStringInfo(&columns, "%s%s", columns.len > 0 ? ", " : "", quote_identifier(NameStr(attribute->attname)));
		if (remedy == NULL)
			remedy = setup_fill_column(plan->table->table, plan->target_name, target, NameStr(attribute->attname));
	}
	if (columns.len == 0)
		return misfits;
	return add_misfit(
		misfits, LOAD_UNFILLED_COLUMNS,
		psprintf(doubtful ? "table %s has columns that a load leaves NULL, unless a trigger fills them: %s"
						  : "table %s has columns that a load leaves NULL: %s",
				 plan->target_name, columns.data),
		remedy != NULL ? remedy
					   : psprintf("Give them a default, make them generated columns, or add them to foreign table "
								  "%s.",
								  plan->remote_name));
}

static bool
is_table(Relation target)
{
	return target->rd_rel->relkind == RELKIND_RELATION || target->rd_rel->relkind == RELKIND_PARTITIONED_TABLE;
}

List *
load_misfits(const LoadPlan *plan, bool doubtful)
{
	Relation target = table_open(plan->target, AccessShareLock);
	List *misfits = add_narrow_columns(NIL, plan, target);
	bool may_fill = load_may_filter(plan->target);

	if (!may_fill || (doubtful && is_table(target)))
		misfits = add_unfilled_columns(misfits, plan, target, may_fill);
	table_close(target, NoLock);
	return misfits;
}
