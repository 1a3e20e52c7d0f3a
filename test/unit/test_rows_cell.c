/*
 * test_rows_cell.c
 *	  The reader of nested values: against jansson, against malformed text,
 *	  limits and a lack of memory.  (JSON documents: test_rows_json.c)
 */
#include <stdio.h>

#include "jansson_harness.h"

/* The two shapes a nested value has. */
typedef enum Shape
{
	ARRAY,
	RECORD
} Shape;

/* Read one level of a value to its end; false when something is wrong with it. */
static bool
read_all(RowsDecoder *d, Shape shape, const char *data, size_t len)
{
	const RowsCell *cells;
	uint64_t offset;
	int n;

	if (shape == RECORD)
		return rows_record(d, data, len);
	rows_array(d, data, len);
	while (rows_elements(d, &cells, &n))
		;
	return n == 0 && rows_error(d, &offset) == NULL && !rows_elements(d, &cells, &n);
}

/* --- nested values against jansson --- */

static bool equals_nested(json_t *value, Shape shape, const char *data, size_t len);

/* Is it an array of cells, or an object with an array of them? */
static bool
is_cells(json_t *value)
{
	size_t i;
	json_t *cell;

	json_array_foreach(value, i, cell)
	{
		if (json_object_get(cell, "v") == NULL)
			return false;
	}
	return json_is_array(value);
}

/* Such as {"f":[],"f":[]}, which jansson reads and the decoder refuses. */
static bool
has_duplicates(const char *data, size_t len)
{
	json_t *json = json_loadb(data, len, JSON_DECODE_ANY | JSON_ALLOW_NUL | JSON_REJECT_DUPLICATES, NULL);

	json_decref(json);
	return json == NULL;
}

static bool
equals_cell(json_t *value, const RowsCell *cell)
{
	if (json_is_null(value))
		return cell->kind == ROWS_NULL && cell->len == 0;
	if (json_is_string(value))
		return cell->kind == ROWS_STRING && cell->len == json_string_length(value) &&
			   memcmp(cell->data, json_string_value(value), cell->len) == 0;
	if (cell->kind != ROWS_JSON)
		return false;
	json_t *got = load(cell->data, cell->len, NULL);
	bool equal = got != NULL && json_equal(value, got);

	json_decref(got);
	if (!equal || has_duplicates(cell->data, cell->len))
		return equal;
	if (is_cells(value))
		return equals_nested(value, ARRAY, cell->data, cell->len);
	if (is_cells(json_object_get(value, "f")))
		return equals_nested(value, RECORD, cell->data, cell->len);
	return true;
}

static bool
equals_cells(json_t *cells, size_t from, const RowsCell *got, int n)
{
	bool equal = true;

	for (int i = 0; equal && i < n; i++)
		equal = equals_cell(json_object_get(json_array_get(cells, from + (size_t) i), "v"), &got[i]);
	return equal;
}

static bool
equals_nested(json_t *value, Shape shape, const char *data, size_t len)
{
	json_t *cells = shape == ARRAY ? value : json_object_get(value, "f");
	RowsDecoder *d = new_decoder();
	const RowsCell *got;
	size_t at = 0;
	uint64_t offset;
	bool equal = true;
	int n;

	if (shape == RECORD)
	{
		equal = rows_record(d, data, len);
		got = rows_cells(d, &n);
		equal = equal && equals_cells(cells, 0, got, n);
		at = (size_t) n;
	}
	else
	{
		for (rows_array(d, data, len); equal && rows_elements(d, &got, &n); at += (size_t) n)
			equal = equals_cells(cells, at, got, n);
		equal = equal && rows_error(d, &offset) == NULL;
	}
	rows_destroy(d);
	return equal && at == json_array_size(cells);
}

static void
test_nested(void)
{
	Text doc = {.data = NULL};
	bool good = true;
	int deep = 0;

	for (int i = 0; i < 2000; i++)
	{
		Shape shape = i % 2 ? ARRAY : RECORD;

		(shape == ARRAY ? document_array : document_record)(&doc);
		json_t *value = json_loadb(doc.data, doc.len, JSON_ALLOW_NUL, NULL);
		char *copy = exact(doc.data, doc.len);
		bool fine = value != NULL && equals_nested(value, shape, copy, doc.len);

		if (!fine)
			complain("nested", doc.data, doc.len, NULL, NULL);
		good = good && fine;
		deep += strstr(doc.data, ":{\"f\":[{\"v\":{\"f\"") != NULL || strstr(doc.data, ":[{\"v\":[") != NULL;
		free(copy);
		json_decref(value);
	}
	ok(good, "2000 generated nested values hold what jansson reads in them, at every level");
	ok(deep > 5, "some are nested deeper");
	text_free(&doc);
}

static bool
shape_only(const char *error)
{
	return strstr(error, "not an") != NULL || strstr(error, "without") != NULL || strstr(error, "duplicate") != NULL;
}

