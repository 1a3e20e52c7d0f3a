/*
 * rows_token.c
 *	  Strings, numbers and literals of a page, resumable after any byte.
 *
 * It knows nothing of rows: d->string tells it the purpose of a string, and it calls
 * rows_end_key() or rows_end_value() when the token is complete.
 */
#include <string.h>

#include "rows/rows_internal.h"

RowsResult
rows_begin_literal(RowsDecoder *d, const char *rest)
{
	d->state = STATE_LITERAL;
	d->literal = rest;
	d->p++;
	return ROWS_MORE;
}

RowsResult
rows_begin_number(RowsDecoder *d, char c)
{
	d->state = STATE_NUMBER;
	d->number = c == '-' ? NUMBER_SIGN : c == '0' ? NUMBER_ZERO : NUMBER_INTEGER;
	d->p++;
	return ROWS_MORE;
}

RowsResult
rows_begin_string(RowsDecoder *d, RowsString string)
{
	d->state = STATE_STRING;
	d->string = string;
	d->p++;
	if (string == STRING_CELL)
		rows_copy_begin(d, &d->memory.text, d->p);
	return ROWS_MORE;
}

static RowsResult
step_literal(RowsDecoder *d)
{
	bool null = d->literal[strlen(d->literal) - 1] == 'l';

	if (*d->p != *d->literal)
		return rows_fail(d, "unexpected character");
	d->p++;
	if (*++d->literal != '\0')
		return ROWS_MORE;
	return rows_end_value(d, d->value, null ? ROWS_NULL : ROWS_JSON);
}

/* Take one more byte of a number: returns 1, 0 if the number ended before it, -1 for an error. */
static int
number_next(RowsNumber *number, char c)
{
	bool digit = c >= '0' && c <= '9';
	bool e = c == 'e' || c == 'E';
	RowsNumber from = *number;

	switch (from)
	{
		case NUMBER_SIGN:
			*number = c == '0' ? NUMBER_ZERO : NUMBER_INTEGER;
			return digit ? 1 : -1;
		case NUMBER_ZERO:
		case NUMBER_INTEGER:
			if (digit)
				return from == NUMBER_ZERO ? -1 : 1;
			*number = e ? NUMBER_E : NUMBER_POINT;
			return e || c == '.';
		case NUMBER_POINT:
			*number = NUMBER_FRACTION;
			return digit ? 1 : -1;
		case NUMBER_FRACTION:
			*number = e ? NUMBER_E : NUMBER_FRACTION;
			return e || digit;
		case NUMBER_E:
			*number = digit ? NUMBER_EXPONENT : NUMBER_E_SIGN;
			return digit || c == '+' || c == '-' ? 1 : -1;
		case NUMBER_E_SIGN:
			*number = NUMBER_EXPONENT;
			return digit ? 1 : -1;
		case NUMBER_EXPONENT:
			return digit;
	}
	return -1;
}

static RowsResult
step_number(RowsDecoder *d)
{
	int more = 1;

	while (d->p < d->stop && (more = number_next(&d->number, *d->p)) > 0)
		d->p++;
	if (more < 0)
		return rows_fail(d, "invalid number");
	return more > 0 ? ROWS_MORE : rows_end_value(d, d->value, ROWS_JSON);
}

/* --- strings --- */

/* Keep as much of the key as needed to distinguish it from the keys with a meaning. */
static void
add_to_key(RowsDecoder *d, const char *data, size_t n)
{
	for (size_t i = 0; i < n && d->key_len < sizeof(d->key); i++)
		d->key[d->key_len++] = data[i];
}

/* At the closing quote. */
static RowsResult
end_string(RowsDecoder *d)
{
	if (d->string == STRING_KEY)
		return rows_end_key(d);
	if (d->string == STRING_CELL && !rows_add_cell(d, ROWS_STRING))
		return ROWS_ERROR;
	d->p++;
	if (d->string == STRING_OTHER)
		return rows_end_value(d, d->value, ROWS_JSON);
	d->state = STATE_AFTER;
	return ROWS_MORE;
}

/* At a backslash. */
static RowsResult
begin_escape(RowsDecoder *d)
{
	if (d->string == STRING_CELL)
	{
		if (!rows_spill(d))
			return ROWS_ERROR;
		d->run = NULL;
	}
	d->state = STATE_ESCAPE;
	d->high = 0;
	d->p++;
	return ROWS_MORE;
}

static RowsResult
step_utf8(RowsDecoder *d)
{
	if (!rows_utf8_next(&d->utf8, (unsigned char) *d->p))
		return rows_fail(d, "invalid UTF-8");
	if (d->utf8.left == 0)
		d->state = STATE_STRING;
	add_to_key(d, d->p++, 1);
	return ROWS_MORE;
}

