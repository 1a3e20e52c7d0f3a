/*
 * load_replace.c
 *	  Replacing a day in the target: the statements, the progress of their scan,
 *	  and the counts that must agree in the end.
 */
#include "postgres.h"

#include "executor/spi.h"
#include "utils/timestamp.h"

#include "base/clock.h"
#include "base/day.h"
#include "bigquery/job.h"
#include "bigquery/message.h"
#include "bigquery/request.h"
#include "fdw/scan.h"
#include "ledger/extension.h"
#include "ledger/ledger_run.h"
#include "ledger/schedule.h"
#include "ledger/trust.h"
#include "load/error_class.h"
#include "load/load.h"
#include "load/load_internal.h"
#include "load/progress.h"
#include "read/rowhash.h"
#include "remote/deparse.h"
#include "rows/rows.h"
#include "values/values.h"

/* Maximum number of rejects recorded per run, and of bytes per value. */
#define MAX_REJECTS 1000
#define MAX_RAW_BYTES 8192

/* Milliseconds between two NOTICEs. */
#define NOTICE_MS 1000

/* True while rows are replaced, which may run triggers, rules and after_load. */
static bool replacing = false;

/*
 * A trigger of the DELETE that loaded the same day would duplicate it, and the
 * scan of one load would find the job of the other.
 */
void
load_refuse_nested(void)
{
	if (replacing)
		ereport(ERROR, (errcode(ERRCODE_OBJECT_IN_USE), errmsg("a load cannot begin while another one replaces rows"),
						errdetail("A trigger, rule or function of the table that is being loaded, or its source's "
								  "after_load, called for it."),
						errhint("Load the other source after this load, in a statement of its own, or leave it to the "
								"worker with contratos_enqueue().")));
}

/* Called as soon as BigQuery has reported it: a day that fails is billed as well. */
void
load_note_cost(LoadDay *load, const BqJob *job)
{
	/* the earlier attempt has recorded it, in the same row */
	if (load->kept && job->found)
		return;
	bigquery_note_bill(job, load->bill);
	load->run.bytes_processed = load->bill->bytes_processed;
	load->run.bytes_billed = load->bill->bytes_billed;
}

/* --------------------------------------------------------------------------
 * Progress of the scan
 * -------------------------------------------------------------------------- */

typedef struct Progress
{
	LoadDay *load;
	int64 started; /* clock_ms() */
} Progress;

/* Report progress to the calling session, or in the worker's pg_stat_activity. */
static void
report_progress(const Progress *progress, int64 rows, int64 bytes, int64 now)
{
	bool background = progress->load->background;

	if (!background && !message_level_is_interesting(NOTICE))
		return;

	char *text = progress_text(rows, progress->load->job->total_rows, bytes, now - progress->started);
	if (background)
		load_show("%s", text);
	else
		ereport(NOTICE,
				(errmsg_internal("%s %s: %s", progress->load->run.source, day_text(progress->load->day), text)));
	pfree(text);
}

static void
show_progress(void *arg, int64 rows, int64 bytes, int pages)
{
	Progress *progress = arg;
	int64 now = clock_ms();

	progress_received(rows, bytes, pages);
	if (now < progress->load->next_notice || rows == 0)
		return;
	progress->load->next_notice = now + NOTICE_MS;
	report_progress(progress, rows, bytes, now);
}

static void
keep_reject(void *arg, int64 row_number, const char *column, const RowsCell *raw, const char *reason)
{
	LoadDay *load = ((Progress *) arg)->load;
	MemoryContext old;

	if (load->nrejects == MAX_REJECTS)
		return;
	old = MemoryContextSwitchTo(load->context);
	if (load->rejects == NULL)
		load->rejects = palloc(sizeof(LedgerReject) * MAX_REJECTS);
	load->rejects[load->nrejects++] = (LedgerReject){
		.row_number = row_number,
		.column = pstrdup(column),
		.raw_value = values_shown(raw, MAX_RAW_BYTES),
		.reason = pstrdup(reason),
	};
	MemoryContextSwitchTo(old);
}

/* --------------------------------------------------------------------------
 * The row that the target refuses
 * -------------------------------------------------------------------------- */

char *
load_row_text(const LoadDay *load, int sqlerrcode)
{
	bool nameless =
		sqlerrcode == ERRCODE_STRING_DATA_RIGHT_TRUNCATION || sqlerrcode == ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE;

	return psprintf("row " INT64_FORMAT " of BigQuery's result%s%s%s", load->at_row,
					load->in_batches ? ", or one shortly before" : "",
					nameless && load->narrow ? "; columns that are narrower than BigQuery's: " : "",
					nameless && load->narrow ? load->narrow : "");
}

