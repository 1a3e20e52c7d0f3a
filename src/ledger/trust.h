/*
 * trust.h
 *	  Whether the role that a statement on a table runs as may trust all whose
 *	  code the statement can have run.
 *
 * A table's owner is not alone with it: who has TRIGGER on it can hang a function
 * on it, who has REFERENCES a table whose own triggers fire with it; statistics
 * stay their maker's when the table is given away; below a view, a partitioned
 * table or a rule lie tables of others.  PostgreSQL runs what hangs on any of
 * these as whoever the statement runs as.
 */
#ifndef CONTRATOS_TRUST_H
#define CONTRATOS_TRUST_H

#include "postgres.h"
#include "storage/lockdefs.h"

/* Waits for a lock on the relation of that name; it may be gone when it is had. */
typedef void (*TrustLock)(Oid relid, LOCKMODE mode, const char *name);

/*
 * Judge a table and all that a statement on it reaches: what inherits from it, what
 * it is a partition of, what its rules name (a view's query is one), and what
 * references it by a foreign key.  42501 when one of them, its statistics, or a
 * trigger's function belongs to a role without the privileges of `role`.
 *
 * Each is locked in that mode until the transaction ends: AccessShareLock to look,
 * RowExclusiveLock to keep triggers and foreign keys from being added as well; what
 * inherits is never locked by more than AccessShareLock.  `lock` does the waiting;
 * NULL: without a word.
 */
extern void trust_check(Oid relid, Oid role, LOCKMODE mode, TrustLock lock);

/* The part of it that is about statistics of one table, which is locked. */
extern void trust_check_statistics(Oid relid, Oid role);

#endif /* CONTRATOS_TRUST_H */
