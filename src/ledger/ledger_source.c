/*
 * ledger_source.c
 *	  Sources: rows of contratos_sources, and the next action for a source.
 *
 * Columns are always found by name and never by number: a library that is older
 * than the tables (after ALTER EXTENSION UPDATE, in a backend that loaded the old
 * one) must go on working.
 */
#include "postgres.h"

#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "executor/tuptable.h"
#include "lib/stringinfo.h"
#include "nodes/pg_list.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "utils/varlena.h"

#include "base/day.h"
#include "base/settings.h"
#include "ledger/extension.h"
#include "ledger/ledger_history.h"
#include "ledger/ledger_internal.h"
#include "ledger/ledger_source.h"
#include "ledger/schedule.h"
#include "ledger/trust.h"

bool
ledger_is_untouched(void)
{
	LedgerArgs args = {0};
	bool found;

	ledger_execute("contratos_sources", "SELECT 1 FROM %s.contratos_sources LIMIT 1", &args, SPI_OK_SELECT,
				   ledger_read_found, &found);
	if (!found)
		ledger_execute("contratos_runs", "SELECT 1 FROM %s.contratos_runs LIMIT 1", &args, SPI_OK_SELECT,
					   ledger_read_found, &found);
	return !found;
}

bool
ledger_has_source(const char *name)
{
	LedgerArgs args = {0};
	bool found;

	ledger_text(&args, "name", name);
	ledger_execute("contratos_sources", "SELECT 1 FROM %s.contratos_sources WHERE name = $1", &args, SPI_OK_SELECT,
				   ledger_read_found, &found);
	return found;
}

void
ledger_fill_source(LedgerSource *source, uint64 row)
{
	bool isnull;

	source->name = ledger_value_text(row, SOURCE_NAME);
	source->remote_table = ledger_value_text(row, SOURCE_REMOTE_TABLE);
	source->target_table = ledger_value_text(row, SOURCE_TARGET_TABLE);
	source->timestamp_column = ledger_value_text(row, SOURCE_TIMESTAMP_COLUMN);
	source->start_date = DatumGetDateADT(ledger_value(row, SOURCE_START_DATE, &isnull));
	source->max_shrink = DatumGetFloat8(ledger_value(row, SOURCE_MAX_SHRINK, &isnull));
	source->allow_empty = DatumGetBool(ledger_value(row, SOURCE_ALLOW_EMPTY, &isnull));
	source->after_load = ledger_value_text(row, SOURCE_AFTER_LOAD);
	source->snapshot = DatumGetBool(ledger_value(row, SOURCE_SNAPSHOT, &isnull));
	source->registered_at = ledger_value_time(row, SOURCE_REGISTERED_AT);
}

/* Into a LedgerSource *, which stays NULL when there is no row. */
static void
ledger_read_source(void *result)
{
	if (SPI_processed == 0)
		return;
	LedgerSource *source = palloc0(sizeof(LedgerSource));
	ledger_fill_source(source, 0);
	*(LedgerSource **) result = source;
}

/* Raises 42704, with the names of the existing sources. */
static void
ledger_no_such_source(const char *name)
{
	LedgerArgs args = {0};
	char *names;

	ledger_execute("contratos_sources",
				   "SELECT string_agg(name, ', ' ORDER BY name) FROM (SELECT name FROM %s.contratos_sources "
				   "ORDER BY name LIMIT 20) s",
				   &args, SPI_OK_SELECT, ledger_read_text, &names);
	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_OBJECT), errmsg("source \"%s\" does not exist", name),
			 names ? errhint("Existing sources: %s.", names)
				   : errhint("There is none yet: call contratos_setup(), or insert a row into contratos_sources.")));
}

LedgerSource *
ledger_source(const char *name)
{
	LedgerArgs args = {0};
	LedgerSource *source = NULL;

	ledger_text(&args, "name", name);
	ledger_execute("contratos_sources", "SELECT " LEDGER_SOURCE_COLUMNS " FROM %s.contratos_sources WHERE name = $1",
				   &args, SPI_OK_SELECT, ledger_read_source, &source);
	if (source == NULL)
		ledger_no_such_source(name);
	return source;
}

bool
ledger_add_source(const LedgerSource *source, bool enabled)
{
	LedgerArgs args = {0};
	bool added;

	ledger_text(&args, "name", source->name);
	ledger_text(&args, "remote_table", source->remote_table);
	ledger_text(&args, "target_table", source->target_table);
	ledger_text(&args, "timestamp_column", source->timestamp_column);
	ledger_arg(&args, "snapshot", BOOLOID, BoolGetDatum(source->snapshot), false);
	ledger_arg(&args, "enabled", BOOLOID, BoolGetDatum(enabled), false);
	ledger_execute("contratos_sources",
				   "INSERT INTO %s.contratos_sources (name, remote_table, target_table, timestamp_column, snapshot, "
				   "enabled) VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (name) DO NOTHING",
				   &args, SPI_OK_INSERT, ledger_read_found, &added);
	return added;
}