const char *
load_error_text(const LoadDay *load, const ErrorData *edata)
{
	const char *text = error_with_detail(edata);

	if (load->at_row == 0 || !error_blames_row(edata))
		return text;
	return psprintf("%s\nCONTEXT:  %s", text, load_row_text(load, edata->sqlerrcode));
}

/* Called while rows are inserted.  It must not access a catalog. */
static void
report_row(void *arg)
{
	ScanAdoption *adoption = arg;
	LoadDay *load = ((Progress *) adoption->arg)->load;

	load->at_row = adoption->at_row;
	if (load->at_row > 0)
		errcontext("%s", load_row_text(load, geterrcode()));
}

/* --------------------------------------------------------------------------
 * Replace
 * -------------------------------------------------------------------------- */

static void
check_counts(const LoadDay *load, const ScanAdoption *adoption)
{
	const LoadPlan *plan = load->plan;
	int64 rows = adoption->figures.rows;

	if (!adoption->complete || rows != load->job->total_rows)
		ereport(ERROR, (errcode(ERRCODE_FDW_ERROR),
						errmsg("only " INT64_FORMAT " of " INT64_FORMAT " rows were read for table %s", rows,
							   load->job->total_rows, plan->target_name),
						errhint("A rule of the table may replace the INSERT: a load needs one that reads all rows.")));
	if (load->run.rows_inserted != rows && !load_may_filter(plan->target))
		ereport(ERROR,
				(errcode(ERRCODE_FDW_ERROR),
				 errmsg("table %s took " INT64_FORMAT " of " INT64_FORMAT " rows", plan->target_name,
						load->run.rows_inserted, rows),
				 errdetail("BigQuery sent rows outside of the day that was asked for."),
				 errhint("Check timestamp_column in contratos_sources and the foreign table's option row_filter.")));
}

static char *
delete_text(const LoadPlan *plan)
{
	return psprintf("DELETE FROM %s%s", plan->target_name, load_window_clause(plan));
}

/* ONLY, because children of the foreign table are not part of BigQuery's table. */
static char *
insert_text(const LoadPlan *plan)
{
	return psprintf("INSERT INTO %s (%s) SELECT %s FROM ONLY %s%s", plan->target_name, plan->column_list,
					plan->column_list, plan->remote_name, load_window_clause(plan));
}

/* The job that the scan of the INSERT reads, and the functions it reports to. */
static ScanAdoption
adoption_of(const LoadDay *load, Progress *progress)
{
	const LoadPlan *plan = load->plan;
	RemoteCondition conditions[2];
	int n = load_window(plan, load->day, load->day, conditions);

	return (ScanAdoption){
		.relid = plan->table->relid,
		.rows_key = deparse_rows_key(plan->table, conditions, n),
		.ncolumns = plan->ncolumns,
		.columns = plan->columns,
		.timestamp_column = plan->timestamp ? plan->timestamp->attnum : InvalidAttrNumber,
		.job = load->job,
		.progress = show_progress,
		.reject = keep_reject,
		.arg = progress,
	};
}

/* The INSERT, whose scan reads the judged job and reports its progress. */
static void
insert_day(LoadDay *load)
{
	const LoadPlan *plan = load->plan;
	Oid type = plan->timestamp ? plan->timestamp->type : InvalidOid;
	Progress progress = {.load = load, .started = clock_ms()};
	ScanAdoption adoption = adoption_of(load, &progress);
	ErrorContextCallback context = {.previous = error_context_stack, .callback = report_row, .arg = &adoption};
	const char *narrow = load_narrow_columns(plan);

	/* for an error message, so in a context that survives the error */
	load->narrow = narrow != NULL ? MemoryContextStrdup(load->context, narrow) : NULL;
	load->in_batches = load_may_batch(plan->target);
	progress_receive();
	scan_offer(&adoption);
	PG_TRY();
	{
		/* PG_END_TRY() restores the previous one */
		error_context_stack = &context;
		load->run.rows_inserted =
			load_execute(plan, insert_text(plan), load_local_window(plan, type, load->day, load->day));
	}
	PG_FINALLY();
	{
		scan_withdraw();
		load_note_cost(load, load->job);
	}
	PG_END_TRY();
	/* a trigger's NOTICE has set it as well */
	load->at_row = 0;
	check_counts(load, &adoption);
	load->run.loaded = adoption.figures;
	load->run.values_altered = adoption.values_altered;
	load->run.pages = adoption.pages;
	load->bytes_received = adoption.bytes;
}

