/*
 * load.c
 *	  One day of one source: query BigQuery, guard, replace.
 *
 * The day is deleted and inserted again, and not merged by key, because the source
 * has no key and because upstream itself replaces whole days.  The INSERT reads
 * the foreign table, whose scan adopts the job that the guard has already judged,
 * so that exactly the judged rows are written.
 */
#include "postgres.h"

#include "access/xact.h"
#include "access/xlog.h"
#include "common/hashfn.h"

#include "base/bill.h"
#include "base/day.h"
#include "base/failure.h"
#include "base/settings.h"
#include "bigquery/bigquery.h"
#include "bigquery/bqtype.h"
#include "bigquery/job.h"
#include "bigquery/message.h"
#include "fdw/scan.h"
#include "ledger/ledger_bills.h"
#include "ledger/ledger_history.h"
#include "ledger/ledger_run.h"
#include "ledger/ledger_source.h"
#include "ledger/schedule.h"
#include "load/drift.h"
#include "load/load.h"
#include "load/load_internal.h"
#include "load/progress.h"
#include "remote/deparse.h"
#include "values/values.h"

/* --------------------------------------------------------------------------
 * Query and guard
 * -------------------------------------------------------------------------- */

/*
 * Start of a day as a parameter of that type; in the format of pushdown, by which
 * the scan recognizes its job.
 */
static char *
bound_text(BqType type, DateADT day)
{
	if (type == BQ_DATE)
		return day_text(day);
	if (type == BQ_DATETIME)
		return psprintf("%s 00:00:00.000000", day_text(day));
	return values_timestamp_text(day_start(day));
}

int
load_window(const LoadPlan *plan, DateADT first, DateADT last, RemoteCondition conditions[2])
{
	if (plan->timestamp == NULL)
		return 0;
	for (int i = 0; i < 2; i++)
		conditions[i] = (RemoteCondition){
			.attnum = plan->timestamp->attnum,
			.op = i == 0 ? ">=" : "<",
			.type = plan->timestamp_remote,
			.value = bound_text(plan->timestamp_remote, i == 0 ? first : last + 1),
		};
	return 2;
}

void
load_report_undecided(const LedgerSource *source, int elevel)
{
	if (source->timestamp_column != NULL || source->snapshot)
		return;
	ereport(elevel,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("source \"%s\" does not say what a load replaces", source->name),
			 errdetail("It has neither a timestamp_column, by which the rows of a day are replaced, nor is it a "
					   "snapshot, of which all rows of %s are replaced.",
					   source->target_table),
			 errhint("UPDATE contratos_sources SET timestamp_column = '...' WHERE name = '%s'; or SET snapshot = true.",
					 source->name)));
}

void
load_check_snapshot(const LedgerSource *source, DateADT day)
{
	DateADT yesterday = day_yesterday(settings_now());

	load_report_undecided(source, ERROR);
	if (source->snapshot && day != yesterday)
		ereport(
			ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("source \"%s\" has only one day to load, %s", source->name, day_text(yesterday)),
			 errdetail("It is a snapshot, replaced as a whole."),
			 errhint(
				 "Load that day, or set timestamp_column in contratos_sources to the column that holds the day, and "
				 "set snapshot to false.")));
}

BqQuery *
load_query(const LoadPlan *plan, DateADT day)
{
	RemoteCondition window[2] = {{0}};
	int n = load_window(plan, day, day, window);

	return deparse_query(plan->table, plan->columns, plan->ncolumns, window, n);
}

/* False: the job that was kept, or its result, no longer exists. */
static bool
ask_bigquery(LoadDay *load)
{
	const LoadPlan *plan = load->plan;
	BqQuery *query = load_query(plan, load->day);
	BqQuestion question = {
		.query = query,
		.job_id = load->job_id,
		.max_jobs = load->background ? 1 : BIGQUERY_MAX_JOBS,
		.label = plan->source->name,
		.bill = load->bill,
	};
	Failure f;

	load_refuse_nested();
	progress_begin(plan->source->name, load->day, plan->target);
	load->job = bigquery_query(load->bq, &question, load->context, &f);
	if (load->job == NULL && load->kept && f.retry != FAILURE_ASK_AGAIN)
		return false;
	if (load->job == NULL)
	{
		drift_explain(plan, query->text, &f);
		failure_throw(&f);
	}
	strlcpy(load->job_id, load->job->job_id, sizeof(load->job_id));
	load_note_cost(load, load->job);
	return true;
}

