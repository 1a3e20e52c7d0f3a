/*
 * load_fit.c
 *	  How well a target fits: what a load does with it that nobody may have
 *	  expected.
 *
 * Nothing here is an error.  A table that was there before contratos may have
 * columns that somebody else has filled until now, and columns that are narrower
 * than BigQuery's: a load leaves the one NULL, and fails at the first value that
 * the other does not hold.
 */
#include "postgres.h"

#include "access/table.h"
#include "catalog/pg_type.h"
#include "lib/stringinfo.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

#include "load/load.h"
#include "load/load_internal.h"
#include "load/setup.h"

/* --------------------------------------------------------------------------
 * Columns that are narrower than the foreign table's
 * -------------------------------------------------------------------------- */

/* Whole numbers and others by how much they hold; 0: none of these. */
static int
rank_of_number(Oid type)
{
	static const Oid ascending[] = {INT2OID, INT4OID, INT8OID, NUMERICOID};

	for (int i = 0; i < (int) lengthof(ascending); i++)
		if (ascending[i] == type)
			return i + 1;
	return 0;
}

/* What numeric(p, s) has in its typmod. */
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

/* Digits before the point that a number of the type may have; -1: no limit. */
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

/* Of types with one limit in their typmod: a text's length, a fraction's digits. */
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

/* Whether a value of the one may not go into the other as it is; base types. */
static bool
is_narrower(Oid from, int32 from_typmod, Oid to, int32 to_typmod)
{
	if (rank_of_number(from) > 0 && rank_of_number(to) > 0)
		return number_is_narrower(from, from_typmod, to, to_typmod);
	if (to == FLOAT4OID || to == FLOAT8OID)
		return from == NUMERICOID || from == INT8OID || (to == FLOAT4OID && (from == FLOAT8OID || from == INT4OID));
	if (is_text(from))
		return to == NAMEOID || to == CHAROID || (is_text(to) && limit_is_narrower(from_typmod, to_typmod));
	if (is_instant(from) && is_instant(to))
		return to_typmod < LOAD_FRACTION_DIGITS && limit_is_narrower(from_typmod, to_typmod);
	if (is_instant(from))
		return to == DATEOID;
	return from == to && to_typmod != from_typmod && limit_is_narrower(from_typmod, to_typmod);
}

/* What the type of such a column is, and what it should be; false: it is as wide. */
static bool
narrow_column(const RemoteColumn *column, Form_pg_attribute attribute, char **type, char **wanted)
{
	int32 from_typmod = column->typmod;
	int32 to_typmod = attribute->atttypmod;
	Oid from = getBaseTypeAndTypmod(column->type, &from_typmod);
	Oid to = getBaseTypeAndTypmod(attribute->atttypid, &to_typmod);

	if (!is_narrower(from, from_typmod, to, to_typmod))
		return false;
	*type = format_type_with_typemod(attribute->atttypid, attribute->atttypmod);
	*wanted = format_type_with_typemod(from, from_typmod);
	return true;
}

/* --------------------------------------------------------------------------
 * What there is to be said
 * -------------------------------------------------------------------------- */

static List *
add(List *misfits, const char *name, char *what, char *hint)
{
	LoadMisfit *misfit = palloc(sizeof(LoadMisfit));

	*misfit = (LoadMisfit){.name = name, .what = what, .hint = hint};
	return lappend(misfits, misfit);
}

/* All of them, separated by commas; and the ALTERs that widen them, if `remedy`. */
static char *
list_narrow_columns(const LoadPlan *plan, Relation target, StringInfo remedy)
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
		if (remedy != NULL)
			appendStringInfo(remedy, "%sALTER COLUMN %s TYPE %s", remedy->len > 0 ? ", " : "", name, wanted);
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

static List *
add_narrow_columns(List *misfits, const LoadPlan *plan, Relation target)
{
	StringInfoData remedy;
	char *columns;

	initStringInfo(&remedy);
	columns = list_narrow_columns(plan, target, &remedy);
	if (columns == NULL)
		return misfits;
	return add(misfits, LOAD_NARROW_COLUMNS,
			   psprintf("table %s has columns that are narrower than those of foreign table %s: %s", plan->target_name,
						plan->remote_name, columns),
			   psprintf("ALTER TABLE %s %s;", plan->target_name, remedy.data));
}

/* It would be NULL in each row that a load inserts. */
static bool
is_unfilled(const LoadPlan *plan, Form_pg_attribute attribute)
{
	return !attribute->attisdropped && !attribute->atthasdef && !attribute->attidentity &&
		   get_typdefault(attribute->atttypid) == NULL &&
		   options_column(plan->table, NameStr(attribute->attname)) == NULL;
}

static List *
add_unfilled_columns(List *misfits, const LoadPlan *plan, Relation target)
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
	return add(misfits, LOAD_UNFILLED_COLUMNS,
			   psprintf("table %s has columns that a load leaves NULL: %s", plan->target_name, columns.data),
			   remedy != NULL
				   ? remedy
				   : psprintf("Give them a default, make them generated columns, or add them to foreign table "
							  "%s.",
							  plan->remote_name));
}

List *
load_misfits(const LoadPlan *plan)
{
	Relation target = table_open(plan->target, AccessShareLock);
	List *misfits = add_narrow_columns(NIL, plan, target);

	/* a trigger may fill them */
	if (!load_may_filter(plan->target))
		misfits = add_unfilled_columns(misfits, plan, target);
	table_close(target, NoLock);
	return misfits;
}
