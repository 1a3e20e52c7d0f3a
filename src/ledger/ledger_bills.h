/*
 * ledger_bills.h
 *	  What BigQuery bills for the jobs of this session, until the ledger has it.
 *
 * A call writes its runs in its own transaction, so an error or a rollback takes them
 * back, but not the bill.  The session therefore keeps each bill from before the job is
 * requested until a row with the job's id has committed.  When the transaction ends
 * otherwise, a background worker gets the bill: it writes a row `canceled`, and ends.
 * The session sees later how a prepared transaction has ended.  Only if no worker can be
 * started, the session keeps the bill, and writes it in the next call, or starts the
 * worker when the session ends; if that fails too, the log has it.
 *
 * Such rows, and those of comparisons by call, have only_cost set: they are not attempts
 * at a day, and only the sums of bytes read them.
 */
#ifndef CONTRATOS_LEDGER_BILLS_H
#define CONTRATOS_LEDGER_BILLS_H

#include "postgres.h"

#include "utils/date.h"

#include "base/bill.h"
#include "ledger/ledger_run.h"

/*
 * A bill for the job that is requested next: by `cause`, a constant, for the source's
 * days from first to last.  Valid until the end of the transaction.
 */
extern Bill *ledger_bills_begin(const char *source, DateADT first, DateADT last, const char *cause);

/* The current (sub)transaction has written a row with the job's id.  It need not be one of this session. */
extern void ledger_bills_recorded(const char *job_id);

/* Write the row of a comparison that has ended; its status tells what it has found. */
extern void ledger_bills_write_comparison(const Bill *bill, RunStatus status);

/* Write the rows of the bills that the session has kept, in the current transaction. */
extern void ledger_bills_write_kept(void);

/*
 * The bytes of this session's bills that no row is written for, for a source or (NULL)
 * for all: those that are kept, and those of the transaction that it has taken back.
 */
extern int64 ledger_bills_unwritten_bytes(const char *source);

/* Wait until the worker that this session has started last has ended: a few seconds at most. */
extern void ledger_bills_wait(void);

/* Entry point of the worker, looked up by name. */
extern PGDLLEXPORT void contratos_ledger_bills_main(Datum arg);

#endif /* CONTRATOS_LEDGER_BILLS_H */
