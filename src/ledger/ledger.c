/*
 * ledger.c
 *	  SQL on contratos_sources, contratos_runs and contratos_rejects.
 *
 * Columns are always named and never counted: a library that is older
 * than the tables (after ALTER EXTENSION UPDATE, in a backend that loaded the
 * old one) must go on working.
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
#include "ledger/ledger.h"
#include "ledger/ledger_internal.h"

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
	source->name = ledger_value_text(row, 1);
	source->remote_table = ledger_value_text(row, 2);
	source->target_table = ledger_value_text(row, 3);
	source->timestamp_column = ledger_value_text(row, 4);
	source->start_date = DatumGetDateADT(ledger_value(row, 5, &isnull));
	source->max_shrink = DatumGetFloat8(ledger_value(row, 6, &isnull));
	source->allow_empty = DatumGetBool(ledger_value(row, 7, &isnull));
	source->after_load = ledger_value_text(row, 8);
	source->snapshot = DatumGetBool(ledger_value(row, 9, &isnull));
	source->registered_at = ledger_value_time(row, 10);
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

/* Raises 42704, with the names there are. */
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
			 names ? errhint("There are: %s.", names)
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
ledger_add_source(const char *name, const char *remote_table, const char *target_table, const char *timestamp_column)
{
	LedgerArgs args = {0};
	bool added;
	ledger_text(&args, "name", name);
	ledger_text(&args, "remote_table", remote_table);
	ledger_text(&args, "target_table", target_table);
	ledger_text(&args, "timestamp_column", timestamp_column);
	ledger_execute("contratos_sources",
				   "INSERT INTO %s.contratos_sources (name, remote_table, target_table, timestamp_column) "
				   "VALUES ($1, $2, $3, $4) ON CONFLICT (name) DO NOTHING",
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

int64
ledger_last_rows(const char *source, DateADT day)
{
	LedgerArgs args = {0};
	int64 rows = -1;
	ledger_text(&args, "source", source);
	ledger_arg(&args, "day", DATEOID, DateADTGetDatum(day), false);
	ledger_execute("contratos_runs",
				   "SELECT rows_loaded FROM %s.contratos_runs "
				   "WHERE source = $1 AND day = $2 AND status = 'succeeded' ORDER BY id DESC LIMIT 1",
				   &args, SPI_OK_SELECT, ledger_read_int64, &rows);
	return rows;
}

/* "INSERT INTO %s.table (names…) VALUES ($1, …) RETURNING id" */
static char *
ledger_insert_text(const char *table, const LedgerArgs *args)
{
	StringInfoData names, places;
	initStringInfo(&names);
	initStringInfo(&places);
	for (int i = 0; i < args->n; i++)
	{
		appendStringInfo(&names, "%s%s", i > 0 ? ", " : "", args->names[i]);
		appendStringInfo(&places, "%s$%d", i > 0 ? ", " : "", i + 1);
	}
	return psprintf("INSERT INTO %%s.%s (%s) VALUES (%s) RETURNING id", table, names.data, places.data);
}

/* As contratos_runs has them. */
static const char *const status_names[] = {
	[RUN_SUCCEEDED] = "succeeded", [RUN_FAILED] = "failed",			  [RUN_REFUSED] = "refused",
	[RUN_CANCELED] = "canceled",   [RUN_INTERRUPTED] = "interrupted", [RUN_UNCHANGED] = "unchanged",
	[RUN_DIFFERS] = "differs",	   [RUN_QUEUED] = "queued",			  [RUN_WAITING] = "waiting",
	[RUN_RUNNING] = "running",
};

StaticAssertDecl(lengthof(status_names) == RUN_NSTATUSES, "each status has a name");

const char *
ledger_status_name(RunStatus status)
{
	return status_names[status];
}

RunStatus
ledger_status(const char *name)
{
	for (int i = 0; i < RUN_NSTATUSES; i++)
		if (strcmp(name, status_names[i]) == 0)
			return (RunStatus) i;
	elog(ERROR, "contratos_runs has a status that is none: \"%s\"", name);
	return RUN_FAILED;
}

LedgerRun
ledger_new_run(const char *source, DateADT day, RunStatus status)
{
	return (LedgerRun){
		.source = source,
		.day = day,
		.status = status,
		.loaded = DAY_NOT_KNOWN,
		.target = DAY_NOT_KNOWN,
		.rows_replaced = -1,
		.rows_inserted = -1,
		.values_altered = -1,
		.bytes_processed = -1,
		.bytes_billed = -1,
		.pages = -1,
	};
}

void
ledger_add_outcome(LedgerArgs *args, const LedgerRun *run)
{
	ledger_count(args, "rows_loaded", run->loaded.rows);
	ledger_count(args, "rows_replaced", run->rows_replaced);
	ledger_count(args, "rows_inserted", run->rows_inserted);
	ledger_count(args, "values_altered", run->values_altered);
	ledger_count(args, "bytes_processed", run->bytes_processed);
	ledger_count(args, "bytes_billed", run->bytes_billed);
	ledger_count(args, "pages", run->pages);
	ledger_time(args, "source_max_timestamp", run->loaded.max_timestamp, !run->loaded.has_max);
	ledger_text(args, "fingerprint", run->loaded.fingerprint[0] ? run->loaded.fingerprint : NULL);
	ledger_count(args, "target_rows", run->target.rows);
	ledger_time(args, "target_max_timestamp", run->target.max_timestamp, !run->target.has_max);
	ledger_text(args, "sqlstate", run->sqlstate);
	ledger_text(args, "reason", run->reason);
	ledger_text(args, "error", run->error);
}

int64
ledger_record(const LedgerRun *run)
{
	LedgerArgs args = {0};
	ledger_text(&args, "source", run->source);
	ledger_arg(&args, "day", DATEOID, DateADTGetDatum(run->day), false);
	ledger_text(&args, "cause", run->cause);
	ledger_text(&args, "status", ledger_status_name(run->status));
	ledger_time(&args, "started_at", run->started_at, false);
	/* the clock may have been set back meanwhile; that must not undo a load */
	ledger_time(&args, "finished_at", Max(run->started_at, settings_now()), false);
	ledger_text(&args, "job_id", run->job_id);
	ledger_add_outcome(&args, run);

	int64 id = 0;
	ledger_execute("contratos_runs", ledger_insert_text("contratos_runs", &args), &args, SPI_OK_INSERT_RETURNING,
				   ledger_read_int64, &id);
	ledger_notify(run, id);
	return id;
}

void
ledger_record_rejects(int64 run, const LedgerReject *rejects, int nrejects)
{
	if (nrejects == 0)
		return;
	Datum *rows = palloc(4 * nrejects * sizeof(Datum));
	Datum *columns = rows + nrejects, *raws = columns + nrejects, *reasons = raws + nrejects;
	bool *nulls = palloc0(nrejects * sizeof(bool));
	for (int i = 0; i < nrejects; i++)
	{
		rows[i] = Int64GetDatum(rejects[i].row_number);
		columns[i] = CStringGetTextDatum(rejects[i].column);
		nulls[i] = rejects[i].raw_value == NULL;
		raws[i] = nulls[i] ? (Datum) 0 : CStringGetTextDatum(rejects[i].raw_value);
		reasons[i] = CStringGetTextDatum(rejects[i].reason);
	}

	LedgerArgs args = {0};
	int dimension = nrejects, bound = 1;
	ArrayType *raw = construct_md_array(raws, nulls, 1, &dimension, &bound, TEXTOID, -1, false, TYPALIGN_INT);
	ledger_count(&args, "run", run);
	ledger_arg(&args, "row_number", INT8ARRAYOID,
			   PointerGetDatum(construct_array(rows, nrejects, INT8OID, 8, FLOAT8PASSBYVAL, TYPALIGN_DOUBLE)), false);
	ledger_arg(&args, "column_name", TEXTARRAYOID,
			   PointerGetDatum(construct_array(columns, nrejects, TEXTOID, -1, false, TYPALIGN_INT)), false);
	ledger_arg(&args, "raw_value", TEXTARRAYOID, PointerGetDatum(raw), false);
	ledger_arg(&args, "reason", TEXTARRAYOID,
			   PointerGetDatum(construct_array(reasons, nrejects, TEXTOID, -1, false, TYPALIGN_INT)), false);
	ledger_execute("contratos_rejects",
				   "INSERT INTO %s.contratos_rejects (run, row_number, column_name, raw_value, reason) SELECT $1, r.* "
				   "FROM ROWS FROM (unnest($2), unnest($3), unnest($4), unnest($5)) r",
				   &args, SPI_OK_INSERT, NULL, NULL);
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
							errhint("Name a table that is still there in other sessions.")));
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
