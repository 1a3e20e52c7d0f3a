/*
 * pushdown.h
 *	  The conditions that may be sent to BigQuery, and their form.
 *
 * All conditions are checked locally again, so a condition sent to BigQuery may be too
 * wide, but never too narrow; pushdown.c explains for each type why none is.  Aggregates
 * are sent only if nothing needs to be checked; pushdown_aggregate.c explains when.
 */
#ifndef CONTRATOS_PUSHDOWN_H
#define CONTRATOS_PUSHDOWN_H

#include "postgres.h"
#include "nodes/pathnodes.h"

#include "remote/deparse.h"
#include "remote/options.h"

/*
 * The ANDed `clauses` on `rel` that can be pushed down: a List of conditions for
 * fdw_private (each a List that survives copyObject), and in *values, in the same
 * order, the expression that each compares its column with; for a NULL test it has no
 * meaning.
 */
extern List *pushdown_find(PlannerInfo *root, RelOptInfo *rel, const RemoteTable *table, List *clauses, List **values);

/* How a condition is handled, now that its value is known. */
typedef enum PushdownResult
{
	PUSHDOWN_SENT, /* *remote is set */
	PUSHDOWN_LEFT, /* BigQuery cannot express the value: checked locally only */
	PUSHDOWN_NO_ROWS /* NULL or an empty list: no row satisfies it */
} PushdownResult;

/*
 * A condition with the value, of type `type`, that it compares with.  In
 * CurrentMemoryContext.  Uses the catalog only for `type`, if it is an array, and never
 * throws because of the value.
 */
extern PushdownResult pushdown_condition(const List *condition, Oid type, Datum value, bool isnull,
										 RemoteCondition *remote);

/* The same while its value is unknown (EXPLAIN). */
extern RemoteCondition pushdown_unknown(const List *condition);

/* Whether the condition needs no value. */
extern bool pushdown_is_null_test(const List *condition);

/* A column of the query that computes aggregates; its column's number follows (0: none). */
typedef enum PushdownItem
{
	PUSHDOWN_COUNT_ROWS,
	PUSHDOWN_COUNT,
	PUSHDOWN_MIN,
	PUSHDOWN_MAX,
	PUSHDOWN_ANY /* any value of the column, to see its type in the answer */
} PushdownItem;

/* The parts of pushdown_aggregates()'s *private, a List by position. */
typedef enum PushdownAggregates
{
	PUSHDOWN_ITEMS, /* IntLists of two: PushdownItem, attribute number */
	PUSHDOWN_OUTPUTS, /* IntList: for each aggregate the position of its item */
	PUSHDOWN_GUARDED, /* IntList: attribute numbers; has items that count each and the rows, which must be equal */
	PUSHDOWN_AGGREGATES, /* the Aggrefs, each once */
	PUSHDOWN_HAVING /* the conditions on them, which are evaluated locally */
} PushdownAggregates;

/*
 * If BigQuery can compute the aggregates of a query of the foreign table `input` with
 * the same result: the path that computes them locally, for the cases in which only the
 * execution shows that it cannot, and *private.  Else NULL.
 */
extern Path *pushdown_aggregates(PlannerInfo *root, RelOptInfo *input, RelOptInfo *grouped,
								 const GroupPathExtraData *extra, List **private);

/*
 * Whether a column of the table is mapped such that comparisons of it can be
 * pushed at all.
 */
extern bool pushdown_can_compare(const RemoteColumn *column);

#endif /* CONTRATOS_PUSHDOWN_H */
