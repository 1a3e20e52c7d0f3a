/*
 * attempt.c
 *	  One attempt by the worker at one day.
 *
 * Pessimistic accounting: an attempt is counted when `running` is committed,
 * and a process that dies has used it up.  Otherwise a day that crashes the
 * server would be tried for ever.
 */
#include "postgres.h"

#include "access/xact.h"
#include "commands/extension.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#include "attempt.h"
#include "extension.h"
#include "load.h"
#include "settings.h"
#include "verdict.h"
#include "verify.h"

/* One attempt, while it lasts; in the caller's context. */
typedef struct Attempt
{
	MemoryContext context;
	const LedgerSchedule *schedule;
	const ScheduleAction *action;
	const char *cause;
	LoadPlan *plan; /* NULL until the source is resolved */
	Bigquery *bq; /* NULL until it is needed */
	int64 open; /* queued or waiting row of the day; 0: none */
	int64 run; /* row of the ledger; 0: none yet */
	bool looks; /* first recheck of the source today: at its columns, too */
	VerifyDrift *drift; /* news of them; NULL: none */
	LoadOutcome outcome;
} Attempt;

bool
attempt_begin_transaction(void)
{
	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	PushActiveSnapshot(GetTransactionSnapshot());
	if (OidIsValid(get_extension_oid("contratos", true)))
	{
		extension_lock();
		return true;
	}
	PopActiveSnapshot();
	CommitTransactionCommand();
	return false;
}

void
attempt_commit(MemoryContext context)
{
	PopActiveSnapshot();
	CommitTransactionCommand();
	pgstat_report_stat(true);
	/* commit leaves us elsewhere */
	MemoryContextSwitchTo(context);
}

static void
must_begin(Attempt *attempt)
{
	if (!attempt_begin_transaction())
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_OBJECT), errmsg("extension \"contratos\" was dropped meanwhile")));
	MemoryContextSwitchTo(attempt->context);
}

static void
show(Attempt *attempt, const char *what)
{
	pgstat_report_activity(STATE_RUNNING, psprintf("%s %s: %s", attempt->schedule->source.name,
												   schedule_day_text(attempt->action->day), what));
}

/*
 * Resolve the source and commit that we are at it.  False when somebody else is
 * at that day's row.
 */
static bool
open_run(Attempt *attempt)
{
	must_begin(attempt);
	attempt->plan = load_plan(&attempt->schedule->source);
	/* begun when that was yesterday, and now another snapshot is there */
	if (attempt->action->what == SCHEDULE_LOAD)
		load_check_snapshot(&attempt->schedule->source, attempt->action->day);
	load_check_budget(&attempt->schedule->source);
	attempt->looks = attempt->action->what == SCHEDULE_RECHECK &&
					 !ledger_rechecked_today(attempt->schedule->source.name, settings_now());
	attempt->run = ledger_begin(attempt->open, attempt->schedule->source.name, attempt->action->day, attempt->cause,
								attempt->action->attempt, attempt->outcome.job_id);
	attempt_commit(attempt->context);
	if (attempt->run == 0)
		return false;
	attempt->bq = bigquery_open(attempt->plan->connection, attempt->context);
	return true;
}

/* The row of a run that ended well also tells of new columns. */
static void
note_drift(const Attempt *attempt, LedgerRun *run)
{
	const VerifyDrift *drift = attempt->drift;
	const char *hint;

	if (drift == NULL)
		return;
	hint = drift->remedy[0] ? psprintf(". %s", drift->remedy) : "";
	run->reason = VERIFY_DRIFT_REASON;
	run->error = psprintf("%s%s%s%s", run->error ? run->error : "", run->error ? ". " : "", drift->what, hint);
}

/* Once the row is there. */
static void
say_drift(const Attempt *attempt)
{
	if (attempt->drift != NULL)
		ereport(WARNING, (errmsg("source \"%s\": %s", attempt->schedule->source.name, attempt->drift->what),
						  attempt->drift->remedy[0] ? errhint("%s", attempt->drift->remedy) : 0));
}