/*
 * The day's figures in the target now, and after_load.  The guard checks the rows
 * that triggers and rules have kept before after_load runs, which may change the
 * day in any way.
 */
static void
finish_day(LoadDay *load)
{
	const LoadPlan *plan = load->plan;
	bool is_plain = load_is_plain(plan->target);

	if (plan->after_load == NULL || !is_plain)
	{
		/* if nothing can have changed the inserted rows, their own figures are used instead of reading them again */
		if (plan->timestamp != NULL && plan->timestamp->type == plan->timestamp_target && is_plain)
		{
			load->run.target = load->run.loaded;
			load->run.target.rows = load->run.rows_inserted;
			load->run.target.fingerprint[0] = '\0';
		}
		else
			load->run.target = load_measure_now(plan, load->day);
		load_guard_left(load, load->run.target.rows);
	}
	if (plan->after_load != NULL)
	{
		load_show("calling %s", plan->after_load);
		load_call_after_load(plan, load->day);
		load->run.target = load_measure_now(plan, load->day);
	}
}

/* Delete the day, and make sure that no trigger or rule keeps rows of it, which would be duplicated. */
static void
delete_day(LoadDay *load)
{
	const LoadPlan *plan = load->plan;
	DateADT day = load->day;
	LoadWindow window = load_local_window(plan, plan->timestamp_target, day, day);
	int64 stood = load_may_keep(plan->target) ? load_measure_now(plan, day).rows : 0;
	int64 deleted = load_execute(plan, delete_text(plan), window);

	/* a trigger or rule may delete them by itself and report a count of zero */
	load->run.rows_replaced = Max(stood, deleted);
	if (!load_may_keep(plan->target))
		return;
	load_execute(plan, psprintf("SELECT FROM %s%s LIMIT 1", plan->target_name, load_window_clause(plan)), window);
	if (SPI_processed > 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("table %s keeps rows of %s that a load has deleted", plan->target_name, day_text(day)),
				 errdetail("A trigger or rule of the table keeps them, and the day would be duplicated."),
				 errhint("Let the table delete the rows that a load deletes; copy rows that must be kept to another "
						 "table.")));
}

/* EXPLAIN checks the privileges, but does not execute the statement. */
static void
explain_statement(const LoadPlan *plan, const char *sql, LoadWindow window)
{
	StatementArgs args = {.n = window.nargs, .types = window.types, .values = window.values};
	StatementObjects objects = load_objects(plan);

	statement_execute(psprintf("EXPLAIN %s", sql), &args, &objects, SPI_OK_UTILITY);
}

/*
 * Lock the target as a load does, and as many of its descendants as a DELETE of
 * the day takes.  From then on nobody can add a trigger to it, so the roles that a
 * load must trust are checked once more.
 */
static void
lock_target(const LoadPlan *plan, DateADT day)
{
	load_lock(plan->target, RowExclusiveLock, plan->target_name);
	load_show("locking what belongs to %s", plan->target_name);
	explain_statement(plan, delete_text(plan), load_local_window(plan, plan->timestamp_target, day, day));
	trust_check(plan->target, plan->owner, RowExclusiveLock, load_lock);
}

void
load_replace_rows(LoadDay *load)
{
	const LoadPlan *plan = load->plan;
	LoadSecurityContext scope;

	if (load->next_notice == 0)
		load->next_notice = clock_ms() + NOTICE_MS;
	load_enter_security_context(&scope, plan, load->background);
	replacing = true;
	PG_TRY();
	{
		/* as the target's owner, with the settings pinned */
		progress_delete(load->job->total_rows);
		lock_target(plan, load->day);
		load_show("deleting from %s", plan->target_name);
		delete_day(load);
		load_guard_deleted(load);
		load_show("inserting into %s", plan->target_name);
		insert_day(load);
		progress_finish();
		finish_day(load);
	}
	PG_FINALLY();
	{
		replacing = false;
	}
	PG_END_TRY();
	load_leave_security_context(&scope);
}

void
load_check_statements(const LoadPlan *plan, DateADT day)
{
	LoadSecurityContext scope;
	Oid type = plan->timestamp ? plan->timestamp->type : InvalidOid;

	load_enter_security_context(&scope, plan, false);
	lock_target(plan, day);
	explain_statement(plan, insert_text(plan), load_local_window(plan, type, day, day));
	load_leave_security_context(&scope);
}
