/*
 * scan_aggregate.c
 *	  A scan of aggregates, which BigQuery computes: one row.
 *
 * The plan below it computes the same aggregates locally, from a scan of the foreign
 * table.  The conditions, the table and the role are that scan's.  It is executed only
 * if BigQuery's result might be another one, and then decides everything else, errors
 * included: the value of a condition that cannot be sent, a condition that no row
 * satisfies, a load's job that must be adopted, a column of another type, NULL in a
 * column that is NOT NULL.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/executor.h"
#include "lib/stringinfo.h"
#include "utils/memutils.h"

#include "base/failure.h"
#include "bigquery/bigquery.h"
#include "bigquery/bqtype.h"
#include "bigquery/job.h"
#include "bigquery/message.h"
#include "fdw/pushdown.h"
#include "fdw/scan.h"
#include "fdw/scan_internal.h"
#include "read/reader.h"
#include "remote/deparse.h"
#include "remote/options.h"
#include "remote/schema.h"
#include "rows/rows.h"
#include "values/values.h"

/* The side that computes the aggregates. */
typedef enum Place
{
	PLACE_UNDECIDED = 0,
	PLACE_REMOTE,
	PLACE_LOCAL /* and it stays so, as the local plan is being executed */
} Place;

typedef struct AggregateScan
{
	PlanState *local; /* the local plan … */
	ForeignScanState *below; /* … and its scan */
	List *items;
	List *outputs;
	List *guarded;
	Place place;
	bool returned; /* the row has been returned */

	/* if BigQuery computes them */
	MemoryContext context; /* of the rest */
	Bigquery *bq;
	BqJob *job;
	Datum *values; /* of the items */
	bool *nulls;
	int pages;
	int64 bytes;
} AggregateScan;

void
scan_aggregate_begin(ForeignScanState *node)
{
	List *private = ((ForeignScan *) node->ss.ps.plan)->fdw_private;
	AggregateScan *scan = palloc0(sizeof(AggregateScan));
	PlanState *below = outerPlanState(node);

	scan->local = below;
	while (!IsA(below, ForeignScanState))
		below = outerPlanState(below);
	scan->below = (ForeignScanState *) below;
	scan->items = list_nth(private, PUSHDOWN_ITEMS);
	scan->outputs = list_nth(private, PUSHDOWN_OUTPUTS);
	scan->guarded = list_nth(private, PUSHDOWN_GUARDED);
	scan->context =
		AllocSetContextCreate(node->ss.ps.state->es_query_cxt, "contratos aggregates", ALLOCSET_SMALL_SIZES);
	node->fdw_state = scan;
}

static BqScan *
rows_below(const AggregateScan *scan)
{
	return scan->below->fdw_state;
}

static PushdownItem
item_kind(const List *item)
{
	return (PushdownItem) linitial_int(item);
}

static const RemoteColumn *
item_column(const AggregateScan *scan, const List *item)
{
	return deparse_column(rows_below(scan)->table, (AttrNumber) lsecond_int(item));
}

/* --------------------------------------------------------------------------
 * The query
 * -------------------------------------------------------------------------- */

static const char *
item_text(const AggregateScan *scan, const List *item)
{
	static const char *const functions[] = {
		[PUSHDOWN_COUNT] = "COUNT", [PUSHDOWN_MIN] = "MIN", [PUSHDOWN_MAX] = "MAX", [PUSHDOWN_ANY] = "ANY_VALUE"};

	if (item_kind(item) == PUSHDOWN_COUNT_ROWS)
		return "COUNT(*)";
	return psprintf("%s(%s)", functions[item_kind(item)], deparse_quote(item_column(scan, item)->remote_name));
}

static BqQuery *
make_query(const AggregateScan *scan)
{
	BqScan *rows = rows_below(scan);
	StringInfoData list;
	ListCell *cell;
	int n;
	RemoteCondition *conditions = scan_known_conditions(rows, &n);

	initStringInfo(&list);
	foreach (cell, scan->items)
		appendStringInfo(&list, "%s%s", list.len > 0 ? ", " : "", item_text(scan, lfirst(cell)));
	return deparse_select(rows->table, list.data, conditions, n);
}

