/*
 * test_rows_json.c
 *	  The reader of JSON documents: against jansson, against malformed text,
 *	  limits and a lack of memory.
 */
#include <stdio.h>

#include "jansson_harness.h"

static void
write_string(Text *t, const char *data, size_t len)
{
	text_puts(t, "\"");
	for (size_t i = 0; i < len; i++)
	{
		if ((unsigned char) data[i] < 0x20 || data[i] == '"' || data[i] == '\\')
			text_printf(t, "\\u%04x", (unsigned int) (unsigned char) data[i]);
		else
			text_add(t, data + i, 1);
	}
	text_puts(t, "\"");
}

/* The tokens as a JSON text of our own, in t; false when the reader found an error. */
static bool
write_tokens(RowsJson *j, const char *doc, size_t len, Text *t)
{
	static const char *const texts[] = {"{", "}", "[", "]", "", "", "", "true", "false", "null"};
	RowsToken token, before = ROWS_TOKEN_OBJECT;

	t->len = 0;
	rows_json_begin(j, doc, len);
	for (;; before = token)
	{
		const char *data;
		size_t n;

		token = rows_json_next(j, &data, &n);
		if (token >= ROWS_TOKEN_DONE)
			return token == ROWS_TOKEN_DONE && rows_json_next(j, &data, &n) == ROWS_TOKEN_DONE;
		bool end = token == ROWS_TOKEN_OBJECT_END || token == ROWS_TOKEN_LIST_END;

		if (before == ROWS_TOKEN_KEY)
			text_puts(t, ":");
		else if (t->len > 0 && !end && before != ROWS_TOKEN_OBJECT && before != ROWS_TOKEN_LIST)
			text_puts(t, ",");
		text_puts(t, texts[token]);
		if (token == ROWS_TOKEN_KEY || token == ROWS_TOKEN_STRING)
			write_string(t, data, n);
		else if (token == ROWS_TOKEN_NUMBER)
			text_add(t, data, n);
	}
}

static bool
equals_tokens(json_t *value, RowsJson *j, const char *doc, size_t len)
{
	Text written = {.data = NULL};
	bool equal = write_tokens(j, doc, len, &written);
	json_t *got = load(written.data, written.len, NULL);

	equal = equal && got != NULL && json_equal(value, got);
	json_decref(got);
	text_free(&written);
	return equal;
}

static RowsJson *
new_json(void)
{
	static Memory memory;

	return rows_json_create(counting_alloc, &memory);
}

static void
test_json(void)
{
	Text doc = {.data = NULL};
	RowsJson *j = new_json();
	bool good = true;

	for (int i = 0; i < 2000; i++)
	{
		document_json(&doc);
		char *copy = exact(doc.data, doc.len);
		json_t *value = load(doc.data, doc.len, NULL);
		bool fine = value != NULL && equals_tokens(value, j, copy, doc.len);

		if (!fine)
			complain("JSON", doc.data, doc.len, NULL, NULL);
		good = good && fine;
		json_decref(value);
		free(copy);
	}
	ok(good, "2000 generated JSON documents hold what jansson reads in them");
	rows_json_destroy(j);
	text_free(&doc);
}

static void
test_json_mutated(void)
{
	Text doc = {.data = NULL}, written = {.data = NULL};
	RowsJson *j = new_json();
	bool good = true;
	int refused = 0;

	for (int i = 0; i < 20000; i++)
	{
		if (i % 20 == 0)
			document_json(&doc);
		char *work = malloc(doc.len);
		size_t len = mutate(&doc, work);
		char *copy = exact(work, len);
		json_error_t error;
		json_t *json = load(copy, len, &error);
		bool read = write_tokens(j, copy, len, &written);
		bool fine = json == NULL ? !read || jansson_only(&error) : read && equals_tokens(json, j, copy, len);

		fine = fine && (rows_json_error(j) == NULL) == read;
		refused += !read;
		if (!fine)
			complain(json == NULL ? error.text : "mutated JSON", copy, len, NULL, &written);
		good = good && fine;
		json_decref(json);
		free(copy);
		free(work);
	}
	ok(good, "20000 of them with one byte changed, or cut off, are refused exactly when jansson refuses them");
	ok(refused > 5000 && refused < 19500, "many of them are refused, but not all");
	rows_json_destroy(j);
	text_free(&doc);
	text_free(&written);
}

/* What is wrong with a document; NULL: nothing. */
static const char *
json_error_of(const char *text, size_t len, Text *written)
{
	static RowsJson *j;
	char *copy = exact(text, len);

	if (j == NULL)
		j = new_json();
	bool good = write_tokens(j, copy, len, written);

	free(copy);
	return good ? NULL : rows_json_error(j);
}

