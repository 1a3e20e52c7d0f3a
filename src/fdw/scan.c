/*
 * scan.c
 *	  The life cycle of a foreign scan.
 *
 * No request is sent before the first row is needed.  Then either the finished job of a
 * load is adopted, or a job is started and waited for in the middle of the statement.
 * Rows are converted as they arrive: data for the whole scan is in a context of its
 * own, data for one row in the executor's per-tuple context.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "executor/executor.h"
#include "foreign/fdwapi.h"
#include "lib/ilist.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"

#include "base/compat.h"
#include "base/failure.h"
#include "base/settings.h"
#include "bigquery/bigquery.h"
#include "bigquery/connection.h"
#include "bigquery/job.h"
#include "bigquery/message.h"
#include "bigquery/request.h"
#include "fdw/scan.h"
#include "fdw/scan_internal.h"
#include "remote/deparse.h"
#include "remote/options.h"
#include "remote/schema.h"
#include "rows/rows.h"
#include "values/values.h"

/* The part of a bad value that a message shows, in bytes. */
#define SHOWN_BYTES 100

static void
begin_rows(ForeignScanState *node, int eflags)
{
	ForeignScan *plan = (ForeignScan *) node->ss.ps.plan;
	MemoryContext context =
		AllocSetContextCreate(node->ss.ps.state->es_query_cxt, "contratos scan", ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	BqScan *scan = palloc0(sizeof(BqScan));
	List *columns = list_nth(plan->fdw_private, SCAN_COLUMNS);
	Oid user = foreign_scan_user_compat(node);

	scan->context = context;
	scan->table = options_table(RelationGetRelid(node->ss.ss_currentRelation));
	scan->userid = OidIsValid(user) ? user : GetUserId();
	scan->pushed = list_nth(plan->fdw_private, SCAN_PUSHED);
	scan->ncolumns = list_length(columns);
	scan->attnums = palloc(sizeof(AttrNumber) * Max(scan->ncolumns, 1));
	for (int i = 0; i < scan->ncolumns; i++)
		scan->attnums[i] = (AttrNumber) list_nth_int(columns, i);
	MemoryContextSwitchTo(old);

	if ((eflags & EXEC_FLAG_EXPLAIN_ONLY) == 0)
		scan_adopt_begin(scan);

	/* the executor's own context: they are part of the plan's state */
	scan->values = ExecInitExprList(plan->fdw_exprs, (PlanState *) node);
	node->fdw_state = scan;
}

bool
scan_is_of_aggregates(const ForeignScanState *node)
{
	return ((ForeignScan *) node->ss.ps.plan)->scan.scanrelid == 0;
}

void
scan_begin(ForeignScanState *node, int eflags)
{
	if (scan_is_of_aggregates(node))
		scan_aggregate_begin(node);
	else
		begin_rows(node, eflags);
}

BqJob *
scan_ask(const BqScan *scan, const BqQuery *query, MemoryContext context, Bigquery **bq)
{
	/* report missing privileges first */
	BqConnection *connection = options_connection(scan->table->relid, scan->userid);
	BqQuestion question = {.query = query, .max_jobs = BIGQUERY_MAX_JOBS};
	BqJob *job;
	Failure f;

	scan_check_filter(scan, connection, query);
	*bq = bigquery_open(connection, context);
	job = bigquery_query(*bq, &question, context, &f);
	if (job == NULL)
		failure_throw(&f);
	return job;
}

static void
ask_for_rows(BqScan *scan)
{
	BqQuery *query = deparse_query(scan->table, scan->attnums, scan->ncolumns, scan->conditions, scan->nconditions);

	scan->job = scan_ask(scan, query, scan->context, &scan->bq);
}

void
scan_check_answer(const BqJob *job, int expected)
{
	if (job->nfields != expected)
		ereport(ERROR, (errcode(ERRCODE_FDW_ERROR),
						errmsg("BigQuery's answer has %d columns where %d were asked for", job->nfields, expected)));
}

char *
scan_table_name(const RemoteTable *table)
{
	return quote_qualified_identifier(get_namespace_name(get_rel_namespace(table->relid)), get_rel_name(table->relid));
}

/* Before the first row: check that each column exists in BigQuery and has the expected type. */
static void
prepare_columns(BqScan *scan)
{
	const RemoteTable *table = scan->table;
	const char *table_name = scan_table_name(table);
	const char *needed;
	Failure f;

	scan_check_answer(scan->job, scan->adoption ? scan->adoption->ncolumns : Max(scan->ncolumns, 1));
	scan->columns = palloc0(sizeof(ScanColumn) * Max(scan->ncolumns, 1));
	for (int i = 0, c = 0; c < table->ncolumns && i < scan->ncolumns; c++)
	{
		const RemoteColumn *column = &table->columns[c];
		ScanColumn *mine = &scan->columns[i];
		const BqField *field;

		if (column->attnum != scan->attnums[i])
			continue;
		mine->column = column;
		mine->position = scan->adoption ? scan_adopt_position(scan->adoption, column->attnum) : i;
		field = &scan->job->fields[mine->position];
		if (!schema_check_column(table_name, column, field, &needed, &f))
			failure_throw(&f);
		scan_check_pushed(scan, column, field);
		if (scan->adoption != NULL && column->attnum == scan->adoption->timestamp_column)
			scan->timestamp_type = column->type;
		mine->reader = values_reader(field, column->type, column->typmod, column->name, &f);
		if (mine->reader == NULL)
			failure_throw(&f);
		i++;
	}
}

/*
 * The shape of tuples of the foreign table for the load's rows; NULL when they cannot
 * be made without the database.
 */
static ReaderShape *
tuple_shape(ForeignScanState *node, const BqScan *scan)
{
	ReaderShape *shape = palloc0(sizeof(ReaderShape));

	shape->desc = node->ss.ss_ScanTupleSlot->tts_tupleDescriptor;
	shape->ncolumns = scan->ncolumns;
	shape->columns = palloc(sizeof(ReaderColumn) * Max(scan->ncolumns, 1));
	for (int i = 0; i < scan->ncolumns; i++)
	{
		const ScanColumn *mine = &scan->columns[i];
		const RemoteColumn *column = mine->column;

		shape->columns[i] = (ReaderColumn){
			.attnum = column->attnum,
			.position = mine->position,
			.simple = values_simple(&scan->job->fields[mine->position], column->type, column->typmod),
			.not_null = column->not_null,
		};
		if (shape->columns[i].simple == VALUE_NOT_SIMPLE)
			return NULL;
	}
	return shape;
}

/* Start reading: the first row is needed. */
static void
start(ForeignScanState *node, BqScan *scan)
{
	MemoryContext old = MemoryContextSwitchTo(scan->context);

	scan_evaluate(node, scan);
	if (!scan->no_rows)
	{
		if (!scan_adopt(scan))
			ask_for_rows(scan);
		prepare_columns(scan);

		bool reporting = scan->role == SCAN_REPORTING;
		int64 parallel_size = -1;

		if (reporting && scan->row_hash == NULL)
		{
			char *forms =
				fingerprint_forms(scan->table, scan->adoption->columns, scan->adoption->ncolumns, scan->job->fields);

			/* without forms BigQuery could not compute the same */
			scan->row_hash = forms != NULL ? rowhash_create(forms) : NULL;
		}
		/* the load's own scan reads all rows, so that a reader worker may read ahead; others may stop at any row */
		if (reporting && settings_min_parallel_load_size >= 0)
			parallel_size = (int64) settings_min_parallel_load_size * 1024 * 1024;
		scan->reader = reader_open(scan->job, scan->row_hash, reporting ? tuple_shape(node, scan) : NULL, parallel_size,
								   scan->context);
	}
	scan->started = true;
	MemoryContextSwitchTo(old);
}

/* A value that cannot be stored without loss: recorded in a load, else an error. */
static void
bad_value(BqScan *scan, const ScanColumn *mine, const RowsCell *cell, const char *reason)
{
	int64 row = reader_rows(scan->reader);

	if (scan->adoption != NULL)
	{
		if (!scan->is_new_row)
			return;
		scan->adoption->values_altered++;
		scan->adoption->reject(scan->adoption->arg, row, mine->column->name, cell, reason);
		return;
	}
	if (mine->column->null_on_bad_value)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_TEXT_REPRESENTATION),
			 errmsg("value of column \"%s\" in row " INT64_FORMAT " cannot be stored without loss", mine->column->name,
					row),
			 errdetail("\"%s\": %s.", values_shown(cell, SHOWN_BYTES), reason),
			 errhint("Set the column's or the foreign table's option on_bad_value to 'null' to read NULL instead.")));
}

