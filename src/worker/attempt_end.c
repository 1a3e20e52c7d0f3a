/*
 * attempt_end.c
 *	  The end of an attempt: its error is reported, recorded and passed to the
 *	  user's function; and the day's line in the log.
 */
#include "postgres.h"

#include "access/xact.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "base/clock.h"
#include "base/day.h"
#include "base/failure.h"
#include "base/settings.h"
#include "bigquery/bigquery.h"
#include "bigquery/request.h"
#include "ledger/ledger_history.h"
#include "ledger/ledger_run.h"
#include "ledger/ledger_source.h"
#include "ledger/schedule.h"
#include "load/error_class.h"
#include "worker/attempt_internal.h"

/* --------------------------------------------------------------------------
 * The line of a day in the log.  Each attempt logs one when it ends, always in the
 * same format, so that it can be searched for and counted.  An error is reported
 * separately, at its own level.
 * -------------------------------------------------------------------------- */

void
attempt_log_end(const Attempt *attempt, int elevel, RunStatus status, TimestampTz next, const char *why)
{
	const LoadDay *load = &attempt->load;
	int64 rows = status == RUN_SUCCEEDED ? load->run.loaded.rows : 0;
	int64 billed = Max(load->run.bytes_billed, 0);
	double seconds = (clock_ms() - attempt->began) / 1000.0;
	const char *again = next != 0 ? psprintf("The next attempt is at %s.", timestamptz_to_str(next)) : "";

	ereport(elevel, (errmsg("source \"%s\": %s %s (%s, attempt %d), " INT64_FORMAT " rows, " INT64_FORMAT
							" bytes received, " INT64_FORMAT " billed, %.3f s",
							attempt->schedule->source.name, day_text(load->day), ledger_status_name(status),
							attempt->load.run.cause, attempt->number, rows, load->bytes_received, billed, seconds),
					 why != NULL ? errdetail("%s.%s%s", why, again[0] ? " " : "", again)
								 : (again[0] ? errdetail("%s", again) : 0)));
}

/* --------------------------------------------------------------------------
 * Errors
 * -------------------------------------------------------------------------- */

/* How an attempt ends because of an error. */
struct Ending
{
	ErrorData *edata;
	Attempt *attempt;
	RunStatus status;
	TimestampTz next; /* when the next attempt is due; 0: never */
	LedgerRun run; /* to be recorded in the ledger */
	int64 begun; /* its row, before the end was recorded; 0: there was none */
};

static Ending *
judge(Attempt *attempt, ErrorData *edata)
{
	const ScheduleRules *rules = &attempt->schedule->rules;
	TimestampTz now = settings_now();
	Ending *ending = palloc0(sizeof(Ending));

	ending->edata = edata;
	ending->attempt = attempt;
	ending->status = RUN_FAILED;

	/* by contratos_cancel(), which has made the row `canceled`, or otherwise */
	if (edata->sqlerrcode == ERRCODE_QUERY_CANCELED)
	{
		ending->status = RUN_INTERRUPTED;
		ending->next = schedule_retry_at(rules, attempt->number, true, now);
	}
	else if (attempt->load.empty)
	{
		ending->next = schedule_ready_at(rules, attempt->load.day, now);
		if (ending->next != 0)
			ending->status = RUN_WAITING;
	}
	else if (edata->sqlerrcode == ERRCODE_LOCK_NOT_AVAILABLE &&
			 (ending->next = schedule_locked_at(rules, attempt->load.day, attempt->action->waits_since, now)) != 0)
		ending->status = RUN_WAITING;
	else if (attempt->load.refused)
		ending->status = RUN_REFUSED;
	else if ((attempt->run == 0 || attempt->load.job == NULL) && error_is_daily_budget(edata))
	{
		/*
		 * Wait until today's rows are due: they are loaded first, and so a long
		 * queue does not delay them.  Nothing was tried, so this does not count as
		 * an attempt, however many days it takes.
		 */
		ending->next = schedule_due_at(rules, day_of(now));
		attempt->number--;
	}
	/* a day that an outage has failed stays failed while it lasts */
	else if (error_is_transient(edata) && !(attempt->action->again && error_is_unreachable(edata)))
		ending->next = schedule_retry_at(rules, attempt->number, false, now);
	return ending;
}

