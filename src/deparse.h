/*
 * deparse.h
 *	  Columns and conditions → one GoogleSQL text and its named parameters, in
 *	  a canonical order.  Pure: no catalog, no network, no planner nodes.
 *
 * The same columns and conditions always give the same text, so that a load
 * can tell whether a scan asks for just what its finished job answered.
 */
#ifndef CONTRATOS_DEPARSE_H
#define CONTRATOS_DEPARSE_H

#include "options.h"

/* column operator @parameter */
typedef struct RemoteCondition
{
	AttrNumber attnum;
	const char *op; /* GoogleSQL: "=", "<", "<=", ">", ">=" */
	const char *type; /* of the parameter: "TIMESTAMP" */
	char *value; /* its text; NULL: not known yet (EXPLAIN) */
} RemoteCondition;

/*
 * The query for some columns (attribute numbers, ascending; none: the rows
 * alone are wanted) and conditions, which are all ANDed.  Conditions are put
 * in order of column, operator and value; parameters are @p1, @p2, … in that
 * order.  In CurrentMemoryContext.
 */
extern BqQuery *deparse_query(const RemoteTable *table, const AttrNumber *columns, int ncolumns,
							  const RemoteCondition *conditions, int nconditions);

/* The same for any select list, GoogleSQL already quoted. */
extern BqQuery *deparse_select(const RemoteTable *table, const char *list, const RemoteCondition *conditions,
							   int nconditions);

/*
 * What deparse_query() would put after FROM, with the parameters' values: two
 * queries read the same rows of a table when this is equal.
 */
extern char *deparse_rows_key(const RemoteTable *table, const RemoteCondition *conditions, int nconditions);

/* A GoogleSQL identifier or table path between backticks, escaped. */
extern char *deparse_quote(const char *name);

/* The column of that number; it must be there. */
extern const RemoteColumn *deparse_column(const RemoteTable *table, AttrNumber attnum);

#endif /* CONTRATOS_DEPARSE_H */
