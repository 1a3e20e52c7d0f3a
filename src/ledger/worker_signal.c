/*
 * worker_signal.c
 *	  How a session finds and signals the worker of its database; see
 *	  worker_signal.h.
 *
 * The worker is found by its lock and not in pg_stat_activity: the lock reliably
 * identifies it, and a transaction that has read the activity before would see the
 * same old data again.  The lookup is done just before the commit, where memory
 * may be allocated and errors are harmless; the latch is set after the commit,
 * where both could only end in a PANIC.  The latch is not set in the transaction
 * callback of the commit but when the last of the transaction's resources are
 * released: only then have the invalidations of catalog caches been sent to other
 * processes.  A worker woken before would still find in PostgreSQL 18's cache that
 * the extension does not exist, and go back to sleep.
 */
#include "postgres.h"

#include <signal.h>

#include "access/xact.h"
#include "miscadmin.h"
#include "storage/latch.h"
#include "storage/lock.h"
#include "storage/proc.h"
#include "storage/procarray.h"
#include "utils/resowner.h"

#include "ledger/worker_signal.h"

/*
 * Fourth field of the advisory lock tags, of a worker and of the launcher: SQL's own
 * functions use 1 and 2 in this field, the ledger 0x6301 and 0x6302.
 */
#define WORKER_SPACE 0x6303
#define EXPECTED_SPACE 0x6304

/* The requests of this transaction. */
static bool wake_wanted = false;
static SubTransactionId stop_wanted =
	InvalidSubTransactionId; /* the outermost subtransaction that requested the stop */

/* The worker's process id just before the commit; 0: none, or no request. */
static int worker_pid = 0;
static bool committed = false;

bool
worker_signal_lock(void)
{
	LOCKTAG tag;

	SET_LOCKTAG_ADVISORY(tag, MyDatabaseId, 0, 0, WORKER_SPACE);
	return LockAcquire(&tag, ExclusiveLock, true, true) != LOCKACQUIRE_NOT_AVAIL;
}

/*
 * The process that holds a database's lock of that kind; 0: none.  Not by
 * GetLockConflicts(), which leaves out processes outside a transaction, such as a
 * sleeping worker.
 */
static int
lock_holder(Oid database, int space)
{
	LOCKTAG tag;

	SET_LOCKTAG_ADVISORY(tag, database, 0, 0, space);
	LockData *locks = GetLockStatusData();
	int pid = 0;
	for (int i = 0; i < locks->nelements && pid == 0; i++)
	{
		const LockInstanceData *lock = &locks->locks[i];
		if (memcmp(&lock->locktag, &tag, sizeof(tag)) == 0 && (lock->holdMask & LOCKBIT_ON(ExclusiveLock)))
			pid = lock->pid;
	}
	pfree(locks->locks);
	pfree(locks);
	return pid;
}

int
worker_signal_pid(Oid database)
{
	return lock_holder(database, WORKER_SPACE);
}

void
worker_signal_expect(Oid database, bool expected)
{
	LOCKTAG tag;

	SET_LOCKTAG_ADVISORY(tag, database, 0, 0, EXPECTED_SPACE);
	if (expected)
		(void) LockAcquire(&tag, ExclusiveLock, true, true);
	else
		(void) LockRelease(&tag, ExclusiveLock, true);
}

bool
worker_signal_is_expected(Oid database)
{
	return lock_holder(database, EXPECTED_SPACE) != 0;
}

static void
drop_requests(void)
{
	wake_wanted = false;
	stop_wanted = InvalidSubTransactionId;
	worker_pid = 0;
	committed = false;
}

/* After the commit: allocates nothing, raises nothing. */
static void
send_requests(void)
{
	PGPROC *worker = worker_pid != 0 ? BackendPidGetProc(worker_pid) : NULL;

	/* the process may have ended meanwhile, and its id may have been reused */
	if (worker != NULL && worker->databaseId == MyDatabaseId)
	{
		if (stop_wanted != InvalidSubTransactionId)
			(void) kill(worker_pid, SIGINT);
		SetLatch(&worker->procLatch);
	}
	drop_requests();
}

static void
wake_at_transaction(XactEvent event, void *arg pg_attribute_unused())
{
	if (!wake_wanted)
		return;
	switch (event)
	{
		case XACT_EVENT_PRE_COMMIT:
			worker_pid = worker_signal_pid(MyDatabaseId);
			break;
		case XACT_EVENT_COMMIT:
			committed = true;
			break;
		case XACT_EVENT_ABORT:
		case XACT_EVENT_PREPARE: /* the worker finds the work when its sleep is over */
			drop_requests();
			break;
		default:
			break;
	}
}

static void
at_release(ResourceReleasePhase phase, bool is_commit pg_attribute_unused(), bool is_top_level pg_attribute_unused(),
		   void *arg pg_attribute_unused())
{
	if (committed && phase == RESOURCE_RELEASE_AFTER_LOCKS)
		send_requests();
}

/* A request to stop a run ends with its subtransaction, or is passed on to the parent. */
static void
wake_at_subtransaction(SubXactEvent event, SubTransactionId id, SubTransactionId parent,
					   void *arg pg_attribute_unused())
{
	if (stop_wanted == InvalidSubTransactionId || stop_wanted != id)
		return;
	if (event == SUBXACT_EVENT_COMMIT_SUB)
		stop_wanted = parent;
	else if (event == SUBXACT_EVENT_ABORT_SUB)
		stop_wanted = InvalidSubTransactionId;
}

void
worker_signal_at_commit(void)
{
	static bool registered = false;

	if (!registered)
	{
		RegisterXactCallback(wake_at_transaction, NULL);
		RegisterSubXactCallback(wake_at_subtransaction, NULL);
		RegisterResourceReleaseCallback(at_release, NULL);
		registered = true;
	}
	wake_wanted = true;
}

void
worker_signal_stop_run(void)
{
	worker_signal_at_commit();
	if (stop_wanted == InvalidSubTransactionId)
		stop_wanted = GetCurrentSubTransactionId();
}