/* --------------------------------------------------------------------------
 * on_failure
 * -------------------------------------------------------------------------- */

/* When an on_failure that was stopped by a lock is called again, by clock_ms(); 0: there is none. */
static int64 report_again_at = 0;

int64
attempt_reports_at(void)
{
	return report_again_at;
}

void
attempt_reports_now(void)
{
	report_again_at = 0;
}

/* A call of on_failure. */
typedef struct Alarm
{
	const LedgerSchedule *schedule;
	int64 run;
	DateADT day;
	const char *error;
	MemoryContext context;
} Alarm;

static void
call_on_failure(void *arg)
{
	const Alarm *alarm = arg;

	if (!attempt_begin_transaction())
		return;
	MemoryContextSwitchTo(alarm->context);
	load_report_failure(&alarm->schedule->source, alarm->day, alarm->schedule->on_failure, alarm->error);
	ledger_mark_reported(alarm->run);
	attempt_commit(alarm->context);
}

/* The function was stopped by a lock: it must be called again. */
static void
report_later(void *arg)
{
	const Alarm *alarm = arg;

	if (!attempt_begin_transaction())
		return;
	ledger_report_later(alarm->run);
	attempt_commit(alarm->context);
	report_again_at = clock_ms() + alarm->schedule->rules.ready_interval / 1000;
}

/* The function failed; it is not called again. */
static void
give_up_reporting(void *arg)
{
	const Alarm *alarm = arg;

	if (!attempt_begin_transaction())
		return;
	ledger_mark_reported(alarm->run);
	attempt_commit(alarm->context);
}

void
attempt_report_failure(const LedgerSchedule *schedule, int64 run, DateADT day, const char *error, MemoryContext context)
{
	Alarm alarm = {.schedule = schedule, .run = run, .day = day, .error = error, .context = context};
	ErrorData *edata;

	if (schedule->on_failure == NULL)
		return;
	load_show_begin(schedule->source.name, day);
	edata = catch_with_transactions(call_on_failure, &alarm, catch_emit);
	if (edata != NULL)
		(void) catch_with_transactions(
			edata->sqlerrcode == ERRCODE_LOCK_NOT_AVAILABLE ? report_later : give_up_reporting, &alarm, catch_emit);
	load_show_end();
}

/* --------------------------------------------------------------------------
 * Recording
 * -------------------------------------------------------------------------- */

/*
 * The last end that could not be recorded: its row stays `running` (or `canceled`), and is found
 * together with stale runs.
 */
static AttemptUnrecorded unrecorded;

const AttemptUnrecorded *
attempt_unrecorded(int64 run)
{
	return unrecorded.run == run ? &unrecorded : NULL;
}

/* Whether the ledger could not record the last failed attempt. */
static bool unrecordable = false;

void
attempt_has_begun(void)
{
	unrecordable = false;
}

/* Copy an end, so that it outlives its attempt. */
static void
keep_unrecorded(int64 run, const LedgerRun *end, TimestampTz next)
{
	static MemoryContext context = NULL;
	MemoryContext old;

	if (context == NULL)
		context = AllocSetContextCreate(TopMemoryContext, "contratos unrecorded end", ALLOCSET_SMALL_SIZES);
	unrecorded.run = 0;
	MemoryContextReset(context);
	old = MemoryContextSwitchTo(context);
	unrecorded.end = *end;
	unrecorded.end.source = NULL; /* the row has both */
	unrecorded.end.job_id = NULL;
	unrecorded.end.sqlstate = pstrdup(end->sqlstate);
	unrecorded.end.reason = end->reason ? pstrdup(end->reason) : NULL;
	unrecorded.end.error = pstrdup(end->error);
	unrecorded.end.message = pstrdup(end->message);
	unrecorded.next = next;
	unrecorded.run = run;
	attempt_recover_costs();
	MemoryContextSwitchTo(old);
}

/* Whether it has been logged already that the server cannot be reached. */
static bool
is_known(const Attempt *attempt)
{
	return attempt->result->unreachable && attempt->schedule->unreachable_at != 0;
}

