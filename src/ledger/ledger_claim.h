/*
 * ledger_claim.h
 *	  The claim on a source, one load of it at a time, and the queue of its days.
 */
#ifndef CONTRATOS_LEDGER_CLAIM_H
#define CONTRATOS_LEDGER_CLAIM_H

#include "postgres.h"

#include "utils/date.h"

#include "base/day.h"

/*
 * Serialize loads of one source, until the end of the transaction.  When another
 * session holds the claim, a NOTICE reports it, and then this call waits
 * (lock_timeout and cancel work).
 */
extern void ledger_claim(const char *source);

/*
 * The claim for the worker: at session level, without waiting.  False when another
 * session holds it.  ledger_unclaim() releases it: once for each success, with or
 * without a transaction, also when the extension has been dropped; it does nothing
 * when the claim is not held.
 */
extern bool ledger_try_claim(const char *source);

extern void ledger_unclaim(const char *source);

/* --------------------------------------------------------------------------
 * Days that users queue for the worker, or cancel
 * -------------------------------------------------------------------------- */

/*
 * Queue the days from first to last, except those that are open already and, with
 * only_missing, those that have a success; a recheck that waits becomes the load.
 * Returns the number of days newly queued.  Waits for other transactions that queue days of the source.  Rows have
 * attempt 0 and no started_at until ledger_begin().
 */
extern int ledger_enqueue(const char *source, DateADT first, DateADT last, bool only_missing);

/*
 * Make a queued, waiting or running run `canceled`, or a failed one that is to be
 * retried; true if it was one.  *running: it was running, and the worker must be
 * signaled: see worker_signal_stop_run().
 */
extern bool ledger_cancel(int64 run, bool *running);

/*
 * Accept a day as it is, with the target's figures: a row `accepted` by the
 * session's role, for the reason `why` (NULL: none).  Its queued or waiting row
 * is canceled.  Returns the number of the row; 0, and writes nothing, when the
 * day is loaded and nothing is wrong with it.  The caller holds the claim.
 */
extern int64 ledger_accept(const char *source, DateADT day, const char *why, const DayFigures *target);

#endif /* CONTRATOS_LEDGER_CLAIM_H */
