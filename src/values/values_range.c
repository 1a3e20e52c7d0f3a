/*
 * values_range.c
 *	  A RANGE as daterange, tsrange or tstzrange, or as their text.
 *
 * BigQuery's ranges are half-open and never empty; an unbounded bound is UNBOUNDED in
 * BigQuery, and infinite in PostgreSQL.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "utils/date.h"
#include "utils/rangetypes.h"
#include "utils/timestamp.h"
#include "utils/typcache.h"

#include "base/compat.h"
#include "base/failure.h"
#include "bigquery/bqtype.h"
#include "bigquery/job.h"
#include "bigquery/message.h"
#include "rows/rows.h"
#include "values/values.h"
#include "values/values_internal.h"
#include "values/values_nested.h"

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
 * Parsing
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
 * As text
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
 * The reader
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