static void
refuse_null(const BqScan *scan, const ScanColumn *mine, const char *reason)
{
	ereport(
		ERROR,
		(errcode(ERRCODE_NOT_NULL_VIOLATION),
		 errmsg("null value in column \"%s\" of foreign table \"%s\"", mine->column->name,
				get_rel_name(scan->table->relid)),
		 errdetail("Row " INT64_FORMAT ": %s.", reader_rows(scan->reader),
				   reason ? reason : "BigQuery's value is NULL"),
		 mine->column->not_null
			 ? errhint("The column is declared NOT NULL: use ALTER FOREIGN TABLE ... ALTER COLUMN ... DROP NOT NULL "
					   "to allow NULL.")
			 : errhint("The column's domain does not allow NULL: declare the column as the domain's base type.")));
}

static void
fill_slot(BqScan *scan, const RowsCell *cells, TupleTableSlot *slot)
{
	memset(slot->tts_isnull, true, slot->tts_tupleDescriptor->natts);
	for (int i = 0; i < scan->ncolumns; i++)
	{
		ScanColumn *mine = &scan->columns[i];
		const RowsCell *cell = &cells[mine->position];
		int attribute = mine->column->attnum - 1;
		const char *reason = NULL;
		ValueResult result =
			values_read(mine->reader, cell, &slot->tts_values[attribute], &slot->tts_isnull[attribute], &reason);

		if (unlikely(result != VALUE_OK))
			bad_value(scan, mine, cell, reason);
		if (slot->tts_isnull[attribute] && (mine->column->not_null || !values_allows_null(mine->reader)))
			refuse_null(scan, mine, reason);
		if (scan->is_new_row && mine->column->attnum == scan->adoption->timestamp_column &&
			!slot->tts_isnull[attribute])
			scan_adopt_note_timestamp(scan->adoption, mine->column->type, slot->tts_values[attribute]);
	}
}

