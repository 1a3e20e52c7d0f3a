/*
 * pushdown_aggregate.c
 *	  Which aggregates may be computed by BigQuery, and why the result is the same.
 *
 * They are count(*), count(column), min(column) and max(column) over one foreign
 * table, without GROUP BY, DISTINCT, ORDER BY and FILTER.  HAVING, LIMIT and the
 * expressions around an aggregate are evaluated locally.
 *
 * Here nothing is checked again: BigQuery must select the very rows that PostgreSQL
 * would, and each value must be the same on both sides.  So, in addition to what
 * pushdown.c says:
 *
 * - Every condition of the query is sent; none is left to be checked locally.  Each is
 *   true for the same rows on both sides: conditions that are only compared by value
 *   are sent exactly, or not at all (pushdown_condition()).
 * - Every column of a condition and of an aggregate has a pair of types for which each
 *   value of BigQuery's type is one value of the local type, in the table below.  Then no
 *   value fails, so that on_bad_value has no effect, and only NULL is NULL.  A local
 *   type that holds less does not belong to them (integer, numeric(10,2), timestamp(3),
 *   domains), nor does STRING, as a text cannot hold U+0000, may be converted to
 *   another encoding, and may have a collation that BigQuery compares it with.
 * - A column that is declared NOT NULL is an error where BigQuery has NULL.  A row with
 *   NULL does not satisfy a condition that compares the column; without one, BigQuery
 *   also counts the column's values and the rows, and a difference is found out.
 * - The types assumed here are compared with those of the answer, which has a value of
 *   each column used (scan_aggregate.c).
 *
 * And for each type: count() needs no more.  min() and max() need the same order, which
 * pushdown.c shows for INT64, DATE, TIMESTAMP, DATETIME, NUMERIC and BIGNUMERIC.  Values
 * that are equal look alike: numbers arrive without trailing zeros.  For FLOAT64 it does
 * not hold: NaN is the largest number in PostgreSQL, and the result of both MIN and MAX
 * in BigQuery; and PostgreSQL has no min(boolean).  TIME has the same order, but its
 * comparisons are not known to pushdown.c; it is counted only.
 *
 * Some obstacles are found only by the execution: the value of a parameter that BigQuery
 * cannot express, a load that offers its job, another type in the answer.  Then the scan
 * uses the local plan below it, which is the plan that there would be without this file.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "nodes/makefuncs.h"
#include "nodes/pathnodes.h"
#include "optimizer/clauses.h"
#include "optimizer/cost.h"
#include "optimizer/optimizer.h"
#include "optimizer/pathnode.h"
#include "optimizer/paths.h"
#include "optimizer/prep.h"
#include "optimizer/restrictinfo.h"
#include "optimizer/tlist.h"
#include "parser/parsetree.h"
#include "utils/fmgroids.h"

#include "bigquery/bqtype.h"
#include "fdw/pushdown_internal.h"
#include "remote/deparse.h"
#include "remote/options.h"

/* The local type, without a typmod, that holds each value of a type; its aggregates, if the order is the same. */
static const struct
{
	Oid local;
	Oid min;
	Oid max;
} same[] = {
	[BQ_UNKNOWN] = {.local = InvalidOid},
	[BQ_STRING] = {.local = InvalidOid},
	[BQ_BYTES] = {.local = InvalidOid},
	[BQ_INT64] = {INT8OID, F_MIN_INT8, F_MAX_INT8},
	[BQ_FLOAT64] = {.local = FLOAT8OID},
	[BQ_NUMERIC] = {NUMERICOID, F_MIN_NUMERIC, F_MAX_NUMERIC},
	[BQ_BIGNUMERIC] = {NUMERICOID, F_MIN_NUMERIC, F_MAX_NUMERIC},
	[BQ_BOOL] = {.local = BOOLOID},
	[BQ_TIMESTAMP] = {TIMESTAMPTZOID, F_MIN_TIMESTAMPTZ, F_MAX_TIMESTAMPTZ},
	[BQ_DATE] = {DATEOID, F_MIN_DATE, F_MAX_DATE},
	[BQ_TIME] = {.local = TIMEOID},
	[BQ_DATETIME] = {TIMESTAMPOID, F_MIN_TIMESTAMP, F_MAX_TIMESTAMP},
	[BQ_GEOGRAPHY] = {.local = InvalidOid},
	[BQ_INTERVAL] = {.local = InvalidOid},
	[BQ_JSON] = {.local = InvalidOid},
	[BQ_STRUCT] = {.local = InvalidOid},
	[BQ_RANGE] = {.local = InvalidOid},
};

