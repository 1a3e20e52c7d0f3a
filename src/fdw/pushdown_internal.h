/*
 * pushdown_internal.h
 *	  Shared by the files of the pushdown module only.
 */
#ifndef CONTRATOS_PUSHDOWN_INTERNAL_H
#define CONTRATOS_PUSHDOWN_INTERNAL_H

#include "bigquery/bqtype.h"
#include "fdw/pushdown.h"
#include "remote/options.h"

/* Operator families that pg_opfamily.h has no names for. */
#define DATETIME_BTREE_FAM_OID 434
#define NUMERIC_BTREE_FAM_OID 1988

/* The largest number of local types of a column whose comparisons have the same meaning. */
#define PUSHDOWN_MAX_LOCAL 3

/* How values of a type are compared. */
typedef struct PushdownKind
{
	Oid family; /* btree operator family that its operators belong to; InvalidOid: its comparisons are not pushed down */
	bool equality_only; /* the order differs: = and IN only */
	Oid local[PUSHDOWN_MAX_LOCAL]; /* the column's type, whatever its typmod: one of these; terminated by InvalidOid */
} PushdownKind;

/* By BqType; without a size, like bqtypes. */
extern const PushdownKind pushdown_kinds[];

/* The type as which a column is compared, and its parameters are sent; BQ_UNKNOWN: comparisons are not pushed down. */
extern BqType pushdown_sends_as(const RemoteColumn *column);

/* A condition as fdw_private holds it. */
extern List *pushdown_make(const RemoteColumn *column, const char *op, BqType type);

/* Whether an expression has the same value for all rows and rescans of a scan. */
extern bool pushdown_is_constant(PlannerInfo *root, Expr *expr);

/*
 * Whether a value of that type can become a parameter of BigQuery's type `remote` (some
 * values may still be out of its range).
 */
extern bool pushdown_takes(BqType remote, Oid type);

#endif /* CONTRATOS_PUSHDOWN_INTERNAL_H */
