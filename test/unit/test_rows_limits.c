/*
 * test_rows_limits.c
 *	  The page decoder at its limits, short of memory, and how much it copies
 *	  and scans.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "rows_harness.h"

uint64_t rows_scanned; /* see rows_scan.h */

#define MB ((size_t) 1024 * 1024)

static void
repeat(Text *t, const char *s, size_t times)
{
	for (size_t i = 0; i < times; i++)
		text_puts(t, s);
}

/* Does decoding the page, whole and in pieces, end with this line? */
static bool
ends_with(const Text *doc, const char *line)
{
	static const Cuts cuts[] = {{.first = SIZE_MAX}, {.first = 1, .step = 1000}, {.first = 7, .step = 131072}};
	Text got = {.data = NULL};
	size_t tail = strlen(line);
	bool good = true;

	for (int i = 0; i < 3; i++)
	{
		RowsDecoder *d = new_decoder();

		decode(d, doc->data, doc->len, cuts[i], &got);
		good = good && got.len >= tail && memcmp(got.data + got.len - tail, line, tail) == 0;
		rows_destroy(d);
	}
	text_free(&got);
	return good;
}

static void
test_depth(void)
{
	Text doc = {.data = NULL}, error = {.data = NULL};

	text_puts(&doc, "{\"rows\":[],\"a\":");
	text_printf(&error, "error nested too deeply at %zu\n", doc.len + ROWS_MAX_DEPTH - 1);
	repeat(&doc, "[", ROWS_MAX_DEPTH - 1);
	repeat(&doc, "]", ROWS_MAX_DEPTH - 1);
	text_puts(&doc, "}");
	ok(ends_with(&doc, "]]]}\n"), "the deepest nesting allowed");

	doc.len = 0;
	text_puts(&doc, "{\"rows\":[],\"a\":");
	repeat(&doc, "[", ROWS_MAX_DEPTH);
	ok(ends_with(&doc, error.data), "nested one deeper");

	doc.len = error.len = 0;
	text_puts(&doc, "{\"rows\":[{\"f\":[{\"v\":");
	text_printf(&error, "error nested too deeply at %zu\n", doc.len + (ROWS_MAX_DEPTH - 5) * 5);
	repeat(&doc, "{\"a\":", ROWS_MAX_DEPTH - 4);
	ok(ends_with(&doc, error.data), "a value nested too deeply");
	text_free(&doc);
	text_free(&error);
}

static void
test_cells(const char *cell, const char *name)
{
	Text doc = {.data = NULL}, error = {.data = NULL};

	text_puts(&doc, "{\"rows\":[{\"f\":[");
	repeat(&doc, cell, ROWS_MAX_CELLS);
	text_printf(&error, "error too many cells in a row at %zu\n", doc.len);
	size_t len = doc.len - 1;

	doc.len = len;
	text_puts(&doc, "]}]}");
	ok(ends_with(&doc, "envelope {}\n"), name);
	doc.len = len;
	text_puts(&doc, ",{\"v\":null}]}]}");
	ok(ends_with(&doc, error.data), "one cell more");
	text_free(&doc);
	text_free(&error);
}

/* Room for the value of {"a":"…"} in the longest envelope. */
#define ENVELOPE_TEXT (ROWS_MAX_ENVELOPE - strlen("{  \"a\":\"\"}"))

static void
test_envelope(void)
{
	Text doc = {.data = NULL}, error = {.data = NULL};

	text_puts(&doc, "{\"rows\":[{\"f\":[]}],\"a\":\"");
	repeat(&doc, "x", ENVELOPE_TEXT);
	size_t len = doc.len;

	text_puts(&doc, "\"}");
	ok(ends_with(&doc, "xxx\"}\n"), "the longest envelope");
	doc.len = len;
	text_printf(&error, "error envelope too long at %zu\n", len + 1);
	text_puts(&doc, "x\",\x01");
	ok(ends_with(&doc, error.data), "an envelope one byte longer, and malformed after that");

	doc.len = error.len = 0;
	text_puts(&doc, "{");
	while (doc.len < ROWS_MAX_ENVELOPE)
		text_puts(&doc, "\"a\":1,");
	text_puts(&doc, "\"a\":1}");
	text_puts(&error, "error envelope too long at ");
	RowsDecoder *d = new_decoder();
	Text got = {.data = NULL};

	decode(d, doc.data, doc.len, whole, &got);
	ok(got.len > error.len && memcmp(got.data, error.data, error.len) == 0, "an envelope of too many members");
	rows_destroy(d);
	text_free(&got);
	text_free(&doc);
	text_free(&error);
}