StaticAssertDecl(lengthof(same) == BQ_NTYPES, "each type needs its aggregates, or none");

/* The query that is examined, and the items found so far. */
typedef struct Search
{
	PlannerInfo *root;
	RelOptInfo *rel;
	const RemoteTable *table;
	List *conditions;
	List *items; /* of pushdown_make_item(), each once */
	List *guarded; /* IntList: columns NOT NULL that no condition compares */
} Search;

static bool
is_same(const RemoteColumn *column)
{
	BqType type = deparse_column_type(column);

	return OidIsValid(same[type].local) && column->type == same[type].local && column->typmod == -1;
}

/* Whether some condition is true for no row in which the column is NULL. */
static bool
excludes_null(const List *conditions, AttrNumber attnum)
{
	ListCell *cell;

	foreach (cell, conditions)
	{
		RemoteCondition condition = pushdown_unknown(lfirst(cell));

		if (condition.attnum == attnum && strcmp(condition.op, "IS NULL") != 0)
			return true;
	}
	return false;
}

/* --------------------------------------------------------------------------
 * Conditions
 * -------------------------------------------------------------------------- */

static bool
condition_is_exact(const RemoteTable *table, const List *condition, const Expr *value)
{
	const Const *known = (const Const *) value;
	RemoteCondition remote = pushdown_unknown(condition);
	const RemoteColumn *column = deparse_column(table, remote.attnum);

	if (!is_same(column) || (column->not_null && strcmp(remote.op, "IS NULL") == 0))
		return false;
	/* other values are known, and examined, at execution */
	return !IsA(value, Const) || pushdown_condition(condition, known->consttype, known->constvalue, known->constisnull,
													&remote) == PUSHDOWN_SENT;
}

/* Whether all conditions of the relation are sent, and true for the same rows on both sides. */
static bool
conditions_are_exact(Search *search)
{
	List *all = search->rel->baserestrictinfo;
	/* without those that compare no column: a node above the scan evaluates them */
	List *clauses = extract_actual_clauses(all, false);
	List *values;
	ListCell *cell;
	ListCell *value;

	search->conditions = pushdown_find(search->root, search->rel, search->table, clauses, &values);
	if (list_length(search->conditions) != list_length(all))
		return false;
	forboth (cell, search->conditions, value, values)
		if (!condition_is_exact(search->table, lfirst(cell), lfirst(value)))
			return false;
	return true;
}

/* --------------------------------------------------------------------------
 * Aggregates
 * -------------------------------------------------------------------------- */

/* The position of an item, which is added unless there is one. */
static int
add_item(Search *search, PushdownItem kind, AttrNumber attnum)
{
	List *item = list_make2_int(kind, attnum);

	for (int i = 0; i < list_length(search->items); i++)
		if (equal(list_nth(search->items, i), item))
			return i;
	search->items = lappend(search->items, item);
	return list_length(search->items) - 1;
}

static const RemoteColumn *
argument_column(const Search *search, const Node *arg)
{
	const Var *var = (const Var *) arg;

	if (!IsA(arg, Var) || var->varno != (int) search->rel->relid || var->varlevelsup != 0 || var->varattno <= 0)
		return NULL;
	return deparse_column(search->table, var->varattno);
}

/* The position of the item for count(argument), or -1. */
static int
add_count(Search *search, const Node *arg)
{
	const RemoteColumn *column = argument_column(search, arg);

	if (IsA(arg, Const) && !((const Const *) arg)->constisnull)
		return add_item(search, PUSHDOWN_COUNT_ROWS, 0);
	return column != NULL && is_same(column) ? add_item(search, PUSHDOWN_COUNT, column->attnum) : -1;
}

/* The position of the item for min(argument) or max(argument), or -1. */
static int
add_extreme(Search *search, Oid function, const Node *arg)
{
	const RemoteColumn *column = argument_column(search, arg);
	BqType type = column != NULL ? deparse_column_type(column) : BQ_UNKNOWN;

	if (column == NULL || !is_same(column) || !OidIsValid(same[type].min))
		return -1;
	if (function == same[type].min)
		return add_item(search, PUSHDOWN_MIN, column->attnum);
	return function == same[type].max ? add_item(search, PUSHDOWN_MAX, column->attnum) : -1;
}

