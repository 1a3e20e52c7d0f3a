/*
 * values_array.c
 *	  An ARRAY as a PostgreSQL array with one dimension.
 *
 * Its elements are read by the reader that a column of the element's type would have,
 * so any type of a column can be the type of an element, with the same good and bad
 * values.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/array.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"

#include "base/failure.h"
#include "bigquery/bigquery.h"
#include "bigquery/job.h"
#include "bigquery/message.h"
#include "rows/rows.h"
#include "values/values.h"
#include "values/values_internal.h"
#include "values/values_nested.h"

typedef struct ArrayState
{
	RowsDecoder *decoder;
	ValueReader *element;
	Oid type; /* the type of an element */
	int16 typlen;
	bool typbyval;
	char typalign;
	MemoryContext scratch; /* for the array being built */

	/* the array being built */
	int n;
	int room; /* the allocated number of elements */
	Datum *values;
	bool *nulls;
} ArrayState;

#define FIRST_ROOM 64

/* Read one element; VALUE_BAD when it is bad, or exceeds the limit. */
static ValueResult
read_element(ArrayState *state, const RowsCell *cell, const char **reason)
{
	ValueResult result;

	if (state->n == state->room)
	{
		state->room *= 2;
		state->values = repalloc_huge(state->values, sizeof(Datum) * (Size) state->room);
		state->nulls = repalloc_huge(state->nulls, sizeof(bool) * (Size) state->room);
	}
	result = values_read(state->element, cell, &state->values[state->n], &state->nulls[state->n], reason);
	if (result == VALUE_OK && state->nulls[state->n] && !values_allows_null(state->element))
		return values_bad(reason, "the array's elements cannot be NULL");
	if (!values_fit(state->scratch, ++state->n))
		return values_bad(reason, "takes more than 256 MB to be put together");
	return result;
}

/* Read the elements; VALUE_BAD at the first bad one. */
static ValueResult
read_elements(ArrayState *state, const RowsCell *cell, const char **reason)
{
	ValueResult whole = VALUE_OK;
	const RowsCell *cells;
	uint64_t offset;
	int ncells;

	state->n = 0;
	state->room = FIRST_ROOM;
	state->values = palloc(sizeof(Datum) * FIRST_ROOM);
	state->nulls = palloc(sizeof(bool) * FIRST_ROOM);
	rows_array(state->decoder, cell->data, cell->len);
	while (rows_elements(state->decoder, &cells, &ncells))
		for (int i = 0; i < ncells; i++)
		{
			const char *why;
			ValueResult result = read_element(state, &cells[i], &why);

			CHECK_FOR_INTERRUPTS();
			if (result != VALUE_OK)
				*reason = why;
			if (result == VALUE_BAD)
				return VALUE_BAD;
			if (result == VALUE_ALTERED)
				whole = VALUE_ALTERED;
		}
	if (rows_error(state->decoder, &offset) != NULL)
		return values_bad(reason, rows_error(state->decoder, &offset));
	return whole;
}

static ValueResult
make_array(ArrayState *state, const RowsCell *cell, MemoryContext context, Datum *value, const char **reason)
{
	const int lower = 1;
	ValueResult result = read_elements(state, cell, reason);

	if (result == VALUE_BAD)
		return result;

	MemoryContext scratch = MemoryContextSwitchTo(context);

	/* without elements: the empty array, which has no dimensions */
	*value = PointerGetDatum(construct_md_array(state->values, state->nulls, state->n > 0 ? 1 : 0, &state->n,
												unconstify(int *, &lower), state->type, state->typlen, state->typbyval,
												state->typalign));
	MemoryContextSwitchTo(scratch);
	return result;
}

static ValueResult
read_array(ValueReader *reader, const RowsCell *cell, Datum *value, const char **reason)
{
	ArrayState *state = reader->state;

	if (cell->kind != ROWS_JSON)
		return values_bad(reason, "not an array");

	MemoryContext context = MemoryContextSwitchTo(state->scratch);
	ValueResult result = make_array(state, cell, context, value, reason);

	MemoryContextSwitchTo(context);
	/* an element's reason may be an allocated text */
	if (result != VALUE_OK)
		*reason = pstrdup(*reason);
	MemoryContextReset(state->scratch);
	return result;
}

ValueReader *
values_array_reader(const BqField *field, Oid type, int32 typmod, const char *column, Failure *f)
{
	BqField *element = palloc(sizeof(BqField));
	ArrayState *state = palloc0(sizeof(ArrayState));

	*element = *field;
	element->repeated = false;
	state->type = get_element_type(type);
	/* the typmod of an array is that of its elements */
	state->element = values_reader(element, state->type, typmod, column, f);
	if (state->element == NULL)
		return values_refuse(field, type, typmod, column, f);

	ValueReader *reader = values_make(read_array, field, type, typmod, column, f);

	if (reader == NULL)
		return NULL;
	get_typlenbyvalalign(state->type, &state->typlen, &state->typbyval, &state->typalign);
	state->decoder = bigquery_decoder(CurrentMemoryContext);
	state->scratch = AllocSetContextCreate(CurrentMemoryContext, "contratos array", ALLOCSET_DEFAULT_SIZES);
	reader->nested = true;
	reader->state = state;
	return reader;
}
