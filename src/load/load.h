/*
 * load.h
 *	  One day of one source: query BigQuery, guard, replace the day in the target.
 *
 * Throws every error, for the caller's (sub)transaction to undo.  It reads nothing
 * from the ledger but the last success, which the guard needs.
 */
#ifndef CONTRATOS_LOAD_H
#define CONTRATOS_LOAD_H

#include "storage/lockdefs.h"

#include "base/bill.h"
#include "base/day.h"
#include "base/failure.h"
#include "bigquery/bigquery.h"
#include "bigquery/bqtype.h"
#include "bigquery/connection.h"
#include "bigquery/job.h"
#include "bigquery/message.h"
#include "bigquery/request.h"
#include "ledger/ledger_history.h"
#include "ledger/ledger_run.h"
#include "ledger/ledger_source.h"
#include "read/rowhash.h"
#include "remote/deparse.h"
#include "remote/fingerprint.h"
#include "remote/options.h"

/* A source resolved into plain data: the query and its destination. */
typedef struct LoadPlan
{
	const LedgerSource *source;
	RemoteTable *table;
	BqConnection *connection;
	RemoteColumn *timestamp; /* holds each row's day; NULL: a full-table source */
	BqType timestamp_remote; /* its type in BigQuery: TIMESTAMP, DATETIME, DATE */
	Oid timestamp_target; /* and in the target: timestamptz, timestamp, date */
	Oid target;
	Oid owner; /* of the target: the role that loads */
	char *target_name; /* schema.table, quoted where needed */
	char *remote_name; /* the foreign table's, likewise */
	char *column_list; /* local names, quoted: "address, symbol, …" */
	int ncolumns; /* those of the foreign table … */
	AttrNumber *columns; /* … by number, ascending */
	bool *needed; /* … whether the target requires a value */
	char *after_load; /* schema.function, quoted where needed; NULL: none */
} LoadPlan;

/*
 * A load of one day, from load_begin() to load_end().  Filled in step by step, so
 * that it can be read after an error as well.
 */
typedef struct LoadDay
{
	/* by load_begin() and the caller */
	MemoryContext context; /* outlives the day's subtransaction */
	DateADT day;
	bool background; /* in the worker: progress goes to pg_stat_activity */
	bool allow_shrink; /* without a limit */
	bool allow_empty; /* a day without rows, also if the source does not */
	const LoadPlan *plan; /* once the source is resolved … */
	Bigquery *bq; /* … and queried */
	int64 next_notice; /* by clock_ms() */

	char job_id[128];
	BqJob *job; /* the finished job; NULL: none (any more) */
	Bill *bill; /* of the last job; a call replaces it by that of its session */
	bool kept; /* job_id is that of an earlier attempt, which was stopped by a lock */
	LedgerSuccess last; /* the last load of the rows that are replaced; run 0: never loaded */
	bool refused; /* by the guard … */
	bool no_rows; /* … because BigQuery has none … */
	bool empty; /* … and neither has the last load */
	LedgerRun run; /* to be recorded in the ledger; see load_result() */
	int64 bytes_received; /* of BigQuery's responses, once they are complete */
	int nrejects;
	LedgerReject *rejects;
	int64 at_row; /* number in BigQuery's result of the row that the target refused; 0: none was */
	bool in_batches; /* the target may refuse a row after it was given several more */
	const char *narrow; /* columns of the target that are narrower than BigQuery's; NULL: none */
} LoadDay;

/* Callbacks of a caller of load_day(), run between its steps. */
typedef struct LoadCaller
{
	void (*job_gone)(void *arg); /* the kept job no longer exists: from now on load->job_id is that of another job */
	void (*answered)(void *arg); /* BigQuery has answered: the rows are replaced next, in the current transaction */
	void *arg;
} LoadCaller;

/*
 * Resolve a source: 42P01 when a table does not exist, 42809 when the target
 * cannot be loaded, 42703 when it lacks a column, 428C9 when a column is
 * generated, 23502 when a column that is not filled requires a value, 42804 when
 * its timestamp column cannot hold days, 42P17 when the foreign table's cannot be
 * used as timestamp_column or is not the partition column that the table requires,
 * 42501 when the target's owner may not read the foreign table, 42883 or 42501
 * when after_load cannot be called, and the errors of options_table() and
 * options_connection().  Sends no request.  In CurrentMemoryContext.
 */
