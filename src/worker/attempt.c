/*
 * attempt.c
 *	  One attempt by the worker to load or recheck one day.
 *
 * Pessimistic accounting: an attempt is counted when `running` is committed, so
 * the attempt of a process that dies counts as well.  Otherwise a day that crashes
 * the server would be tried forever.
 */
#include "postgres.h"

#include "access/xact.h"
#include "commands/extension.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#include "base/bill.h"
#include "base/clock.h"
#include "base/day.h"
#include "base/failure.h"
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
	/* the commit has switched to another context */
	MemoryContextSwitchTo(context);
}

void
attempt_must_begin(Attempt *attempt)
{
	if (!attempt_begin_transaction())
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_OBJECT), errmsg("extension \"contratos\" was dropped meanwhile")));
	MemoryContextSwitchTo(attempt->load.context);
}

/* Raise the errors of a load's statements, and take all its locks, before the query is sent. */
static void
check_statements(Attempt *attempt)
{
	int nest_level = load_bound_waits();

	load_check_statements(attempt->load.plan, attempt->load.day);
	AtEOXact_GUC(false, nest_level);
}

/*
 * Commit a `running` row for the day.  False when another session uses the day's
 * row.
 */
static bool
open_run(Attempt *attempt)
{
	int nest_level;

	attempt_must_begin(attempt);
	attempt->kept_job = attempt->open != 0 ? ledger_kept_job(attempt->open, settings_now()) : NULL;

	/*
	 * Resolve the source, and take the lock of a load, which is released at commit:
	 * if the table is locked, the attempt fails before BigQuery is queried.
	 */
	nest_level = load_bound_waits();
	attempt->load.plan = load_plan(&attempt->schedule->source);
	load_lock(attempt->load.plan->target, RowExclusiveLock, attempt->load.plan->target_name);
	AtEOXact_GUC(false, nest_level);

	/* the run may have begun on an earlier day, and BigQuery may have other contents now */
	if (!attempt->check)
		load_check_snapshot(&attempt->schedule->source, attempt->load.day);
	attempt->compare_columns =
		attempt->check && !ledger_rechecked_today(attempt->schedule->source.name, settings_now());
	/* the job of a comparison must not be one that a load would continue */
	if (attempt->check)
		bigquery_make_job_id(attempt->load.job_id, sizeof(attempt->load.job_id));
	else
		(void) load_resume(&attempt->load, attempt->kept_job);
	/* to continue a job costs nothing more */
	if (!attempt->load.kept)
		load_check_budget(&attempt->schedule->source);
	/* a recheck may not need to load, and must not fail with the errors of a load */
	if (!attempt->check)
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

/* Add new columns to the row of a successful run. */
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

/* Called once the row is committed. */
static void
report_drift(const Attempt *attempt)
{
	if (attempt->drift != NULL)
		ereport(WARNING, (errmsg("source \"%s\": %s", attempt->schedule->source.name, attempt->drift->what),
						  attempt->drift->remedy[0] ? errhint("%s", attempt->drift->remedy) : 0));
}

/*
 * The job that was kept no longer exists: use another one, whose id is recorded
 * before the query is sent, so that the job can be canceled after a crash.
 */
static void
ask_anew(void *arg)
{
	Attempt *attempt = arg;

	attempt_must_begin(attempt);
	load_check_budget(&attempt->schedule->source);
	(void) load_resume(&attempt->load, NULL);
	ledger_next_job(attempt->run, attempt->load.job_id, -1, -1);
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
	/* another session's open transaction may hold the row */
	load_show("recording the load");
	ledger_end(attempt->run, &run, 0);
	ledger_record_rejects(attempt->run, attempt->load.rejects, attempt->load.nrejects);
	attempt_commit(attempt->load.context);
	attempt_log_end(attempt, LOG, RUN_SUCCEEDED, 0, NULL);
	report_drift(attempt);
	load_end(&attempt->load);
}

/*
 * End a check that BigQuery has answered, in the current transaction.  `what`: the
 * difference that was found, and `message` what becomes of it; NULL: there is none.
 */
static void
record_check(Attempt *attempt, const char *what, const char *message)
{
	LedgerRun run = load_result(&attempt->load, what == NULL ? RUN_UNCHANGED : RUN_DIFFERS);

	run.error = what;
	run.message = message;
	note_drift(attempt, &run);
	ledger_end(attempt->run, &run, 0);
}

/* Both BigQuery and the target still have the day as it was loaded, or accepted. */
static void
end_unchanged(Attempt *attempt)
{
	record_check(attempt, NULL, NULL);
	if (schedule_confirms(attempt->load.day, settings_now()))
		ledger_confirm(attempt->schedule->source.name, attempt->load.day);
	attempt_commit(attempt->load.context);
	attempt_log_end(attempt, LOG, RUN_UNCHANGED, 0, NULL);
	report_drift(attempt);
}

/* The day differs in a way that a load does not cure: report it with a WARNING, and do not load it. */
static void
end_differs(Attempt *attempt, const char *what, bool accepted)
{
	const char *message = accepted ? "differs from what was accepted" : "still differs after it was loaded again twice";

	record_check(attempt, what, message);
	attempt_commit(attempt->load.context);
	attempt_log_end(attempt, LOG, RUN_DIFFERS, 0, NULL);
	report_drift(attempt);
	if (accepted)
		ereport(WARNING, (errmsg("source \"%s\": %s differs from what was accepted", attempt->schedule->source.name,
								 day_text(attempt->load.day)),
						  errdetail("%s.", what),
						  errhint("Load the day with contratos_run(), or accept it again with contratos_accept().")));
	else
		ereport(WARNING,
				(errmsg("source \"%s\": %s still differs after it was loaded again twice",
						attempt->schedule->source.name, day_text(attempt->load.day)),
				 errdetail("%s.", what),
				 errhint("If the target is changed on purpose (a trigger, rows erased), nothing needs to be done; "
						 "otherwise load the day with contratos_run().")));
}

/*
 * End the check, and begin the load that it calls for: two runs, in one
 * transaction, so that a crash cannot leave a difference that is not loaded.
 */
static void
begin_reload(Attempt *attempt, const char *what)
{
	LoadDay *load = &attempt->load;
	int64 run;

	record_check(attempt, what, "differs and is loaded again");
	(void) load_resume(load, NULL);
	run = ledger_begin(0, load->run.source, load->day, "reload", 1, load->job_id);
	if (run == 0)
		ereport(ERROR, (errcode(ERRCODE_LOCK_NOT_AVAILABLE),
						errmsg("the queue of source \"%s\" is in use", attempt->schedule->source.name)));
	attempt_commit(load->context);
	attempt_log_end(attempt, LOG, RUN_DIFFERS, 0, psprintf("%s. The day is loaded again", what));
	report_drift(attempt);
	attempt->drift = NULL;
	attempt->run = run;
	attempt->check = false;
	attempt->number = 1;
	attempt->began = clock_ms();
	load->run.cause = "reload";
	load->run.started_at = settings_now();
	load->run.bytes_processed = load->run.bytes_billed = -1;
	*load->bill = BILL_NOTHING;
	attempt_must_begin(attempt);
	load_check_budget(&attempt->schedule->source);
	check_statements(attempt);
	attempt_commit(load->context);
}

/*
 * Compare the day in BigQuery with what was loaded, and the target with what it
 * had at the end of the load.  Only a day that differs is loaded again, and not if
 * it was accepted.
 */
static void
recheck(Attempt *attempt)
{
	DateADT day = attempt->load.day;
	Bill *bill = attempt->load.bill;
	DayFigures now;
	LedgerSuccess success;
	BqTable remote;
	char *what;

	strlcpy(bill->job_id, attempt->load.job_id, sizeof(bill->job_id));
	load_show("comparing with BigQuery");
	verify_ask(attempt->load.plan, attempt->load.bq, day, bill, &now);
	/* billed, even if the recheck fails */
	attempt->load.run.bytes_processed = bill->bytes_processed;
	attempt->load.run.bytes_billed = bill->bytes_billed;
	attempt->compare_columns = attempt->compare_columns && drift_ask(attempt->load.plan, attempt->load.bq, &remote);
	attempt_must_begin(attempt);
	if (attempt->compare_columns)
		attempt->drift = drift_news(attempt->load.plan, &remote);
	if (!ledger_last_success(attempt->schedule->source.name, day, &success))
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("the ledger's row of %s is gone", day_text(day))));
	if (success.accepted && success.loaded.rows < 0)
	{
		ledger_set_baseline(success.run, &now);
		success.loaded = now;
	}
	what = verify_source(&now, &success);
	if (what == NULL)
		what = verify_target(attempt->load.plan, day, &success);
	if (what == NULL)
		end_unchanged(attempt);
	else if (success.accepted || success.reloads >= 2)
		end_differs(attempt, what, success.accepted);
	else
	{
		begin_reload(attempt, what);
		load(attempt);
	}
}

