/*
 * statement.c
 *	  The extension's own SQL statements, and the objects that they may name.
 *
 * The check is made in post_parse_analyze_hook, which sees each analyzed
 * statement, whatever submitted it, before it is rewritten or planned.  SPI has no
 * other place that is safe: a statement that SPI_prepare() has analyzed may be
 * analyzed again when it is run.
 */
#include "postgres.h"

#include "catalog/pg_namespace.h"
#include "nodes/nodeFuncs.h"
#include "parser/analyze.h"
#include "utils/lsyscache.h"

#include "ledger/statement.h"

/* The statement that is about to be analyzed. */
typedef struct Judged
{
	const char *sql;
	const StatementObjects *objects;
	bool seen; /* it has been analyzed, and names no other objects */
} Judged;

static Judged *judged = NULL;
static post_parse_analyze_hook_type next_hook = NULL;

static void
check_named_relation(const StatementObjects *objects, Oid relid)
{
	for (int i = 0; i < objects->nrelations; i++)
		if (objects->relations[i] == relid)
			return;
	/* nobody can replace an object of pg_catalog */
	if (get_rel_namespace(relid) == PG_CATALOG_NAMESPACE)
		return;
	ereport(ERROR, (errcode(ERRCODE_OBJECT_IN_USE),
					errmsg("relation \"%s\" was replaced while a statement was prepared", get_rel_name(relid)),
					errdetail("Its name, or that of its schema, was given to another relation."),
					errhint("Try again; if a schema or a table was renamed, check contratos_sources first.")));
}

static void
check_function(const StatementObjects *objects, Oid function)
{
	if (function == objects->routine || get_func_namespace(function) == PG_CATALOG_NAMESPACE)
		return;
	ereport(ERROR, (errcode(ERRCODE_OBJECT_IN_USE),
					errmsg("function \"%s\" was replaced while a statement was prepared", get_func_name(function)),
					errdetail("Its name, or that of its schema, was given to another function."),
					errhint("Try again; if a schema or a function was renamed, check contratos_sources first.")));
}

/* Check everything that a query names: relations, and functions called by whatever syntax. */
static bool
check_names(Node *node, void *context)
{
	const StatementObjects *objects = context;

	if (node == NULL)
		return false;
	if (IsA(node, Query))
		return query_tree_walker((Query *) node, check_names, context, QTW_EXAMINE_RTES_BEFORE);
	if (IsA(node, RangeTblEntry))
	{
		if (((RangeTblEntry *) node)->rtekind == RTE_RELATION)
			check_named_relation(objects, ((RangeTblEntry *) node)->relid);
		return false;
	}
	/* a cast is found by the types, not by a name */
	if (IsA(node, FuncExpr) && ((FuncExpr *) node)->funcformat == COERCE_EXPLICIT_CALL)
		check_function(objects, ((FuncExpr *) node)->funcid);
	return expression_tree_walker(node, check_names, context);
}

static void
at_analysis(ParseState *pstate, Query *query, JumbleState *jstate)
{
	/* statements of triggers are analyzed as well, while ours runs */
	if (judged != NULL && pstate->p_sourcetext != NULL && strcmp(pstate->p_sourcetext, judged->sql) == 0)
	{
		StatementObjects *objects = unconstify(StatementObjects *, judged->objects);
		Node *utility = query->utilityStmt;

		/* a CALL is analyzed with its arguments, an EXPLAIN with its statement */
		if (query->commandType != CMD_UTILITY)
			(void) check_names((Node *) query, objects);
		else if (IsA(utility, CallStmt))
			(void) check_names((Node *) ((CallStmt *) utility)->funcexpr, objects);
		else if (IsA(utility, ExplainStmt))
			(void) check_names(((ExplainStmt *) utility)->query, objects);
		judged->seen = true;
	}
	if (next_hook != NULL)
		next_hook(pstate, query, jstate);
}

void
statement_init(void)
{
	next_hook = post_parse_analyze_hook;
	post_parse_analyze_hook = at_analysis;
}

int
statement_run(const char *sql, const StatementArgs *args, const StatementObjects *objects)
{
	Judged mine = {.sql = sql, .objects = objects};
	Judged *before = judged;
	volatile int result = 0;

	judged = objects != NULL ? &mine : NULL;
	PG_TRY();
	{
		result = SPI_execute_with_args(sql, args->n, args->types, args->values, args->nulls, false, 0);
	}
	PG_FINALLY();
	{
		judged = before;
	}
	PG_END_TRY();
	/* another library's hook did not call the next one */
	if (objects != NULL && !mine.seen)
		elog(ERROR, "contratos: a statement was not seen by post_parse_analyze_hook: \"%s\"", sql);
	return result;
}

void
statement_execute(const char *sql, const StatementArgs *args, const StatementObjects *objects, int expected)
{
	int result = statement_run(sql, args, objects);

	if (result != expected)
		elog(ERROR, "contratos: %s instead of %s from \"%s\"", SPI_result_code_string(result),
			 SPI_result_code_string(expected), sql);
}
