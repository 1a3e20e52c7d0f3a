/*
 * values_array.c
 *	  An ARRAY as a PostgreSQL array with one dimension, and a RANGE as a range.
 *
 * An array's elements are read by the reader that a column of the element's type would have,
 * so any type of a column can be the type of an element, with the same good and bad
 * values.
 */
#include "postgres.h"
#include "fmgr.h"

#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/date.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rangetypes.h"
#include "utils/timestamp.h"
#include "utils/typcache.h"

#include "base/compat.h"
#include "base/failure.h"
#include "bigquery/bigquery.h"
#include "bigquery/bqtype.h"
#include "bigquery/job.h"
#include "bigquery/message.h"
#include "rows/rows.h"
#include "values/values.h"
#include "values/values_internal.h"

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

/* --------------------------------------------------------------------------
 * A RANGE as daterange, tsrange or tstzrange, or as their text
 *
 * BigQuery's ranges are half-open and never empty; an unbounded bound is UNBOUNDED in
 * BigQuery, and infinite in PostgreSQL.
 * -------------------------------------------------------------------------- */

/* The two bounds, as texts and as values. */
typedef struct Range
{
	RowsCell lower_text; /* ROWS_NULL: unbounded */
	RowsCell upper_text;
	RangeBound lower; /* the value of an infinite one is undefined */
	RangeBound upper;
} Range;

typedef struct RangeState
{
	TypeCacheEntry *type; /* NULL: as text */
	ValueReader *bound;
	ValueReader *input; /* of a text type that is not built in */
	StringInfoData text;
} RangeState;

/* --------------------------------------------------------------------------
 * A range: parsing
 * -------------------------------------------------------------------------- */

static bool
is_word(const char *data, size_t len, const char *word)
{
	return len == strlen(word) && memcmp(data, word, len) == 0;
}

static RowsCell
bound_of(const char *data, size_t len)
{
	if (is_word(data, len, "UNBOUNDED") || is_word(data, len, "NULL"))
		return (RowsCell){.data = "", .len = 0, .kind = ROWS_NULL};
	return (RowsCell){.data = data, .len = len, .kind = ROWS_STRING};
}

/* Take [LOWER, UPPER) apart, and read both bounds. */
static bool
read_range_text(ValueReader *bound, const char *data, size_t len, Range *range, const char **reason)
{
	const char *comma = len >= 4 ? memchr(data, ',', len) : NULL;
	RangeBound *lower = &range->lower, *upper = &range->upper;

	if (comma == NULL || data[0] != '[' || data[len - 1] != ')' || comma[1] != ' ')
	{
		*reason = "not a range";
		return false;
	}
	range->lower_text = bound_of(data + 1, comma - data - 1);
	range->upper_text = bound_of(comma + 2, data + len - 1 - (comma + 2));
	*lower = (RangeBound){.inclusive = true, .lower = true};
	*upper = (RangeBound){.inclusive = false, .lower = false};
	if (values_read(bound, &range->lower_text, &lower->val, &lower->infinite, reason) == VALUE_BAD ||
		values_read(bound, &range->upper_text, &upper->val, &upper->infinite, reason) == VALUE_BAD)
		return false;
	if (lower->infinite || upper->infinite)
		return true;
	/* for all three types this compares integers */
	if (bound->type == DATEOID ? DatumGetDateADT(lower->val) < DatumGetDateADT(upper->val)
							   : DatumGetTimestamp(lower->val) < DatumGetTimestamp(upper->val))
		return true;
	*reason = "lower bound of the range is not below the upper one";
	return false;
}

/* --------------------------------------------------------------------------
 * A range: as text
 * -------------------------------------------------------------------------- */