/* The position of the item that gives the aggregate's result, or -1. */
static int
add_aggregate(Search *search, const Aggref *aggregate)
{
	const Node *arg;

	if (aggregate->aggfilter != NULL || aggregate->aggdistinct != NIL || aggregate->aggorder != NIL ||
		aggregate->aggdirectargs != NIL || aggregate->aggvariadic || aggregate->agglevelsup != 0 ||
		aggregate->aggsplit != AGGSPLIT_SIMPLE)
		return -1;
	if (aggregate->aggfnoid == F_COUNT_)
		return add_item(search, PUSHDOWN_COUNT_ROWS, 0);
	if (list_length(aggregate->args) != 1)
		return -1;
	arg = (const Node *) linitial_node(TargetEntry, aggregate->args)->expr;
	return aggregate->aggfnoid == F_COUNT_ANY ? add_count(search, arg) : add_extreme(search, aggregate->aggfnoid, arg);
}

/* An item for each column that shows its type in the answer, and those that show whether it is NULL somewhere. */
static void
add_checks(Search *search)
{
	Bitmapset *used = NULL;
	Bitmapset *shown = NULL;
	ListCell *cell;
	int attnum = -1;

	foreach (cell, search->conditions)
		used = bms_add_member(used, pushdown_unknown(lfirst(cell)).attnum);
	foreach (cell, search->items)
	{
		int kind = linitial_int(lfirst(cell));
		int column = lsecond_int(lfirst(cell));

		if (column > 0)
			used = bms_add_member(used, column);
		if (kind == PUSHDOWN_MIN || kind == PUSHDOWN_MAX)
			shown = bms_add_member(shown, column);
	}
	while ((attnum = bms_next_member(used, attnum)) >= 0)
	{
		if (!bms_is_member(attnum, shown))
			(void) add_item(search, PUSHDOWN_ANY, (AttrNumber) attnum);
		if (!deparse_column(search->table, (AttrNumber) attnum)->not_null ||
			excludes_null(search->conditions, (AttrNumber) attnum))
			continue;
		search->guarded = lappend_int(search->guarded, attnum);
		(void) add_item(search, PUSHDOWN_COUNT, (AttrNumber) attnum);
		(void) add_item(search, PUSHDOWN_COUNT_ROWS, 0);
	}
}

/* --------------------------------------------------------------------------
 * The query
 * -------------------------------------------------------------------------- */

static bool
query_is_simple(PlannerInfo *root, RelOptInfo *input, const GroupPathExtraData *extra)
{
	const Query *query = root->parse;

	return query->hasAggs && query->groupClause == NIL && query->groupingSets == NIL && !query->hasWindowFuncs &&
		   !query->hasTargetSRFs && extra->patype == PARTITIONWISE_AGGREGATE_NONE &&
		   input->reloptkind == RELOPT_BASEREL && input->rtekind == RTE_RELATION && input->fdw_private != NULL &&
		   !planner_rt_fetch(input->relid, root)->inh && !IS_DUMMY_REL(input);
}

/* The same aggregates, computed locally. */
static Path *
local_path(PlannerInfo *root, RelOptInfo *input, RelOptInfo *grouped, List *aggregates)
{
	PathTarget *target = create_empty_pathtarget();
	AggClauseCosts costs = {0};
	ListCell *cell;

	foreach (cell, aggregates)
		add_column_to_pathtarget(target, lfirst(cell), 0);
	set_pathtarget_cost_width(root, target);
	get_agg_clause_costs(root, AGGSPLIT_SIMPLE, &costs);
	return (Path *) create_agg_path(root, grouped, input->cheapest_total_path, target, AGG_PLAIN, AGGSPLIT_SIMPLE, NIL,
									NIL, &costs, 1);
}

Path *
pushdown_aggregates(PlannerInfo *root, RelOptInfo *input, RelOptInfo *grouped, const GroupPathExtraData *extra,
					List **private)
{
	Search search = {.root = root, .rel = input, .table = input->fdw_private};
	List *having = (List *) extra->havingQual;
	List *aggregates = NIL;
	List *outputs = NIL;
	List *found;
	ListCell *cell;

	if (!query_is_simple(root, input, extra) || !conditions_are_exact(&search))
		return NULL;
	/* whatever is around them is evaluated locally */
	found = pull_var_clause((Node *) list_make2(grouped->reltarget->exprs, having),
							PVC_INCLUDE_AGGREGATES | PVC_INCLUDE_PLACEHOLDERS);
	foreach (cell, found)
	{
		int item = IsA(lfirst(cell), Aggref) ? add_aggregate(&search, lfirst(cell)) : -1;

		if (item < 0)
			return NULL;
		if (list_member(aggregates, lfirst(cell)))
			continue;
		aggregates = lappend(aggregates, lfirst(cell));
		outputs = lappend_int(outputs, item);
	}
	add_checks(&search);
	*private = list_make5(search.items, outputs, search.guarded, aggregates, having);
	return local_path(root, input, grouped, aggregates);
}