static void
load(Attempt *attempt)
{
	const ScheduleAction *action = attempt->action;
	BqJob *job;
	LedgerRun run;

	show(attempt, "waiting for BigQuery");
	job = load_ask(attempt->plan, attempt->bq, action->day, attempt->context, &attempt->outcome);
	show(attempt, "loading");
	must_begin(attempt);
	load_replace(attempt->plan, job, action->day, false, &attempt->outcome);
	run = load_describe(attempt->plan->source, action->day, attempt->cause, "succeeded", &attempt->outcome);
	note_drift(attempt, &run);
	ledger_end(attempt->run, &run, 0);
	ledger_record_rejects(attempt->run, attempt->outcome.rejects, attempt->outcome.nrejects);
	attempt_commit(attempt->context);
	ereport(LOG, (errmsg("source \"%s\": %s loaded, " INT64_FORMAT " rows (" INT64_FORMAT " replaced), attempt %d",
						 attempt->schedule->source.name, schedule_day_text(action->day), attempt->outcome.rows_loaded,
						 attempt->outcome.rows_replaced, action->attempt)));
	say_drift(attempt);
	bigquery_forget(job);
}

/* The day is as it should be. */
static void
end_unchanged(Attempt *attempt, const VerifyJob *job)
{
	LedgerRun run =
		load_describe(attempt->plan->source, attempt->action->day, attempt->cause, "unchanged", &attempt->outcome);

	run.bytes_processed = job->bytes_processed;
	run.bytes_billed = job->bytes_billed;
	note_drift(attempt, &run);
	ledger_end(attempt->run, &run, 0);
	if (schedule_confirms(attempt->action->day, settings_now()))
		ledger_confirm(attempt->schedule->source.name, attempt->action->day);
	attempt_commit(attempt->context);
	say_drift(attempt);
}

/* Reloading has not helped: say so, loudly, and leave it. */
static void
end_differs(Attempt *attempt, const VerifyJob *job, const char *what)
{
	LedgerRun run =
		load_describe(attempt->plan->source, attempt->action->day, attempt->cause, "differs", &attempt->outcome);

	run.bytes_processed = job->bytes_processed;
	run.bytes_billed = job->bytes_billed;
	run.error = what;
	note_drift(attempt, &run);
	ledger_end(attempt->run, &run, 0);
	attempt_commit(attempt->context);
	say_drift(attempt);
	ereport(WARNING, (errmsg("source \"%s\": %s still differs after it was loaded again twice",
							 attempt->schedule->source.name, schedule_day_text(attempt->action->day)),
					  errdetail("%s.", what),
					  errhint("If the target is changed on purpose (a trigger, rows erased), nothing needs to be done; "
							  "otherwise load the day with contratos_run().")));
}

/*
 * Compare the day there with what was loaded, and what was loaded with what
 * stands here.  Only a day that differs is loaded again.
 */
static void
recheck(Attempt *attempt)
{
	DateADT day = attempt->action->day;
	VerifyJob job = {0};
	VerifyThere now;
	LedgerSuccess success;
	BqTable there;
	char *what;

	strlcpy(job.job_id, attempt->outcome.job_id, sizeof(job.job_id));
	show(attempt, "comparing with BigQuery");
	verify_ask(attempt->plan, attempt->bq, day, &job, &now);
	attempt->looks = attempt->looks && verify_ask_columns(attempt->plan, attempt->bq, &there);
	must_begin(attempt);
	if (attempt->looks)
		attempt->drift = verify_columns(attempt->plan, &there);
	if (!ledger_last_success(attempt->schedule->source.name, day, &success))
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("the ledger's row of %s is gone", schedule_day_text(day))));
	what = verify_source(&now, &success);
	if (what == NULL)
		what = verify_target(attempt->plan, day, &success);
	if (what == NULL)
		end_unchanged(attempt, &job);
	else if (success.reloads >= 2)
		end_differs(attempt, &job, what);
	else
	{
		/* known before it is asked for, so that it can be cancelled after a crash */
		bigquery_make_job_id(attempt->outcome.job_id, sizeof(attempt->outcome.job_id));
		ledger_next_job(attempt->run, attempt->outcome.job_id, job.bytes_processed, job.bytes_billed);
		attempt_commit(attempt->context);
		ereport(LOG, (errmsg("source \"%s\": %s differs and is loaded again", attempt->schedule->source.name,
							 schedule_day_text(day)),
					  errdetail("%s.", what)));
		load(attempt);
	}
}

/* --------------------------------------------------------------------------
 * When it has failed
 * -------------------------------------------------------------------------- */

/* How the attempt ended, and when the next one is due (0: never). */
static const char *
judge(Attempt *attempt, const ErrorData *edata, TimestampTz *next)
{
	TimestampTz now = settings_now();

	*next = 0;
	/* by contratos_cancel(), which has made the row `canceled`, or by another hand */
	if (edata->sqlerrcode == ERRCODE_QUERY_CANCELED)
	{
		*next = schedule_retry_at(&attempt->schedule->rules, attempt->action->attempt, true, now);
		return "interrupted";
	}
	if (attempt->outcome.empty)
	{
		*next = schedule_ready_at(&attempt->schedule->rules, attempt->action->day, now);
		return *next != 0 ? "waiting" : "failed";
	}
	if (attempt->outcome.refused)
		return "refused";
	if (verdict_may_pass(edata))
		*next = schedule_retry_at(&attempt->schedule->rules, attempt->action->attempt, false, now);
	return "failed";
}

