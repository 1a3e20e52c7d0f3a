/*
 * pushdown.h
 *	  Which conditions may be sent to BigQuery, and as what.
 *
 * Whatever is pushed is checked here again, so a condition may be too wide
 * there, but never too narrow.
 */
#ifndef CONTRATOS_PUSHDOWN_H
#define CONTRATOS_PUSHDOWN_H

#include "postgres.h"
#include "nodes/pathnodes.h"

#include "deparse.h"

/*
 * Of the ANDed `clauses` on `rel`, those that can be pushed: a List of
 * (attnum, operator) pairs for fdw_private, and in *values the expression each
 * compares its column with.
 */
extern List *pushdown_find(PlannerInfo *root, RelOptInfo *rel, RemoteTable *table, List *clauses, List **values);

/* Parts of one of the pairs. */
extern AttrNumber pushdown_column(const List *pair);
extern const char *pushdown_operator(const List *pair);

/*
 * The parameter for a value of type `type` compared with that column, in
 * *condition.  False when this value cannot be sent (infinite, out of
 * BigQuery's range): the condition is then left to the local check.
 */
extern bool pushdown_condition(const List *pair, Oid type, Datum value, RemoteCondition *condition);

#endif /* CONTRATOS_PUSHDOWN_H */
