/*
 * load_internal.h
 *	  Functions that the load_*.c files share.
 */
#ifndef CONTRATOS_LOAD_INTERNAL_H
#define CONTRATOS_LOAD_INTERNAL_H

#include "utils/relcache.h"

#include "base/day.h"
#include "bigquery/job.h"
#include "bigquery/message.h"
#include "ledger/statement.h"
#include "load/load.h"

/* Set the plan's target, target_name and owner by its source; 42P01.  `lock`: lock the target as well. */
extern void load_find_target(LoadPlan *plan, bool lock);

/*
 * Check the plan's tables again, in the transaction whose statements will name
 * them, and keep them locked until its end: the plan may have been made in an
 * earlier transaction, and since then names, owners and privileges may have
 * changed.  55006 when a name stands for another table, and the errors of
 * load_plan_tables().  For a plan without a foreign table only the target is
 * checked.
 */
extern void load_check_again(const LoadPlan *plan);

/* DELETE and INSERT, as the target's owner, with the settings pinned. */
extern void load_replace_rows(LoadDay *load);

/*
 * 55000 (load->refused) when the job has far fewer rows than the load's own DELETE
 * has just counted: the DELETE is rolled back with the load.
 */
extern void load_guard_deleted(LoadDay *load);

/* The same when the target has kept `rows`, far fewer than were deleted. */
extern void load_guard_left(LoadDay *load, int64 rows);

/* Note the job's cost in the run, once BigQuery has reported it. */
extern void load_note_cost(LoadDay *load, const BqJob *job);

/* --------------------------------------------------------------------------
 * load_sql.c: days in the target
 * -------------------------------------------------------------------------- */

/* Days as a range of a column's own type, independent of the session's time zone. */
typedef struct LoadWindow
{
	int nargs; /* 0: a full-table source, all rows */
	Oid types[2];
	Datum values[2];
} LoadWindow;

/* The window from first to last, for a timestamp column of that type. */
extern LoadWindow load_local_window(const LoadPlan *plan, Oid type, DateADT first, DateADT last);

/* " WHERE column >= $1 AND column < $2", or "" for a full-table source. */
extern char *load_window_clause(const LoadPlan *plan);

/*
 * Run a statement that names the plan's tables, and no others, with the window as
 * its arguments, in a scope.  Returns the number of rows processed.
 */
extern int64 load_execute(const LoadPlan *plan, const char *sql, LoadWindow window);

/* The objects that the plan's statements may name. */
extern StatementObjects load_objects(const LoadPlan *plan);

/*
 * The day's figures in the target now, including all changes by triggers and
 * after_load: a recheck compares them to detect later changes.  In a scope.
 */
extern DayFigures load_measure_now(const LoadPlan *plan, DateADT day);

/* --------------------------------------------------------------------------
 * load_target.c: the local side
 * -------------------------------------------------------------------------- */

/* "symbol character varying(50) (text), ..."; NULL: no column is narrower.  See load_misfits(). */
extern char *load_narrow_columns(const LoadPlan *plan);

/*
 * Check by its definition whether the target can be loaded with these columns:
 * errors of load_plan().  Sets plan->timestamp_target and plan->needed.
 */
extern void load_check_target(LoadPlan *plan);

/*
 * Digits of a second's fraction in BigQuery's timestamps, and in PostgreSQL's.
 * 42804 when a timestamp_column keeps fewer digits of a second than BigQuery's;
 * `kind` is the table's in ALTER.
 */
#define LOAD_FRACTION_DIGITS 6
extern void load_check_precision(const char *column, const char *table, const char *kind, Oid type, int32 typmod);

/* A column of a relation, which must have it. */
extern Form_pg_attribute load_attribute(Relation relation, const char *name);

/* Whether the target itself may take fewer rows than it is given. */
extern bool load_may_filter(Oid relid);

/*
 * Whether an INSERT into it stores exactly the given rows: a table whose
 * descendants are all tables, with neither triggers nor rules.
 */
extern bool load_is_plain(Oid relid);

/* Whether rows may be sent to another server in batches: it or one of its descendants is a foreign table. */
extern bool load_may_batch(Oid relid);

/* Whether it may keep rows that a DELETE names. */
extern bool load_may_keep(Oid relid);

/* --------------------------------------------------------------------------
 * load_sql.c: the security context and settings of statements
 * -------------------------------------------------------------------------- */

/*
 * Every statement on the target runs as one role, its owner (a distributed table
 * accepts only one role in a transaction).  User and settings need no PG_TRY: an
 * error ends the (sub)transaction, which restores both.
 */
typedef struct LoadSecurityContext
{
	Oid user;
	int context;
	int nest_level;
} LoadSecurityContext;

/*
 * Checks the tables again first (load_check_again()).  SPI is connected until
 * load_leave_security_context(). background: in the worker.
 */
extern void load_enter_security_context(LoadSecurityContext *scope, const LoadPlan *plan, bool background);
extern void load_leave_security_context(const LoadSecurityContext *scope);

/* --------------------------------------------------------------------------
 * load_hook.c: the functions that a source names
 * -------------------------------------------------------------------------- */

/* Call it, if there is one, in the scope of a load. */
extern void load_call_after_load(const LoadPlan *plan, DateADT day);

#endif /* CONTRATOS_LOAD_INTERNAL_H */
