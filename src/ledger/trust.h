/*
 * trust.h
 *	  Whether the role that runs a statement on a table may trust all roles whose
 *	  code the statement may run.
 *
 * Other roles than a table's owner can attach code to it: a role with TRIGGER can
 * add a trigger, and one with REFERENCES can add a foreign key from a table whose
 * own triggers fire as well; statistics keep their owner when the table gets
 * another one; a view, a partitioned table or a rule leads to tables of others.
 * PostgreSQL runs all this code as the role that runs the statement.
 */
#ifndef CONTRATOS_TRUST_H
#define CONTRATOS_TRUST_H

#include "postgres.h"
#include "storage/lockdefs.h"

/* Waits for a lock on the relation of that name, which may have been dropped when the lock is granted. */
typedef void (*TrustLock)(Oid relid, LOCKMODE mode, const char *name);

/*
 * Check a table and all tables that a statement on it reaches: its descendants,
 * the tables of which it is a partition, those that its rules name (a view's query
 * is a rule), and those that reference it by a foreign key.  42501 when one of
 * them, its statistics, or the function of a trigger or of a generated column belongs
 * to a role without the privileges of `role`.
 *
 * Each is locked in that mode until the transaction ends: AccessShareLock to read,
 * RowExclusiveLock to prevent new triggers and foreign keys as well; partitions
 * are never locked by more than AccessShareLock.  `lock` waits for the locks;
 * NULL: wait without reporting it.
 */
extern void trust_check(Oid relid, Oid role, LOCKMODE mode, TrustLock lock);

/* Only the check of the statistics of one table, which is locked. */
extern void trust_check_statistics(Oid relid, Oid role);

#endif /* CONTRATOS_TRUST_H */
