/*
 * load.c
 *	  One day of one source: ask, guard, replace.
 *
 * The day is deleted and inserted again, and not merged by key, because the
 * source has no key and because upstream itself replaces whole days.  The
 * INSERT reads the foreign table, whose scan adopts the job that the guard has
 * already judged: what is written is what was looked at.
 */
#include "postgres.h"

#include "common/hashfn.h"

#include "base/day.h"
#include "base/failure.h"
#include "base/settings.h"
#include "bigquery/bigquery.h"
#include "bigquery/bqtype.h"
#include "bigquery/job.h"
#include "bigquery/message.h"
#include "fdw/scan.h"
#include "ledger/schedule.h"
#include "load/load.h"
#include "load/load_internal.h"
#include "load/progress.h"
#include "remote/deparse.h"
#include "values/values.h"

/* --------------------------------------------------------------------------
 * Ask and guard
 * -------------------------------------------------------------------------- */

/*
 * Start of a day as a parameter of that type; texts as pushdown makes them, or
 * the scan would not know its job again.
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
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("source \"%s\" has only one day to load, %s", source->name, day_text(yesterday)),
				 errdetail("It is a snapshot, replaced as a whole."),
				 errhint("Load that day, or name the column that cuts days in contratos_sources.timestamp_column, and "
						 "set snapshot to false.")));
}

BqQuery *
load_query(const LoadPlan *plan, DateADT day)
{
	RemoteCondition window[2] = {{0}};
	int n = load_window(plan, day, day, window);

	return deparse_query(plan->table, plan->columns, plan->ncolumns, window, n);
}

BqJob *
load_ask(const LoadPlan *plan, Bigquery *bq, DateADT day, MemoryContext parent, LoadOutcome *outcome)
{
	BqQuery *query = load_query(plan, day);
	BqJob *job;
	Failure f;

	load_refuse_nested();
	progress_begin(plan->source->name, day, plan->target);
	job = bigquery_query(bq, query, outcome->job_id, outcome->background ? 1 : BIGQUERY_MAX_JOBS, plan->source->name,
						 parent, &f);
	if (job == NULL && outcome->kept && f.retry != FAILURE_ASK_AGAIN)
		return NULL;
	if (job == NULL)
	{
		load_explain(plan, query->text, &f);
		failure_throw(&f);
	}
	strlcpy(outcome->job_id, job->job_id, sizeof(outcome->job_id));
	load_note_cost(outcome, job);
	outcome->job = job;
	return job;
}

void
load_end(LoadOutcome *outcome)
{
	if (outcome->job == NULL)
		return;
	/* a day that fails is billed as well */
	bigquery_learn_cost(outcome->job);
	load_note_cost(outcome, outcome->job);
	bigquery_forget(outcome->job);
	outcome->job = NULL;
}

static void
refuse_empty(const LoadPlan *plan, DateADT day, int64 last, LoadOutcome *outcome)
{
	outcome->refused = true;
	outcome->empty = last <= 0;
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("BigQuery has no rows of %s for source \"%s\"", day_text(day), plan->source->name),
			 last > 0 ? errdetail("The last load of the day had " INT64_FORMAT " rows; they are kept.", last)
					  : errdetail("The day may not be there yet: upstream writes it some hours after its end."),
			 errhint("Try again later, or if the day is really empty: UPDATE contratos_sources SET allow_empty = true "
					 "WHERE name = '%s';",
					 plan->source->name)));
}

static void
refuse_shrunk(const LoadPlan *plan, DateADT day, int64 last, int64 rows, LoadOutcome *outcome)
{
	outcome->refused = true;
	ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
					errmsg("%s of source \"%s\" has shrunk from " INT64_FORMAT " rows to " INT64_FORMAT, day_text(day),
						   plan->source->name, last, rows),
					errdetail("Source \"%s\" allows a loss of %g %% (max_shrink). The rows loaded before are kept.",
							  plan->source->name, plan->source->max_shrink * 100),
					errhint("If BigQuery is right, load the day with allow_shrink => true.")));
}

/* What the last load left of what this one replaces: of the day, or of a snapshot all there is. */
static LedgerSuccess
last_load(const LoadPlan *plan, DateADT day)
{
	LedgerSuccess last;

	if (plan->timestamp != NULL)
		ledger_last_successes(plan->source->name, day, day, &last);
	else
		(void) ledger_newest_success(plan->source->name, &last);
	return last;
}

/* Whether more is lost than the source allows. */
static bool
shrinks_too_far(const LoadPlan *plan, int64 before, int64 rows)
{
	/* 1000 * 0.18 is a little less than 180: what is just allowed is allowed */
	double allowed = (double) before * plan->source->max_shrink * (1 + 1e-12);

	return before > 0 && (double) (before - rows) > allowed;
}

/* Known before anything is written: is this day worth replacing what was loaded before? */
static void
guard(const LoadPlan *plan, const BqJob *job, DateADT day, const LoadGuard *limit, LoadOutcome *outcome)
{
	if (job->total_rows == 0 && !plan->source->allow_empty)
		refuse_empty(plan, day, ledger_last_rows(plan->source->name, day), outcome);
	if (limit->last.run != 0 && !limit->allow_shrink && shrinks_too_far(plan, limit->last.rows_loaded, job->total_rows))
		refuse_shrunk(plan, day, limit->last.rows_loaded, job->total_rows, outcome);
}

