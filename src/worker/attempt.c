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
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#include "base/catch.h"
#include "base/clock.h"
#include "base/day.h"
#include "base/settings.h"
#include "bigquery/bigquery.h"
#include "bigquery/job.h"
#include "bigquery/message.h"
#include "bigquery/request.h"
#include "ledger/extension.h"
#include "ledger/ledger_claim.h"
#include "ledger/ledger_history.h"
#include "ledger/ledger_run.h"
#include "ledger/ledger_source.h"
#include "ledger/notify.h"
#include "load/drift.h"
#include "load/progress.h"
#include "worker/attempt.h"
#include "worker/attempt_internal.h"

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
	notify_send();
	pgstat_report_stat(true);
	/* commit leaves us elsewhere */
	MemoryContextSwitchTo(context);
}

void
attempt_must_begin(Attempt *attempt)
{
	if (!attempt_begin_transaction())
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_OBJECT), errmsg("extension \"contratos\" was dropped meanwhile")));
	MemoryContextSwitchTo(attempt->load.context);
}

/*
 * Resolve the source, and take the lock of a load, to be given back at commit: one
 * that is not to be had is met before BigQuery is asked.
 */
static void
resolve_source(Attempt *attempt)
{
	int nest_level = load_bound_waits();

	attempt->load.plan = load_plan(&attempt->schedule->source);
	load_lock(attempt->load.plan->target, RowExclusiveLock, attempt->load.plan->target_name);
	AtEOXact_GUC(false, nest_level);
}

/* What the statements of a load would throw, and all its locks, before it is asked for. */
static void
check_statements(Attempt *attempt)
{
	int nest_level = load_bound_waits();

	load_check_statements(attempt->load.plan, attempt->load.day);
	AtEOXact_GUC(false, nest_level);
}

/*
 * Commit that we are at the day.  False when somebody else is at that day's row.
 */
static bool
open_run(Attempt *attempt)
{
	attempt_must_begin(attempt);
	attempt->kept_job = attempt->open != 0 ? ledger_kept_job(attempt->open, settings_now()) : NULL;
	resolve_source(attempt);
	/* begun when that was yesterday, and now another snapshot is there */
	if (attempt->action->what == SCHEDULE_LOAD)
		load_check_snapshot(&attempt->schedule->source, attempt->load.day);
	attempt->looks = attempt->action->what == SCHEDULE_RECHECK &&
					 !ledger_rechecked_today(attempt->schedule->source.name, settings_now());
	/* a recheck has compared already, when what it waits with is a load */
	attempt->reloads = load_resume(&attempt->load, attempt->kept_job) && attempt->action->what == SCHEDULE_RECHECK;
	/* it compares first: by a job that no load can go on with */
	if (attempt->action->what == SCHEDULE_RECHECK && !attempt->reloads)
		bigquery_make_job_id(attempt->load.job_id, sizeof(attempt->load.job_id));
	/* what goes on with a job costs nothing more */
	if (!attempt->load.kept)
		load_check_budget(&attempt->schedule->source);
	/* a recheck need not load, and so need not fail of what a load would */
	if (attempt->action->what == SCHEDULE_LOAD || attempt->reloads)
		check_statements(attempt);
	attempt->run = ledger_begin(attempt->open, attempt->schedule->source.name, attempt->load.day,
								attempt->load.run.cause, attempt->number, attempt->load.job_id);
	attempt_commit(attempt->load.context);
	if (attempt->run == 0)
		return false;
	attempt_has_begun();
	attempt->load.bq = bigquery_open(attempt->load.plan->connection, attempt->load.context);
	return true;
}

/* The row of a run that ended well also tells of new columns. */
static void
note_drift(const Attempt *attempt, LedgerRun *run)
{
	const Drift *drift = attempt->drift;
	const char *hint;

	if (drift == NULL)
		return;
	hint = drift->remedy[0] ? psprintf(". %s", drift->remedy) : "";
	run->reason = DRIFT_REASON;
	run->error = psprintf("%s%s%s%s", run->error ? run->error : "", run->error ? ". " : "", drift->what, hint);
	if (run->message == NULL)
		run->message = drift->what;
}

/* Once the row is there. */
static void
say_drift(const Attempt *attempt)
{
	if (attempt->drift != NULL)
		ereport(WARNING, (errmsg("source \"%s\": %s", attempt->schedule->source.name, attempt->drift->what),
						  attempt->drift->remedy[0] ? errhint("%s", attempt->drift->remedy) : 0));
}

/* Another job for the load, known before it is asked for, so that it can be cancelled after a crash. */
static void
next_job(Attempt *attempt, int64 bytes_processed, int64 bytes_billed)
{
	(void) load_resume(&attempt->load, NULL);
	ledger_next_job(attempt->run, attempt->load.job_id, bytes_processed, bytes_billed);
}

/* The job that was kept is not to be had any more. */
static void
ask_anew(void *arg)
{
	Attempt *attempt = arg;

	attempt_must_begin(attempt);
	load_check_budget(&attempt->schedule->source);
	next_job(attempt, -1, -1);
	attempt_commit(attempt->load.context);
}

static void
begin_replacing(void *arg)
{
	load_show("loading");
	attempt_must_begin(arg);
}

