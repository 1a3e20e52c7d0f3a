/*
 * rows_cell.c
 *	  The content of a cell that is not a scalar: one level of an ARRAY or a STRUCT,
 *	  or a JSON document.
 *
 * Its text has the same form as a page: an ARRAY is written like the cells of a row, a
 * STRUCT like a row.  So the page's decoder reads it, started in the middle, with the
 * same checks and at the same speed.  Deeper levels are skipped at the speed of a scan,
 * and read later in the same way; a schema has 15 levels at most.  The number of an
 * array's elements is not limited in that way: they are returned in batches, so that
 * all the cells together never take several times the array's own size.
 */
#include "rows/rows_internal.h"

/* Start at the place where such a value is found on a page. */
static void
begin(RowsDecoder *d, RowsPlace place, const char *data, size_t len)
{
	rows_reset(d);
	d->value = place;
	rows_feed(d, data, len);
}

bool
rows_record(RowsDecoder *d, const char *data, size_t len)
{
	begin(d, PLACE_ROW, data, len);
	RowsResult result = rows_advance(d);

	/* a row's end is reported at once, and the fast path for rows leaves the state behind it */
	if (result == ROWS_ROW)
	{
		d->state = STATE_DONE;
		result = rows_advance(d);
	}
	if (result == ROWS_MORE && d->state != STATE_DONE)
		result = rows_fail(d, "ends too early");
	d->row_given = result == ROWS_MORE;
	return d->row_given;
}

void
rows_array(RowsDecoder *d, const char *data, size_t len)
{
	begin(d, PLACE_FIELDS, data, len);
	d->some_at_a_time = true;
}

bool
rows_elements(RowsDecoder *d, const RowsCell **cells, int *ncells)
{
	d->ncells = 0;
	d->memory.text.len = 0;
	RowsResult result = d->error != NULL ? ROWS_ERROR : rows_advance(d);

	if (result == ROWS_MORE && d->state != STATE_DONE)
		result = rows_fail(d, "ends too early");
	*cells = d->memory.cells;
	*ncells = result != ROWS_ERROR ? d->ncells : 0;
	return *ncells > 0;
}

/* --------------------------------------------------------------------------
 * A reader of JSON documents, one token at a time
 *
 * Neither jansson (which rounds numbers and rejects U+0000 and large integers) nor
 * PostgreSQL's parser (which throws, and recurses) can read all values of type JSON.
 * The tokens are the same as a page's, so rows_token.c reads them; the grammar between
 * them is small.
 * -------------------------------------------------------------------------- */

struct RowsJson
{
	RowsDecoder *d;
	RowsToken scalar; /* the kind of the token being read */
	bool lists[ROWS_MAX_JSON_DEPTH]; /* open containers: is it a list? */
};

RowsJson *
rows_json_create(RowsAlloc alloc, void *arg)
{
	RowsJson *j = alloc(arg, NULL, sizeof(RowsJson));

	if (j == NULL)
		return NULL;
	j->d = rows_create(alloc, arg);
	if (j->d != NULL)
		return j;
	alloc(arg, j, 0);
	return NULL;
}

void
rows_json_destroy(RowsJson *j)
{
	if (j == NULL)
		return;
	RowsMemory memory = j->d->memory;

	rows_destroy(j->d);
	memory.alloc(memory.arg, j, 0);
}

void
rows_json_begin(RowsJson *j, const char *text, size_t len)
{
	rows_reset(j->d);
	/* every scalar becomes the decoder's one cell */
	j->d->value = PLACE_VALUE;
	rows_feed(j->d, text, len);
}

const char *
rows_json_error(const RowsJson *j)
{
	return j->d->error;
}

static RowsToken
json_fail(RowsJson *j, const char *error)
{
	rows_fail(j->d, error);
	return ROWS_TOKEN_ERROR;
}

static RowsToken
close_json_container(RowsJson *j)
{
	bool list = j->lists[--j->d->depth];

	j->d->state = j->d->depth > 0 ? STATE_AFTER : STATE_DONE;
	j->d->p++;
	return list ? ROWS_TOKEN_LIST_END : ROWS_TOKEN_OBJECT_END;
}

