/*
 * load.h
 *	  One day of one source: ask BigQuery, guard, replace the day in the target.
 *
 * Throws whatever goes wrong, for the caller's (sub)transaction to undo; knows
 * nothing of what is recorded about it but the last success, which the guard
 * needs.
 */
#ifndef CONTRATOS_LOAD_H
#define CONTRATOS_LOAD_H

#include "storage/lockdefs.h"

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

/* A source resolved into plain data: what to ask, and where to put it. */
typedef struct LoadPlan
{
	const LedgerSource *source;
	RemoteTable *table;
	BqConnection *connection;
	RemoteColumn *timestamp; /* the column a day is cut by; NULL: a snapshot */
	BqType timestamp_remote; /* its type there: TIMESTAMP, DATETIME, DATE */
	Oid timestamp_target; /* and the target's: timestamptz, timestamp, date */
	Oid target;
	Oid owner; /* of the target: the role that loads */
	char *target_name; /* schema.table, quoted where needed */
	char *remote_name; /* the foreign table's, likewise */
	char *column_list; /* local names, quoted: "address, symbol, …" */
	int ncolumns; /* those of the foreign table … */
	AttrNumber *columns; /* … by number, ascending */
	bool *needed; /* … whether the target cannot do without it */
	char *after_load; /* schema.function, quoted where needed; NULL: none */
} LoadPlan;

/*
 * A load of one day, from load_begin() to load_end().  Filled as it goes on, so that
 * it is worth reading after an error as well.
 */
typedef struct LoadDay
{
	/* by load_begin() and the caller */
	MemoryContext context; /* outlives the day's subtransaction */
	DateADT day;
	bool background; /* in the worker: progress goes to pg_stat_activity */
	bool allow_shrink; /* as far as it likes */
	const LoadPlan *plan; /* once the source is resolved … */
	Bigquery *bq; /* … and asked */
	int64 next_notice; /* by clock_ms() */

	char job_id[128];
	BqJob *job; /* that has answered; NULL: none (any more) */
	bool kept; /* job_id is that of an earlier attempt, which a lock stopped */
	LedgerSuccess last; /* load of what is replaced; run 0: it was never loaded */
	bool refused; /* by the guard … */
	bool empty; /* … because BigQuery has nothing, and neither have we */
	LedgerRun run; /* what the ledger is to have of it; see load_result() */
	int64 bytes_received; /* of BigQuery's answers, once they are all there */
	int nrejects;
	LedgerReject *rejects;
	int64 at_row; /* of BigQuery's result, when the target refused it; 0: none was */
	bool in_batches; /* the target may refuse a row some rows after it was given */
	const char *narrow; /* columns of the target that are narrower than BigQuery's; NULL: none */
} LoadDay;

/* What a caller of load_day() does between its steps. */
typedef struct LoadCaller
{
	void (*job_gone)(void *arg); /* the kept job is not to be had any more: load->job_id is of another from now on */
	void (*answered)(void *arg); /* BigQuery has answered: rows are replaced next, in the current transaction */
	void *arg;
} LoadCaller;

/*
 * Resolve a source: 42P01 when a table is not there, 42809 when the target is
 * none that can be loaded, 42703 when it lacks a column, 428C9 when a column is
 * generated, 23502 when one that is not filled cannot do without, 42804 when
 * its timestamp column cannot hold days, 42P17 when the foreign table's is not
 * one or not the partition column that it requires, 42501 when the target's
 * owner may not read the foreign table, 42883 or 42501 when after_load cannot be
 * called, and the errors of options_table() and options_connection().  Nobody is
 * asked for anything yet.  In CurrentMemoryContext.
 */
extern LoadPlan *load_plan(const LedgerSource *source);

/*
 * The same without after_load and connection (both NULL), and so without their
 * errors.
 */
extern LoadPlan *load_plan_tables(const LedgerSource *source);

/* A relation by its schema's name and its own; InvalidOid: there is none.  Not locked. */
extern Oid load_find_relation(const char *name);

/* The relation that a column of contratos_sources names: 42P01 when there is none. */
extern Oid load_relation(const char *name, const char *column);

/*
 * The name of after_load or on_failure (`column`, of so many arguments) as
 * schema.function, in CurrentMemoryContext, by the search_path of who registers it.
 * One that has a schema stays as it is; so does, with a WARNING, one that is not
 * found: a load will refuse it.  42501 when whoever registers it may not call it.
 */
extern char *load_qualify_hook(const char *name, int nargs, const char *column);

/*
 * What a source's functions would be refused for: 42883, 42809 or 42501.  Either
 * may be NULL; neither is called.
 */
extern void load_check_hooks(const LoadPlan *plan, const char *on_failure);

/*
 * What the statements of a load would throw before they touch a row: rights,
 * rules, types that do not go into each other.  Plans them as the target's owner;
 * reads and writes nothing, asks nobody.  In the current transaction, which from
 * then on has the locks of a load on both tables, and on as much of what is below
 * the target as a DELETE of the day takes.
 */
extern void load_check_statements(const LoadPlan *plan, DateADT day);

/* --------------------------------------------------------------------------
 * load_lock.c: the worker's waits on what belongs to users
 * -------------------------------------------------------------------------- */

/*
 * From here on no lock is waited for longer than contratos.lock_timeout (55P03),
 * until AtEOXact_GUC() with the level that comes back.
 */
extern int load_bound_waits(void);

