/*
 * pushdown.h
 *	  Which conditions may be sent to BigQuery, and as what.
 *
 * Whatever is pushed is checked here again, so a condition may be too wide
 * there, but never too narrow; pushdown.c says type by type why none is.
 */
#ifndef CONTRATOS_PUSHDOWN_H
#define CONTRATOS_PUSHDOWN_H

#include "postgres.h"
#include "nodes/pathnodes.h"

#include "remote/deparse.h"
#include "remote/options.h"

/*
 * Of the ANDed `clauses` on `rel`, those that can be pushed: a List of
 * conditions for fdw_private (each a List that survives copyObject), and in
 * *values, in the same order, the expression each compares its column with;
 * of a NULL test it means nothing.
 */
extern List *pushdown_find(PlannerInfo *root, RelOptInfo *rel, const RemoteTable *table, List *clauses, List **values);

/* What has become of a condition, now that its value is known. */
typedef enum PushdownResult
{
	PUSHDOWN_SENT, /* *remote is set */
	PUSHDOWN_LEFT, /* BigQuery cannot express the value: checked here only */
	PUSHDOWN_NO_ROWS /* NULL or an empty list: nothing satisfies it */
} PushdownResult;

/*
 * A condition with the value, of type `type`, that it compares with.  In
 * CurrentMemoryContext.  Reads no catalog but that of `type`, if it is an
 * array, and never throws for what the value is.
 */
extern PushdownResult pushdown_condition(const List *condition, Oid type, Datum value, bool isnull,
										 RemoteCondition *remote);

/* The same while its value is not known (EXPLAIN). */
extern RemoteCondition pushdown_unknown(const List *condition);

/* Whether it needs no value. */
extern bool pushdown_is_null_test(const List *condition);

/*
 * Whether a column of the table is mapped such that comparisons of it can be
 * pushed at all.
 */
extern bool pushdown_can_compare(const RemoteTable *table, const RemoteColumn *column);

#endif /* CONTRATOS_PUSHDOWN_H */