static void
load(Attempt *attempt)
{
	const LoadCaller caller = {.job_gone = ask_anew, .answered = begin_replacing, .arg = attempt};
	LedgerRun run;

	load_show("waiting for BigQuery");
	load_day(&attempt->load, &caller);
	run = load_result(&attempt->load, RUN_SUCCEEDED);
	note_drift(attempt, &run);
	/* somebody's open transaction may hold the row */
	load_show("recording the load");
	ledger_end(attempt->run, &run, 0);
	ledger_record_rejects(attempt->run, attempt->load.rejects, attempt->load.nrejects);
	attempt_commit(attempt->load.context);
	attempt_log_end(attempt, RUN_SUCCEEDED, 0, NULL);
	say_drift(attempt);
	load_end(&attempt->load);
}

/* The day is as it should be. */
static void
end_unchanged(Attempt *attempt)
{
	LedgerRun run = load_result(&attempt->load, RUN_UNCHANGED);

	note_drift(attempt, &run);
	ledger_end(attempt->run, &run, 0);
	if (schedule_confirms(attempt->load.day, settings_now()))
		ledger_confirm(attempt->schedule->source.name, attempt->load.day);
	attempt_commit(attempt->load.context);
	attempt_log_end(attempt, RUN_UNCHANGED, 0, NULL);
	say_drift(attempt);
}

/* Reloading has not helped: say so, loudly, and leave it. */
static void
end_differs(Attempt *attempt, const char *what)
{
	LedgerRun run = load_result(&attempt->load, RUN_DIFFERS);

	run.error = what;
	run.message = "still differs after it was loaded again twice";
	note_drift(attempt, &run);
	ledger_end(attempt->run, &run, 0);
	attempt_commit(attempt->load.context);
	attempt_log_end(attempt, RUN_DIFFERS, 0, NULL);
	say_drift(attempt);
	ereport(WARNING, (errmsg("source \"%s\": %s still differs after it was loaded again twice",
							 attempt->schedule->source.name, day_text(attempt->load.day)),
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
	DateADT day = attempt->load.day;
	VerifyJob job = {0};
	DayFigures now;
	LedgerSuccess success;
	BqTable there;
	char *what;

	strlcpy(job.job_id, attempt->load.job_id, sizeof(job.job_id));
	load_show("comparing with BigQuery");
	verify_ask(attempt->load.plan, attempt->load.bq, day, &job, &now);
	/* billed, however this ends */
	attempt->load.run.bytes_processed = job.bytes_processed;
	attempt->load.run.bytes_billed = job.bytes_billed;
	attempt->looks = attempt->looks && drift_ask(attempt->load.plan, attempt->load.bq, &there);
	attempt_must_begin(attempt);
	if (attempt->looks)
		attempt->drift = drift_news(attempt->load.plan, &there);
	if (!ledger_last_success(attempt->schedule->source.name, day, &success))
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("the ledger's row of %s is gone", day_text(day))));
	what = verify_source(&now, &success);
	if (what == NULL)
		what = verify_target(attempt->load.plan, day, &success);
	if (what == NULL)
		end_unchanged(attempt);
	else if (success.reloads >= 2)
		end_differs(attempt, what);
	else
	{
		check_statements(attempt);
		next_job(attempt, job.bytes_processed, job.bytes_billed);
		attempt_commit(attempt->load.context);
		attempt->bytes_compared = Max(job.bytes_billed, 0);
		attempt->load.run.bytes_processed = attempt->load.run.bytes_billed = -1;
		ereport(LOG,
				(errmsg("source \"%s\": %s differs and is loaded again", attempt->schedule->source.name, day_text(day)),
				 errdetail("%s.", what)));
		load(attempt);
	}
}

/* Take the claim in a transaction; false when the source is busy. */
static bool
claim_for_attempt(Attempt *attempt)
{
	bool claimed;

	attempt_must_begin(attempt);
	claimed = ledger_try_claim(attempt->schedule->source.name);
	attempt_commit(attempt->load.context);
	return claimed;
}

static void
try_day(void *arg)
{
	Attempt *attempt = arg;

	attempt->claimed = claim_for_attempt(attempt);
	attempt->busy = !attempt->claimed || !open_run(attempt);
	if (attempt->busy)
		return;
	if (attempt->action->what == SCHEDULE_RECHECK && !attempt->reloads)
		recheck(attempt);
	else
		load(attempt);
	bigquery_close(attempt->load.bq);
}

AttemptEnd
attempt_run(const LedgerSchedule *schedule, const ScheduleAction *action, int64 open, MemoryContext context,
			char key_file[MAXPGPATH], ErrorData **unrecorded)
{
	MemoryContext old = MemoryContextSwitchTo(context);
	Attempt *attempt = palloc0(sizeof(Attempt));

	attempt->schedule = schedule;
	attempt->action = action;
	attempt->open = open;
	attempt->number = action->attempt;
	attempt->began = clock_ms();
	load_begin(&attempt->load, schedule->source.name, action->day, action->cause, context);
	attempt->load.background = true;
	load_show_begin(schedule->source.name, action->day);
	if (catch_with_transactions(try_day, attempt, attempt_report) != NULL)
	{
		attempt_fail(attempt);
		/* not even a row: it would be the same again at once, and for ever */
		attempt->busy = attempt->run == 0;
	}
	progress_end();
	if (attempt->claimed)
		ledger_unclaim(schedule->source.name);
	if (attempt->load.plan != NULL)
		strlcpy(key_file,
				attempt->load.plan->connection->credentials_file ? attempt->load.plan->connection->credentials_file
																 : "",
				MAXPGPATH);
	load_show_end();
	*unrecorded = attempt->unrecorded;
	MemoryContextSwitchTo(old);
	return attempt->busy ? ATTEMPT_BUSY : ATTEMPT_ENDED;
}