extern LoadPlan *load_plan(const LedgerSource *source);

/*
 * The same without after_load and connection (both NULL), and so without their
 * errors.
 */
extern LoadPlan *load_plan_tables(const LedgerSource *source);

/* A relation by its schema's name and its own; InvalidOid: it does not exist.  Not locked. */
extern Oid load_find_relation(const char *name);

/*
 * ledger_schedules() of all sources.  A server that could not be reached for one
 * source is not asked for the others, and one that has answered one source has
 * answered all.
 */
extern List *load_schedules(void);

/* The relation that a column of contratos_sources names: 42P01 when it does not exist. */
extern Oid load_relation(const char *name, const char *column);

/*
 * The name of after_load or on_failure (`column`, with `nargs` arguments) as
 * schema.function, in CurrentMemoryContext, by the search_path of the role that
 * registers it.  A name with a schema stays as it is; so does, with a WARNING, the
 * name of a function that does not exist: a load will refuse it.  42501 when the
 * registering role may not call it.
 */
extern char *load_qualify_hook(const char *name, int nargs, const char *column);

/*
 * The source's after_load as schema.function, quoted where needed; NULL: none.
 * 42883, 42809 or 42501 when it cannot be called.
 */
extern char *load_find_after_load(const LoadPlan *plan);

/* Raise the errors that prevent a call of on_failure, `name` (NULL: none): the same, and 42P01 for the target. */
extern void load_check_on_failure(const LedgerSource *source, const char *name);

/*
 * Raise the errors that the statements of a load would throw before they touch a
 * row: privileges, rules, types that cannot be assigned.  Plans them as the
 * target's owner; reads and writes nothing, sends no request.  In the current
 * transaction, which from then on holds the locks of a load on both tables, and on
 * as many of the target's descendants as a DELETE of the day takes.
 */
extern void load_check_statements(const LoadPlan *plan, DateADT day);

/* --------------------------------------------------------------------------
 * load_sql.c: the worker's waits for locks on users' tables
 * -------------------------------------------------------------------------- */

/*
 * Wait for no lock longer than contratos.lock_timeout (55P03), until
 * AtEOXact_GUC() with the level that is returned.
 */
extern int load_bound_waits(void);

/* Lock a relation; `name` is shown while the lock is waited for. */
extern void load_lock(Oid relid, LOCKMODE mode, const char *name);

/*
 * Let load_show() show what is being done for that day of the source, until
 * load_show_end().  Without this call load_show() does nothing.
 */
extern void load_show_begin(const char *source, DateADT day);
extern void load_show_end(void);
extern void load_show(const char *format, ...) pg_attribute_printf(1, 2);

/* The text shown last; "": none. */
extern const char *load_shown(void);

/*
 * 55006 while a load replaces rows: a trigger, a rule or after_load must not begin
 * another.  load_ask() does it as well.
 */
extern void load_refuse_nested(void);

/*
 * Report 55000 at that level when the source has neither a timestamp_column nor is
 * a full-table source: a load would not know which rows to replace.  A row from an
 * older dump may be like that.
 */
extern void load_report_undecided(const LedgerSource *source, int elevel);

/*
 * The same as an error, and 22023 when the source is a full-table source and the
 * day is not yesterday: BigQuery has only the current contents, which are loaded
 * as yesterday's state.
 */
extern void load_check_snapshot(const LedgerSource *source, DateADT day);

/*
 * 53400 when the bytes billed today for the source's loads and comparisons, according
 * to the ledger, have reached contratos.max_bytes_per_day, or those of all sources
 * contratos.max_bytes_per_day_total.  In a transaction; before that, unless it is
 * read-only, the ledger gets the bills that this session has kept.
 */
extern void load_check_budget(const LedgerSource *source);

