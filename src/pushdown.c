/*
 * pushdown.c
 *	  Which conditions may be sent to BigQuery, and as what.
 *
 * Today these are comparisons of a TIMESTAMP column, mapped to timestamptz,
 * with something that is constant during the scan.  Never too narrow, because
 * a TIMESTAMP and a timestamptz are both a number of microseconds since an
 * epoch in UTC, ordered as numbers; the parameter is sent with all six digits
 * of the fraction; and NULL satisfies no comparison on either side.  Values
 * that one side cannot express are not sent.
 *
 * What the column is compared with may also be a date or a timestamp without
 * time zone: it is converted here as the operator itself would do it, in the
 * session's time zone.
 */
#include "postgres.h"

#include "access/stratnum.h"
#include "catalog/pg_type.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/optimizer.h"
#include "utils/date.h"
#include "utils/lsyscache.h"
#include "utils/timestamp.h"
#include "utils/typcache.h"

#include "pushdown.h"
#include "values.h"

static const char *
operator_text(int strategy)
{
	switch (strategy)
	{
		case BTLessStrategyNumber:
			return "<";
		case BTLessEqualStrategyNumber:
			return "<=";
		case BTEqualStrategyNumber:
			return "=";
		case BTGreaterEqualStrategyNumber:
			return ">=";
		case BTGreaterStrategyNumber:
			return ">";
		default:
			return NULL;
	}
}

/* What may follow a parameter's evaluation around. */
typedef struct ParamCheck
{
	PlannerInfo *root;
	bool varies;
} ParamCheck;

static bool
is_init_plan_output(PlannerInfo *root, int paramid)
{
	for (; root != NULL; root = root->parent_root)
	{
		ListCell *cell;

		foreach (cell, root->init_plans)
			if (list_member_int(((SubPlan *) lfirst(cell))->setParam, paramid))
				return true;
	}
	return false;
}

/*
 * Find what would change from one rescan to the next: the outer row of a
 * correlated subquery or a nested loop.  Pushing that would be a job, and a
 * bill, for each outer row.  The output of an uncorrelated subquery is fine.
 */
static bool
varies_walker(Node *node, ParamCheck *check)
{
	if (node == NULL)
		return false;
	if (IsA(node, SubPlan) || IsA(node, AlternativeSubPlan))
		check->varies = true;
	if (IsA(node, Param) && ((Param *) node)->paramkind == PARAM_EXEC)
		check->varies |= !is_init_plan_output(check->root, ((Param *) node)->paramid);
	return check->varies || expression_tree_walker(node, varies_walker, check);
}

static bool
is_constant_during_scan(PlannerInfo *root, Expr *expr)
{
	ParamCheck check = {.root = root};

	if (contain_var_clause((Node *) expr) || contain_volatile_functions((Node *) expr))
		return false;
	varies_walker((Node *) expr, &check);
	return !check.varies;
}

static RemoteColumn *
timestamp_column(RelOptInfo *rel, RemoteTable *table, Expr *expr)
{
	Var *var = (Var *) expr;

	if (!IsA(expr, Var) || var->varno != (int) rel->relid || var->varlevelsup != 0)
		return NULL;
	for (int i = 0; i < table->ncolumns; i++)
	{
		RemoteColumn *column = &table->columns[i];
		const char *type = column->remote_type ? column->remote_type : values_natural_type(column->type);

		if (column->attnum == var->varattno && column->type == TIMESTAMPTZOID && type && strcmp(type, "TIMESTAMP") == 0)
			return column;
	}
	return NULL;
}

/* (attnum, operator) if the clause can be pushed, else NIL. */
static List *
examine(PlannerInfo *root, RelOptInfo *rel, RemoteTable *table, Expr *clause, Expr **value)
{
	OpExpr *op = (OpExpr *) clause;
	Oid opno;
	RemoteColumn *column;
	Expr *left;
	const char *text;

	if (!IsA(clause, OpExpr) || list_length(op->args) != 2)
		return NIL;
	opno = op->opno;
	left = linitial(op->args);
	*value = lsecond(op->args);
	column = timestamp_column(rel, table, left);
	if (column == NULL)
	{
		column = timestamp_column(rel, table, *value);
		*value = left;
		opno = get_commutator(opno);
	}
	if (column == NULL || !OidIsValid(opno) || !is_constant_during_scan(root, *value))
		return NIL;
	text = operator_text(
		get_op_opfamily_strategy(opno, lookup_type_cache(TIMESTAMPTZOID, TYPECACHE_BTREE_OPFAMILY)->btree_opf));
	if (text == NULL)
		return NIL;
	return list_make2(makeInteger(column->attnum), makeString(pstrdup(text)));
}

List *
pushdown_find(PlannerInfo *root, RelOptInfo *rel, RemoteTable *table, List *clauses, List **values)
{
	List *pairs = NIL;
	ListCell *cell;

	*values = NIL;
	foreach (cell, clauses)
	{
		Expr *value;
		List *pair = examine(root, rel, table, lfirst(cell), &value);

		if (pair != NIL)
		{
			pairs = lappend(pairs, pair);
			*values = lappend(*values, value);
		}
	}
	return pairs;
}

AttrNumber
pushdown_column(const List *pair)
{
	return (AttrNumber) intVal(linitial(pair));
}

const char *
pushdown_operator(const List *pair)
{
	return strVal(lsecond(pair));
}

/* As the cross-type operators convert it; false when it does not fit. */
static bool
to_timestamptz(Oid type, Datum value, TimestampTz *result)
{
	int overflow = 0;

	switch (type)
	{
		case TIMESTAMPTZOID:
			*result = DatumGetTimestampTz(value);
			break;
		case TIMESTAMPOID:
			*result = timestamp2timestamptz_opt_overflow(DatumGetTimestamp(value), &overflow);
			break;
		case DATEOID:
			*result = date2timestamptz_opt_overflow(DatumGetDateADT(value), &overflow);
			break;
		default:
			return false;
	}
	return overflow == 0 && !TIMESTAMP_NOT_FINITE(*result);
}

bool
pushdown_condition(const List *pair, Oid type, Datum value, RemoteCondition *condition)
{
	TimestampTz timestamp;

	if (!to_timestamptz(type, value, &timestamp) || !values_timestamp_in_range(timestamp))
		return false;
	*condition = (RemoteCondition){
		.attnum = pushdown_column(pair),
		.op = pushdown_operator(pair),
		.type = "TIMESTAMP",
		.value = values_timestamp_text(timestamp),
	};
	return true;
}