/* --------------------------------------------------------------------------
 * The answer
 * -------------------------------------------------------------------------- */

/*
 * Whether the columns have the types that were assumed when the aggregates were planned.
 * Types that no query may have are errors, as for a scan of rows.
 */
static bool
types_fit(const AggregateScan *scan)
{
	const BqScan *rows = rows_below(scan);
	const char *table_name = scan_table_name(rows->table);

	scan_check_answer(scan->job, list_length(scan->items));
	for (int i = 0; i < scan->job->nfields; i++)
	{
		const List *item = list_nth(scan->items, i);
		const BqField *field = &scan->job->fields[i];
		const RemoteColumn *column;
		const char *needed;
		Failure f;

		if (item_kind(item) == PUSHDOWN_COUNT_ROWS || item_kind(item) == PUSHDOWN_COUNT)
			continue;
		column = item_column(scan, item);
		if (!schema_check_column(table_name, column, field, &needed, &f))
			failure_throw(&f);
		scan_check_pushed(rows, column, field);
		if (field->type != deparse_column_type(column) || field->repeated || field->finer)
			return false;
	}
	return true;
}

static void
refuse_answer(const AggregateScan *scan)
{
	ereport(ERROR, (errcode(ERRCODE_FDW_ERROR),
					errmsg("BigQuery's answer has no values of the aggregates that it was asked for"),
					errdetail("The job is %s.", scan->job->job_id)));
}

static void
read_item(AggregateScan *scan, int i, const RowsCell *cell)
{
	const List *item = list_nth(scan->items, i);
	bool count = item_kind(item) == PUSHDOWN_COUNT_ROWS || item_kind(item) == PUSHDOWN_COUNT;
	const RemoteColumn *column = count ? NULL : item_column(scan, item);
	const char *reason;
	Failure f;
	ValueReader *reader;

	scan->nulls[i] = true;
	/* it has shown its type */
	if (item_kind(item) == PUSHDOWN_ANY)
		return;
	reader =
		values_reader(&scan->job->fields[i], count ? INT8OID : column->type, -1, count ? "count" : column->name, &f);
	if (reader == NULL)
		failure_throw(&f);
	if (values_read(reader, cell, &scan->values[i], &scan->nulls[i], &reason) != VALUE_OK)
		refuse_answer(scan);
	if (count && (scan->nulls[i] || DatumGetInt64(scan->values[i]) < 0))
		refuse_answer(scan);
}

static void
read_answer(AggregateScan *scan)
{
	RowReader *reader = reader_open(scan->job, NULL, NULL, -1, scan->context);
	ReaderRow row;

	scan->values = palloc0(sizeof(Datum) * scan->job->nfields);
	scan->nulls = palloc0(sizeof(bool) * scan->job->nfields);
	if (!reader_next(reader, &row))
		refuse_answer(scan);
	for (int i = 0; i < scan->job->nfields; i++)
		read_item(scan, i, &row.cells[i]);
	if (reader_next(reader, &row))
		refuse_answer(scan);
	scan->pages = reader_pages(reader);
	scan->bytes = reader_bytes(reader);
	reader_close(reader);
}

static int64
count_of(const AggregateScan *scan, PushdownItem kind, int attnum)
{
	List *item = list_make2_int(kind, attnum);

	for (int i = 0; i < list_length(scan->items); i++)
		if (equal(list_nth(scan->items, i), item))
			return DatumGetInt64(scan->values[i]);
	elog(ERROR, "the query of aggregates has no item %d of column number %d", kind, attnum);
	return 0;
}

/* Whether a column that is NOT NULL is NULL in some row. */
static bool
found_null(const AggregateScan *scan)
{
	ListCell *cell;

	foreach (cell, scan->guarded)
		if (count_of(scan, PUSHDOWN_COUNT, lfirst_int(cell)) != count_of(scan, PUSHDOWN_COUNT_ROWS, 0))
			return true;
	return false;
}

