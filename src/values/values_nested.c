/*
 * values_nested.c
 *	  Nested values: ARRAY, STRUCT, RANGE, and JSON.
 *
 * This file decides which column can hold which value.  Values that become JSON are
 * read along a tree that is made from the schema once: for an ARRAY or a STRUCT the
 * cells of one level, one by one, each directly into the JSON being built.
 */
#include "postgres.h"

#include <math.h>

#include "catalog/pg_type.h"
#include "common/shortest_dec.h"
#include "fmgr.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/date.h"
#include "utils/datetime.h"
#include "utils/json.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "base/failure.h"
#include "bigquery/bigquery.h"
#include "bigquery/bqtype.h"
#include "bigquery/job.h"
#include "bigquery/message.h"
#include "rows/rows.h"
#include "values/values.h"
#include "values/values_internal.h"

/* --------------------------------------------------------------------------
 * Scalars inside ARRAY and STRUCT, as JSON
 * -------------------------------------------------------------------------- */

/* Put its text into state->text; false if it is not a valid value of its type. */
static bool
scalar_text(NestedState *state, const NestedNode *node, const RowsCell *cell)
{
	const char *reason;

	resetStringInfo(&state->text);
	if (values_text(node->field, cell->data, cell->len, &state->text, &reason))
		return true;
	values_json_fail(state->maker, reason);
	return false;
}

static void
put_string(NestedState *state, const NestedNode *node pg_attribute_unused(), const RowsCell *cell)
{
	values_json_string(state->maker, cell->data, cell->len);
}

/* Put a value that is checked but not changed: dates, times, base64. */
static void
put_checked(NestedState *state, const NestedNode *node, const RowsCell *cell)
{
	if (scalar_text(state, node, cell))
		values_json_string(state->maker, cell->data, cell->len);
}

static void
put_number(NestedState *state, const NestedNode *node, const RowsCell *cell)
{
	if (scalar_text(state, node, cell))
		values_json_number(state->maker, cell->data, cell->len);
}

/* Put as few digits as give the same double again; values that are not numbers in JSON become strings. */
static void
put_float(NestedState *state, const NestedNode *node pg_attribute_unused(), const RowsCell *cell)
{
	char shown[DOUBLE_SHORTEST_DECIMAL_LEN];
	const char *reason;
	Datum value;

	if (values_read_float(state->number, cell, &value, &reason) == VALUE_BAD)
	{
		values_json_fail(state->maker, reason);
		return;
	}

	double number = DatumGetFloat8(value);
	int len = double_to_shortest_decimal_bufn(number, shown);

	if (isnan(number) || isinf(number))
		values_json_string(state->maker, shown, len);
	else
		values_json_number(state->maker, shown, len);
}

static void
put_bool(NestedState *state, const NestedNode *node, const RowsCell *cell)
{
	if (scalar_text(state, node, cell))
		values_json_bool(state->maker, cell->data[0] == 't');
}

