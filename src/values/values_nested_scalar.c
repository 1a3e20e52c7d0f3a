/*
 * values_nested_scalar.c
 *	  Scalars inside of ARRAY and STRUCT, each type as JSON has it.
 */
#include "postgres.h"

#include <math.h>

#include "catalog/pg_type.h"
#include "common/shortest_dec.h"
#include "fmgr.h"
#include "utils/date.h"
#include "utils/datetime.h"
#include "utils/json.h"
#include "utils/timestamp.h"

#include "bigquery/message.h"
#include "rows/rows.h"
#include "values/values.h"
#include "values/values_nested.h"

/* Its text in state->text; false when it is no value of its type. */
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

/* Whatever is checked, and shown as it came: dates, times, base64. */
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

/* As few digits as make the same double again; what JSON has no number for as a string. */
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

/* As to_jsonb() shows a timestamptz where TimeZone is UTC. */
static void
put_timestamp(NestedState *state, const NestedNode *node, const RowsCell *cell)
{
	const int64 epochs_apart = (int64) (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * USECS_PER_DAY;
	char shown[MAXDATELEN + 1];
	const int utc = 0;
	int64 micros;

	/* which says that it is one, and in range */
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

static const struct
{
	const char *type;
	PutScalar put;
} scalars[] = {
	{"STRING", put_string},		{"GEOGRAPHY", put_string}, {"INT64", put_number},	  {"NUMERIC", put_number},
	{"BIGNUMERIC", put_number}, {"FLOAT64", put_float},	   {"BOOL", put_bool},		  {"TIMESTAMP", put_timestamp},
	{"DATE", put_checked},		{"TIME", put_checked},	   {"DATETIME", put_checked}, {"INTERVAL", put_checked},
	{"BYTES", put_checked},		{"JSON", put_document},	   {"RANGE", put_range},
};

PutScalar
values_nested_scalar(const BqField *field)
{
	for (size_t i = 0; i < lengthof(scalars); i++)
		if (strcmp(scalars[i].type, field->type) == 0)
			return scalars[i].put;
	return NULL;
}