static char *
slot_text(TupleTableSlot *slot, Oid relid, const char *column)
{
	bool isnull;

	return TextDatumGetCString(slot_getattr(slot, get_attnum(relid, column), &isnull)); /* NOT NULL, all of them */
}

List *
ledger_targets(bool alone)
{
	List *targets = NIL;
	Relation sources =
		table_open(extension_relation("contratos_sources"), alone ? ShareUpdateExclusiveLock : AccessShareLock);
	Oid relid = RelationGetRelid(sources);

	CommandCounterIncrement();
	Snapshot snapshot = RegisterSnapshot(GetLatestSnapshot());
	TableScanDesc scan = table_beginscan(sources, snapshot, 0, NULL);
	TupleTableSlot *slot = table_slot_create(sources, NULL);
	while (table_scan_getnextslot(scan, ForwardScanDirection, slot))
	{
		bool isnull;
		LedgerTarget *target = palloc(sizeof(LedgerTarget));
		target->source = slot_text(slot, relid, "name");
		target->target_table = slot_text(slot, relid, "target_table");
		target->registered_at = DatumGetTimestampTz(slot_getattr(slot, get_attnum(relid, "registered_at"), &isnull));
		targets = lappend(targets, target);
	}
	ExecDropSingleTupleTableSlot(slot);
	table_endscan(scan);
	UnregisterSnapshot(snapshot);
	table_close(sources, NoLock);
	return targets;
}

char *
ledger_normalize_name(const char *name, const char *column)
{
	RangeVar *range = makeRangeVarFromNameList(textToQualifiedNameList(cstring_to_text(name)));
	Oid relid = RangeVarGetRelid(range, NoLock, true);

	if (OidIsValid(relid))
	{
		char *schema = get_namespace_name(get_rel_namespace(relid));
		char *relation = get_rel_name(relid);
		if (get_rel_persistence(relid) == RELPERSISTENCE_TEMP)
			ereport(ERROR, (errcode(ERRCODE_INVALID_TABLE_DEFINITION),
							errmsg("%s of a source cannot be a temporary table", column),
							errhint("Name a table that exists in other sessions as well.")));
		if (schema && relation)
			return quote_qualified_identifier(schema, relation);
	}

	bool has_schema = range->schemaname != NULL;
	ereport(has_schema ? WARNING : ERROR,
			(errcode(ERRCODE_UNDEFINED_TABLE), errmsg("relation \"%s\", %s of a source, does not exist", name, column),
			 has_schema ? errhint("Make it before the source is loaded.")
						: errhint("Write it as schema.table, or make it first.")));
	return quote_qualified_identifier(range->schemaname, range->relname);
}

/* --------------------------------------------------------------------------
 * Sources with their schedules
 * -------------------------------------------------------------------------- */

/* A schedule's columns, with their numbers after those of the source. */
#define SCHEDULE_COLUMNS                                                                                               \
	"run_at, enabled, catchup_days, recheck_days, late_checks, (extract(epoch FROM ready_timeout) * "                  \
	"1000000)::bigint, "                                                                                               \
	"(extract(epoch FROM ready_interval) * 1000000)::bigint, on_failure, s.xmin::text::bigint, answer.id, "            \
	"answer.at, outage.id, outage.at, outage.failures"

/* The last run that the server has answered, if only with an error or with "no rows yet". */
#define ANSWER                                                                                                         \
	"SELECT r.id, coalesce(r.finished_at, r.started_at) AS at FROM %1$s.contratos_runs r "                             \
	"WHERE r.source = s.name AND NOT r.only_cost AND (r.status IN ('succeeded', 'unchanged', 'differs', 'refused') "   \
	"OR (r.status = 'waiting' AND r.sqlstate <> '55P03') OR r.reason <> '" LEDGER_UNREACHABLE "') "                    \
	"ORDER BY r.id DESC LIMIT 1"

/* Later attempts, in which it could not be reached. */
#define OUTAGE                                                                                                         \
	"SELECT max(r.id) AS id, max(r.finished_at) AS at, count(*) AS failures FROM %1$s.contratos_runs r "               \
	"WHERE r.source = s.name AND r.reason = '" LEDGER_UNREACHABLE "' AND r.id > coalesce(answer.id, 0)"

enum
{
	SOURCE_RUN_AT = SOURCE_NEXT,
	SOURCE_ENABLED,
	SOURCE_CATCHUP_DAYS,
	SOURCE_RECHECK_DAYS,
	SOURCE_LATE_CHECKS,
	SOURCE_READY_TIMEOUT,
	SOURCE_READY_INTERVAL,
	SOURCE_ON_FAILURE,
	SOURCE_VERSION,
	SOURCE_ANSWER,
	SOURCE_ANSWERED_AT,
	SOURCE_FAILURE,
	SOURCE_UNREACHABLE_AT,
	SOURCE_FAILURES
};

#define LONGEST_OUTAGE_WAIT (6 * USECS_PER_HOUR)

