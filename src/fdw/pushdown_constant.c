/*
 * pushdown_constant.c
 *	  What is constant during a scan.
 *
 * Neither volatile nor changed by a rescan: the outer row of a correlated
 * subquery or of a nested loop would be a job, and a bill, for each outer row.
 * So would what hangs on it: a subquery that is worked out once for each.
 */
#include "postgres.h"

#include "nodes/nodeFuncs.h"
#include "optimizer/optimizer.h"
#include "optimizer/subselect.h"

#include "fdw/pushdown_internal.h"

/* What may follow a parameter's evaluation around. */
typedef struct ParamCheck
{
	PlannerInfo *root;
	bool varies;
} ParamCheck;

static bool is_constant_output(PlannerInfo *root, int paramid);

/* The parameters that a planned subquery of `root`'s takes from without. */
static Bitmapset *
taken_params(PlannerInfo *root, const SubPlan *subplan)
{
	PlannerGlobal *glob = root->glob;

	/*
	 * The planner finds that out when all plans are there, the inner ones first,
	 * and will again; they are now as they will be then.
	 */
	for (int i = 0; i < subplan->plan_id; i++)
		SS_finalize_plan(list_nth(glob->subroots, i), list_nth(glob->subplans, i));
	return ((Plan *) list_nth(glob->subplans, subplan->plan_id - 1))->extParam;
}

/* Whether a subquery of `root`'s that is no part of a row gives the same each time. */
static bool
is_constant_subplan(PlannerInfo *root, const SubPlan *subplan)
{
	Bitmapset *taken;
	int paramid = -1;

	/* there is nothing above it to change */
	if (root->parent_root == NULL)
		return true;
	taken = taken_params(root, subplan);
	while ((paramid = bms_next_member(taken, paramid)) >= 0)
		if (!is_constant_output(root, paramid))
			return false;
	return true;
}

/* Whether it is the output of a subquery that gives the same each time. */
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

/* Find what would change from one rescan to the next. */
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