/* A bound as in the output of the range types: quoted if it has a blank. */
static bool
append_bound(const BqField *element, const RowsCell *bound, StringInfo buf, const char **reason)
{
	bool quoted = element->type != BQ_DATE;
	int start = buf->len + 1;

	if (bound->kind == ROWS_NULL)
		return true;
	if (quoted)
		appendStringInfoChar(buf, '"');
	if (!values_text(element, bound->data, bound->len, buf, reason))
		return false;
	if (!quoted)
		return true;
	/* DATETIME's T */
	buf->data[start + 10] = ' ';
	appendStringInfoChar(buf, '"');
	return true;
}

static bool
append_range(const BqField *element, const Range *range, StringInfo buf, const char **reason)
{
	appendStringInfoChar(buf, range->lower_text.kind == ROWS_NULL ? '(' : '[');
	if (!append_bound(element, &range->lower_text, buf, reason))
		return false;
	appendStringInfoChar(buf, ',');
	if (!append_bound(element, &range->upper_text, buf, reason))
		return false;
	appendStringInfoChar(buf, ')');
	return true;
}

bool
values_range_text(const BqField *field, const char *data, size_t len, StringInfo buf, const char **reason)
{
	int start = buf->len;
	BqField element = {.type = field->range_element};
	Oid local = bqtypes[element.type].local;
	Range range;

	if (!OidIsValid(bqtypes[element.type].range))
	{
		*reason = "a range of an unknown type";
		return false;
	}

	ValueReader bound = {.read = values_find_read(element.type, local), .field = &element, .type = local, .typmod = -1};

	if (read_range_text(&bound, data, len, &range, reason) && append_range(&element, &range, buf, reason))
		return true;
	buf->len = start;
	return false;
}

/* --------------------------------------------------------------------------
 * A range: the reader
 * -------------------------------------------------------------------------- */

static ValueResult
make_range_text(ValueReader *reader, const RowsCell *cell, Datum *value, const char **reason)
{
	RangeState *state = reader->state;
	StringInfo buf = &state->text;

	resetStringInfo(buf);
	if (!values_range_text(reader->field, cell->data, cell->len, buf, reason))
		return VALUE_BAD;
	if (state->input != NULL)
		return values_input(state->input, buf->data, value, reason) ? VALUE_OK : VALUE_BAD;

	RowsCell text = {.data = buf->data, .len = buf->len, .kind = ROWS_STRING};

	return values_read_string(reader, &text, value, reason);
}

static ValueResult
read_range(ValueReader *reader, const RowsCell *cell, Datum *value, const char **reason)
{
	RangeState *state = reader->state;
	Range range;

	if (state->type == NULL)
		return make_range_text(reader, cell, value, reason);
	if (!read_range_text(state->bound, cell->data, cell->len, &range, reason))
		return VALUE_BAD;
	*value = RangeTypePGetDatum(make_range_compat(state->type, &range.lower, &range.upper));
	return VALUE_OK;
}

ValueReader *
values_range_reader(const BqField *field, Oid type, int32 typmod, const char *column, bool by_input, Failure *f)
{
	const BqTypeFacts *facts = &bqtypes[field->range_element];
	bool as_range = facts->range == type;
	bool as_text = by_input || type == TEXTOID || type == VARCHAROID || type == BPCHAROID;
	RangeState *state = palloc0(sizeof(RangeState));
	BqField *element = palloc0(sizeof(BqField));

	if (!OidIsValid(facts->range) || (!as_range && !as_text))
		return values_refuse(field, type, typmod, column, f);

	ValueReader *reader = values_make(read_range, field, type, typmod, column, f);

	if (reader == NULL)
		return NULL;
	element->type = field->range_element;
	reader->state = state;
	initStringInfo(&state->text);
	state->type = as_range ? lookup_type_cache(type, TYPECACHE_RANGE_INFO) : NULL;
	state->bound = values_make(values_find_read(element->type, facts->local), element, facts->local, -1, column, f);
	state->input = by_input ? values_input_reader(field, type, typmod, column, f) : NULL;
	return state->bound == NULL || (by_input && state->input == NULL) ? NULL : reader;
}