static RowsResult
step_string(RowsDecoder *d)
{
	const char *from = d->p;

	d->p = rows_scan_string(from, d->stop);
	if (d->string == STRING_KEY)
		add_to_key(d, from, (size_t) (d->p - from));
	if (d->p == d->stop)
		return ROWS_MORE;
	if (*d->p == '"')
		return end_string(d);
	if (*d->p == '\\')
		return begin_escape(d);
	if ((unsigned char) *d->p < 0x20)
		return rows_fail(d, "control character in a string");
	/* at the first byte of a sequence that rows_scan_string() did not accept */
	d->utf8 = rows_utf8_lead((unsigned char) *d->p);
	if (d->utf8.left == 0)
		return rows_fail(d, "invalid UTF-8");
	d->state = STATE_UTF8;
	add_to_key(d, d->p++, 1);
	return ROWS_MORE;
}

/* The escape ends with the current byte and stands for this code point. */
static RowsResult
end_escape(RowsDecoder *d, unsigned int code)
{
	char utf8[4];
	size_t n = 0;

	if (code < 0x80)
		utf8[n++] = (char) code;
	else if (code < 0x800)
		utf8[n++] = (char) (0xC0 | code >> 6);
	else if (code < 0x10000)
		utf8[n++] = (char) (0xE0 | code >> 12);
	else
		utf8[n++] = (char) (0xF0 | code >> 18);
	if (code >= 0x10000)
		utf8[n++] = (char) (0x80 | (code >> 12 & 0x3F));
	if (code >= 0x800)
		utf8[n++] = (char) (0x80 | (code >> 6 & 0x3F));
	if (code >= 0x80)
		utf8[n++] = (char) (0x80 | (code & 0x3F));
	if (d->string == STRING_KEY)
		add_to_key(d, utf8, n);
	else if (d->string == STRING_CELL && !rows_append(d, d->into, utf8, n))
		return ROWS_ERROR;
	d->state = STATE_STRING;
	d->p++;
	if (d->string == STRING_CELL)
		d->run = d->p;
	return ROWS_MORE;
}

static RowsResult
step_escape(RowsDecoder *d)
{
	static const char letters[] = "\"\\/bfnrt", meanings[] = "\"\\/\b\f\n\r\t";
	const char *letter = memchr(letters, *d->p, sizeof(letters) - 1);

	if (letter != NULL)
		return end_escape(d, (unsigned char) meanings[letter - letters]);
	if (*d->p != 'u')
		return rows_fail(d, "invalid escape in a string");
	d->state = STATE_HEX;
	d->code = 0;
	d->digits = 0;
	d->p++;
	return ROWS_MORE;
}

static RowsResult
step_hex(RowsDecoder *d)
{
	char c = *d->p;
	int digit;

	if (c >= '0' && c <= '9')
		digit = c - '0';
	else if (c >= 'a' && c <= 'f')
		digit = c - 'a' + 10;
	else if (c >= 'A' && c <= 'F')
		digit = c - 'A' + 10;
	else
		return rows_fail(d, "invalid escape in a string");
	d->code = d->code << 4 | (unsigned int) digit;
	if (++d->digits < 4)
	{
		d->p++;
		return ROWS_MORE;
	}
	bool low = d->code >= 0xDC00 && d->code <= 0xDFFF;

	if (low != (d->high != 0))
		return rows_fail(d, "lone surrogate in a string");
	if (low)
		return end_escape(d, 0x10000 + ((d->high - 0xD800) << 10) + (d->code - 0xDC00));
	if (d->code < 0xD800 || d->code > 0xDBFF)
		return end_escape(d, d->code);
	d->high = d->code;
	d->state = STATE_PAIR;
	d->p++;
	return ROWS_MORE;
}

/* Between the halves of a surrogate pair. */
static RowsResult
step_pair(RowsDecoder *d)
{
	if (*d->p != (d->state == STATE_PAIR ? '\\' : 'u'))
		return rows_fail(d, "lone surrogate in a string");
	d->state = d->state == STATE_PAIR ? STATE_PAIR_U : STATE_HEX;
	d->code = 0;
	d->digits = 0;
	d->p++;
	return ROWS_MORE;
}

/* Continue in the token of d->state, up to the end of the piece. */
RowsResult
rows_step_token(RowsDecoder *d)
{
	switch (d->state)
	{
		case STATE_STRING:
			return step_string(d);
		case STATE_UTF8:
			return step_utf8(d);
		case STATE_ESCAPE:
			return step_escape(d);
		case STATE_HEX:
			return step_hex(d);
		case STATE_LITERAL:
			return step_literal(d);
		case STATE_NUMBER:
			return step_number(d);
		default:
			return step_pair(d);
	}
}
