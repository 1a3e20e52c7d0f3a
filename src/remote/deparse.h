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

#include "bigquery/bqtype.h"
#include "bigquery/job.h"
#include "bigquery/message.h"
#include "remote/options.h"

/* column operator @parameter; column IN UNNEST(@parameter); column IS [NOT] NULL */
typedef struct RemoteCondition
{
	AttrNumber attnum;
	const char *op; /* "=", "<", "<=", ">", ">=", "IN", "IS NULL", "IS NOT NULL" */
	BqType type; /* any scalar: of the column, and of the parameter or its elements */
	char *value; /* its text; NULL: not known yet (EXPLAIN) */
	char **values; /* of IN, instead: texts of the elements, none NULL; NULL: not known yet */
	int nvalues;
} RemoteCondition;

/* What an operator of a condition compares with: nothing, or a list. */
extern bool deparse_takes_no_value(const char *op);
extern bool deparse_takes_list(const char *op);

/*
 * The query for some columns (attribute numbers, ascending; none: the rows
 * alone are wanted) and conditions, which are all ANDed.  Conditions are put
 * in order of column, operator and value, elements of a list in order and each
 * once; parameters are @p1, @p2, … in that order.  In CurrentMemoryContext.
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

/*
 * The type that a column is taken to have in BigQuery, by its option or else by
 * its local type; BQ_UNKNOWN: by neither, or it is an ARRAY.
 */
extern BqType deparse_column_type(const RemoteColumn *column);

#endif /* CONTRATOS_DEPARSE_H */