/* Tell the user's function; its own error is only logged. */
static void
call_on_failure(Attempt *attempt, const char *error)
{
	must_begin(attempt);
	load_tell_failure(&attempt->schedule->source, attempt->action->day, attempt->schedule->on_failure, error);
	attempt_commit(attempt->context);
}

/* Run a step of the clean-up; what fails in it is logged and no more. */
static void
quietly(Attempt *attempt, void (*step)(Attempt *attempt, const char *error), const char *error)
{
	PG_TRY();
	{
		step(attempt, error);
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
record(Attempt *attempt, const ErrorData *edata)
{
	TimestampTz next;
	const char *status = judge(attempt, edata, &next);
	bool stays;
	const Failure *cause = verdict_cause(edata);
	const LedgerSource *source = &attempt->schedule->source;
	LedgerRun run = load_describe(source, attempt->action->day, attempt->cause, status, &attempt->outcome);

	run.sqlstate = unpack_sql_state(edata->sqlerrcode);
	run.reason = cause != NULL && cause->reason[0] ? cause->reason : NULL;
	run.error = verdict_text(edata);
	if (attempt->run == 0)
		run.job_id = NULL; /* it has never been asked for */
	must_begin(attempt);
	if (attempt->run == 0)
		attempt->run = ledger_begin(attempt->open, source->name, attempt->action->day, attempt->cause,
									attempt->action->attempt, NULL);
	stays = ledger_end(attempt->run, &run, next);
	attempt_commit(attempt->context);

	if (stays && next == 0 && attempt->schedule->on_failure != NULL)
		quietly(attempt, call_on_failure, run.error);
}

/* The error that `record` is to record, for quietly(). */
static ErrorData *recorded_error;

static void
record_step(Attempt *attempt, const char *unused pg_attribute_unused())
{
	record(attempt, recorded_error);
}

static void
after_error(Attempt *attempt)
{
	MemoryContextSwitchTo(attempt->context);
	recorded_error = CopyErrorData();
	errcontext("source \"%s\", %s", attempt->schedule->source.name, schedule_day_text(attempt->action->day));
	EmitErrorReport();
	FlushErrorState();
	AbortOutOfAnyTransaction();
	MemoryContextSwitchTo(attempt->context);
	bigquery_close(attempt->bq);
	attempt->bq = NULL;
	/* should this fail too, the row stays `running` and is found dead later */
	quietly(attempt, record_step, NULL);
}

/* Take the claim in a transaction; false when the source is busy. */
static bool
claim(Attempt *attempt)
{
	bool claimed;

	must_begin(attempt);
	claimed = ledger_try_claim(attempt->schedule->source.name);
	attempt_commit(attempt->context);
	return claimed;
}

AttemptEnd
attempt_run(const LedgerSchedule *schedule, const ScheduleAction *action, int64 open, MemoryContext context,
			char key_file[MAXPGPATH])
{
	MemoryContext old = MemoryContextSwitchTo(context);
	Attempt *attempt = palloc0(sizeof(Attempt));
	volatile bool claimed = false;
	volatile bool busy = true;

	attempt->context = context;
	attempt->schedule = schedule;
	attempt->action = action;
	attempt->cause = action->cause;
	attempt->open = open;
	load_begin(&attempt->outcome, context);
	attempt->outcome.background = true;

	PG_TRY();
	{
		claimed = claim(attempt);
		if (claimed && (busy = !open_run(attempt)) == false)
		{
			if (action->what == SCHEDULE_RECHECK)
				recheck(attempt);
			else
				load(attempt);
			bigquery_close(attempt->bq);
		}
	}
	PG_CATCH();
	{
		busy = false;
		after_error(attempt);
	}
	PG_END_TRY();
	if (claimed)
		ledger_unclaim(schedule->source.name);
	if (attempt->plan != NULL)
		strlcpy(key_file,
				attempt->plan->connection->credentials_file ? attempt->plan->connection->credentials_file : "",
				MAXPGPATH);
	pgstat_report_activity(STATE_IDLE, NULL);
	MemoryContextSwitchTo(old);
	return busy ? ATTEMPT_BUSY : ATTEMPT_ENDED;
}