static void
test_json_cases(void)
{
	static const struct
	{
		const char *text;
		const char *error;
	} cases[] = {
		{"123456789012345678901234567890.1234567890123456789012345678901234567890e-400", NULL},
		{"1e999999", NULL},
		{" -0 ", NULL},
		{"\"a\\u0000b\"", NULL},
		{"{\"a\\u0000b\":1,\"a\":1,\"a\":2}", NULL},
		{"null", NULL},
		{"", "ends too early"},
		{" ", "ends too early"},
		{"-", "ends too early"},
		{"1.", "ends too early"},
		{"1e", "ends too early"},
		{"1e+", "ends too early"},
		{"tru", "ends too early"},
		{"\"abc", "ends too early"},
		{"\"abc\\", "ends too early"},
		{"\"\xE4\xB8", "ends too early"},
		{"[1", "ends too early"},
		{"[1,", "ends too early"},
		{"{\"a\"", "ends too early"},
		{"{\"a\":", "ends too early"},
		{"01", "invalid number"},
		{"[1,]", "unexpected character"},
		{"[,1]", "unexpected character"},
		{"[1 2]", "unexpected character"},
		{"{\"a\":1,}", "unexpected character"},
		{"{\"a\" 1}", "unexpected character"},
		{"{\"a\"::1}", "unexpected character"},
		{"{1:1}", "unexpected character"},
		{"[1}", "unexpected character"},
		{"{\"a\":1]", "unexpected character"},
		{"{\"a\":]}", "unexpected character"},
		{"]", "unexpected character"},
		{"1 2", "unexpected character"},
		{"{}{}", "unexpected character"},
		{"1,", "unexpected character"},
		{"1:", "unexpected character"},
		{"NaN", "unexpected character"},
		{"nulL", "unexpected character"},
		{"\"\\ud800\"", "lone surrogate in a string"},
		{"\"\\udc00\"", "lone surrogate in a string"},
		{"\"\\x\"", "invalid escape in a string"},
		{"\"\x01\"", "control character in a string"},
		{"\"\xFF\"", "invalid UTF-8"},
		{"\"\xED\xA0\x80\"", "invalid UTF-8"},
	};
	Text written = {.data = NULL};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
	{
		const char *error = json_error_of(cases[i].text, strlen(cases[i].text), &written);
		char name[120];

		snprintf(name, sizeof(name), "JSON %zu: %s", i + 1, cases[i].error ? cases[i].error : "good");
		ok(error == NULL ? cases[i].error == NULL : cases[i].error != NULL && strcmp(error, cases[i].error) == 0, name);
	}
	ok(json_error_of("1\0", 2, &written) != NULL && json_error_of("\"\0\"", 3, &written) != NULL,
	   "a byte 0 is an error");
	json_error_of(cases[0].text, strlen(cases[0].text), &written);
	ok(strcmp(written.data, cases[0].text) == 0, "a number keeps all its digits");
	json_error_of(cases[4].text, strlen(cases[4].text), &written);
	ok(strcmp(written.data, cases[4].text) == 0, "keys are told as they come, twice if need be");
	text_free(&written);
}

static void
test_json_depth(void)
{
	Text doc = {.data = NULL}, written = {.data = NULL};

	for (int i = 0; i < ROWS_MAX_JSON_DEPTH; i++)
		text_puts(&doc, i % 2 ? "[" : "{\"a\":");
	text_puts(&doc, "1");
	for (int i = ROWS_MAX_JSON_DEPTH; i-- > 0;)
		text_puts(&doc, i % 2 ? "]" : "}");
	ok(json_error_of(doc.data, doc.len, &written) == NULL, "as deep as JSON may be");
	doc.len = 0;
	for (int i = 0; i <= ROWS_MAX_JSON_DEPTH; i++)
		text_puts(&doc, "[");
	const char *error = json_error_of(doc.data, doc.len, &written);

	ok(error != NULL && strcmp(error, "nested too deeply") == 0, "deeper is an error");
	text_free(&doc);
	text_free(&written);
}

/* Whichever call gets no memory: an error that says so, and nothing is lost. */
static void
test_memory(void)
{
	static const char doc[] = "{\"key\\n\":[\"abc\\u00e9\",1.5,true]}";
	bool good = true;
	Memory memory = {.fail_at = 0};

	do
	{
		Text written = {.data = NULL};

		memory = (Memory){.fail_at = memory.fail_at + 1};
		RowsJson *j = rows_json_create(counting_alloc, &memory);

		if (j != NULL && !write_tokens(j, doc, strlen(doc), &written))
			good = good && strcmp(rows_json_error(j), "out of memory") == 0;
		rows_json_destroy(j);
		good = good && memory.blocks == 0;
		text_free(&written);
	} while (memory.calls >= memory.fail_at && memory.fail_at < 100);
	ok(good, "no memory at any one call: an error or nothing, never a leak");
	ok(memory.fail_at > 3 && memory.fail_at < 100, "and there were calls to fail");
}

void
test_json_documents(void)
{
	test_json();
	test_json_mutated();
	test_json_cases();
	test_json_depth();
	test_memory();
}
