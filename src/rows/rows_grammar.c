/*
 * rows_grammar.c
 *	  The grammar of a page: JSON, with a page's rows and cells in it.
 *
 * This file handles the text between the tokens, rows_token.c that inside them.
 *
 * A state machine that can stop after any byte and continue at the next, so no byte is
 * read twice however the page is cut.  Rows of {"v":"…"} and {"v":null} without white
 * space, which are 99 % of a real page, are recognized as a whole by step_row() and
 * step_cells(); these leave the machine in a state it could have reached byte by byte,
 * so they never need to go back for input that they do not recognize, or at the end of
 * the piece.
 *
 * Every error is detected at the same byte however the page is cut.
 */
#include <string.h>

#include "rows/rows_internal.h"

/* Place of the innermost open container.  There is one. */
static RowsPlace
top(const RowsDecoder *d)
{
	return (RowsPlace) d->places[d->depth - 1];
}

static void
push(RowsDecoder *d, RowsPlace place, bool array)
{
	d->places[d->depth] = (uint8_t) place;
	d->arrays[d->depth++] = array;
	d->state = array ? STATE_FIRST_VALUE : STATE_FIRST_KEY;
}

/* --- values --- */

static RowsPlace
element_place(const RowsDecoder *d)
{
	switch (top(d))
	{
		case PLACE_ROWS:
			return PLACE_ROW;
		case PLACE_FIELDS:
			return PLACE_CELL;
		default:
			return PLACE_OTHER;
	}
}

/* The error for a value in this place that starts with c, or NULL if it is allowed. */
static const char *
wrong_value(RowsPlace place, char c)
{
	if (c == '\0' || strchr("{[\"-0123456789tfn", c) == NULL)
		return "unexpected character";
	switch (place)
	{
		case PLACE_PAGE:
			return c == '{' ? NULL : "the page is not an object";
		case PLACE_ROWS:
			return c == '[' || c == 'n' ? NULL : "\"rows\" is not an array";
		case PLACE_ROW:
			return c == '{' ? NULL : "a row is not an object";
		case PLACE_FIELDS:
			return c == '[' ? NULL : "\"f\" is not an array";
		case PLACE_CELL:
			return c == '{' ? NULL : "a cell is not an object";
		default:
			return NULL;
	}
}

/* The last byte of the row has been read. */
static RowsResult
end_row(RowsDecoder *d)
{
	rows_limit(d, 0);
	return ROWS_ROW;
}

/* A value is complete; the current byte is the one after it. */
RowsResult
rows_end_value(RowsDecoder *d, RowsPlace place, RowsKind kind)
{
	d->state = d->depth > 0 ? STATE_AFTER : STATE_DONE;
	switch (place)
	{
		case PLACE_MEMBER:
			return rows_member_end(d) ? ROWS_MORE : ROWS_ERROR;
		case PLACE_VALUE:
			return rows_add_cell(d, kind) ? ROWS_MORE : ROWS_ERROR;
		case PLACE_ROW:
			return end_row(d);
		default:
			return ROWS_MORE;
	}
}

/* Whether to return the cells read so far before the next one; the current byte is not consumed. */
static bool
gives_cells(const RowsDecoder *d)
{
	return d->some_at_a_time && d->ncells == ROWS_MAX_CELLS;
}

static RowsResult
open_container(RowsDecoder *d, RowsPlace place, bool array)
{
	if (d->depth == ROWS_MAX_DEPTH)
		return rows_fail(d, "nested too deeply");
	if (place == PLACE_CELL && gives_cells(d))
		return ROWS_ROW;
	if (place == PLACE_CELL && !rows_room_for_cell(d))
		return ROWS_ERROR;
	if (place == PLACE_ROW)
	{
		rows_limit_row(d);
		d->seen_fields = false;
	}
	if (place == PLACE_CELL)
		d->seen_value = false;
	push(d, place, array);
	d->p++;
	return ROWS_MORE;
}

