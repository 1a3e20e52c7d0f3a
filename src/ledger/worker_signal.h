/*
 * worker_signal.h
 *	  How a session finds the worker of its database, wakes it, and stops its run.
 *
 * LISTEN is refused in background processes, and the worker has no shared memory
 * of its own.  So it is found by the lock that only it holds, and woken by its
 * latch, when the transaction that has work for it has committed, so that it sees
 * that work.  A wake-up can only be lost while the worker is starting, between
 * taking its lock and its first round; its longest sleep bounds the delay.
 */
#ifndef CONTRATOS_WORKER_SIGNAL_H
#define CONTRATOS_WORKER_SIGNAL_H

#include "postgres.h"

/*
 * For the worker: take the lock that makes this process the one worker of this
 * database, until it ends.  False when another holds it.  Needs no transaction;
 * call it once, after the connection to the database.
 */
extern bool worker_signal_lock(void);

/*
 * Process id of the worker of a database; 0 when there is none.  Looks through all
 * locks of the server, so it is not for loops.
 */
extern int worker_signal_pid(Oid database);

/*
 * For the launcher: let other processes know that a worker of that database has been
 * started, or will be at once, although it may not have its lock yet; or withdraw
 * that.  Needs no transaction, and must not be repeated.
 */
extern void worker_signal_expect(Oid database, bool expected);

/* Whether the launcher has let it be known, so that a missing worker is only being started. */
extern bool worker_signal_is_expected(Oid database);

/* When this transaction commits, wake the worker of this database, if any. */
extern void worker_signal_at_commit(void);

/*
 * When this transaction commits (and, called in a subtransaction, that one has not
 * been rolled back), send the worker SIGINT, as pg_cancel_backend() would.
 *
 * How the worker recognizes the request: the transaction that sends the signal has
 * set the run's row to `canceled`, and has committed.  So, on a query cancel, the
 * worker ends the run in progress with ledger_end(), which returns whether it was
 * canceled by contratos_cancel().  If not, the backend itself was canceled, or the
 * run was over before the signal came; the attempt counts as interrupted.  A run
 * that is canceled between two checks for interrupts cannot succeed any more
 * either: ledger_end() raises 57014 in the transaction of the data.
 */
extern void worker_signal_stop_run(void);

#endif /* CONTRATOS_WORKER_SIGNAL_H */
