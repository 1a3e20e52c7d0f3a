/*
 * load_internal.h
 *	  Between the files of the load room.
 */
#ifndef CONTRATOS_LOAD_INTERNAL_H
#define CONTRATOS_LOAD_INTERNAL_H

#include "utils/relcache.h"

#include "base/day.h"
#include "bigquery/job.h"
#include "bigquery/message.h"
#include "ledger/statement.h"
#include "load/load.h"

/* Set the plan's target, target_name and owner by its source; 42P01.  `lock`: and lock it. */
extern void load_find_target(LoadPlan *plan, bool lock);

/*
 * Judge the plan's tables again, in the transaction whose statements will name
 * them, and keep them locked until its end: the plan may be of a transaction
 * before, and what a name stands for, whose it is and who has whose privileges
 * may have changed.  55006 when a name stands for another table, and the errors of
 * load_plan_tables().  Of a plan without foreign table only the target.
 */
extern void load_check_again(const LoadPlan *plan);

/* DELETE and INSERT, as the target's owner, with the settings pinned. */
extern void load_replace_rows(LoadDay *load);

/*
 * 55000 (load->refused) when the job has far fewer rows than the load's own DELETE
 * has just counted: it is rolled back with the load.
 */
extern void load_guard_deleted(LoadDay *load);

/* The same when the target has kept `rows`, far fewer than were deleted. */
extern void load_guard_left(LoadDay *load, int64 rows);

/* What BigQuery has said of the job's cost, when it has said it. */
extern void load_note_cost(LoadDay *load, const BqJob *job);

/* --------------------------------------------------------------------------
 * load_measure.c: days as the target has them
 * -------------------------------------------------------------------------- */

/* Days, cut out by a column's own type: no session's time zone has a say. */
typedef struct LoadWindow
{
	int nargs; /* 0: a snapshot, all there is */
	Oid types[2];
	Datum values[2];
} LoadWindow;

/* Those from first to last, for a timestamp column of that type. */
extern LoadWindow load_window_here(const LoadPlan *plan, Oid type, DateADT first, DateADT last);

/* " WHERE column >= $1 AND column < $2", or nothing for a snapshot. */
extern char *load_window_clause(const LoadPlan *plan);

/*
 * Run a statement on the plan's tables, and no others, with the window as its
 * arguments, in a scope; rows processed.
 */
extern int64 load_execute(const LoadPlan *plan, const char *sql, LoadWindow window);

/* What the plan's statements may name. */
extern StatementObjects load_objects(const LoadPlan *plan);

/*
 * What of the day is in the target now, whatever its triggers and after_load
 * made of it: by this a recheck tells whether somebody has changed it since.  In
 * a scope.
 */
extern DayFigures load_measure_now(const LoadPlan *plan, DateADT day);

/* --------------------------------------------------------------------------
 * load_target.c: the local side
 * -------------------------------------------------------------------------- */

/* "symbol character varying(50) (text), ..."; NULL: none is narrower.  Of load_misfits(). */
extern char *load_narrow_columns(const LoadPlan *plan);

/*
 * Whether the target can be loaded with these columns, as far as its definition
 * tells: errors of load_plan().  Sets plan->timestamp_target and plan->needed.
 */
extern void load_check_target(LoadPlan *plan);

/*
 * Digits of a second's fraction that BigQuery's timestamps have, and PostgreSQL's.
 * 42804 when a column that cuts a day keeps fewer digits of a second than
 * BigQuery's; `kind` is the table's in ALTER.
 */
#define LOAD_FRACTION_DIGITS 6
extern void load_check_precision(const char *column, const char *table, const char *kind, Oid type, int32 typmod);

/* A column of a relation that has it. */
extern Form_pg_attribute load_attribute(Relation relation, const char *name);

/* Whether the target itself may take fewer rows than it is given. */
extern bool load_may_filter(Oid relid);

/*
 * Whether an INSERT into it leaves just the rows that were given: a table, with
 * nothing but tables below it, and neither triggers nor rules.
 */
extern bool load_is_plain(Oid relid);

/* Whether rows may be sent elsewhere, several at a time: it or what is below it is a foreign table. */
extern bool load_may_batch(Oid relid);

/* Whether it may keep rows that it is told to delete. */
extern bool load_may_keep(Oid relid);

/* --------------------------------------------------------------------------
 * load_scope.c: as whom, and under which settings
 * -------------------------------------------------------------------------- */

/*
 * Everything on the target runs under one role, its owner (a distributed table
 * accepts no second one in a transaction).  User and settings need no PG_TRY:
 * an error ends the (sub)transaction, which puts both back.
 */
typedef struct LoadScope
{
	Oid user;
	int context;
	int nest_level;
} LoadScope;

/*
 * The tables are judged again first (load_check_again()).  From here to
 * load_scope_leave() SPI is connected; background: in the worker.
 */
extern void load_scope_enter(LoadScope *scope, const LoadPlan *plan, bool background);
extern void load_scope_leave(const LoadScope *scope);

/* --------------------------------------------------------------------------
 * load_hook.c: the functions that a source names
 * -------------------------------------------------------------------------- */

/*
 * The source's after_load as schema.function, quoted where needed; NULL: none.
 * 42883, 42809 or 42501 when it cannot be called.
 */
extern char *load_find_after_load(const LoadPlan *plan);

/* Call it, if there is one, in the scope of a load. */
extern void load_call_after_load(const LoadPlan *plan, DateADT day);

#endif /* CONTRATOS_LOAD_INTERNAL_H */
