/*
 * ledger_queue.h
 *	  Days that a person leaves to the worker, or takes away from it.
 */
#ifndef CONTRATOS_LEDGER_QUEUE_H
#define CONTRATOS_LEDGER_QUEUE_H

#include "postgres.h"

#include "utils/date.h"

/*
 * Queue the days from first to last; those that are open already, and with
 * only_missing those that have a success, are left out.  Days newly queued.
 * Waits for other transactions that queue days of the source.  Rows have
 * attempt 0 and no started_at until ledger_begin().
 */
extern int ledger_enqueue(const char *source, DateADT first, DateADT last, bool only_missing);

/*
 * Make a queued, waiting or running run `canceled`, or one that has failed and
 * is to be tried again; true if it was one.
 * *running: it was running, and the worker has to be told: see
 * worker_signal_stop_run().
 */
extern bool ledger_cancel(int64 run, bool *running);

#endif /* CONTRATOS_LEDGER_QUEUE_H */
