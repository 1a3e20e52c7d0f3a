/*
 * ledger_queue.h
 *	  Days that users queue for the worker, or cancel.
 */
#ifndef CONTRATOS_LEDGER_QUEUE_H
#define CONTRATOS_LEDGER_QUEUE_H

#include "postgres.h"

#include "utils/date.h"

/*
 * Queue the days from first to last, except those that are open already and, with
 * only_missing, those that have a success.  Returns the number of days newly
 * queued.  Waits for other transactions that queue days of the source.  Rows have
 * attempt 0 and no started_at until ledger_begin().
 */
extern int ledger_enqueue(const char *source, DateADT first, DateADT last, bool only_missing);

/*
 * Make a queued, waiting or running run `canceled`, or a failed one that is to be
 * retried; true if it was one.  *running: it was running, and the worker must be
 * signaled: see worker_signal_stop_run().
 */
extern bool ledger_cancel(int64 run, bool *running);

#endif /* CONTRATOS_LEDGER_QUEUE_H */
