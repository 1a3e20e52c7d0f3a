/*
 * rows_internal.h
 *	  Shared by rows.c (memory, cells, the envelope), rows_grammar.c (the structure of a
 *	  page), rows_token.c (strings, numbers, literals) and rows_cell.c.
 *	  The interface of the module is rows.h.
 */
#ifndef CONTRATOS_ROWS_INTERNAL_H
#define CONTRATOS_ROWS_INTERNAL_H

#include "rows/rows.h"
#include "rows/rows_scan.h"

/* The role of a value in the page; the stack has one for each open container. */
typedef enum RowsPlace
{
	PLACE_PAGE, /* the document */
	PLACE_MEMBER, /* value of a member of the document, for the envelope */
	PLACE_ROWS, /* value of the document's "rows" */
	PLACE_ROW, /* element of it */
	PLACE_FIELDS, /* value of a row's "f" */
	PLACE_CELL, /* element of it */
	PLACE_VALUE, /* value of a cell's "v" */
	PLACE_OTHER /* inside a member or a value, or not needed */
} RowsPlace;

/* The kind of byte that is expected next. */
typedef enum RowsState
{
	STATE_VALUE, /* a value must follow */
	STATE_FIRST_VALUE, /* a value or ] */
	STATE_KEY, /* a key must follow */
	STATE_FIRST_KEY, /* a key or } */
	STATE_COLON,
	STATE_AFTER, /* after a value: a comma or the container's end */
	STATE_DONE, /* after the document: white space */
	STATE_STRING, /* this state and all below are inside a token */
	STATE_UTF8, /* a sequence that did not lie whole in the piece */
	STATE_ESCAPE, /* after a backslash */
	STATE_HEX, /* the four digits after \u */
	STATE_PAIR, /* after a high surrogate: \ */
	STATE_PAIR_U, /* and u */
	STATE_LITERAL,
	STATE_NUMBER
} RowsState;

typedef enum RowsString
{
	STRING_KEY, /* unescaped as far as necessary to recognize it */
	STRING_CELL, /* unescaped into a cell */
	STRING_OTHER /* only checked */
} RowsString;

typedef enum RowsNumber
{
	NUMBER_SIGN, /* after - */
	NUMBER_ZERO, /* after a leading 0 */
	NUMBER_INTEGER,
	NUMBER_POINT,
	NUMBER_FRACTION,
	NUMBER_E,
	NUMBER_E_SIGN,
	NUMBER_EXPONENT
} RowsNumber;

typedef struct RowsBuffer
{
	char *data;
	size_t len;
	size_t size;
} RowsBuffer;

/* Memory that outlives a page. */
typedef struct RowsMemory
{
	RowsAlloc alloc;
	void *arg;
	RowsBuffer text; /* values that held escapes or crossed pieces */
	RowsBuffer kept; /* in-place values of a row that goes on in the next piece */
	RowsBuffer envelope;
	RowsCell *cells;
	int cells_size;
} RowsMemory;

struct RowsDecoder
{
	RowsMemory memory;

	/* the piece */
	const char *piece;
	const char *end;
	const char *p; /* the next (current) byte */
	const char *stop; /* the end, or the position of the limit if that is earlier */
	uint64_t base; /* bytes of the page before this piece */
	uint64_t limit; /* byte of the page that is not read unless rows_at_limit() allows it */
	uint64_t row_end; /* … that a row must not reach, even if little of it is text */
	uint64_t text_len; /* in the cells of the row being read */

	/* the state of the grammar */
	RowsState state;
	RowsPlace value; /* place of the scalar being read, or of the value after a colon */
	int depth;
	uint8_t places[ROWS_MAX_DEPTH]; /* a RowsPlace for each open container */
	bool arrays[ROWS_MAX_DEPTH]; /* is it an array? */

	/* inside a token */
	RowsString string;
	RowsNumber number;
	const char *literal; /* the bytes that must still follow */
	unsigned int code; /* of \uXXXX so far */
	unsigned int high; /* high surrogate without its other half so far, or 0 */
	int digits; /* of \uXXXX so far */
	RowsUtf8 utf8; /* the open sequence */
	char key[8]; /* the start of the last key; longer than any key with a meaning */
	size_t key_len;

	/* the text being copied: the source from run on, into a buffer */
	RowsBuffer *into;
	const char *run; /* NULL: none, or in the middle of an escape */
	size_t start; /* where the value starts in the buffer */
	bool spilled; /* some of it is in the buffer */

	/* the page */
	bool seen_rows;
	bool seen_fields; /* in the row being read */
	bool seen_value; /* in the cell being read */
	bool row_given; /* the last rows_next() gave a row */
	int ncells;
	bool reads_cell; /* the value of the next cell is being copied */
	bool some_at_a_time; /* ROWS_MAX_CELLS cells are not an error but a batch to return */
	int nkept; /* cells before this one do not lie in the piece */
	size_t closed; /* where the envelope's closing brace is */

	const char *error;
	RowsTrouble trouble;
	uint64_t error_at;
};

/* rows.c; functions that return bool have called rows_fail() when it is false */
extern RowsResult rows_fail(RowsDecoder *d, const char *error);
extern void rows_limit(RowsDecoder *d, uint64_t bytes);
extern void rows_limit_row(RowsDecoder *d);
extern bool rows_at_limit(RowsDecoder *d);
extern bool rows_append(RowsDecoder *d, RowsBuffer *b, const char *data, size_t n);
extern bool rows_room_for_cell(RowsDecoder *d);
extern void rows_copy_begin(RowsDecoder *d, RowsBuffer *into, const char *run);
extern bool rows_spill(RowsDecoder *d);
extern bool rows_add_cell(RowsDecoder *d, RowsKind kind);
extern bool rows_member_begin(RowsDecoder *d);
extern void rows_member_drop(RowsDecoder *d);
extern bool rows_member_end(RowsDecoder *d);

/* rows_token.c */
extern RowsResult rows_begin_literal(RowsDecoder *d, const char *rest);
extern RowsResult rows_begin_number(RowsDecoder *d, char c);
extern RowsResult rows_begin_string(RowsDecoder *d, RowsString string);
extern RowsResult rows_step_token(RowsDecoder *d);

/* rows_grammar.c; the first two are called when a token is complete */
extern RowsResult rows_end_value(RowsDecoder *d, RowsPlace place, RowsKind kind);
extern RowsResult rows_end_key(RowsDecoder *d);
/* go on to the next row or to the end of the piece (ROWS_MORE) */
extern RowsResult rows_advance(RowsDecoder *d);

#endif /* CONTRATOS_ROWS_INTERNAL_H */