/* At a closing bracket or brace. */
static RowsResult
close_container(RowsDecoder *d)
{
	RowsPlace place = top(d);

	if (place == PLACE_ROW && !d->seen_fields)
		return rows_fail(d, "a row without \"f\"");
	if (place == PLACE_CELL && !d->seen_value)
		return rows_fail(d, "a cell without \"v\"");
	d->depth--;
	d->p++;
	return rows_end_value(d, place, ROWS_JSON);
}

static RowsResult
begin_value(RowsDecoder *d, char c)
{
	if (d->depth > 0 && d->arrays[d->depth - 1])
		d->value = element_place(d);

	RowsPlace place = d->value;
	const char *wrong = wrong_value(place, c);

	if (wrong != NULL)
		return rows_fail(d, wrong);
	if (c == '"')
		return rows_begin_string(d, place == PLACE_VALUE ? STRING_CELL : STRING_OTHER);
	if (place == PLACE_VALUE)
		rows_copy_begin(d, &d->memory.text, d->p);
	switch (c)
	{
		case '{':
		case '[':
			return open_container(d, place, c == '[');
		case 't':
			return rows_begin_literal(d, "rue");
		case 'f':
			return rows_begin_literal(d, "alse");
		case 'n':
			return rows_begin_literal(d, "ull");
		default:
			return rows_begin_number(d, c);
	}
}

/* --- keys --- */

static bool
key_is(const RowsDecoder *d, const char *name)
{
	return d->key_len == strlen(name) && memcmp(d->key, name, d->key_len) == 0;
}

/* A key with a meaning in this place: record it, and reject duplicates. */
static RowsResult
known_key(RowsDecoder *d, RowsPlace value, bool *seen, const char *duplicate)
{
	if (*seen)
		return rows_fail(d, duplicate);
	*seen = true;
	d->value = value;
	return ROWS_MORE;
}

/* The key is complete: determine the place of its value. */
RowsResult
rows_end_key(RowsDecoder *d)
{
	RowsResult result = ROWS_MORE;
	RowsPlace object = top(d);

	d->value = object == PLACE_PAGE ? PLACE_MEMBER : PLACE_OTHER;
	if (object == PLACE_PAGE && key_is(d, "rows"))
	{
		rows_member_drop(d);
		result = known_key(d, PLACE_ROWS, &d->seen_rows, "duplicate \"rows\"");
	}
	else if (object == PLACE_ROW && key_is(d, "f"))
		result = known_key(d, PLACE_FIELDS, &d->seen_fields, "duplicate \"f\" in a row");
	else if (object == PLACE_CELL && key_is(d, "v"))
		result = known_key(d, PLACE_VALUE, &d->seen_value, "duplicate \"v\" in a cell");
	if (result == ROWS_MORE)
	{
		d->state = STATE_COLON;
		d->p++;
	}
	return result;
}

/* --- the common rows and cells --- */

/* At the text of a {"v":"…" that turned out not to be a common cell. */
static void
enter_cell(RowsDecoder *d, const char *text, const char *p)
{
	push(d, PLACE_CELL, false);
	d->state = STATE_STRING;
	d->string = STRING_CELL;
	d->value = PLACE_VALUE;
	d->seen_value = true;
	d->p = p;
	rows_copy_begin(d, &d->memory.text, text);
}

/*
 * Read cells of {"v":"…"} or {"v":null} as long as they follow, and the row's end if
 * "]}" is next.  Reads nothing (ROWS_MORE, no byte consumed) when not even the first
 * cell has that form.
 */
