/*
 * pushdown_internal.h
 *	  What the files of the pushdown room share; no door for others.
 */
#ifndef CONTRATOS_PUSHDOWN_INTERNAL_H
#define CONTRATOS_PUSHDOWN_INTERNAL_H

#include "fdw/pushdown.h"
#include "remote/options.h"

/* Operator families that pg_opfamily.h has no names for. */
#define DATETIME_BTREE_FAM_OID 434
#define NUMERIC_BTREE_FAM_OID 1988

/* A pair of types whose comparisons mean the same here and there. */
typedef struct PushdownKind
{
	const char *remote; /* GoogleSQL name, also of the parameter */
	Oid local; /* of the column, whatever its typmod */
	Oid family; /* btree operator family that its operators belong to */
	bool equality_only; /* the order differs: = and IN only */
} PushdownKind;

/* The kind of a column, or NULL: its comparisons stay here. */
extern const PushdownKind *pushdown_kind(const RemoteTable *table, const RemoteColumn *column);

/* A condition as fdw_private holds it, and its parts. */
extern List *pushdown_make(const RemoteColumn *column, const char *op, const char *type);
extern AttrNumber pushdown_column(const List *condition);
extern const char *pushdown_operator(const List *condition);
extern const char *pushdown_type(const List *condition);

/* Whether an expression has one value for all rows and rescans of a scan. */
extern bool pushdown_is_constant(PlannerInfo *root, Expr *expr);

/*
 * Whether a value of that type can be made a parameter of BigQuery's type
 * `remote` (some values may still be out of its range).
 */
extern bool pushdown_takes(const char *remote, Oid type);

#endif /* CONTRATOS_PUSHDOWN_INTERNAL_H */
