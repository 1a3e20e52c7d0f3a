/*
 * ledger_source.h
 *	  Sources: rows of contratos_sources, and the next action for a source.
 *
 * In this and the other ledger headers, every function connects to SPI by itself,
 * runs as the owner of the table it touches (so that a role that may call
 * contratos_run() needs no privileges on the tables) with a pinned search_path,
 * and restores user and settings.  Times are written from settings_now(), with
 * which the schedule compares them.
 */
#ifndef CONTRATOS_LEDGER_SOURCE_H
#define CONTRATOS_LEDGER_SOURCE_H

#include "postgres.h"

#include "datatype/timestamp.h"
#include "nodes/pg_list.h"
#include "utils/date.h"

#include "ledger/schedule.h"

/* A row of contratos_sources; strings in CurrentMemoryContext. */
typedef struct LedgerSource
{
	char *name;
	char *remote_table; /* schema.table, quoted where needed */
	char *target_table;
	char *timestamp_column; /* NULL: its rows do not belong to days … */
	bool snapshot; /* … and then this must be true */
	DateADT start_date;
	double max_shrink;
	bool allow_empty;
	char *after_load; /* called at the end of each load; NULL: none */
	TimestampTz registered_at;
} LedgerSource;

/* Neither a source nor a run: the built-in source has never been set up. */
extern bool ledger_is_untouched(void);

/*
 * The source of that name, in CurrentMemoryContext; 42704, naming the existing
 * ones, when it does not exist.
 */
extern LedgerSource *ledger_source(const char *name);

/* Whether there is a source of that name. */
extern bool ledger_has_source(const char *name);

/* The target of a source. */
typedef struct LedgerTarget
{
	char *source;
	char *target_table;
	TimestampTz registered_at;
} LedgerTarget;

/*
 * The targets of all sources that exist by now (a List of LedgerTarget), including
 * those that this statement has inserted, whatever this transaction's isolation
 * level lets it see.  `alone`: wait for other transactions that have registered a
 * source, and make others wait, until this one ends.
 */
extern List *ledger_targets(bool alone);

/*
 * Insert a source, unless one of that name exists: name, tables, timestamp_column and
 * snapshot; all else has its default.
 */
extern bool ledger_add_source(const LedgerSource *source, bool enabled);

/*
 * The trigger function's work: the name of a relation as schema.table, quoted
 * where needed, in CurrentMemoryContext.  A name without schema that is not found:
 * 42P01.  One with schema that is not found: as it is written, with a WARNING (a
 * restore may fill this table before it creates that one).  A temporary table:
 * 42P16.
 */
extern char *ledger_normalize_name(const char *name, const char *column);

/*
 * All sources, by name, or the one called `name` (if not NULL): the LedgerSource
 * and the rules that decide when it is loaded.  `version` changes with every
 * UPDATE of the row.
 */
typedef struct LedgerSchedule
{
	LedgerSource source;
	ScheduleRules rules; /* those from the row, its runs and the settings; ledger_next() sets the rest */
	char *on_failure; /* NULL: none */
	uint64 version;
	/*
	 * By the runs of this source alone; load_schedules() makes them those of all
	 * sources of its server.
	 */
	int64 answer; /* the last run that the server has answered; 0: none */
	int64 failure; /* the last run later than that which could not reach it; 0: none */
	TimestampTz unreachable_at; /* when that ended; 0: there is none */
} LedgerSchedule;

extern List *ledger_schedules(const char *name);

/*
 * The result of schedule_next() for the source at `now`, by its row, its days, and
 * `changed_at` (ScheduleRules; 0).  *open_run: the queued or waiting row of that
 * day; 0: there is none.  Writes nothing, so that it works on a standby.
 */
extern ScheduleAction ledger_next(LedgerSchedule *schedule, TimestampTz changed_at, TimestampTz now, int64 *open_run);

#endif /* CONTRATOS_LEDGER_SOURCE_H */
