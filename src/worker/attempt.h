/*
 * attempt.h
 *	  One attempt by the worker to load or recheck one day: its phases and their
 *	  transactions.
 *
 * `running` is committed before the query is sent, with the id of the job; the
 * query and the wait happen outside any transaction; the data and `succeeded` are
 * committed in one transaction; `failed` in one of its own.
 */
#ifndef CONTRATOS_ATTEMPT_H
#define CONTRATOS_ATTEMPT_H

#include "ledger/ledger_source.h"
#include "ledger/schedule.h"

typedef enum AttemptEnd
{
	ATTEMPT_ENDED, /* successfully or not: see the ledger */
	ATTEMPT_BUSY /* another session uses the source or its queue: the ledger has no row */
} AttemptEnd;

/*
 * Carry out the schedule's action; its rules are complete.  `open_run` is the
 * queued or waiting row of the day, or 0.  Called outside a transaction; catches
 * everything except what ends the process.  `context` is the caller's, which
 * resets it after each attempt.  *key_file gets the credentials file that the
 * source uses ("": none, or not known); *unrecorded, with ATTEMPT_BUSY, the error
 * because of which the ledger has no row (NULL: none), which the caller must
 * report.
 */
extern AttemptEnd attempt_run(const LedgerSchedule *schedule, const ScheduleAction *action, int64 open_run,
							  MemoryContext context, char key_file[MAXPGPATH], ErrorData **unrecorded);

/*
 * End stale runs as `interrupted`, and cancel their jobs; a run of this process
 * whose end could not be recorded gets that end.  Where no attempt follows,
 * on_failure is called.  Called outside a transaction.
 */
extern void attempt_recover(MemoryContext context);

/* When attempt_recover() must be called, by clock_ms(), to call on_failure again; 0: it need not. */
extern int64 attempt_reports_at(void);

/*
 * Begin a transaction of the worker, with its snapshot; the extension is locked.
 * False, and no transaction is open, when it is not installed (any more).
 */
extern bool attempt_begin_transaction(void);

/* Commit it, and then notify the listening sessions. */
extern void attempt_commit(MemoryContext context);

#endif /* CONTRATOS_ATTEMPT_H */
