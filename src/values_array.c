/*
 * values_array.c
 *	  An ARRAY as an array of PostgreSQL's, with one dimension.
 *
 * Its elements are read by the reader that a column of the element's type
 * would have, so that whatever can be a column can be an element, and is as
 * good or as bad.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/array.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"

#include "bigquery.h"
#include "values_nested.h"

typedef struct ArrayState
{
	RowsDecoder *decoder;
	ValueReader *element;
	Oid type; /* of an element */
	int16 typlen;
	bool typbyval;
	char typalign;
	MemoryContext scratch; /* of the array being made */

	/* of the array being made */
	int n;
	Datum *values;
	bool *nulls;
} ArrayState;

/* Read the elements; VALUE_BAD as soon as one is. */
static ValueResult
read_elements(ArrayState *state, const RowsCell *cells, const char **reason)
{
	ValueResult whole = VALUE_OK;

	state->values = MemoryContextAllocHuge(CurrentMemoryContext, sizeof(Datum) * (Size) Max(state->n, 1));
	state->nulls = MemoryContextAllocHuge(CurrentMemoryContext, sizeof(bool) * (Size) Max(state->n, 1));
	for (int i = 0; i < state->n; i++)
	{
		const char *why;
		ValueResult result = values_read(state->element, &cells[i], &state->values[i], &state->nulls[i], &why);

		CHECK_FOR_INTERRUPTS();
		if (result == VALUE_OK && state->nulls[i] && !values_allows_null(state->element))
			return values_bad(reason, "NULL is no value of the array's elements");
		if (result != VALUE_OK)
			*reason = why;
		if (result == VALUE_BAD)
			return VALUE_BAD;
		if (result == VALUE_ALTERED)
			whole = VALUE_ALTERED;
	}
	return whole;
}

/* Whether construct_md_array() would find it too large, which it throws. */
static bool
is_too_large(const ArrayState *state)
{
	Size size = ARR_OVERHEAD_WITHNULLS(1, (Size) state->n);

	for (int i = 0; i < state->n; i++)
	{
		if (state->nulls[i])
			continue;
		size = att_addlength_datum(size, state->typlen, state->values[i]);
		size = att_align_nominal(size, state->typalign);
	}
	return size > MaxAllocSize;
}

static ValueResult
make_array(ArrayState *state, const RowsCell *cell, MemoryContext context, Datum *value, const char **reason)
{
	uint64_t offset;
	const int lower = 1;

	if (!rows_nested(state->decoder, ROWS_ARRAY, cell->data, cell->len))
		return values_bad(reason, rows_error(state->decoder, &offset));

	const RowsCell *cells = rows_cells(state->decoder, &state->n);
	ValueResult result = read_elements(state, cells, reason);

	if (result == VALUE_BAD)
		return result;
	if (is_too_large(state))
		return values_bad(reason, "longer than 1 GB");

	MemoryContext scratch = MemoryContextSwitchTo(context);

	/* without elements: the empty array, which has no dimension */
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
	/* an element's reason may be a text of its own */
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
	/* the typmod of an array is its elements' */
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
