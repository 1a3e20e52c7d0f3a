/*
 * deparse.h
 *	  Columns and conditions → one GoogleSQL text and its named parameters, in a
 *	  canonical order.  Pure functions: no catalog, no network, no planner nodes.
 *
 * The same columns and conditions always produce the same text, so that a load can
 * recognize a scan whose query is the one that its finished job answered.
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
	BqType type; /* any scalar: the type of the column, and of the parameter or its elements */
	char *value; /* its text; NULL: unknown so far (EXPLAIN) */
	char **values; /* only for IN: texts of the elements, none NULL; NULL: unknown so far */
	int nvalues;
} RemoteCondition;

/* Whether an operator has no operand; whether its operand is a list. */
extern bool deparse_takes_no_value(const char *op);
extern bool deparse_takes_list(const char *op);

/*
 * The query for some columns (attribute numbers, ascending; none if only the rows are
 * wanted) and conditions, which are all ANDed.  Conditions are sorted by column,
 * operator and value, the elements of a list are sorted and deduplicated; parameters
 * are @p1, @p2, … in that order.  In CurrentMemoryContext.
 */
extern BqQuery *deparse_query(const RemoteTable *table, const AttrNumber *columns, int ncolumns,
							  const RemoteCondition *conditions, int nconditions);

/* The same for any select list, in GoogleSQL, already quoted. */
extern BqQuery *deparse_select(const RemoteTable *table, const char *list, const RemoteCondition *conditions,
							   int nconditions);

/*
 * The part after FROM in the text of deparse_query(), with the parameters' values: two
 * queries read the same rows of a table if it is equal.
 */
extern char *deparse_rows_key(const RemoteTable *table, const RemoteCondition *conditions, int nconditions);

/* A GoogleSQL identifier or table path between backticks, escaped. */
extern char *deparse_quote(const char *name);

/* The column with that number, which must exist. */
extern const RemoteColumn *deparse_column(const RemoteTable *table, AttrNumber attnum);

/*
 * The type that a column is assumed to have in BigQuery, by its option or else by its
 * local type; BQ_UNKNOWN if neither determines it, or it is an ARRAY.
 */
extern BqType deparse_column_type(const RemoteColumn *column);

#endif /* CONTRATOS_DEPARSE_H */
