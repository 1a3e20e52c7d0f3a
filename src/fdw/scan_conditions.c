/*
 * scan_conditions.c
 *	  The conditions of a scan: their evaluation, and the one that require_filter
 *	  demands.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "nodes/nodeFuncs.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"

#include "base/failure.h"
#include "bigquery/bigquery.h"
#include "bigquery/bqtype.h"
#include "bigquery/connection.h"
#include "bigquery/job.h"
#include "bigquery/message.h"
#include "bigquery/request.h"
#include "fdw/pushdown.h"
#include "fdw/scan_internal.h"
#include "remote/deparse.h"
#include "remote/options.h"

/* The timeout for the estimate in an error message: it is optional, so the wait is short. */
#define ESTIMATE_TIMEOUT_MS 10000

static void
evaluate(ForeignScanState *node, BqScan *scan)
{
	ExprContext *econtext = node->ss.ps.ps_ExprContext;

	scan->conditions = palloc(sizeof(RemoteCondition) * Max(list_length(scan->pushed), 1));
	scan->nconditions = 0;
	scan->no_rows = false;
	for (int i = 0; i < list_length(scan->pushed); i++)
	{
		ExprState *state = list_nth(scan->values, i);
		bool isnull;
		Datum value = ExecEvalExpr(state, econtext, &isnull);

		switch (pushdown_condition(list_nth(scan->pushed, i), exprType((Node *) state->expr), value, isnull,
								   &scan->conditions[scan->nconditions]))
		{
			case PUSHDOWN_SENT:
				scan->nconditions++;
				break;
			case PUSHDOWN_LEFT:
				break;
			case PUSHDOWN_NO_ROWS:
				scan->no_rows = true;
				break;
		}
	}
	scan->rows_key = deparse_rows_key(scan->table, scan->conditions, scan->nconditions);
}

bool
scan_evaluate(ForeignScanState *node, BqScan *scan)
{
	MemoryContext before = scan->conditions_context;
	const char *key = scan->rows_key;
	MemoryContext old;
	bool same;

	scan->conditions_context = AllocSetContextCreate(scan->context, "contratos conditions", ALLOCSET_SMALL_SIZES);
	old = MemoryContextSwitchTo(scan->conditions_context);
	evaluate(node, scan);
	MemoryContextSwitchTo(old);
	same = key != NULL && strcmp(key, scan->rows_key) == 0;
	if (before != NULL)
		MemoryContextDelete(before);
	return same;
}

/* Numeric types that BigQuery compares with each other exactly. */
static bool
is_exact_number(BqType type)
{
	return type == BQ_INT64 || type == BQ_NUMERIC || type == BQ_BIGNUMERIC;
}

/*
 * A column without the option `type` is assumed to have the type that its local type
 * stands for. If it has another, BigQuery may still have compared it: a DATETIME with a
 * DATE, as its midnight, or a FLOAT64 with a NUMERIC, rounded.  Then rows may be
 * missing.
 */
void
scan_check_pushed(const BqScan *scan, const RemoteColumn *column, const BqField *field)
{
	for (int i = 0; i < scan->nconditions; i++)
	{
		BqType taken = scan->conditions[i].type;
		const char *type = message_type_name(field);
		bool fits = taken == field->type || (is_exact_number(taken) && is_exact_number(field->type));

		if (scan->conditions[i].attnum != column->attnum || (fits && !field->repeated))
			continue;
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("column \"%s\" of foreign table \"%s\" is of another type in BigQuery", column->name,
						get_rel_name(scan->table->relid)),
				 errdetail("Its type in BigQuery is %s, but a condition on it was sent as one on %s.", type,
						   bqtypes[taken].name),
				 errhint("ALTER FOREIGN TABLE %s ALTER COLUMN %s OPTIONS (ADD type '%s'); conditions on the column "
						 "are then checked locally.",
						 quote_identifier(get_rel_name(scan->table->relid)), quote_identifier(column->name), type)));
	}
}

/* --------------------------------------------------------------------------
 * For EXPLAIN
 * -------------------------------------------------------------------------- */

