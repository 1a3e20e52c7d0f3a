/*
 * pushdown_find.c
 *	  Finds the conditions that can be pushed down in the planner's clauses.
 *
 * The planner has simplified the clauses: BETWEEN is two comparisons, IN is "= ANY",
 * "flag = true" is the bare flag.
 */
#include "postgres.h"

#include "access/stratnum.h"
#include "catalog/pg_type.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/optimizer.h"
#include "optimizer/subselect.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"

#include "bigquery/bqtype.h"
#include "fdw/pushdown_internal.h"
#include "remote/options.h"

/* --------------------------------------------------------------------------
 * Constant during a scan: neither volatile nor changed by a rescan.  The outer row of a
 * correlated subquery or of a nested loop would cause a job, and a bill, for each outer
 * row; so would a subquery that depends on it and is evaluated once for each outer row.
 * -------------------------------------------------------------------------- */

/* The state of the search for parameters that vary. */
typedef struct ParamCheck
{
	PlannerInfo *root;
	bool varies;
} ParamCheck;

static bool is_constant_output(PlannerInfo *root, int paramid);

/* The parameters that a planned subquery of `root` takes from outer queries. */
static Bitmapset *
taken_params(PlannerInfo *root, const SubPlan *subplan)
{
	PlannerGlobal *glob = root->glob;

	/*
	 * The planner computes this when all plans exist, inner ones first, and will
	 * compute it again; the plans are already final.
	 */
	for (int i = 0; i < subplan->plan_id; i++)
		SS_finalize_plan(list_nth(glob->subroots, i), list_nth(glob->subplans, i));
	return ((Plan *) list_nth(glob->subplans, subplan->plan_id - 1))->extParam;
}

/* Whether a subquery of `root` that does not depend on its rows has the same result each time. */
static bool
is_constant_subplan(PlannerInfo *root, const SubPlan *subplan)
{
	Bitmapset *taken;
	int paramid = -1;

	/* there is no outer query that could change it */
	if (root->parent_root == NULL)
		return true;
	taken = taken_params(root, subplan);
	while ((paramid = bms_next_member(taken, paramid)) >= 0)
		if (!is_constant_output(root, paramid))
			return false;
	return true;
}

/* Whether the parameter is the output of a subquery with the same result each time. */
static bool
is_constant_output(PlannerInfo *root, int paramid)
{
	for (; root != NULL; root = root->parent_root)
	{
		ListCell *cell;

		foreach (cell, root->init_plans)
			if (list_member_int(((SubPlan *) lfirst(cell))->setParam, paramid))
				return is_constant_subplan(root, lfirst(cell));
	}
	return false;
}

/* Find subqueries and parameters that may change from one rescan to the next. */
static bool
varies_walker(Node *node, ParamCheck *check)
{
	if (node == NULL)
		return false;
	if (IsA(node, SubPlan) || IsA(node, AlternativeSubPlan))
		check->varies = true;
	if (IsA(node, Param) && ((Param *) node)->paramkind == PARAM_EXEC)
		check->varies |= !is_constant_output(check->root, ((Param *) node)->paramid);
	return check->varies || expression_tree_walker(node, varies_walker, check);
}

bool
pushdown_is_constant(PlannerInfo *root, Expr *expr)
{
	ParamCheck check = {.root = root};

	if (contain_var_clause((Node *) expr) || contain_volatile_functions((Node *) expr))
		return false;
	varies_walker((Node *) expr, &check);
	return !check.varies;
}

/* --------------------------------------------------------------------------
 * Conditions
 * -------------------------------------------------------------------------- */

/* The scan whose conditions are searched for, and the current condition. */
typedef struct Search
{
	PlannerInfo *root;
	RelOptInfo *rel;
	const RemoteTable *table;
	Expr *value; /* the value that the condition found compares with */
} Search;

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

static const RemoteColumn *
find_column(const Search *search, const Node *node)
{
	const Var *var = (const Var *) node;

	if (node == NULL || !IsA(node, Var) || var->varno != (int) search->rel->relid || var->varlevelsup != 0)
		return NULL;
	for (int i = 0; i < search->table->ncolumns; i++)
		if (search->table->columns[i].attnum == var->varattno)
			return &search->table->columns[i];
	return NULL;
}

/* A column as the operand of a comparison. */
typedef struct Operand
{
	const RemoteColumn *column;
	BqType type;
	Oid family; /* the family that the comparison's operator must belong to */
} Operand;

static bool
find_operand(const Search *search, Node *node, Operand *operand)
{
	FuncExpr *call = (FuncExpr *) node;
	/* an integer column that is cast to numeric */
	bool integer = IsA(node, FuncExpr) &&
				   (call->funcid == F_NUMERIC_INT2 || call->funcid == F_NUMERIC_INT4 || call->funcid == F_NUMERIC_INT8);
	const RemoteColumn *column;

	if (integer)
		node = linitial(call->args);
	/* varchar is compared as text, with the same bytes */
	else if (IsA(node, RelabelType) && ((RelabelType *) node)->resulttype == TEXTOID)
		node = (Node *) ((RelabelType *) node)->arg;
	column = find_column(search, node);
	if (column == NULL)
		return false;
	operand->column = column;
	operand->type = pushdown_sends_as(column);
	if (operand->type == BQ_UNKNOWN)
		return false;
	operand->family = integer ? NUMERIC_BTREE_FAM_OID : pushdown_kinds[operand->type].family;
	return true;
}