/* Such a row, with so many bytes more that are not asked for: a piece fed again and again. */
static RowsResult
long_row(const char *head, size_t bytes, const char *tail, Text *t)
{
	RowsDecoder *d = new_decoder();
	char *piece = malloc(MB);

	memset(piece, 'x', MB);
	t->len = 0;
	rows_feed(d, head, strlen(head));
	RowsResult result = drain(d, t);

	for (size_t n = bytes; n > 0 && result == ROWS_MORE; n -= n < MB ? n : MB)
	{
		rows_feed(d, piece, n < MB ? n : MB);
		result = drain(d, t);
	}
	if (result == ROWS_MORE)
	{
		rows_feed(d, tail, strlen(tail));
		result = drain(d, t);
	}
	free(piece);
	rows_destroy(d);
	return result;
}

static void
test_row(const char *head, const char *tail, const char *name)
{
	Text got = {.data = NULL}, error = {.data = NULL};
	size_t most = ROWS_MAX_ROW - (strlen(head) - strlen("{\"rows\":[")) - (strlen(tail) - strlen("]}"));

	ok(long_row(head, most, tail, &got) == ROWS_END, name);
	text_printf(&error, "error row written in too many bytes at %zu\n", strlen("{\"rows\":[") + (size_t) ROWS_MAX_ROW);
	ok(long_row(head, most + 1, tail, &got) == ROWS_ERROR && same(&got, &error), "a row one byte longer");
	text_free(&got);
	text_free(&error);
}

/*
 * Feed the head, then this text so many times in pieces, then the tail; true
 * when that ends as it should, at the tail's end or with this error in this
 * cell, and no more was kept than may be.
 */
static bool
text_ends(const char *head, const char *text, size_t times, const char *tail, RowsTrouble trouble, int cell)
{
	enum
	{
		PIECE = 1000
	};
	Memory memory = {.blocks = 0};
	RowsDecoder *d = rows_create(counting_alloc, &memory);
	Text piece = {.data = NULL}, got = {.data = NULL};
	uint64_t offset;
	int in_cell;

	repeat(&piece, text, PIECE);
	rows_feed(d, head, strlen(head));
	RowsResult result = drain(d, &got);

	for (; times > 0 && result == ROWS_MORE; times -= times < PIECE ? times : PIECE)
	{
		rows_feed(d, piece.data, strlen(text) * (times < PIECE ? times : PIECE));
		result = drain(d, &got);
	}
	if (result == ROWS_MORE)
	{
		rows_feed(d, tail, strlen(tail));
		/* a row of its size is not written down */
		while ((result = rows_next(d)) == ROWS_ROW)
			;
	}
	bool good = trouble == ROWS_MALFORMED ? result == ROWS_END
										  : result == ROWS_ERROR && rows_error(d, &offset) != NULL &&
												rows_trouble(d, &in_cell) == trouble && in_cell == cell;

	/* the last block has room for twice as much as was in the one before it */
	good = good && memory.largest <= 2 * (size_t) ROWS_MAX_TEXT;
	if (!good)
		printf("# %s … %s: %s, largest block %zu\n", head, tail, rows_error(d, &offset), memory.largest);
	rows_destroy(d);
	text_free(&piece);
	text_free(&got);
	return good;
}

#define ROW "{\"rows\":[{\"f\":["