/* Lock a relation; `name` is shown while it must be waited for. */
extern void load_lock(Oid relid, LOCKMODE mode, const char *name);

/*
 * From here on load_show() shows what is being done for that day of the source,
 * until load_show_end().  In other processes it does nothing.
 */
extern void load_show_begin(const char *source, DateADT day);
extern void load_show_end(void);
extern void load_show(const char *format, ...) pg_attribute_printf(1, 2);

/* What was shown last; "": nothing. */
extern const char *load_shown(void);

/*
 * 55006 while a load replaces rows: a trigger, a rule or after_load must not begin
 * another.  load_ask() does it as well.
 */
extern void load_refuse_nested(void);

/*
 * Report 55000 at that level when the source has neither a timestamp_column nor is
 * a snapshot: a load would not know what to replace.  A row from an older dump may
 * be so.
 */
extern void load_report_undecided(const LedgerSource *source, int elevel);

/*
 * That as an error, and 22023 when the source is a snapshot and the day is not yesterday: there are
 * only today's contents, and they are yesterday's state.
 */
extern void load_check_snapshot(const LedgerSource *source, DateADT day);

/*
 * 53400 when what the ledger has of the source's loads and rechecks today was
 * billed as much as contratos.max_bytes_per_day.  In a transaction.
 */
extern void load_check_budget(const LedgerSource *source);

/* Something about a target that fits, but not as one may think. */
typedef struct LoadMisfit
{
	const char *name; /* which kind of: */
#define LOAD_NARROW_COLUMNS "narrow_columns"
#define LOAD_UNFILLED_COLUMNS "unfilled_columns"
	char *what; /* a sentence */
	char *hint; /* what to do */
} LoadMisfit;

/* All there is of it, as a List; NIL: nothing.  doubtful: also columns that a trigger may fill. */
extern List *load_misfits(const LoadPlan *plan, bool doubtful);

/*
 * For a source that has just been registered, by its row: what a load will meet.
 * 23505 when its target is another source's, or shares rows with it.  All else is
 * told by a WARNING (what a load would fail with) or a NOTICE (what it leaves NULL,
 * what may be too long, and that the first load of a day deletes its rows: how many
 * rows there are is for who may read them).  Nothing fails while a dump is restored.
 */
extern void load_registered(const LedgerSource *source);

/* All of that but the other sources, once more. */
extern void load_tell(const LedgerSource *source);

/*
 * 55000 when an older source has this one's target, or one that shares rows with it.
 * A restored dump may have two such sources, although none can be made.
 */
extern void load_check_rivals(const LoadPlan *plan);

/*
 * The half-open window of the days from first to last, as conditions; their
 * number (0: a snapshot).
 */
extern int load_window(const LoadPlan *plan, DateADT first, DateADT last, RemoteCondition conditions[2]);

/* What a load of the day asks BigQuery, in CurrentMemoryContext. */
extern BqQuery *load_query(const LoadPlan *plan, DateADT day);

/* Zero it, and make the id of the job that will be asked for. */
extern void load_begin(LoadDay *load, const char *source, DateADT day, const char *cause, MemoryContext context);

/*
 * Go on with a job of an earlier attempt at the day (NULL: there is none), if it was
 * asked just this, or else make an id from which that can be told.  True when it goes
 * on.
 */
extern bool load_resume(LoadDay *load, const char *job_id);

/*
 * Ask BigQuery for the day and wait; judge the finished job, replace the day in the
 * target in the current (sub)transaction, and call the source's after_load.
 * The wait needs no transaction: `caller` (NULL: the caller has one) begins it when
 * BigQuery has answered.  The load is reported in the progress slots from here on:
 * progress_end() when its run is recorded.
 *
 * Throws what BigQuery fails with; 55000 when the guard refuses the day
 * (load->refused, load->empty), 42804 when a column there has changed its type;
 * otherwise what the target, its triggers or after_load throw.
 */
extern void load_day(LoadDay *load, const LoadCaller *caller);

/*
 * The day has been loaded, or not: free its job.  If its rows were not read, which
 * is what comes before its cost, that is asked for.
 */
extern void load_end(LoadDay *load);

/* What the ledger is to have of a day that ended so; rows only of a success. */
extern LedgerRun load_result(const LoadDay *load, RunStatus status);

/*
 * "row 51 of BigQuery's result", and the columns that may be meant where
 * PostgreSQL's error of that code does not name one.
 */
extern char *load_row_text(const LoadDay *load, int sqlerrcode);

/*
 * An error of a load in words, for the ledger: message, DETAIL, and of a value or
 * row that the target refused (SQLSTATE class 22 or 23) as CONTEXT which row of
 * BigQuery's result it was.  In CurrentMemoryContext.
 */
extern const char *load_error_text(const LoadDay *load, const ErrorData *edata);

/*
 * Rows and largest timestamp of a day in the target, for the worker; and of each
 * day from first to last (a snapshot: first, and only that), for a call.  One statement, as the target's owner; in the current transaction,
 * which may be read-only.
 */
extern DayFigures load_measure(const LoadPlan *plan, DateADT day);
extern void load_measure_days(const LoadPlan *plan, DateADT first, DateADT last, DayFigures *figures);

/*
 * Call a source's on_failure, `name`, in the current transaction, as the
 * target's owner.  The target must be there; nothing else of the source needs
 * to be in order.
 */
extern void load_tell_failure(const LedgerSource *source, DateADT day, const char *name, const char *error);

#endif /* CONTRATOS_LOAD_H */