/* Forget the answer. */
static void
forget(AggregateScan *scan)
{
	if (scan->bq != NULL)
	{
		bigquery_free_job(scan->job);
		bigquery_close(scan->bq);
	}
	scan->bq = NULL;
	scan->job = NULL;
	MemoryContextReset(scan->context);
}

/* --------------------------------------------------------------------------
 * The scan
 * -------------------------------------------------------------------------- */

/* Ask BigQuery for the aggregates; false if they have to be computed locally. */
static bool
ask(AggregateScan *scan)
{
	BqScan *rows = rows_below(scan);

	scan_evaluate(scan->below, rows);
	/* without rows there is nothing to ask for; a condition that is not sent has to be checked */
	if (rows->no_rows || rows->nconditions < list_length(rows->pushed) || scan_adopt_is_offered(rows))
		return false;
	scan->job = scan_ask(rows, make_query(scan), scan->context, &scan->bq);
	if (!types_fit(scan))
		return false;
	read_answer(scan);
	return !found_null(scan);
}

static void
choose_place(AggregateScan *scan)
{
	MemoryContext old = MemoryContextSwitchTo(scan->context);
	bool remote = ask(scan);

	MemoryContextSwitchTo(old);
	if (!remote)
		forget(scan);
	scan->place = remote ? PLACE_REMOTE : PLACE_LOCAL;
}

/* The caller's memory is that of one row; the local plan expects that of the query. */
static TupleTableSlot *
compute_locally(ForeignScanState *node)
{
	AggregateScan *scan = node->fdw_state;
	MemoryContext old = MemoryContextSwitchTo(node->ss.ps.state->es_query_cxt);
	TupleTableSlot *slot = ExecProcNode(scan->local);

	MemoryContextSwitchTo(old);
	return slot;
}

TupleTableSlot *
scan_aggregate_next(ForeignScanState *node)
{
	AggregateScan *scan = node->fdw_state;
	TupleTableSlot *slot = node->ss.ss_ScanTupleSlot;

	ExecClearTuple(slot);
	if (scan->returned)
		return slot;
	if (scan->place == PLACE_UNDECIDED)
		choose_place(scan);
	scan->returned = true;
	if (scan->place == PLACE_LOCAL)
		return compute_locally(node);
	for (int i = 0; i < list_length(scan->outputs); i++)
	{
		int item = list_nth_int(scan->outputs, i);

		slot->tts_values[i] = scan->values[item];
		slot->tts_isnull[i] = scan->nulls[item];
	}
	return ExecStoreVirtualTuple(slot);
}

void
scan_aggregate_again(ForeignScanState *node)
{
	AggregateScan *scan = node->fdw_state;

	scan->returned = false;
	if (scan->place != PLACE_REMOTE || node->ss.ps.chgParam == NULL)
		return;
	/* if the rows change, it needs another job */
	if (scan_evaluate(scan->below, rows_below(scan)))
		return;
	forget(scan);
	scan->place = PLACE_UNDECIDED;
}

void
scan_aggregate_end(ForeignScanState *node)
{
	AggregateScan *scan = node->fdw_state;

	forget(scan);
	MemoryContextDelete(scan->context);
	/* the executor ends it */
	outerPlanState(node) = scan->local;
	node->fdw_state = NULL;
}

/* --------------------------------------------------------------------------
 * For EXPLAIN
 * -------------------------------------------------------------------------- */

BqQuery *
scan_aggregate_query(ForeignScanState *node)
{
	return make_query(node->fdw_state);
}

const BqJob *
scan_aggregate_job(ForeignScanState *node, int *pages, int64 *bytes)
{
	AggregateScan *scan = node->fdw_state;

	*pages = scan->pages;
	*bytes = scan->bytes;
	return scan->job;
}

Oid
scan_aggregates_relid(const ForeignScanState *node)
{
	return rows_below(node->fdw_state)->table->relid;
}

bool
scan_aggregates_locally(ForeignScanState *node)
{
	AggregateScan *scan = node->fdw_state;

	if (scan->place == PLACE_LOCAL)
		return true;
	outerPlanState(node) = NULL;
	return false;
}