void
load_end(LoadDay *load)
{
	if (load->job != NULL)
	{
		/* a day that fails is billed as well */
		bigquery_learn_cost(load->job);
		load_note_cost(load, load->job);
		bigquery_free_job(load->job);
		load->job = NULL;
	}
	else if (load->run.bytes_billed < 0 && load->bill->bytes_billed > 0 && !load->kept)
	{
		/* of a job that failed or was canceled */
		load->run.bytes_processed = load->bill->bytes_processed;
		load->run.bytes_billed = load->bill->bytes_billed;
	}
}

static void
refuse_empty(LoadDay *load)
{
	const LedgerSource *source = load->plan->source;
	int64 last = ledger_last_rows(source->name, load->day);

	load->refused = true;
	load->no_rows = true;
	load->empty = last <= 0;
	ereport(
		ERROR,
		(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
		 errmsg("BigQuery has no rows of %s for source \"%s\"", day_text(load->day), source->name),
		 last > 0 ? errdetail("The last load of the day had " INT64_FORMAT " rows; they are kept.", last)
				  : errdetail("The day may not be complete yet: upstream writes it some hours after its end."),
		 errhint("Try again later. If the day is really empty, load it with allow_empty => true%s. For a source that "
				 "has such days: UPDATE contratos_sources SET allow_empty = true WHERE name = '%s';",
				 last > 0 ? ", allow_shrink => true" : "", source->name)));
}

static void
refuse_shrunk(LoadDay *load)
{
	const LedgerSource *source = load->plan->source;

	load->refused = true;
	ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
					errmsg("%s of source \"%s\" has shrunk from " INT64_FORMAT " rows to " INT64_FORMAT,
						   day_text(load->day), source->name, load->last.loaded.rows, load->job->total_rows),
					errdetail("Source \"%s\" allows a loss of %g %% (max_shrink). The rows loaded before are kept.",
							  source->name, source->max_shrink * 100),
					errhint("If BigQuery is right, load the day with allow_shrink => true.")));
}

/* Whether more rows would be lost than the source, and the caller, allow. */
static bool
shrinks_too_far(const LoadDay *load, int64 before, int64 rows)
{
	/* 1000 * 0.18 is a little less than 180: a loss of exactly max_shrink is allowed */
	double allowed = (double) before * load->plan->source->max_shrink * (1 + 1e-12);

	return !load->allow_shrink && before > 0 && (double) (before - rows) > allowed;
}

static void
refuse_loss(LoadDay *load, int64 rows, const char *look)
{
	const LedgerSource *source = load->plan->source;

	load->refused = true;
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("a load of source \"%s\", %s, would replace " INT64_FORMAT " rows of %s by " INT64_FORMAT,
					source->name, day_text(load->day), load->run.rows_replaced, load->plan->target_name, rows),
			 load->last.run != 0 ? errdetail("The last load had " INT64_FORMAT " rows. Source \"%s\" allows a loss of "
											 "%g %% (max_shrink). Nothing was changed.",
											 load->last.loaded.rows, source->name, source->max_shrink * 100)
								 : errdetail("They were not loaded by contratos. Source \"%s\" allows a loss of %g %% "
											 "(max_shrink). Nothing was changed.",
											 source->name, source->max_shrink * 100),
			 errhint("%s If that is right, load the day with allow_shrink => true.", look)));
}

/*
 * Checked once they are deleted: whether the job has enough rows to replace those
 * that were in the target, whoever inserted them.  Rows that triggers or
 * after_load added to the last load are expected again from this one.
 */
void
load_guard_deleted(LoadDay *load)
{
	const LedgerSuccess *last = &load->last;
	int64 added = last->run != 0 && last->target.rows >= 0 ? Max(last->target.rows - last->loaded.rows, 0) : 0;

	if (shrinks_too_far(load, load->run.rows_replaced - added, load->job->total_rows))
		refuse_loss(load, load->job->total_rows, "Compare them with contratos_verify().");
}

/*
 * Checked once the rows are inserted: whether the target has kept enough of them
 * to replace rows that others had inserted.  The rows of the last load do not
 * count: they are fewer for the same reason.
 */
void
load_guard_left(LoadDay *load, int64 rows)
{
	int64 ours = load->last.run != 0 ? Max(load->last.target.rows, 0) : 0;

	if (load->run.rows_replaced > ours && shrinks_too_far(load, load->run.rows_replaced, rows))
		refuse_loss(load, rows, "Triggers or rules of the table keep out rows that BigQuery has.");
}

