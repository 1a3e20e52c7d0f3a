/*
 * rows.h
 *	  Incremental decoder of a BigQuery page: bytes in, rows out; and readers for nested
 *	  values and JSON documents in cells.
 *
 * Pure C, no PostgreSQL.  Feed the body as it arrives, cut anywhere; get one row at a
 * time.  The rest of the page, without the top-level "rows" array, is small and is
 * collected as the page's envelope.
 *
 *	rows_feed(d, data, len);
 *	for (;;)
 *		switch (rows_next(d))
 *			case ROWS_ROW:   rows_cells(d, &n)
 *			case ROWS_MORE:  feed the next piece (all of the last is consumed)
 *			case ROWS_END:   the document is complete
 *			case ROWS_ERROR: rows_error(d, &offset)
 */
#ifndef CONTRATOS_ROWS_H
#define CONTRATOS_ROWS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum RowsKind
{
	ROWS_NULL, /* {"v":null} */
	ROWS_STRING, /* a string, unescaped, UTF-8 checked */
	ROWS_JSON /* anything else, as its JSON text: an array,
								 * an object, a number, true or false */
} RowsKind;

typedef struct RowsCell
{
	const char *data; /* not NUL-terminated; may hold U+0000 */
	size_t len; /* bytes */
	RowsKind kind;
} RowsCell;

typedef enum RowsResult
{
	ROWS_ROW,
	ROWS_MORE,
	ROWS_END,
	ROWS_ERROR
} RowsResult;

/*
 * The caller supplies the memory: like realloc(ptr, size), size 0 frees.  NULL for a
 * size above 0 makes the decoder fail with "out of memory".
 */
typedef void *(*RowsAlloc)(void *arg, void *ptr, size_t size);

typedef struct RowsDecoder RowsDecoder;

/* NULL when the allocator returns NULL. */
extern RowsDecoder *rows_create(RowsAlloc alloc, void *arg);
extern void rows_destroy(RowsDecoder *d);

/* Drop everything but the buffers: ready for another page. */
extern void rows_reset(RowsDecoder *d);

/*
 * Hand over the next piece.  It must stay in place until rows_next() has
 * returned ROWS_MORE, ROWS_END or ROWS_ERROR for it.
 */
extern void rows_feed(RowsDecoder *d, const char *data, size_t len);

/* The next row, or the reason why there is none. */
extern RowsResult rows_next(RowsDecoder *d);

/* Cells of the row that rows_next() returned last, valid until its next call. */
extern const RowsCell *rows_cells(const RowsDecoder *d, int *ncells);

/*
 * The page without the contents of its top-level "rows", as one well-formed JSON object
 * of the part that was read so far; NUL-terminated, valid until the next rows_next().
 * It may be called at the first row (the result then lacks the members that follow the
 * rows) or at the end.
 */
extern const char *rows_envelope(RowsDecoder *d, size_t *len);

/*
 * After ROWS_ERROR: the error (static text) and its byte offset in the page; otherwise
 * NULL.
 */
extern const char *rows_error(const RowsDecoder *d, uint64_t *offset);

typedef enum RowsTrouble
{
	ROWS_MALFORMED,
	ROWS_VALUE_TOO_LONG, /* the text of one cell has more than ROWS_MAX_TEXT bytes … */
	ROWS_ROW_TOO_LONG, /* … those of a row have, together */
	ROWS_ROW_TOO_WIDE, /* a row is written in more than ROWS_MAX_ROW bytes */
	ROWS_ENVELOPE_TOO_LONG,
	ROWS_NO_MEMORY
} RowsTrouble;

/* The same, by kind; *cell is the number, from 0, of the cell being read. */
extern RowsTrouble rows_trouble(const RowsDecoder *d, int *cell);

/*
 * Nested values.  A cell of kind ROWS_JSON that is an ARRAY holds [{"v":…},…], one that
 * is a STRUCT {"f":[{"v":…},…]}.  A separate decoder (not the one that returned the
 * cell) reads one level of it; elements that are nested themselves are returned as
 * cells of kind ROWS_JSON again.  Cells without escapes lie in `data`.  After an error
 * the offset is relative to `data`.
 */

/*
 * Read a whole STRUCT.  True: rows_cells() has its fields, until the next call.  False:
 * rows_error() has the error.
 */
extern bool rows_record(RowsDecoder *d, const char *data, size_t len);

/*
 * Read an ARRAY with any number of elements, in batches: begin with it, then fetch
 * batches until there are no more.  False: rows_error() is NULL at the end of the
 * array, or else the error.  Cells are valid until the next call.
 */
extern void rows_array(RowsDecoder *d, const char *data, size_t len);
extern bool rows_elements(RowsDecoder *d, const RowsCell **cells, int *ncells);

/*
 * JSON documents, for values of type JSON: a reader that returns one token at a time.
 * Strings are unescaped and may contain U+0000; numbers keep all their digits; repeated
 * keys are returned as they come.
 */
typedef enum RowsToken
{
	ROWS_TOKEN_OBJECT, /* { */
	ROWS_TOKEN_OBJECT_END,
	ROWS_TOKEN_LIST, /* [ */
	ROWS_TOKEN_LIST_END,
	ROWS_TOKEN_KEY, /* its text */
	ROWS_TOKEN_STRING, /* its text */
	ROWS_TOKEN_NUMBER, /* its text, as written in the document */
	ROWS_TOKEN_TRUE,
	ROWS_TOKEN_FALSE,
	ROWS_TOKEN_NULL,
	ROWS_TOKEN_DONE, /* the document is complete */
	ROWS_TOKEN_ERROR /* rows_json_error() */
} RowsToken;

typedef struct RowsJson RowsJson;

/* NULL when the allocator returns NULL. */
extern RowsJson *rows_json_create(RowsAlloc alloc, void *arg);
extern void rows_json_destroy(RowsJson *j);

/* Begin with a document (UTF-8; it is checked), which must not move. */
extern void rows_json_begin(RowsJson *j, const char *text, size_t len);

/* The next token; *data and *len are its text until the next call. */
extern RowsToken rows_json_next(RowsJson *j, const char **data, size_t *len);

/* After ROWS_TOKEN_ERROR: the error (static text). */
extern const char *rows_json_error(const RowsJson *j);

/*
 * Limits; beyond them rows_next() returns ROWS_ERROR.  ROWS_MAX_TEXT limits the text of
 * a row's cells, unescaped (for nested ones as written), which is all that a decoder
 * keeps of a row.  BigQuery's own rows have up to 100 MB.
 */
#ifndef ROWS_MAX_TEXT /* tests use a smaller one */
#define ROWS_MAX_TEXT (128 * 1024 * 1024)
#endif
#define ROWS_MAX_ROW (4 * ROWS_MAX_TEXT) /* a row as written, with escapes and spaces */
#define ROWS_MAX_CELLS 10000 /* BigQuery's columns in a result */
#define ROWS_MAX_ENVELOPE (16 * 1024 * 1024)
#define ROWS_MAX_DEPTH 100 /* nesting, from the top of the document */
#define ROWS_MAX_JSON_DEPTH 500 /* of a JSON document; BigQuery's own limit */

#endif /* CONTRATOS_ROWS_H */