/* The GoogleSQL of an operator that compares the operand with a value of that type, or NULL. */
static const char *
comparison(const Operand *operand, Oid opno, Oid collation, Expr *value)
{
	Oid type = exprType((Node *) value);
	Oid element = get_element_type(type);
	int strategy = get_op_opfamily_strategy(opno, operand->family);

	if (!pushdown_takes(operand->type, OidIsValid(element) ? element : type))
		return NULL;
	if (!pushdown_kinds[operand->type].equality_only)
		return operator_text(strategy);
	if (strategy != BTEqualStrategyNumber || !OidIsValid(collation) || !get_collation_isdeterministic(collation))
		return NULL;
	return "=";
}

/* column operator value, or the other way round */
static List *
examine_comparison(Search *search, OpExpr *op)
{
	Oid opno = op->opno;
	Operand operand;
	const char *text;

	if (list_length(op->args) != 2)
		return NIL;
	search->value = lsecond(op->args);
	if (!find_operand(search, linitial(op->args), &operand))
	{
		search->value = linitial(op->args);
		opno = get_commutator(opno);
		if (!OidIsValid(opno) || !find_operand(search, lsecond(op->args), &operand))
			return NIL;
	}
	if (type_is_array(exprType((Node *) search->value)))
		return NIL;
	text = comparison(&operand, opno, op->inputcollid, search->value);
	if (text == NULL || !pushdown_is_constant(search->root, search->value))
		return NIL;
	return pushdown_make(operand.column, text, operand.type);
}

/* column = ANY (array) */
static List *
examine_list(Search *search, ScalarArrayOpExpr *op)
{
	Operand operand;
	const char *text;

	search->value = lsecond(op->args);
	if (!op->useOr || !find_operand(search, linitial(op->args), &operand))
		return NIL;
	if (!type_is_array(exprType((Node *) search->value)))
		return NIL;
	text = comparison(&operand, op->opno, op->inputcollid, search->value);
	if (text == NULL || strcmp(text, "=") != 0 || !pushdown_is_constant(search->root, search->value))
		return NIL;
	return pushdown_make(operand.column, "IN", operand.type);
}

static List *
null_test(Search *search, Node *arg, bool is_null)
{
	const RemoteColumn *column = find_column(search, arg);
	BqType type = column ? pushdown_sends_as(column) : BQ_UNKNOWN;

	/* a value that PostgreSQL cannot hold is NULL locally only */
	if (type == BQ_UNKNOWN || (is_null && column->null_on_bad_value))
		return NIL;
	search->value = (Expr *) makeBoolConst(true, false);
	return pushdown_make(column, is_null ? "IS NULL" : "IS NOT NULL", type);
}

/* A boolean column, by itself or under NOT. */
static List *
examine_flag(Search *search, Node *arg, bool wanted)
{
	const RemoteColumn *column = find_column(search, arg);

	if (column == NULL || pushdown_sends_as(column) != BQ_BOOL)
		return NIL;
	search->value = (Expr *) makeBoolConst(wanted, false);
	return pushdown_make(column, "=", BQ_BOOL);
}

static List *
examine_boolean_test(Search *search, BooleanTest *test)
{
	switch (test->booltesttype)
	{
		case IS_TRUE:
			return examine_flag(search, (Node *) test->arg, true);
		case IS_FALSE:
			return examine_flag(search, (Node *) test->arg, false);
		case IS_UNKNOWN:
			return null_test(search, (Node *) test->arg, true);
		case IS_NOT_UNKNOWN:
			return null_test(search, (Node *) test->arg, false);
		default:
			return NIL; /* NULL satisfies them, too */
	}
}

/* The part of a clause that can be pushed down, or NIL. */
static List *
examine(Search *search, Node *clause)
{
	switch (nodeTag(clause))
	{
		case T_OpExpr:
			return examine_comparison(search, (OpExpr *) clause);
		case T_ScalarArrayOpExpr:
			return examine_list(search, (ScalarArrayOpExpr *) clause);
		case T_NullTest:
			return null_test(search, (Node *) ((NullTest *) clause)->arg,
							 ((NullTest *) clause)->nulltesttype == IS_NULL);
		case T_BooleanTest:
			return examine_boolean_test(search, (BooleanTest *) clause);
		case T_Var:
			return examine_flag(search, clause, true);
		case T_BoolExpr:
			if (((BoolExpr *) clause)->boolop == NOT_EXPR)
				return examine_flag(search, linitial(((BoolExpr *) clause)->args), false);
			return NIL;
		default:
			return NIL;
	}
}

List *
pushdown_find(PlannerInfo *root, RelOptInfo *rel, const RemoteTable *table, List *clauses, List **values)
{
	Search search = {.root = root, .rel = rel, .table = table};
	List *conditions = NIL;
	ListCell *cell;

	*values = NIL;
	foreach (cell, clauses)
	{
		List *condition = examine(&search, lfirst(cell));

		if (condition == NIL)
			continue;
		conditions = lappend(conditions, condition);
		*values = lappend(*values, search.value);
	}
	return conditions;
}