static void
refuse_loss(const LoadPlan *plan, DateADT day, int64 rows, const LoadGuard *limit, LoadOutcome *outcome,
			const char *look)
{
	const LedgerSuccess *last = &limit->last;

	outcome->refused = true;
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("a load of source \"%s\", %s, would replace " INT64_FORMAT " rows of %s by " INT64_FORMAT,
					plan->source->name, day_text(day), outcome->rows_replaced, plan->target_name, rows),
			 last->run != 0 ? errdetail("The last load had " INT64_FORMAT " rows. Source \"%s\" allows a loss of "
										"%g %% (max_shrink). Nothing was changed.",
										last->rows_loaded, plan->source->name, plan->source->max_shrink * 100)
							: errdetail("They were not loaded by contratos. Source \"%s\" allows a loss of %g %% "
										"(max_shrink). Nothing was changed.",
										plan->source->name, plan->source->max_shrink * 100),
			 errhint("%s If that is right, load the day with allow_shrink => true.", look)));
}

/*
 * Known once they are deleted: is the day worth the rows that stood in the
 * target, whoever has put them there?  Rows that the last load itself left there
 * beyond those it was given (by triggers, or after_load) come again with this one.
 */
void
load_guard_deleted(const LoadPlan *plan, DateADT day, int64 rows, const LoadGuard *limit, LoadOutcome *outcome)
{
	const LedgerSuccess *last = &limit->last;
	int64 added = last->run != 0 && last->target_rows >= 0 ? Max(last->target_rows - last->rows_loaded, 0) : 0;

	if (!limit->allow_shrink && shrinks_too_far(plan, outcome->rows_replaced - added, rows))
		refuse_loss(plan, day, rows, limit, outcome, "Compare them with contratos_verify().");
}

/*
 * Known once the rows are inserted: has the target kept what its other rows were
 * given up for?  What the last load has left there is fewer for the same reason.
 */
void
load_guard_left(const LoadPlan *plan, DateADT day, int64 rows, const LoadGuard *limit, LoadOutcome *outcome)
{
	int64 ours = limit->last.run != 0 ? Max(limit->last.target_rows, 0) : 0;

	if (!limit->allow_shrink && outcome->rows_replaced > ours && shrinks_too_far(plan, outcome->rows_replaced, rows))
		refuse_loss(plan, day, rows, limit, outcome, "Triggers or rules of the table keep out rows that BigQuery has.");
}

void
load_check_budget(const LedgerSource *source)
{
	int64 cap = settings_bytes_per_day();
	int64 billed = cap == 0 ? 0 : ledger_billed_today(source->name, settings_now());

	if (cap == 0 || billed < cap)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
			 errmsg("source \"%s\" has used up its bytes of today", source->name),
			 errdetail(INT64_FORMAT " bytes were billed, and contratos.max_bytes_per_day allows " INT64_FORMAT ".",
					   billed, cap),
			 errhint("Raise contratos.max_bytes_per_day, or wait until tomorrow (UTC).")));
}

void
load_begin(LoadOutcome *outcome, MemoryContext context)
{
	memset(outcome, 0, sizeof(*outcome));
	outcome->context = context;
	outcome->started_at = settings_now();
	outcome->bytes_processed = outcome->bytes_billed = -1;
	bigquery_make_job_id(outcome->job_id, sizeof(outcome->job_id));
}

/* "_" and 16 hex digits, the end of a job's id. */
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
load_resume(const LoadPlan *plan, DateADT day, const char *job_id, LoadOutcome *outcome)
{
	const char *mark = query_mark(load_query(plan, day));

	outcome->kept =
		job_id != NULL && strlen(job_id) > strlen(mark) && strcmp(job_id + strlen(job_id) - strlen(mark), mark) == 0;
	if (outcome->kept)
		strlcpy(outcome->job_id, job_id, sizeof(outcome->job_id));
	else
	{
		bigquery_make_job_id(outcome->job_id, sizeof(outcome->job_id));
		strlcat(outcome->job_id, mark, sizeof(outcome->job_id));
	}
	return outcome->kept;
}

void
load_replace(const LoadPlan *plan, BqJob *job, DateADT day, bool allow_shrink, LoadOutcome *outcome)
{
	LoadGuard limit = {.allow_shrink = allow_shrink, .last = last_load(plan, day)};

	load_check_types(plan, job);
	guard(plan, job, day, &limit, outcome);
	load_replace_rows(plan, job, day, &limit, outcome);
}

LedgerRun
load_describe(const LedgerSource *source, DateADT day, const char *cause, const char *status,
			  const LoadOutcome *outcome)
{
	bool done = strcmp(status, "succeeded") == 0;
	LedgerRun run = {
		.source = source->name,
		.day = day,
		.cause = cause,
		.status = status,
		.started_at = outcome->started_at,
		.rows_loaded = done ? outcome->rows_loaded : -1,
		.rows_replaced = done ? outcome->rows_replaced : -1,
		.rows_inserted = done ? outcome->rows_inserted : -1,
		.values_altered = done ? outcome->values_altered : -1,
		.bytes_processed = outcome->bytes_processed,
		.bytes_billed = outcome->bytes_billed,
		.pages = done ? outcome->pages : -1,
		.job_id = outcome->job_id[0] ? outcome->job_id : NULL,
		.has_max_timestamp = done && outcome->has_max_timestamp,
		.source_max_timestamp = outcome->source_max_timestamp,
		.fingerprint = done && outcome->fingerprint[0] ? outcome->fingerprint : NULL,
		.target_rows = done ? outcome->target_rows : -1,
		.has_target_max = done && outcome->has_target_max,
		.target_max_timestamp = outcome->target_max_timestamp,
	};

	return run;
}