/* The text of one value, and of a row's values together, whatever they are made of. */
static void
test_text(void)
{
	static const struct
	{
		const char *text; /* as it is written … */
		size_t len; /* … and what it is */
		const char *head;
		const char *tail;
		const char *name;
	} values[] = {
		{"0123456789abcdef", 16, ROW "{\"v\":\"", "\"}]}]}", "a string"},
		{"0123456789abcd\\n\\n", 16, ROW "{\"v\":\"", "\"}]}]}", "a string with escapes"},
		{"\\u20ac\\u00e9\\u0061\\u0001\\u0002", 8, ROW "{\"v\":\"", "\"}]}]}", "a string of escapes"},
		{"  {\"v\":\"12\"},   ", 16, ROW "{ \"v\" : [", " 1]}]}]}", "an array"},
	};

	for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++)
	{
		/* the array's brackets and its last element are part of it */
		bool array = values[i].head[strlen(values[i].head) - 1] == '[';
		size_t times = ROWS_MAX_TEXT / values[i].len - array;

		ok(text_ends(values[i].head, values[i].text, times, values[i].tail, ROWS_MALFORMED, 0), values[i].name);
		ok(text_ends(values[i].head, values[i].text, times + 2, values[i].tail, ROWS_VALUE_TOO_LONG, 0),
		   "a longer one is too long");
	}
	ok(text_ends(ROW "{\"v\":\"12\"},{\"v\":null},{\"v\":\"", "0123456789abcdef", ROWS_MAX_TEXT / 16, "\"}]}]}",
				 ROWS_ROW_TOO_LONG, 2),
	   "beside others it is a row that is too long");
	ok(text_ends(ROW "{\"v\":\"", "0123456789abcdef", ROWS_MAX_TEXT / 16, "\"},{\"v\":1}]}]}", ROWS_ROW_TOO_LONG, 1),
	   "as it is with others behind it");
	ok(text_ends(ROW "{\"v\":1}", ",{\"v\":\"0123456789012345678901234567890123456789\"}", 9999, "]}]}", ROWS_MALFORMED,
				 0),
	   "many values are not");
}

/* A value in small pieces: each byte scanned once, copied a few times at most. */
static void
test_linear(void)
{
	Text doc = {.data = NULL}, got = {.data = NULL};
	Memory memory = {.blocks = 0};
	RowsDecoder *d = rows_create(counting_alloc, &memory);

	text_puts(&doc, "{\"rows\":[{\"f\":[{\"v\":\"");
	repeat(&doc, "0123456789abcdef\\n", MB / 8);
	text_puts(&doc, "\"},{\"v\":[\"");
	repeat(&doc, "0123456789abcdefgh", MB / 8);
	text_puts(&doc, "\"]}");
	repeat(&doc, ",{\"v\":\"0123456789abcdef0123456789\"}", ROWS_MAX_CELLS - 2);
	text_puts(&doc, "]}]}");
	rows_scanned = 0;
	ok(decode(d, doc.data, doc.len, (Cuts){.first = 5, .step = 13}, &got) == ROWS_END,
	   "a row of 4 MB in pieces of 13 bytes");
	ok(rows_scanned > doc.len / 2 && rows_scanned <= doc.len, "no byte is scanned twice");
	ok(memory.bytes < 8 * doc.len, "its memory doubles, it does not grow piece by piece");
	rows_destroy(d);
	ok(memory.blocks == 0, "all memory is given back");
	text_free(&doc);
	text_free(&got);
}

/* The buffers are for one row, not for a page. */
static void
test_many_rows(void)
{
	Text doc = {.data = NULL}, got = {.data = NULL};
	Memory memory = {.blocks = 0};
	RowsDecoder *d = rows_create(counting_alloc, &memory);

	text_puts(&doc, "{\"rows\":[{\"f\":[]}");
	repeat(&doc, ",{\"f\":[{\"v\":\"0123456789\"},{\"v\":\"\\u00e9\\n\"}]}", 10000);
	text_puts(&doc, "]}");
	ok(decode(d, doc.data, doc.len, (Cuts){.first = 5, .step = 25}, &got) == ROWS_END && memory.bytes < 16384,
	   "10000 rows with escapes, cut: no more memory than for one");
	rows_destroy(d);
	text_free(&doc);
	text_free(&got);
}

/* Values that lie whole in the piece are not copied: no buffer is asked for. */
static void
test_in_place(void)
{
	static const char doc[] =
		"{\"rows\":[{\"f\":[{\"v\":\"abc\"}, {\"v\" : \"\xC3\xA9\"},{\"v\":[1,\"\\n\"]},{\"v\":12}]}]}";
	Memory memory = {.blocks = 0};
	RowsDecoder *d = rows_create(counting_alloc, &memory);
	bool inside = true;
	int n;

	rows_feed(d, doc, strlen(doc));
	ok(rows_next(d) == ROWS_ROW, "a row");
	const RowsCell *cells = rows_cells(d, &n);

	for (int i = 0; i < n; i++)
		inside = inside && cells[i].data > doc && cells[i].data + cells[i].len < doc + sizeof(doc);
	ok(n == 4 && inside, "its values lie where they were fed");
	/* the decoder, the cells, the envelope */
	ok(rows_next(d) == ROWS_END && memory.calls == 3, "nothing was copied");
	rows_destroy(d);
}