/* Read the rest of the token that has begun; it becomes the decoder's only cell. */
static RowsToken
finish_token(RowsJson *j, RowsState after, const char **data, size_t *len)
{
	RowsDecoder *d = j->d;

	while (d->ncells == 0 && d->p < d->stop)
		if (rows_step_token(d) == ROWS_ERROR)
			return ROWS_TOKEN_ERROR;
	if (d->ncells == 0)
	{
		/* a number is complete only at the next byte or at the end of the text */
		bool complete = d->state == STATE_NUMBER && (d->number == NUMBER_ZERO || d->number == NUMBER_INTEGER ||
													 d->number == NUMBER_FRACTION || d->number == NUMBER_EXPONENT);

		if (!complete || rows_end_value(d, d->value, ROWS_JSON) != ROWS_MORE)
			return d->error ? ROWS_TOKEN_ERROR : json_fail(j, "ends too early");
	}
	d->state = after;
	*data = d->memory.cells[0].data;
	*len = d->memory.cells[0].len;
	return j->scalar;
}

static RowsToken
read_string(RowsJson *j, RowsToken token, RowsState after, const char **data, size_t *len)
{
	rows_begin_string(j->d, STRING_CELL);
	j->scalar = token;
	return finish_token(j, after, data, len);
}

static RowsToken
read_literal(RowsJson *j, const char *rest, RowsToken token, const char **data, size_t *len)
{
	rows_copy_begin(j->d, &j->d->memory.text, j->d->p);
	rows_begin_literal(j->d, rest);
	j->scalar = token;
	return finish_token(j, j->d->depth > 0 ? STATE_AFTER : STATE_DONE, data, len);
}

static RowsToken
read_value(RowsJson *j, const char **data, size_t *len)
{
	char c = *j->d->p;

	switch (c)
	{
		case '{':
		case '[':
			if (j->d->depth == ROWS_MAX_JSON_DEPTH)
				return json_fail(j, "nested too deeply");
			j->lists[j->d->depth++] = c == '[';
			j->d->state = c == '[' ? STATE_FIRST_VALUE : STATE_FIRST_KEY;
			j->d->p++;
			return c == '[' ? ROWS_TOKEN_LIST : ROWS_TOKEN_OBJECT;
		case ']':
			return j->d->state == STATE_FIRST_VALUE ? close_json_container(j) : json_fail(j, "unexpected character");
		case '"':
			return read_string(j, ROWS_TOKEN_STRING, j->d->depth > 0 ? STATE_AFTER : STATE_DONE, data, len);
		case 't':
			return read_literal(j, "rue", ROWS_TOKEN_TRUE, data, len);
		case 'f':
			return read_literal(j, "alse", ROWS_TOKEN_FALSE, data, len);
		case 'n':
			return read_literal(j, "ull", ROWS_TOKEN_NULL, data, len);
		default:
			if (c != '-' && (c < '0' || c > '9'))
				return json_fail(j, "unexpected character");
			rows_copy_begin(j->d, &j->d->memory.text, j->d->p);
			rows_begin_number(j->d, c);
			j->scalar = ROWS_TOKEN_NUMBER;
			return finish_token(j, j->d->depth > 0 ? STATE_AFTER : STATE_DONE, data, len);
	}
}

/* Take white space, commas and colons; false at the end of the text. */
static bool
skip_marks(RowsDecoder *d, const bool *lists)
{
	for (; d->p < d->stop; d->p++)
	{
		if (*d->p == ' ' || *d->p == '\n' || *d->p == '\r' || *d->p == '\t')
			continue;
		if (d->state == STATE_COLON && *d->p == ':')
			d->state = STATE_VALUE;
		else if (d->state == STATE_AFTER && *d->p == ',')
			d->state = lists[d->depth - 1] ? STATE_VALUE : STATE_KEY;
		else
			return true;
	}
	return false;
}

RowsToken
rows_json_next(RowsJson *j, const char **data, size_t *len)
{
	RowsDecoder *d = j->d;

	*data = "";
	*len = 0;
	if (d->error != NULL)
		return ROWS_TOKEN_ERROR;
	d->ncells = 0;
	d->memory.text.len = 0;
	if (!rows_room_for_cell(d))
		return ROWS_TOKEN_ERROR;
	if (!skip_marks(d, j->lists))
		return d->state == STATE_DONE ? ROWS_TOKEN_DONE : json_fail(j, "ends too early");
	switch (d->state)
	{
		case STATE_VALUE:
		case STATE_FIRST_VALUE:
			return read_value(j, data, len);
		case STATE_KEY:
		case STATE_FIRST_KEY:
			if (*d->p == '}' && d->state == STATE_FIRST_KEY)
				return close_json_container(j);
			if (*d->p != '"')
				return json_fail(j, "unexpected character");
			return read_string(j, ROWS_TOKEN_KEY, STATE_COLON, data, len);
		case STATE_AFTER:
			if (*d->p == (j->lists[d->depth - 1] ? ']' : '}'))
				return close_json_container(j);
			return json_fail(j, "unexpected character");
		default:
			return json_fail(j, "unexpected character");
	}
}
