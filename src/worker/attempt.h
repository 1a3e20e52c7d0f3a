/*
 * attempt.h
 *	  One attempt by the worker at one day: the phases and their transactions.
 *
 * `running` is committed before anything is asked, with the id of the job; the
 * question and the wait happen outside any transaction; the data and
 * `succeeded` are one transaction; `failed` has one of its own.
 */
#ifndef CONTRATOS_ATTEMPT_H
#define CONTRATOS_ATTEMPT_H

#include "ledger/ledger_source.h"
#include "ledger/schedule.h"

typedef enum AttemptEnd
{
	ATTEMPT_ENDED, /* well or not: the ledger tells */
	ATTEMPT_BUSY /* somebody else is at the source or its queue: the ledger has nothing of it */
} AttemptEnd;

/*
 * Do what the schedule says; its rules are complete.  `open_run` is the queued or waiting row of the
 * day, or 0.  Called outside a transaction; catches everything but what ends
 * the process.  `context` is the caller's, reset after each attempt.  *key_file
 * gets the credentials file that the source uses ("": none, or not known);
 * *unrecorded, of ATTEMPT_BUSY, the error that kept the ledger from having anything
 * of it (NULL: none), which is for the caller to report.
 */
extern AttemptEnd attempt_run(const LedgerSchedule *schedule, const ScheduleAction *action, int64 open_run,
							  MemoryContext context, char key_file[MAXPGPATH], ErrorData **unrecorded);

/*
 * Runs of a dead process become `interrupted`, and their jobs are cancelled; a
 * run of this process whose end could not be recorded gets that end.  Where no
 * attempt follows, on_failure is told.  Called outside a transaction.
 */
extern void attempt_recover(MemoryContext context);

/* When attempt_recover() has to be called, by clock_ms(), to tell a day again; 0: it need not. */
extern int64 attempt_tells_at(void);

/* A transaction of the worker's, with its snapshot; the extension is locked.
 * False, and no transaction is open, when it is not installed (any more). */
extern bool attempt_begin_transaction(void);

/* Commit it, and then tell who listens. */
extern void attempt_commit(MemoryContext context);

#endif /* CONTRATOS_ATTEMPT_H */