void
load_check_budget(const LedgerSource *source)
{
	LedgerBudget budget;

	if (!XactReadOnly && !RecoveryInProgress())
		ledger_bills_write_kept();
	if (ledger_budget_left(source->name, settings_now(), &budget))
		return;
	ereport(ERROR, (errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
					budget.total ? errmsg("daily byte budget of all sources is exhausted")
								 : errmsg("daily byte budget of source \"%s\" is exhausted", source->name),
					errdetail(INT64_FORMAT " bytes were billed, and %s allows " INT64_FORMAT ".", budget.billed,
							  budget.setting, budget.cap),
					errhint("Raise %s, or wait until tomorrow (UTC).", budget.setting)));
}

void
load_begin(LoadDay *load, const char *source, DateADT day, const char *cause, MemoryContext context)
{
	memset(load, 0, sizeof(*load));
	load->context = context;
	load->day = day;
	load->run = ledger_new_run(source, day, RUN_RUNNING);
	load->run.cause = cause;
	load->run.started_at = settings_now();
	load->bill = MemoryContextAlloc(context, sizeof(Bill));
	*load->bill = BILL_NOTHING;
	bigquery_make_job_id(load->job_id, sizeof(load->job_id));
}

/* "_" and 16 hex digits, which end a job's id. */
static char *
query_mark(const BqQuery *query)
{
	uint64 hash = hash_bytes_extended((const unsigned char *) query->text, strlen(query->text), 0);

	for (int i = 0; i < query->nparams; i++)
	{
		const char *value = query->params[i].value;

		hash = hash_bytes_extended((const unsigned char *) value, strlen(value), hash);
	}
	return psprintf("_%016llx", (unsigned long long) hash);
}

bool
load_resume(LoadDay *load, const char *job_id)
{
	const char *mark = query_mark(load_query(load->plan, load->day));

	load->kept =
		job_id != NULL && strlen(job_id) > strlen(mark) && strcmp(job_id + strlen(job_id) - strlen(mark), mark) == 0;
	if (load->kept)
		strlcpy(load->job_id, job_id, sizeof(load->job_id));
	else
	{
		bigquery_make_job_id(load->job_id, sizeof(load->job_id));
		strlcat(load->job_id, mark, sizeof(load->job_id));
	}
	return load->kept;
}

/* Judge the finished job, and replace the day. */
static void
replace_day(LoadDay *load)
{
	const LoadPlan *plan = load->plan;
	LedgerSuccess *last = &load->last;
	int64 rows = load->job->total_rows;

	/* the last load of the rows that this one replaces: those of the day or, for a full-table source, all rows */
	if (plan->timestamp != NULL)
		ledger_last_successes(plan->source->name, load->day, load->day, false, last);
	else
		(void) ledger_newest_success(plan->source->name, last);
	drift_check_types(plan, load->job);

	/* before anything is written: whether the job has enough rows to replace those of the last load */
	if (rows == 0 && !load->allow_empty && !plan->source->allow_empty)
		refuse_empty(load);
	if (last->run != 0 && shrinks_too_far(load, last->loaded.rows, rows))
		refuse_shrunk(load);
	load_replace_rows(load);
}

void
load_day(LoadDay *load, const LoadCaller *caller)
{
	if (!ask_bigquery(load))
	{
		caller->job_gone(caller->arg);
		(void) ask_bigquery(load);
	}
	if (caller != NULL)
		caller->answered(caller->arg);
	replace_day(load);
}

LedgerRun
load_result(const LoadDay *load, RunStatus status)
{
	LedgerRun run = ledger_new_run(load->run.source, load->day, status);

	if (status == RUN_SUCCEEDED)
	{
		run = load->run;
		/* what the job has read; a kept one was started earlier */
		run.confirmed =
			schedule_confirms(load->day, load->run.started_at - (load->kept ? LEDGER_JOB_HOURS * USECS_PER_HOUR : 0));
	}
	run.status = status;
	run.cause = load->run.cause;
	run.started_at = load->run.started_at;
	run.bytes_processed = load->run.bytes_processed;
	run.bytes_billed = load->run.bytes_billed;
	run.job_id = load->bill->job_id[0] ? load->bill->job_id : load->job_id;
	return run;
}