static RowsResult
step_cells(RowsDecoder *d)
{
	/* d->p is updated at the end only: the compiler could not keep it in a register */
	const char *p = d->p, *stop = d->stop;

	/* the longest lookahead is {"v":null} and one more byte */
	while (stop - p > 10 && memcmp(p, "{\"v\":", 5) == 0)
	{
		const char *text = p + 6, *after = p + 10;
		RowsCell cell = {.data = "", .len = 0, .kind = ROWS_NULL};

		if (d->ncells == d->memory.cells_size)
		{
			if (gives_cells(d))
				return ROWS_ROW;
			if (!rows_room_for_cell(d))
				return ROWS_ERROR;
		}
		if (p[5] == '"')
		{
			const char *quote = rows_scan_string(text, stop);

			if (stop - quote < 3 || quote[0] != '"' || quote[1] != '}')
			{
				enter_cell(d, text, quote);
				return ROWS_MORE;
			}
			cell = (RowsCell){.data = text, .len = (size_t) (quote - text), .kind = ROWS_STRING};
			after = quote + 2;
		}
		else if (memcmp(p + 5, "null}", 5) != 0)
			return ROWS_MORE;
		d->memory.cells[d->ncells++] = cell;
		d->text_len += cell.len;
		p = d->p = after;
		d->state = STATE_AFTER;
		if (*p != ',')
			break;
		d->p = ++p;
		d->state = STATE_VALUE;
	}
	/* the cells of a nested array are not in an object */
	if (d->state != STATE_AFTER || d->depth < 2 || stop - p < 2 || memcmp(p, "]}", 2) != 0)
		return ROWS_MORE;
	d->p += 2;
	d->depth -= 2;
	return end_row(d);
}

/* Read the start of a common row, or consume nothing. */
static RowsResult
step_row(RowsDecoder *d)
{
	if (d->stop - d->p < 6 || memcmp(d->p, "{\"f\":[", 6) != 0)
		return ROWS_MORE;
	rows_limit_row(d);
	push(d, PLACE_ROW, false);
	push(d, PLACE_FIELDS, true);
	d->seen_fields = true;
	d->p += 6;
	return step_cells(d);
}

/* --- between tokens --- */

static RowsResult
step_value(RowsDecoder *d)
{
	const char *from = d->p;
	RowsResult result = ROWS_MORE;

	if (d->depth > 0 && top(d) == PLACE_ROWS)
		result = step_row(d);
	else if (d->depth > 0 && top(d) == PLACE_FIELDS)
		result = step_cells(d);
	if (result != ROWS_MORE || d->p != from)
		return result;
	if (*d->p == ']' && d->state == STATE_FIRST_VALUE)
		return close_container(d);
	return begin_value(d, *d->p);
}

static RowsResult
step_key(RowsDecoder *d)
{
	if (*d->p == '}' && d->state == STATE_FIRST_KEY)
		return close_container(d);
	if (*d->p != '"')
		return rows_fail(d, "unexpected character");
	if (top(d) == PLACE_PAGE && !rows_member_begin(d))
		return ROWS_ERROR;
	d->key_len = 0;
	return rows_begin_string(d, STRING_KEY);
}

static RowsResult
step_after(RowsDecoder *d)
{
	bool array = d->arrays[d->depth - 1];

	if (*d->p == (array ? ']' : '}'))
		return close_container(d);
	if (*d->p != ',')
		return rows_fail(d, "unexpected character");
	d->state = array ? STATE_VALUE : STATE_KEY;
	d->p++;
	return ROWS_MORE;
}

/* Between tokens, and not at white space. */
static RowsResult
step_between(RowsDecoder *d)
{
	switch (d->state)
	{
		case STATE_VALUE:
		case STATE_FIRST_VALUE:
			return step_value(d);
		case STATE_KEY:
		case STATE_FIRST_KEY:
			return step_key(d);
		case STATE_AFTER:
			return step_after(d);
		case STATE_COLON:
			if (*d->p != ':')
				return rows_fail(d, "unexpected character");
			d->state = STATE_VALUE;
			d->p++;
			return ROWS_MORE;
		default:
			return rows_fail(d, "unexpected character after the page");
	}
}

RowsResult
rows_advance(RowsDecoder *d)
{
	do
	{
		while (d->p < d->stop)
		{
			RowsResult result = ROWS_MORE;

			if (d->state >= STATE_STRING)
				result = rows_step_token(d);
			else if (*d->p == ' ' || *d->p == '\n' || *d->p == '\r' || *d->p == '\t')
				d->p++;
			else
				result = step_between(d);
			if (result != ROWS_MORE)
				return result;
		}
		if (d->stop == d->end)
			return ROWS_MORE;
	} while (rows_at_limit(d));
	return ROWS_ERROR;
}