/* A property of a target that can be loaded, but perhaps not with the expected result. */
typedef struct LoadMisfit
{
	const char *name; /* its kind: */
#define LOAD_NARROW_COLUMNS "narrow_columns"
#define LOAD_UNFILLED_COLUMNS "unfilled_columns"
	char *what; /* a sentence */
	char *hint; /* what to do */
} LoadMisfit;

/* All misfits of a target, as a List; NIL: none. doubtful: also columns that a trigger may fill. */
extern List *load_misfits(const LoadPlan *plan, bool doubtful);

/*
 * Check a source that has just been registered, by its row.  23505 when its target
 * is another source's, or shares rows with it.  Everything else is reported by a
 * WARNING (errors that a load would raise) or a NOTICE (columns that stay NULL,
 * columns that may be too narrow, and that the first load of a day deletes its
 * rows: the number of rows is reported only to roles that may read them).  Nothing
 * fails while a dump is restored.
 */
extern void load_registered(const LedgerSource *source);

/* The same without the comparison with other sources. */
extern void load_report(const LedgerSource *source);

/*
 * 55000 when an older source has the same target, or one that shares rows with it.
 * A restored dump may contain two such sources, although none can be created.
 */
extern void load_check_rivals(const LoadPlan *plan);

/*
 * The half-open window of the days from first to last, as conditions; their number
 * (0: a full-table source).
 */
extern int load_window(const LoadPlan *plan, DateADT first, DateADT last, RemoteCondition conditions[2]);

/* The query of a load of the day, in CurrentMemoryContext. */
extern BqQuery *load_query(const LoadPlan *plan, DateADT day);

/* Zero the handle, and make the id of the job that will be started. */
extern void load_begin(LoadDay *load, const char *source, DateADT day, const char *cause, MemoryContext context);

/*
 * Continue with the job of an earlier attempt at the day (NULL: there is none), if
 * it ran this very query; otherwise make an id that identifies the query.  True
 * when that job is continued.
 */
extern bool load_resume(LoadDay *load, const char *job_id);

/*
 * Query BigQuery for the day and wait; judge the finished job, replace the day in
 * the target in the current (sub)transaction, and call the source's after_load.
 * The wait needs no transaction: `caller` (NULL: the caller has one) begins it
 * when BigQuery has answered.  The load is reported in the progress slots from
 * this call on: call progress_end() when its run is recorded.
 *
 * Throws BigQuery's errors; 55000 when the guard refuses the day (load->refused,
 * load->no_rows, load->empty), 42804 when a column has changed its type in BigQuery; otherwise
 * the errors of the target, its triggers or after_load.
 */
extern void load_day(LoadDay *load, const LoadCaller *caller);

/*
 * Free the day's job, whether or not the day has been loaded, and note what it has
 * cost.  BigQuery reports the cost after the rows; if they were not read, the cost is
 * requested.
 */
extern void load_end(LoadDay *load);

/* The run to record for a day that ended with that status; row counts only for a success. */
extern LedgerRun load_result(const LoadDay *load, RunStatus status);

/*
 * "row 51 of BigQuery's result", and the columns that may be meant where
 * PostgreSQL's error with that code does not name one.
 */
extern char *load_row_text(const LoadDay *load, int sqlerrcode);

/*
 * The text of a load's error, for the ledger: message, DETAIL and, for a value or
 * row that the target refused (SQLSTATE class 22 or 23), the number of the row in
 * BigQuery's result as CONTEXT.  In CurrentMemoryContext.
 */
extern const char *load_error_text(const LoadDay *load, const ErrorData *edata);

/*
 * Rows and largest timestamp in the target: for a day (the worker), or for each
 * day from first to last (a call; a full-table source has only first).  One
 * statement, as the target's owner; in the current transaction, which may be
 * read-only.
 */
extern DayFigures load_measure(const LoadPlan *plan, DateADT day);
extern void load_measure_days(const LoadPlan *plan, DateADT first, DateADT last, DayFigures *figures);

/*
 * Call a source's on_failure, `name`, in the current transaction, as the target's
 * owner.  The target must exist; nothing else of the source needs to be valid.
 */
extern void load_report_failure(const LedgerSource *source, DateADT day, const char *name, const char *error);

#endif /* CONTRATOS_LOAD_H */