/* A row that the reader worker made into a tuple has no bad value. */
static TupleTableSlot *
store_tuple(const BqScan *scan, HeapTuple tuple, TupleTableSlot *slot)
{
	ExecForceStoreHeapTuple(tuple, slot, false);
	if (scan->is_new_row && scan->adoption->timestamp_column > 0)
	{
		/* the slot keeps the value: the condition of the statement needs it, too */
		bool null;
		Datum value = slot_getattr(slot, scan->adoption->timestamp_column, &null);

		if (!null)
			scan_adopt_note_timestamp(scan->adoption, scan->timestamp_type, value);
	}
	return slot;
}

static TupleTableSlot *
next_scan_row(BqScan *scan, TupleTableSlot *slot)
{
	ReaderRow row;
	bool found;

	ExecClearTuple(slot);
	if (scan->no_rows)
		return slot;
	found = reader_next(scan->reader, &row);
	scan_adopt_report(scan, !found);
	if (!found)
		return slot;
	/* computed from the texts on the wire: conversion may lose something */
	if (scan->is_new_row && scan->row_hash != NULL)
		reader_note(scan->reader);
	if (row.tuple != NULL)
		return store_tuple(scan, row.tuple, slot);
	fill_slot(scan, row.cells, slot);
	return ExecStoreVirtualTuple(slot);
}

TupleTableSlot *
scan_next(ForeignScanState *node)
{
	BqScan *scan = node->fdw_state;
	TupleTableSlot *slot = node->ss.ss_ScanTupleSlot;

	if (scan_is_of_aggregates(node))
		return scan_aggregate_next(node);
	if (scan->role == SCAN_ORPHANED)
		scan_adopt_refuse_orphan(scan);
	if (!scan->started)
		start(node, scan);
	if (scan->role != SCAN_REPORTING)
		return next_scan_row(scan, slot);

	scan->adoption->at_row = 0;
	slot = next_scan_row(scan, slot);
	if (!TupIsNull(slot))
		scan->adoption->at_row = reader_rows(scan->reader);
	return slot;
}

static void
stop_reading(BqScan *scan)
{
	reader_close(scan->reader);
	scan->reader = NULL;
	if (scan->bq != NULL)
	{
		bigquery_free_job(scan->job);
		bigquery_close(scan->bq);
	}
	scan_adopt_leave(scan);
	scan->bq = NULL;
	scan->job = NULL;
	scan->adoption = NULL;
	scan->started = false;
}

void
scan_again(ForeignScanState *node)
{
	BqScan *scan = node->fdw_state;

	if (scan_is_of_aggregates(node))
	{
		scan_aggregate_again(node);
		return;
	}
	if (!scan->started || scan->role == SCAN_ORPHANED)
		return;
	/* if the query's rows change, it needs another job */
	if (node->ss.ps.chgParam != NULL && (!scan_evaluate(node, scan) || scan->reader == NULL))
	{
		stop_reading(scan);
		return;
	}
	if (scan->reader != NULL)
		reader_rewind(scan->reader);
}

void
scan_end(ForeignScanState *node)
{
	BqScan *scan = node->fdw_state;

	/* there is no scan to end if scan_begin() did not create one */
	if (scan == NULL)
		return;
	if (scan_is_of_aggregates(node))
	{
		scan_aggregate_end(node);
		return;
	}
	stop_reading(scan);
	MemoryContextDelete(scan->context);
	node->fdw_state = NULL;
}

const BqJob *
scan_job(ForeignScanState *node, int *pages, int64 *bytes)
{
	BqScan *scan = node->fdw_state;

	if (scan_is_of_aggregates(node))
		return scan_aggregate_job(node, pages, bytes);
	if (scan->reader == NULL)
		return NULL;
	*pages = reader_pages(scan->reader);
	*bytes = reader_bytes(scan->reader);
	return scan->job;
}