static void
test_nested_mutated(void)
{
	Text doc = {.data = NULL};
	RowsDecoder *d = new_decoder();
	bool good = true;
	int refused = 0;

	for (int i = 0; i < 20000; i++)
	{
		Shape shape = i / 20 % 2 ? ARRAY : RECORD;

		if (i % 20 == 0)
			(shape == ARRAY ? document_array : document_record)(&doc);
		char *work = malloc(doc.len);
		size_t len = mutate(&doc, work);
		char *copy = exact(work, len);
		json_error_t error;
		uint64_t offset;
		json_t *json = json_loadb(copy, len, JSON_ALLOW_NUL, &error);
		bool read = read_all(d, shape, copy, len);
		const char *why = rows_error(d, &offset);
		bool fine = json == NULL ? !read || jansson_only(&error) : read || shape_only(why);

		fine = fine && (read ? why == NULL : why != NULL && offset <= len);
		refused += !read;
		if (!fine)
			complain(why ? why : "mutated", copy, len, NULL, NULL);
		good = good && fine;
		json_decref(json);
		free(copy);
		free(work);
	}
	ok(good,
	   "20000 of them with one byte changed, or cut off, are refused when jansson refuses them, or for their shape");
	ok(refused > 5000 && refused < 19000, "many of them are refused, but not all");
	rows_destroy(d);
	text_free(&doc);
}

/* What is wrong with a nested value; NULL: nothing. */
static const char *
error_of(Shape shape, const char *text)
{
	static RowsDecoder *d;
	char *copy = exact(text, strlen(text));
	uint64_t offset;

	if (d == NULL)
		d = new_decoder();
	bool good = read_all(d, shape, copy, strlen(text));
	const char *error = rows_error(d, &offset);

	free(copy);
	return good ? NULL : error;
}