/* Without executing, only constants are known; conditions with other values are assumed to be sent. */
RemoteCondition *
scan_known_conditions(const BqScan *scan, int *n)
{
	RemoteCondition *conditions;

	if (scan->conditions != NULL)
	{
		*n = scan->nconditions;
		return scan->conditions;
	}
	conditions = palloc(sizeof(RemoteCondition) * Max(list_length(scan->pushed), 1));
	*n = 0;
	for (int i = 0; i < list_length(scan->pushed); i++)
	{
		List *pushed = list_nth(scan->pushed, i);
		Const *value = (Const *) ((ExprState *) list_nth(scan->values, i))->expr;
		RemoteCondition *one = &conditions[*n];

		*one = pushdown_unknown(pushed);
		if (!IsA(value, Const) ||
			pushdown_condition(pushed, value->consttype, value->constvalue, value->constisnull, one) != PUSHDOWN_LEFT)
			(*n)++;
	}
	return conditions;
}

BqQuery *
scan_query(ForeignScanState *node)
{
	BqScan *scan = node->fdw_state;
	RemoteCondition *conditions;
	int n;

	if (scan_is_of_aggregates(node))
		return scan_aggregate_query(node);
	conditions = scan_known_conditions(scan, &n);
	return deparse_query(scan->table, scan->attnums, scan->ncolumns, conditions, n);
}

/* --------------------------------------------------------------------------
 * require_filter
 * -------------------------------------------------------------------------- */

/* The cost of the query, as the end of a sentence; NULL if BigQuery does not report it. */
static char *
estimate_unfiltered(const BqScan *scan, const BqConnection *connection, const BqQuery *query)
{
	BqConnection impatient = *connection;
	Bigquery *bq;
	int64 bytes;
	Failure f;
	bool ok;

	impatient.request_timeout_ms = Min(connection->request_timeout_ms, ESTIMATE_TIMEOUT_MS);
	bq = bigquery_open(&impatient, scan->context);
	ok = bigquery_estimate(bq, query, &bytes, &f);
	bigquery_close(bq);
	if (!ok)
		return NULL;
	return message_size_text(bytes);
}

/* A sufficient condition, for the hint. */
static const char *
example(const RemoteColumn *column)
{
	switch (column->type)
	{
		case DATEOID:
		case TIMESTAMPOID:
		case TIMESTAMPTZOID:
			return ">= current_date - 7";
		case TEXTOID:
		case VARCHAROID:
			return "= '...'";
		default:
			return "BETWEEN 1 AND 1000";
	}
}

static void
refuse_without_filter(const BqScan *scan, const RemoteColumn *column, const BqConnection *connection,
					  const BqQuery *query)
{
	const char *name = quote_identifier(column->name);
	char *bytes = estimate_unfiltered(scan, connection, query);

	ereport(
		ERROR,
		(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
		 errmsg("a query of foreign table \"%s\" needs a condition on column \"%s\"", get_rel_name(scan->table->relid),
				column->name),
		 bytes ? errdetail("Without one BigQuery would process, and bill, %s.", bytes)
			   : errdetail("Without one BigQuery would read, and bill, the whole table."),
		 pushdown_can_compare(column)
			 ? errhint("Compare the column itself, as in %s %s, or set the table's option require_filter to 'false'.",
					   name, example(column))
			 : errhint("Declare column %s of the foreign table with the type that corresponds to BigQuery's, so that "
					   "conditions on it can be sent, or set the table's option require_filter to 'false'.",
					   name)));
}

void
scan_check_filter(const BqScan *scan, const BqConnection *connection, const BqQuery *query)
{
	RemoteTable *table = scan->table;
	const RemoteColumn *column = table->partition_column ? options_column(table, table->partition_column) : NULL;

	if (!table->require_filter || column == NULL)
		return;
	/* any condition lets BigQuery leave partitions out but IS NOT NULL, which keeps all partitions with data */
	for (int i = 0; i < scan->nconditions; i++)
		if (scan->conditions[i].attnum == column->attnum && strcmp(scan->conditions[i].op, "IS NOT NULL") != 0)
			return;
	refuse_without_filter(scan, column, connection, query);
}
