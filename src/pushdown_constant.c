/*
 * pushdown_constant.c
 *	  What is constant during a scan.
 *
 * Neither volatile nor changed by a rescan: the outer row of a correlated
 * subquery or of a nested loop would be a job, and a bill, for each outer row.
 */
#include "postgres.h"

#include "nodes/nodeFuncs.h"
#include "optimizer/optimizer.h"

#include "pushdown_internal.h"

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

/* Find what would change from one rescan to the next; the output of an uncorrelated subquery does not. */
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

bool
pushdown_is_constant(PlannerInfo *root, Expr *expr)
{
	ParamCheck check = {.root = root};

	if (contain_var_clause((Node *) expr) || contain_volatile_functions((Node *) expr))
		return false;
	varies_walker((Node *) expr, &check);
	return !check.varies;
}
