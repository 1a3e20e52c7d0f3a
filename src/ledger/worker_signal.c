/*
 * worker_signal.c
 *	  How a session gets at the worker of its database; see wake.h.
 *
 * The worker is found by its lock and not in pg_stat_activity: the lock says
 * for certain who it is, and a transaction that has looked at the activity
 * before would see that old picture again.  It is looked for just before the
 * commit, where memory may be allocated and errors are harmless; after it,
 * where both could only end in a PANIC, its latch is set.  That is not done when
 * the transaction's callbacks are told of the commit but when the last of its
 * resources go: only then have the others been sent what is invalid in their
 * catalog caches.  A worker woken before would find in PostgreSQL 18's cache
 * that there is still no extension, and sleep on.
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
 * Fourth field of the advisory lock tag: SQL's own functions use 1 and 2 there,
 * the ledger 0x6301 and 0x6302.
 */
#define WAKE_WORKER_SPACE 0x6303

/* What this transaction has asked for. */
static bool wake_wanted = false;
static SubTransactionId stop_wanted = InvalidSubTransactionId; /* the outermost that wants the run stopped */

/* The worker as it was just before the commit; 0: none, or nothing is wanted. */
static int worker_pid = 0;
static bool committed = false;

static void
worker_tag(LOCKTAG *tag)
{
	SET_LOCKTAG_ADVISORY(*tag, MyDatabaseId, 0, 0, WAKE_WORKER_SPACE);
}

bool
worker_signal_lock(void)
{
	LOCKTAG tag;
	worker_tag(&tag);
	return LockAcquire(&tag, ExclusiveLock, true, true) != LOCKACQUIRE_NOT_AVAIL;
}

/*
 * Not GetLockConflicts(): it leaves out who is outside of a transaction, and
 * that is where a worker sleeps.
 */
int
worker_signal_pid(void)
{
	LOCKTAG tag;
	worker_tag(&tag);
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

static void
forget_wishes(void)
{
	wake_wanted = false;
	stop_wanted = InvalidSubTransactionId;
	worker_pid = 0;
	committed = false;
}

/* After the commit: allocates nothing, raises nothing. */
static void
fulfil_wishes(void)
{
	PGPROC *worker = worker_pid != 0 ? BackendPidGetProc(worker_pid) : NULL;

	/* the process may have ended meanwhile, and its number been given away */
	if (worker != NULL && worker->databaseId == MyDatabaseId)
	{
		if (stop_wanted != InvalidSubTransactionId)
			(void) kill(worker_pid, SIGINT);
		SetLatch(&worker->procLatch);
	}
	forget_wishes();
}

static void
wake_at_transaction(XactEvent event, void *arg pg_attribute_unused())
{
	if (!wake_wanted)
		return;
	switch (event)
	{
		case XACT_EVENT_PRE_COMMIT:
			worker_pid = worker_signal_pid();
			break;
		case XACT_EVENT_COMMIT:
			committed = true;
			break;
		case XACT_EVENT_ABORT:
		case XACT_EVENT_PREPARE: /* the worker finds it when its sleep is over */
			forget_wishes();
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
		fulfil_wishes();
}

/* A wish to stop a run goes with its subtransaction, or over to the one around it. */
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