/* U+0000, and what is asked for at the wrong time. */
static void
test_door(void)
{
	static const char doc[] = "{\"rows\":[{\"f\":[{\"v\":\"a\\u0000b\"}]},{\"f\":[]}]}";
	static const char rest[] = "{\"rows\":[{\"f\":[]},{\"f\":[{\"v\":\"1\"}";
	RowsDecoder *d = new_decoder();
	int n;
	size_t len;
	uint64_t offset;

	ok(rows_next(d) == ROWS_MORE && strcmp(rows_envelope(d, &len), "{}") == 0 && len == 2, "nothing fed: more, {}");
	rows_feed(d, NULL, 0);
	ok(rows_next(d) == ROWS_MORE, "an empty piece: more");
	rows_feed(d, doc, strlen(doc));
	rows_next(d);
	const RowsCell *cells = rows_cells(d, &n);

	ok(n == 1 && cells[0].len == 3 && memcmp(cells[0].data, "a\0b", 3) == 0, "U+0000 is a byte of the text");
	ok(rows_next(d) == ROWS_ROW && rows_next(d) == ROWS_END && rows_next(d) == ROWS_END, "the end stays the end");
	rows_feed(d, "  ", 2);
	ok(rows_next(d) == ROWS_END, "white space after the end");
	rows_feed(d, " x", 2);
	ok(rows_next(d) == ROWS_ERROR && rows_next(d) == ROWS_ERROR, "anything else is an error, for good");
	ok(strcmp(rows_error(d, &offset), "unexpected character after the page") == 0 && offset == strlen(doc) + 3,
	   "with its place in the page");
	rows_cells(d, &n);
	ok(n == 0, "no row, no cells");
	rows_reset(d);
	rows_feed(d, "{\"a\":2}", 7);
	ok(rows_next(d) == ROWS_END && strcmp(rows_envelope(d, &len), "{  \"a\":2}") == 0, "reset: another page");
	rows_reset(d);
	rows_feed(d, rest, strlen(rest));
	ok(rows_next(d) == ROWS_ROW && rows_next(d) == ROWS_MORE, "a row, and a piece of the next");
	rows_cells(d, &n);
	ok(n == 0, "which is not shown");
	rows_destroy(d);
	rows_destroy(NULL);
}

/* Whichever call gets no memory: an error that says so, and nothing is lost. */
static void
test_memory(void)
{
	Text doc = {.data = NULL}, expected = {.data = NULL}, got = {.data = NULL};
	RowsDecoder *d = new_decoder();
	bool good = true;
	Memory memory = {.fail_at = 0};

	text_puts(&doc, "{\"a\":\"");
	repeat(&doc, "abc\\n", 1000);
	text_puts(&doc, "\",\"rows\":[{\"f\":[{\"v\":1}");
	repeat(&doc, ",{\"v\":\"0123456789\\t012345678901234567890\"},{\"v\":\"abcdefghi\"},{\"v\":[1,2]}", 100);
	text_puts(&doc, "]}],\"b\":[]}");
	decode(d, doc.data, doc.len, whole, &expected);
	rows_destroy(d);
	do
	{
		memory = (Memory){.fail_at = memory.fail_at + 1};
		d = rows_create(counting_alloc, &memory);
		if (d != NULL)
		{
			RowsResult result = decode(d, doc.data, doc.len, (Cuts){.first = 9, .step = 29}, &got);

			if (result == ROWS_ERROR)
				good = good && rows_next(d) == ROWS_ERROR && strstr(got.data, "error out of memory at ") != NULL;
			else
				good = good && same(&expected, &got);
		}
		rows_destroy(d);
		good = good && memory.blocks == 0;
	} while (memory.calls >= memory.fail_at && memory.fail_at < 1000);
	ok(good, "no memory at any one call: an error or nothing, never a wrong row or a leak");
	ok(memory.fail_at > 15 && memory.fail_at < 1000, "and there were calls to fail");
	text_free(&doc);
	text_free(&expected);
	text_free(&got);
}

void
test_limits(void)
{
	test_depth();
	test_cells("{\"v\":\"1\"},", "as many cells as a row may have");
	test_cells("{\"v\": 1 },", "the same, of the uncommon form");
	test_envelope();
	test_row("{\"rows\":[{\"x\":\"", "\",\"f\":[]}]}", "the longest row");
	test_row("{\"rows\":[{\"f\":[{\"v\":\"1\"}],\"x\":\"", "\"}]}", "the longest row that starts like a common one");
	test_text();
	test_linear();
	test_many_rows();
	test_in_place();
	test_door();
	test_memory();
}