/* Put it in the form in which to_jsonb() shows a timestamptz if TimeZone is UTC. */
static void
put_timestamp(NestedState *state, const NestedNode *node, const RowsCell *cell)
{
	const int64 epochs_apart = (int64) (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * USECS_PER_DAY;
	char shown[MAXDATELEN + 1];
	const int utc = 0;
	int64 micros;

	/* this checks that it is an integer, and in range */
	if (!scalar_text(state, node, cell))
		return;
	values_parse_integer(cell->data, cell->len, &micros);
	JsonEncodeDateTime(shown, TimestampTzGetDatum(micros - epochs_apart), TIMESTAMPTZOID, &utc);
	values_json_string(state->maker, shown, strlen(shown));
}

static void
put_document(NestedState *state, const NestedNode *node pg_attribute_unused(), const RowsCell *cell)
{
	values_json_document(state->maker, state->json, cell->data, cell->len);
}

static void
put_range(NestedState *state, const NestedNode *node, const RowsCell *cell)
{
	const char *reason;

	resetStringInfo(&state->text);
	if (values_range_text(node->field, cell->data, cell->len, &state->text, &reason))
		values_json_string(state->maker, state->text.data, state->text.len);
	else
		values_json_fail(state->maker, reason);
}

/* NULL if the type is not a scalar. */
static const PutScalar scalars[] = {
	[BQ_UNKNOWN] = NULL,		  [BQ_STRING] = put_string,	   [BQ_BYTES] = put_checked,
	[BQ_INT64] = put_number,	  [BQ_FLOAT64] = put_float,	   [BQ_NUMERIC] = put_number,
	[BQ_BIGNUMERIC] = put_number, [BQ_BOOL] = put_bool,		   [BQ_TIMESTAMP] = put_timestamp,
	[BQ_DATE] = put_checked,	  [BQ_TIME] = put_checked,	   [BQ_DATETIME] = put_checked,
	[BQ_GEOGRAPHY] = put_string,  [BQ_INTERVAL] = put_checked, [BQ_JSON] = put_document,
	[BQ_STRUCT] = NULL,			  [BQ_RANGE] = put_range,
};

StaticAssertDecl(lengthof(scalars) == BQ_NTYPES, "each type needs its scalar, or none");

/* --------------------------------------------------------------------------
 * Reading values along the schema
 * -------------------------------------------------------------------------- */

/* Memory from a MemoryContext for the rows module (RowsAlloc). */
static void *
alloc_nested(void *context, void *ptr, size_t size)
{
	if (size == 0)
	{
		if (ptr != NULL)
			pfree(ptr);
		return NULL;
	}
	return ptr ? repalloc_huge(ptr, size) : MemoryContextAllocHuge(context, size);
}

static void put_cell(NestedState *state, const NestedNode *node, const RowsCell *cell);

static void
put_array(NestedState *state, const NestedNode *node, const RowsCell *cell)
{
	RowsDecoder *decoder = state->decoders[node->level];
	const RowsCell *cells;
	uint64_t offset;
	int ncells;

	values_json_open(state->maker, true);
	rows_array(decoder, cell->data, cell->len);
	while (state->maker->bad == NULL && rows_elements(decoder, &cells, &ncells))
		for (int i = 0; i < ncells && state->maker->bad == NULL; i++)
		{
			CHECK_FOR_INTERRUPTS();
			put_cell(state, &node->nodes[0], &cells[i]);
		}
	if (rows_error(decoder, &offset) != NULL)
		values_json_fail(state->maker, rows_error(decoder, &offset));
	values_json_close(state->maker, true);
}

static void
put_record(NestedState *state, const NestedNode *node, const RowsCell *cell)
{
	RowsDecoder *decoder = state->decoders[node->level];
	const RowsCell *cells;
	uint64_t offset;
	int ncells;

	if (!rows_record(decoder, cell->data, cell->len))
	{
		values_json_fail(state->maker, rows_error(decoder, &offset));
		return;
	}
	cells = rows_cells(decoder, &ncells);
	if (ncells != node->nnodes)
	{
		values_json_fail(state->maker, "not as many fields as the schema has");
		return;
	}
	values_json_open(state->maker, false);
	for (int i = 0; i < ncells && state->maker->bad == NULL; i++)
	{
		values_json_key(state->maker, node->nodes[i].name, strlen(node->nodes[i].name));
		put_cell(state, &node->nodes[i], &cells[i]);
	}
	values_json_close(state->maker, false);
}

static void
put_cell(NestedState *state, const NestedNode *node, const RowsCell *cell)
{
	if (cell->kind == ROWS_NULL)
		values_json_null(state->maker);
	else if (node->put == NULL && cell->kind != ROWS_JSON)
		values_json_fail(state->maker, node->array ? "not an array" : "not a STRUCT");
	else if (node->put == NULL)
		(node->array ? put_array : put_record)(state, node, cell);
	else if (cell->kind == ROWS_STRING)
		node->put(state, node, cell);
	else
		values_json_fail(state->maker, "not a string");
}

/* Convert the text with the type's input function. */
static ValueResult
finish_input(NestedState *state, MemoryContext context, Datum *value, const char **reason)
{
	JsonMaker *m = state->maker;
	char *text;

	if (m->bad != NULL)
		return values_bad(reason, MemoryContextStrdup(context, m->bad));

	MemoryContext scratch = MemoryContextSwitchTo(context);
	bool made = values_to_server(m->reader, &m->text, &text, reason) && values_input(state->input, text, value, reason);

	MemoryContextSwitchTo(scratch);
	return made ? VALUE_OK : VALUE_BAD;
}

static ValueResult
read_json(ValueReader *reader, const RowsCell *cell, Datum *value, const char **reason)
{
	NestedState *state = reader->state;
	MemoryContext context = MemoryContextSwitchTo(state->scratch);

	values_json_begin(state->maker, cell);
	put_cell(state, &state->root, cell);

	ValueResult result = state->input ? finish_input(state, context, value, reason)
									  : values_json_finish(state->maker, context, value, reason);

	MemoryContextSwitchTo(context);
	MemoryContextReset(state->scratch);
	return result;
}

/* --------------------------------------------------------------------------
 * From the schema to a tree
 * -------------------------------------------------------------------------- */

static bool make_node(NestedState *state, NestedNode *node, const BqField *field, int level, bool element, Failure *f);

static int
field_by_name(const void *a, const void *b)
{
	return strcmp(*(char *const *) a, *(char *const *) b);
}

/* A name that two fields of a STRUCT have; NULL if there is none. */
static const char *
name_of_two(const NestedNode *node)
{
	const char **names = palloc(sizeof(char *) * Max(node->nnodes, 1));
	const char *found = NULL;

	for (int i = 0; i < node->nnodes; i++)
		names[i] = node->nodes[i].name;
	qsort(names, node->nnodes, sizeof(char *), field_by_name);
	for (int i = 1; i < node->nnodes && found == NULL; i++)
		if (strcmp(names[i - 1], names[i]) == 0)
			found = names[i];
	pfree(names);
	return found;
}

static bool
make_fields(NestedState *state, NestedNode *node, int level, Failure *f)
{
	const char *column = state->maker->reader->column;
	const char *twice;

	node->nnodes = node->field->nfields;
	node->nodes = palloc0(sizeof(NestedNode) * Max(node->nnodes, 1));
	for (int i = 0; i < node->nnodes; i++)
	{
		const BqField *field = &node->field->fields[i];

		/* a field without a name has the name that BigQuery itself gives it */
		node->nodes[i].name = field->name && *field->name ? field->name : psprintf("_field_%d", i + 1);
		if (!make_node(state, &node->nodes[i], field, level + 1, false, f))
			return false;
	}
	twice = name_of_two(node);
	if (twice == NULL)
		return true;
	failure_set(f, ERRCODE_FEATURE_NOT_SUPPORTED, "column \"%s\": BigQuery's STRUCT has two fields \"%s\"",
				pg_server_to_any(column, strlen(column), PG_UTF8), twice);
	failure_hint(f, "Drop the column from the foreign table, or give the fields different names in a view.");
	f->every_day = true;
	return false;
}

/* `element` is set for an element of an ARRAY, whose mode is that of the array. */
static bool
make_node(NestedState *state, NestedNode *node, const BqField *field, int level, bool element, Failure *f)
{
	bool array = field->repeated && !element;

	node->field = field;
	node->array = array;
	node->level = level;
	if (!array && field->type != BQ_STRUCT)
	{
		node->put = scalars[field->type];
		if (node->put == NULL)
			values_refuse(field, state->maker->reader->type, -1, state->maker->reader->column, f);
		return node->put != NULL;
	}
	if (level >= VALUES_MAX_LEVELS)
		elog(ERROR, "nested %d levels deep", level);
	if (state->decoders[level] == NULL)
		state->decoders[level] = bigquery_decoder(state->context);
	if (!array)
		return make_fields(state, node, level, f);
	node->nnodes = 1;
	node->nodes = palloc0(sizeof(NestedNode));
	return make_node(state, &node->nodes[0], field, level + 1, true, f);
}

static ValueReader *
make_json_reader(const BqField *field, Oid type, int32 typmod, const char *column, bool by_input, Failure *f)
{
	/* a type that is not built in, made from text */
	ValueReader *reader = values_make(read_json, field, by_input ? TEXTOID : type, typmod, column, f);
	BqField *number = palloc0(sizeof(BqField));
	NestedState *state = palloc0(sizeof(NestedState));

	if (reader == NULL)
		return NULL;
	reader->nested = true;
	reader->state = state;
	number->type = BQ_FLOAT64;
	state->context = CurrentMemoryContext;
	state->scratch = AllocSetContextCreate(CurrentMemoryContext, "contratos nested value", ALLOCSET_DEFAULT_SIZES);
	state->json = rows_json_create(alloc_nested, CurrentMemoryContext);
	state->maker = values_json_maker(reader, f);
	state->number = values_make(values_read_float, number, FLOAT8OID, -1, column, f);
	state->input = by_input ? values_input_reader(field, type, typmod, column, f) : NULL;
	initStringInfo(&state->text);
	if (state->maker == NULL || state->number == NULL || (by_input && state->input == NULL))
		return NULL;
	return make_node(state, &state->root, field, 0, false, f) ? reader : NULL;
}

/* A string type that is not built in, such as citext. */
static bool
is_other_text(Oid type)
{
	char category;
	bool preferred;

	get_type_category_preferred(type, &category, &preferred);
	return category == TYPCATEGORY_STRING && type != NAMEOID && type != TEXTOID && type != VARCHAROID &&
		   type != BPCHAROID;
}

ValueReader *
values_nested_reader(const BqField *field, Oid type, int32 typmod, const char *column, Failure *f)
{
	if (field->repeated && OidIsValid(get_element_type(type)))
		return values_array_reader(field, type, typmod, column, f);
	if (!field->repeated && field->type == BQ_RANGE)
		return values_range_reader(field, type, typmod, column, is_other_text(type), f);
	if (type == JSONBOID || type == JSONOID || type == TEXTOID || type == VARCHAROID || type == BPCHAROID)
		return make_json_reader(field, type, typmod, column, false, f);
	if (is_other_text(type))
		return make_json_reader(field, type, typmod, column, true, f);
	return values_refuse(field, type, typmod, column, f);
}