static void
try_day(void *arg)
{
	Attempt *attempt = arg;

	attempt_must_begin(attempt);
	attempt->claimed = ledger_try_claim(attempt->schedule->source.name);
	attempt_commit(attempt->load.context);
	attempt->result->busy = !attempt->claimed || !open_run(attempt);
	if (attempt->result->busy)
		return;
	if (attempt->check)
		recheck(attempt);
	else
		load(attempt);
	attempt->result->answered = true;
	bigquery_close(attempt->load.bq);
}

void
attempt_run(const LedgerSchedule *schedule, const ScheduleAction *action, int64 open, MemoryContext context,
			AttemptResult *result)
{
	MemoryContext old = MemoryContextSwitchTo(context);
	Attempt *attempt = palloc0(sizeof(Attempt));

	memset(result, 0, sizeof(*result));
	attempt->schedule = schedule;
	attempt->action = action;
	attempt->check = action->what == SCHEDULE_RECHECK;
	attempt->open = open;
	attempt->result = result;
	attempt->number = action->attempt;
	attempt->began = clock_ms();
	load_begin(&attempt->load, schedule->source.name, action->day, action->cause, context);
	attempt->load.background = true;
	load_show_begin(schedule->source.name, action->day);
	if (catch_with_transactions(try_day, attempt, attempt_report) != NULL)
	{
		attempt_fail(attempt);
		/* without a row the same attempt would be made at once, again and again */
		result->busy = attempt->run == 0;
	}
	progress_end();
	if (attempt->claimed)
		ledger_unclaim(schedule->source.name);
	if (attempt->load.plan != NULL)
		result->key_file =
			attempt->load.plan->connection->credentials_file ? attempt->load.plan->connection->credentials_file : "";
	load_show_end();
	MemoryContextSwitchTo(old);
}