static void
test_nested_shapes(void)
{
	static const struct
	{
		Shape shape;
		const char *text;
		const char *error;
	} cases[] = {
		{ARRAY, "[]", NULL},
		{ARRAY, " [ ] ", NULL},
		{RECORD, "{\"f\":[]}", NULL},
		{RECORD, " {\"x\":1,\"f\":[{\"v\":null}]} ", NULL},
		{ARRAY, "", "ends too early"},
		{ARRAY, "[", "ends too early"},
		{ARRAY, "[{\"v\":\"1\"}", "ends too early"},
		{ARRAY, "[{\"v\":\"0123456789\"},", "ends too early"},
		{RECORD, "{\"f\":[]", "ends too early"},
		{RECORD, "{\"f\":[{\"v\":\"0123456789\"}]", "ends too early"},
		{ARRAY, "[{\"v\":\"0123456789\"}]}", "unexpected character after the page"},
		{ARRAY, "[{\"v\":\"0123456789\"}],", "unexpected character after the page"},
		{RECORD, "{\"f\":[{\"v\":\"0123456789\"}]}}", "unexpected character after the page"},
		{RECORD, "{\"f\":[{\"v\":\"0123456789\"}]},{\"f\":[]}", "unexpected character after the page"},
		{RECORD, "[]", "a row is not an object"},
		{ARRAY, "{\"f\":[]}", "\"f\" is not an array"},
		{ARRAY, "1", "\"f\" is not an array"},
		{RECORD, "true", "a row is not an object"},
		{ARRAY, "[1]", "a cell is not an object"},
		{ARRAY, "[{}]", "a cell without \"v\""},
		{RECORD, "{}", "a row without \"f\""},
		{RECORD, "{\"f\":[],\"f\":[]}", "duplicate \"f\" in a row"},
		{ARRAY, "[{\"v\":1,\"v\":2}]", "duplicate \"v\" in a cell"},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
	{
		const char *error = error_of(cases[i].shape, cases[i].text);
		char name[100];

		snprintf(name, sizeof(name), "%s %s", cases[i].shape == ARRAY ? "array" : "record", cases[i].text);
		ok(error == NULL ? cases[i].error == NULL : cases[i].error != NULL && strcmp(error, cases[i].error) == 0, name);
	}
}

/* `n` cells like this one, and a last one, between brackets. */
static void
many_cells(Text *doc, const char *first, const char *cell, int n, const char *last)
{
	doc->len = 0;
	text_puts(doc, "[");
	text_puts(doc, first);
	for (int i = 0; i < n; i++)
		text_puts(doc, cell);
	text_puts(doc, last);
	text_puts(doc, "]");
}

/* More elements than a page has cells; text in place; a decoder that is used again. */
static void
test_nested_many(void)
{
	Text doc = {.data = NULL};
	Memory memory = {.blocks = 0};
	RowsDecoder *d = rows_create(counting_alloc, &memory);
	const RowsCell *cells;
	bool in_place = true;
	int n, total = 0;

	many_cells(&doc, "{\"v\":\"first\"}", ",{\"v\":\"0123456789\"}", 50000, ",{\"v\":\"a\\u0000b\"}");
	rows_array(d, doc.data, doc.len);
	while (rows_elements(d, &cells, &n))
	{
		in_place = in_place && cells[0].data > doc.data && cells[0].data < doc.data + doc.len;
		total += n;
		if (total == 50002)
			ok(cells[n - 1].len == 3 && memcmp(cells[n - 1].data, "a\0b", 3) == 0, "U+0000 is a byte of the text");
	}
	ok(total == 50002 && in_place, "an array of 50,002 elements has them all, those without escapes where they were");
	long calls = memory.calls;

	ok(memory.bytes < 100 * 10000, "and takes no more memory than one of 10,000");
	ok(read_all(d, ARRAY, doc.data, doc.len) && memory.calls == calls, "read again without asking for memory");
	ok(!read_all(d, RECORD, doc.data, doc.len) && read_all(d, ARRAY, "[]", 2), "an error is not for good");
	rows_destroy(d);
	ok(memory.blocks == 0, "all memory is given back");
	text_free(&doc);
}

/* As many elements as are given at once, one fewer, one more; of each form, and broken off. */
static void
test_nested_batches(void)
{
	static const char *const forms[] = {"{\"v\":\"0123456789\"},", "{\"v\": 1 },", "{\"v\":\"a\\n\"},",
										"{\"v\":[{\"v\":null}]},"};
	Text doc = {.data = NULL};
	RowsDecoder *d = new_decoder();
	bool good = true, refused = true;
	uint64_t offset;

	for (int i = 0; i < 4; i++)
		for (int n = ROWS_MAX_CELLS - 2; n < ROWS_MAX_CELLS + 2; n++)
		{
			json_t *value;

			many_cells(&doc, "", forms[i], n, "{\"v\":\"x\"}");
			value = json_loadb(doc.data, doc.len, 0, NULL);
			good = good && equals_nested(value, ARRAY, doc.data, doc.len);
			refused = refused && !read_all(d, ARRAY, doc.data, doc.len - 1) &&
					  strcmp(rows_error(d, &offset), "ends too early") == 0 && offset == doc.len - 1;
			json_decref(value);
		}
	ok(good, "about as many elements as are given at once: all of them, in their order");
	ok(refused, "and an end that is missing is an error, whenever it comes");
	doc.len = 0;
	text_puts(&doc, "{\"f\":[");
	for (int i = 0; i <= ROWS_MAX_CELLS; i++)
		text_puts(&doc, i == 0 ? "{\"v\":null}" : ",{\"v\":null}");
	text_puts(&doc, "]}");
	const char *error = error_of(RECORD, doc.data);

	ok(error != NULL && strcmp(error, "too many cells in a row") == 0,
	   "a STRUCT has no more fields than a row has cells");
	rows_destroy(d);
	text_free(&doc);
}

static void
test_nested_depth(void)
{
	Text doc = {.data = NULL};

	/* as deep as BigQuery's schemas go: 15 levels of ARRAY<STRUCT>, and an ARRAY */
	for (int i = 0; i < 15; i++)
		text_puts(&doc, "[{\"v\":{\"f\":[{\"v\":");
	text_puts(&doc, "[{\"v\":\"x\"}]");
	for (int i = 0; i < 15; i++)
		text_puts(&doc, "}]}}]");
	ok(error_of(ARRAY, doc.data) == NULL, "the deepest legal value");
	doc.len = 0;
	for (int i = 0; i < 1000000; i++)
		text_puts(&doc, "[");
	const char *error = error_of(ARRAY, doc.data);

	ok(error != NULL && strcmp(error, "a cell is not an object") == 0, "a million brackets, where none may be");
	doc.len = 0;
	text_puts(&doc, "[{\"v\":");
	for (int i = 0; i < 1000000; i++)
		text_puts(&doc, "[");
	error = error_of(ARRAY, doc.data);
	ok(error != NULL && strcmp(error, "nested too deeply") == 0, "a million brackets in a cell");
	text_free(&doc);
}

/* Whichever call gets no memory: an error that says so, and nothing is lost. */
static void
test_memory(void)
{
	static const char nested[] = "[{\"v\":\"a\\nb\"},{\"v\":[1]}]";
	bool good = true;
	Memory memory = {.fail_at = 0};

	do
	{
		uint64_t offset;

		memory = (Memory){.fail_at = memory.fail_at + 1};
		RowsDecoder *d = rows_create(counting_alloc, &memory);

		if (d != NULL && !read_all(d, ARRAY, nested, strlen(nested)))
			good = good && strcmp(rows_error(d, &offset), "out of memory") == 0;
		rows_destroy(d);
		good = good && memory.blocks == 0;
	} while (memory.calls >= memory.fail_at && memory.fail_at < 100);
	ok(good, "no memory at any one call: an error or nothing, never a leak");
	ok(memory.fail_at > 3 && memory.fail_at < 100, "and there were calls to fail");
}

int
main(void)
{
	seed_from_environment();
	test_nested();
	test_nested_mutated();
	test_nested_shapes();
	test_nested_many();
	test_nested_batches();
	test_nested_depth();
	test_memory();
	test_json_documents();
	return done_testing();
}
