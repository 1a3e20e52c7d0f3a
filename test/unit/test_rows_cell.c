/*
 * test_rows_cell.c
 *	  The reader of nested values: against jansson, against malformed text,
 *	  limits and a lack of memory.  (JSON documents: test_rows_json.c)
 */
#include <stdio.h>

#include "jansson_harness.h"

/* --- nested values against jansson --- */

static bool equals_nested(json_t *value, RowsShape shape, const char *data, size_t len);

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
		return equals_nested(value, ROWS_ARRAY, cell->data, cell->len);
	if (is_cells(json_object_get(value, "f")))
		return equals_nested(value, ROWS_RECORD, cell->data, cell->len);
	return true;
}

static bool
equals_nested(json_t *value, RowsShape shape, const char *data, size_t len)
{
	json_t *cells = shape == ROWS_ARRAY ? value : json_object_get(value, "f");
	RowsDecoder *d = new_decoder();
	bool equal = rows_nested(d, shape, data, len);
	int n;
	const RowsCell *got = rows_cells(d, &n);

	equal = equal && (size_t) n == json_array_size(cells);
	for (int i = 0; equal && i < n; i++)
		equal = equals_cell(json_object_get(json_array_get(cells, (size_t) i), "v"), &got[i]);
	rows_destroy(d);
	return equal;
}

static void
test_nested(void)
{
	Text doc = {.data = NULL};
	bool good = true;
	int deep = 0;

	for (int i = 0; i < 2000; i++)
	{
		RowsShape shape = i % 2 ? ROWS_ARRAY : ROWS_RECORD;

		(shape == ROWS_ARRAY ? document_array : document_record)(&doc);
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
		RowsShape shape = i / 20 % 2 ? ROWS_ARRAY : ROWS_RECORD;

		if (i % 20 == 0)
			(shape == ROWS_ARRAY ? document_array : document_record)(&doc);
		char *work = malloc(doc.len);
		size_t len = mutate(&doc, work);
		char *copy = exact(work, len);
		json_error_t error;
		uint64_t offset;
		json_t *json = json_loadb(copy, len, JSON_ALLOW_NUL, &error);
		bool read = rows_nested(d, shape, copy, len);
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
error_of(RowsShape shape, const char *text)
{
	static RowsDecoder *d;
	char *copy = exact(text, strlen(text));
	uint64_t offset;

	if (d == NULL)
		d = new_decoder();
	bool good = rows_nested(d, shape, copy, strlen(text));
	const char *error = rows_error(d, &offset);

	free(copy);
	return good ? NULL : error;
}

static void
test_nested_shapes(void)
{
	static const struct
	{
		RowsShape shape;
		const char *text;
		const char *error;
	} cases[] = {
		{ROWS_ARRAY, "[]", NULL},
		{ROWS_ARRAY, " [ ] ", NULL},
		{ROWS_RECORD, "{\"f\":[]}", NULL},
		{ROWS_RECORD, " {\"x\":1,\"f\":[{\"v\":null}]} ", NULL},
		{ROWS_ARRAY, "", "ends too early"},
		{ROWS_ARRAY, "[", "ends too early"},
		{ROWS_ARRAY, "[{\"v\":\"1\"}", "ends too early"},
		{ROWS_ARRAY, "[{\"v\":\"0123456789\"},", "ends too early"},
		{ROWS_RECORD, "{\"f\":[]", "ends too early"},
		{ROWS_RECORD, "{\"f\":[{\"v\":\"0123456789\"}]", "ends too early"},
		{ROWS_ARRAY, "[{\"v\":\"0123456789\"}]}", "unexpected character after the page"},
		{ROWS_ARRAY, "[{\"v\":\"0123456789\"}],", "unexpected character after the page"},
		{ROWS_RECORD, "{\"f\":[{\"v\":\"0123456789\"}]}}", "unexpected character after the page"},
		{ROWS_RECORD, "{\"f\":[{\"v\":\"0123456789\"}]},{\"f\":[]}", "unexpected character after the page"},
		{ROWS_RECORD, "[]", "a row is not an object"},
		{ROWS_ARRAY, "{\"f\":[]}", "\"f\" is not an array"},
		{ROWS_ARRAY, "1", "\"f\" is not an array"},
		{ROWS_RECORD, "true", "a row is not an object"},
		{ROWS_ARRAY, "[1]", "a cell is not an object"},
		{ROWS_ARRAY, "[{}]", "a cell without \"v\""},
		{ROWS_RECORD, "{}", "a row without \"f\""},
		{ROWS_RECORD, "{\"f\":[],\"f\":[]}", "duplicate \"f\" in a row"},
		{ROWS_ARRAY, "[{\"v\":1,\"v\":2}]", "duplicate \"v\" in a cell"},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
	{
		const char *error = error_of(cases[i].shape, cases[i].text);
		char name[100];

		snprintf(name, sizeof(name), "%s %s", cases[i].shape == ROWS_ARRAY ? "array" : "record", cases[i].text);
		ok(error == NULL ? cases[i].error == NULL : cases[i].error != NULL && strcmp(error, cases[i].error) == 0, name);
	}
}

/* More elements than a page has cells; text in place; a decoder that is used again. */
static void
test_nested_many(void)
{
	Text doc = {.data = NULL};
	Memory memory = {.blocks = 0};
	RowsDecoder *d = rows_create(counting_alloc, &memory);
	int n;

	text_puts(&doc, "[{\"v\":\"first\"}");
	for (int i = 0; i < 50000; i++)
		text_puts(&doc, ",{\"v\":\"0123456789\"}");
	text_puts(&doc, ",{\"v\":\"a\\u0000b\"}]");
	ok(rows_nested(d, ROWS_ARRAY, doc.data, doc.len), "an array of 50,002 elements");
	const RowsCell *cells = rows_cells(d, &n);

	ok(n == 50002 && cells[0].data == doc.data + 7, "has them all, and those without escapes where they were");
	ok(n > 0 && cells[n - 1].len == 3 && memcmp(cells[n - 1].data, "a\0b", 3) == 0, "U+0000 is a byte of the text");
	long calls = memory.calls;

	ok(rows_nested(d, ROWS_ARRAY, doc.data, doc.len) && memory.calls == calls, "read again without asking for memory");
	ok(!rows_nested(d, ROWS_RECORD, doc.data, doc.len) && rows_nested(d, ROWS_ARRAY, "[]", 2),
	   "an error is not for good");
	rows_destroy(d);
	ok(memory.blocks == 0, "all memory is given back");
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
	ok(error_of(ROWS_ARRAY, doc.data) == NULL, "the deepest legal value");
	doc.len = 0;
	for (int i = 0; i < 1000000; i++)
		text_puts(&doc, "[");
	const char *error = error_of(ROWS_ARRAY, doc.data);

	ok(error != NULL && strcmp(error, "a cell is not an object") == 0, "a million brackets, where none may be");
	doc.len = 0;
	text_puts(&doc, "[{\"v\":");
	for (int i = 0; i < 1000000; i++)
		text_puts(&doc, "[");
	error = error_of(ROWS_ARRAY, doc.data);
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

		if (d != NULL && !rows_nested(d, ROWS_ARRAY, nested, strlen(nested)))
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
	test_nested_depth();
	test_memory();
	test_json_documents();
	return done_testing();
}