/* The run to record. */
static LedgerRun
describe_end(const Attempt *attempt, const Ending *ending)
{
	const Failure *cause = failure_of(ending->edata);
	LedgerRun run = load_result(&attempt->load, ending->status);

	run.sqlstate = pstrdup(unpack_sql_state(ending->edata->sqlerrcode));
	run.reason = cause != NULL && cause->reason[0] ? cause->reason : NULL;
	if (attempt->result->unreachable)
		run.reason = LEDGER_UNREACHABLE;
	run.error = load_error_text(&attempt->load, ending->edata);
	run.message = ending->edata->message;
	if (attempt->run == 0)
		run.job_id = attempt->kept_job; /* no other job was ever started */
	return run;
}

static void
record_end(void *arg)
{
	const Ending *ending = arg;
	Attempt *attempt = ending->attempt;
	const LedgerSource *source = &attempt->schedule->source;
	bool stays;
	bool failed = false; /* the day has */
	bool logs;

	attempt_must_begin(attempt);
	if (attempt->run == 0)
		attempt->run = ledger_begin(attempt->open, source->name, attempt->load.day, attempt->load.run.cause,
									attempt->number, attempt->kept_job);
	if (attempt->run == 0)
	{
		/* another session uses the day's row, or the queue: there is nothing to report yet */
		attempt_commit(attempt->load.context);
		return;
	}
	load_show("recording the error");
	stays = ledger_end(attempt->run, &ending->run, ending->next);
	if (stays && ending->next == 0 && !attempt->check)
		failed = ledger_day_has_failed(attempt->run, attempt->schedule->on_failure != NULL);
	attempt_commit(attempt->load.context);

	logs = failed || !is_known(attempt);
	attempt_log_end(attempt, logs ? LOG : DEBUG1, stays ? ending->status : RUN_CANCELED, stays ? ending->next : 0,
					ending->status == RUN_WAITING ? ending->edata->message : NULL);
	if (failed)
		attempt_report_failure(attempt->schedule, attempt->run, attempt->load.day, ending->run.error,
							   attempt->load.context);
}

/*
 * Report an error of recording an end that will be recorded later; for a run that
 * has no row, the caller reports it.
 */
static void
report_unrecorded(void *arg, ErrorData *edata pg_attribute_unused())
{
	const Ending *ending = arg;

	if (ending->begun != 0)
		EmitErrorReport();
}

/*
 * Record the end.  If that fails and the run has a row, it is done later;
 * otherwise only the returned error remains.
 */
static void
try_to_record(Ending *ending)
{
	Attempt *attempt = ending->attempt;
	ErrorData *edata;

	ending->begun = attempt->run;
	edata = catch_with_transactions(record_end, ending, report_unrecorded);
	attempt->result->unrecorded = ending->begun == 0 ? edata : NULL;
	if (edata != NULL)
	{
		attempt->run = ending->begun;
		if (ending->begun != 0)
			keep_unrecorded(ending->begun, &ending->run, ending->next);
	}
	unrecordable = attempt->result->unrecorded != NULL;
}

static void
end_load(void *arg)
{
	load_end((LoadDay *) arg);
}

/*
 * "Upstream is not ready yet" is not an error: the day's own line in the log
 * reports it.  An attempt that cannot be recorded is retried every few seconds, and
 * reported once; so is a server that cannot be reached.
 */
void
attempt_report(void *arg, ErrorData *edata)
{
	Attempt *attempt = arg;
	const Failure *cause = failure_of(edata);

	/* PostgreSQL does not name the lock */
	if (edata->sqlerrcode == ERRCODE_LOCK_NOT_AVAILABLE && load_shown()[0])
		edata->message = psprintf("%s (%s)", edata->message, load_shown());
	attempt->ending = judge(attempt, edata);
	attempt->result->unreachable = error_is_unreachable(edata);
	attempt->result->answered =
		attempt->load.empty || (cause != NULL && cause->http_status != 0 && !attempt->result->unreachable);
	if (attempt->ending->status == RUN_WAITING || (attempt->run == 0 && unrecordable) || is_known(attempt))
		return;
	errcontext("source \"%s\", %s", attempt->schedule->source.name, day_text(attempt->load.day));
	EmitErrorReport();
}

void
attempt_fail(Attempt *attempt)
{
	(void) catch_with_transactions(end_load, &attempt->load, catch_emit);
	attempt->ending->run = describe_end(attempt, attempt->ending);
	bigquery_close(attempt->load.bq);
	attempt->load.bq = NULL;
	try_to_record(attempt->ending);
}
