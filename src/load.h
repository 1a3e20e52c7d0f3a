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

#include "fingerprint.h"
#include "ledger.h"
#include "options.h"

/* A source resolved into plain data: what to ask, and where to put it. */
typedef struct LoadPlan
{
	const LedgerSource *source;
	RemoteTable *table;
	BqConnection *connection;
	RemoteColumn *timestamp; /* the column a day is cut by; NULL: a snapshot */
	Oid target;
	Oid owner; /* of the target: the role that loads */
	char *target_name; /* schema.table, quoted where needed */
	char *remote_name; /* the foreign table's, likewise */
	char *column_list; /* local names, quoted: "address, symbol, …" */
	int ncolumns; /* those of the foreign table … */
	AttrNumber *columns; /* … by number, ascending */
} LoadPlan;

/*
 * What has happened so far.  Filled as it happens, so that it is worth reading
 * after an error as well; the caller provides it, zeroed, with a context for
 * the rejects that outlives the day's subtransaction.
 */
typedef struct LoadOutcome
{
	MemoryContext context;
	TimestampTz started_at;
	char job_id[128];
	bool background; /* set by the worker: progress goes to pg_stat_activity */
	bool refused; /* by the guard … */
	bool empty; /* … because BigQuery has nothing, and neither have we */
	int64 rows_loaded;
	int64 rows_replaced;
	int64 rows_inserted;
	int64 values_altered;
	int64 bytes_processed; /* -1: not known */
	int64 bytes_billed; /* -1: not known */
	int pages;
	bool has_max_timestamp;
	TimestampTz source_max_timestamp;
	char fingerprint[FINGERPRINT_SIZE]; /* empty: none */
	int64 target_rows; /* of the day in the target, at the end */
	bool has_target_max;
	TimestampTz target_max_timestamp;
	int nrejects;
	LedgerReject *rejects;
	int64 next_notice; /* by request_clock_ms() */
} LoadOutcome;

/*
 * Resolve a source: 42P01 when a table is not there, 42703 when the target
 * lacks a column, 42P17 when the timestamp column is not one or not the
 * partition column that the foreign table requires, 42501 when the
 * target's owner may not read the foreign table, and the errors of
 * options_table() and options_connection().  In CurrentMemoryContext.
 */
extern LoadPlan *load_plan(const LedgerSource *source);

/* The half-open window of the day, as conditions; their number (0: a snapshot). */
extern int load_window(const LoadPlan *plan, DateADT day, RemoteCondition conditions[2]);

/* What a load of the day asks BigQuery, in CurrentMemoryContext. */
extern BqQuery *load_query(const LoadPlan *plan, DateADT day);

/*
 * Begin: zero what has happened, and make the id of the job that will be asked
 * for.
 */
extern void load_begin(LoadOutcome *outcome, MemoryContext context);

/*
 * Ask BigQuery for the day and wait.  Needs no transaction.  The job lives
 * under `parent`; throws what BigQuery fails with.
 */
extern BqJob *load_ask(const LoadPlan *plan, Bigquery *bq, DateADT day, MemoryContext parent, LoadOutcome *outcome);

/*
 * Judge the finished job and replace the day in the current (sub)transaction.
 * 55000 when the guard refuses it (outcome->refused, outcome->empty);
 * otherwise what BigQuery, the target or its triggers throw.
 */
extern void load_replace(const LoadPlan *plan, BqJob *job, DateADT day, bool allow_shrink, LoadOutcome *outcome);

/*
 * Rows and largest timestamp of the day in the target, as its owner sees them.
 * In the current transaction.
 */
extern int64 load_measure(const LoadPlan *plan, DateADT day, TimestampTz *max_timestamp, bool *has_max);

/* What the ledger says of a day that ended so; rows only of a success. */
extern LedgerRun load_describe(const LedgerSource *source, DateADT day, const char *cause, const char *status,
							   const LoadOutcome *outcome);

#endif /* CONTRATOS_LOAD_H */
