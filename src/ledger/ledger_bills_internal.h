/*
 * ledger_bills_internal.h
 *	  The row of a bill, for ledger_bills.c and ledger_bills_worker.c only.
 */
#ifndef CONTRATOS_LEDGER_BILLS_INTERNAL_H
#define CONTRATOS_LEDGER_BILLS_INTERNAL_H

#include "postgres.h"

#include "datatype/timestamp.h"
#include "utils/date.h"

#include "base/bill.h"
#include "ledger/ledger_run.h"

/* Without pointers: it is sent to another process. */
typedef struct BillRow
{
	Oid extension; /* that whose ledger it belongs to */
	char source[NAMEDATALEN];
	char cause[16];
	DateADT first;
	DateADT last;
	TimestampTz started_at;
	TimestampTz finished_at;
	Bill bill;
} BillRow;

/* Insert the row, unless the ledger has one with the job's id. */
extern void ledger_bills_insert(const BillRow *row, RunStatus status);

/*
 * Start the worker that inserts the rows as `canceled`.  False when none can be started.
 * deadline, by clock_ms(): how long to wait for a free slot, and for the worker to have
 * the rows; 0: not at all.  Raises nothing, and needs no transaction.
 */
extern bool ledger_bills_start_worker(const BillRow *const *rows, int nrows, int64 deadline);

#endif /* CONTRATOS_LEDGER_BILLS_INTERNAL_H */
