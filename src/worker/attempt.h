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

/* The parts of an attempt's end that are not in the ledger. */
typedef struct AttemptResult
{
	bool busy; /* another session uses the source or its queue: the ledger has no row */
	ErrorData *unrecorded; /* if busy, the error because of which there is no row, to be reported; NULL: none */
	bool answered; /* BigQuery has answered … */
	bool unreachable; /* … or could not be reached; neither: it was not asked */
	const char *key_file; /* the credentials file that the source uses; "": none; NULL: not known */
} AttemptResult;

/*
 * Carry out the schedule's action; its rules are complete.  `open_run` is the
 * queued or waiting row of the day, or 0.  Called outside a transaction; catches
 * everything except what ends the process.  `context` is the caller's, which
 * resets it after each attempt.  While the server is known not to answer, only
 * failures that are news are logged.
 */
extern void attempt_run(const LedgerSchedule *schedule, const ScheduleAction *action, int64 open_run,
						MemoryContext context, AttemptResult *result);

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