/*
 * How long the other work of a server waits that could not be reached: longer each
 * time, so that an outage of days is a few attempts, however many days there are.
 */
static int64
outage_wait(const ScheduleRules *rules, int64 failures)
{
	int64 wait = failures == 0 ? 0 : Max(rules->retry_delay, USECS_PER_SEC);

	for (int64 i = 1; i < failures && wait < LONGEST_OUTAGE_WAIT; i++)
		wait *= 2;
	return Min(wait, LONGEST_OUTAGE_WAIT);
}

/* Into a List * of LedgerSchedule. */
static void
read_schedules(void *result)
{
	List *schedules = NIL;

	for (uint64 row = 0; row < SPI_processed; row++)
	{
		bool isnull;
		LedgerSchedule *schedule = palloc0(sizeof(LedgerSchedule));
		schedule->rules.retries = settings_retries;
		schedule->rules.retry_delay = (int64) settings_retry_delay * 1000;
		ledger_fill_source(&schedule->source, row);
		schedule->rules.start_date = schedule->source.start_date;
		schedule->rules.snapshot = schedule->source.timestamp_column == NULL;
		schedule->rules.run_at = DatumGetTimeADT(ledger_value(row, SOURCE_RUN_AT, &isnull));
		schedule->rules.enabled = DatumGetBool(ledger_value(row, SOURCE_ENABLED, &isnull));
		schedule->rules.catchup_days = DatumGetInt32(ledger_value(row, SOURCE_CATCHUP_DAYS, &isnull));
		schedule->rules.recheck_days = DatumGetInt32(ledger_value(row, SOURCE_RECHECK_DAYS, &isnull));
		schedule->rules.late_checks = DatumGetBool(ledger_value(row, SOURCE_LATE_CHECKS, &isnull));
		schedule->rules.ready_timeout = ledger_value_int64(row, SOURCE_READY_TIMEOUT, 0);
		schedule->rules.ready_interval = ledger_value_int64(row, SOURCE_READY_INTERVAL, 0);
		schedule->on_failure = ledger_value_text(row, SOURCE_ON_FAILURE);
		schedule->version = (uint64) ledger_value_int64(row, SOURCE_VERSION, 0);
		schedule->answer = ledger_value_int64(row, SOURCE_ANSWER, 0);
		schedule->rules.answered_at = ledger_value_time(row, SOURCE_ANSWERED_AT);
		schedule->failure = ledger_value_int64(row, SOURCE_FAILURE, 0);
		/* the clock may have been set back */
		schedule->unreachable_at = Min(ledger_value_time(row, SOURCE_UNREACHABLE_AT), settings_now());
		schedule->rules.postponed_until =
			schedule->unreachable_at + outage_wait(&schedule->rules, ledger_value_int64(row, SOURCE_FAILURES, 0));
		schedules = lappend(schedules, schedule);
	}
	*(List **) result = schedules;
}

List *
ledger_schedules(const char *name)
{
	LedgerArgs args = {0};
	List *schedules;

	ledger_text(&args, "name", name);
	ledger_execute("contratos_sources",
				   "SELECT " LEDGER_SOURCE_COLUMNS ", " SCHEDULE_COLUMNS
				   " FROM %1$s.contratos_sources s LEFT JOIN LATERAL (" ANSWER ") answer ON true, "
				   "LATERAL (" OUTAGE ") outage WHERE $1 IS NULL OR name = $1 ORDER BY name",
				   &args, SPI_OK_SELECT, read_schedules, &schedules);
	return schedules;
}

/* --------------------------------------------------------------------------
 * The next action: the only place that combines a source's row, the settings, its
 * days and the schedule's rules, for the worker and for contratos_status.
 * -------------------------------------------------------------------------- */

/* From run_at on, yesterday's load comes first: a queue that stopped at the byte budget continues after it. */
static TimestampTz
queue_from(const LedgerSchedule *schedule, TimestampTz now)
{
	const char *source = schedule->source.name;
	TimestampTz due = schedule_due_at(&schedule->rules, day_yesterday(now));

	if (ledger_ran_out(source, now))
		return schedule_due_at(&schedule->rules, day_of(now));
	return now < due && ledger_ran_out(source, now - USECS_PER_DAY) ? due : 0;
}

ScheduleAction
ledger_next(LedgerSchedule *schedule, TimestampTz changed_at, TimestampTz now, int64 *open_run)
{
	ScheduleRules *rules = &schedule->rules;
	ScheduleDay *days;
	ScheduleAction action;
	int ndays;

	rules->changed_at = changed_at;
	/* the change may be what the server needed */
	if (changed_at > schedule->unreachable_at)
		rules->postponed_until = 0;
	rules->queue_from = queue_from(schedule, now);
	days = ledger_days(schedule->source.name, schedule_first_day(rules, now), day_yesterday(now), &ndays);
	action = schedule_next(rules, days, ndays, now);
	*open_run = 0;
	for (int i = 0; i < ndays; i++)
		if (days[i].day == action.day)
			*open_run = days[i].run;
	return action;
}
