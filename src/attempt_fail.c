/*
 * attempt_fail.c
 *	  An attempt that has failed: reported, undone, recorded, told.
 */
#include "postgres.h"

#include "access/xact.h"
#include "utils/memutils.h"

#include "attempt_internal.h"
#include "settings.h"
#include "verdict.h"

/* What the error means for the day. */
typedef struct Ending
{
	ErrorData *edata;
	const char *status;
	TimestampTz next; /* when the next attempt is due; 0: never */
} Ending;

static Ending
judge(Attempt *attempt, ErrorData *edata)
{
	const ScheduleRules *rules = &attempt->schedule->rules;
	TimestampTz now = settings_now();
	Ending ending = {.edata = edata, .status = "failed"};

	/* by contratos_cancel(), which has made the row `canceled`, or by another hand */
	if (edata->sqlerrcode == ERRCODE_QUERY_CANCELED)
	{
		ending.status = "interrupted";
		ending.next = schedule_retry_at(rules, attempt->number, true, now);
	}
	else if (attempt->outcome.empty)
	{
		ending.next = schedule_ready_at(rules, attempt->action->day, now);
		if (ending.next != 0)
			ending.status = "waiting";
	}
	else if (attempt->outcome.refused)
		ending.status = "refused";
	else if (attempt->run == 0 && verdict_tomorrow(edata))
	{
		/*
		 * When today's own rows are due: they go first, and so a long queue does
		 * not make them late.  Nothing was tried: however many days it takes,
		 * this uses no attempt up.
		 */
		ending.next = schedule_due_at(rules, schedule_day_of(now));
		attempt->number--;
	}
	else if (verdict_may_pass(edata))
		ending.next = schedule_retry_at(rules, attempt->number, false, now);
	return ending;
}

/* Tell the user's function; its own error is only logged. */
static void
call_on_failure(Attempt *attempt, const void *error)
{
	attempt_must_begin(attempt);
	load_tell_failure(&attempt->schedule->source, attempt->action->day, attempt->schedule->on_failure, error);
	attempt_commit(attempt->context);
}

/* Run a step of the clean-up; what fails in it is logged and no more. */
static void
quietly(Attempt *attempt, void (*step)(Attempt *attempt, const void *arg), const void *arg)
{
	PG_TRY();
	{
		step(attempt, arg);
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(attempt->context);
		EmitErrorReport();
		FlushErrorState();
		AbortOutOfAnyTransaction();
		MemoryContextSwitchTo(attempt->context);
	}
	PG_END_TRY();
}

static void
record(Attempt *attempt, const void *arg)
{
	const Ending *ending = arg;
	const Failure *cause = verdict_cause(ending->edata);
	const LedgerSource *source = &attempt->schedule->source;
	LedgerRun run = load_describe(source, attempt->action->day, attempt->cause, ending->status, &attempt->outcome);
	bool stays;

	run.sqlstate = unpack_sql_state(ending->edata->sqlerrcode);
	run.reason = cause != NULL && cause->reason[0] ? cause->reason : NULL;
	run.error = verdict_text(ending->edata);
	run.message = ending->edata->message;
	if (attempt->run == 0)
		run.job_id = NULL; /* it has never been asked for */
	attempt_must_begin(attempt);
	if (attempt->run == 0)
		attempt->run =
			ledger_begin(attempt->open, source->name, attempt->action->day, attempt->cause, attempt->number, NULL);
	if (attempt->run == 0)
	{
		/* somebody is at the day's row, or at the queue: there is nothing to tell yet */
		attempt_commit(attempt->context);
		return;
	}
	stays = ledger_end(attempt->run, &run, ending->next);
	attempt_commit(attempt->context);

	attempt_log_end(attempt, stays ? ending->status : "canceled", stays ? ending->next : 0,
					strcmp(ending->status, "waiting") == 0 ? ending->edata->message : NULL);
	if (stays && ending->next == 0 && attempt->schedule->on_failure != NULL)
		quietly(attempt, call_on_failure, run.error);
}

void
attempt_fail(Attempt *attempt)
{
	Ending ending;

	MemoryContextSwitchTo(attempt->context);
	ending = judge(attempt, CopyErrorData());
	/* that upstream is not ready yet is no error: the day's own line tells */
	if (strcmp(ending.status, "waiting") != 0)
	{
		errcontext("source \"%s\", %s", attempt->schedule->source.name, schedule_day_text(attempt->action->day));
		EmitErrorReport();
	}
	FlushErrorState();
	AbortOutOfAnyTransaction();
	MemoryContextSwitchTo(attempt->context);
	bigquery_close(attempt->bq);
	attempt->bq = NULL;
	/* should this fail too, the row stays `running` and is found dead later */
	quietly(attempt, record, &ending);
}
