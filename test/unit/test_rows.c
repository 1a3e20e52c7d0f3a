/*
 * test_rows.c
 *	  The page decoder against jansson, against every way to cut a page, and
 *	  against malformed pages, limits and a lack of memory.
 */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "rows_harness.h"

/* --- against jansson --- */

static bool
equals_json_text(json_t *expected, const char *text, size_t len)
{
	json_t *got = json_loadb(text, len, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
	bool equal = got != NULL && json_equal(expected, got);

	json_decref(got);
	return equal;
}

static bool
equals_cell(json_t *value, const RowsCell *cell)
{
	if (json_is_null(value))
		return cell->kind == ROWS_NULL && cell->len == 0;
	if (json_is_string(value))
		return cell->kind == ROWS_STRING && cell->len == json_string_length(value) &&
			   memcmp(cell->data, json_string_value(value), cell->len) == 0;
	return cell->kind == ROWS_JSON && equals_json_text(value, cell->data, cell->len);
}

static bool
equals_row(json_t *row, RowsDecoder *d)
{
	int n;
	const RowsCell *cells = rows_cells(d, &n);
	json_t *fields = json_object_get(row, "f");

	if (json_array_size(fields) != (size_t) n)
		return false;
	for (int i = 0; i < n; i++)
		if (!equals_cell(json_object_get(json_array_get(fields, (size_t) i), "v"), &cells[i]))
			return false;
	return true;
}

/* The decoder's rows and envelope against jansson's tree of the same page. */
static bool
equals_jansson(const char *doc, size_t len)
{
	json_t *page = json_loadb(doc, len, JSON_ALLOW_NUL, NULL);
	json_t *rows = json_incref(json_object_get(page, "rows"));
	RowsDecoder *d = new_decoder();
	RowsResult result;
	size_t n = 0, envelope_len;
	bool good = page != NULL;

	rows_feed(d, doc, len);
	while ((result = rows_next(d)) == ROWS_ROW)
		good = good && equals_row(json_array_get(rows, n++), d);
	json_object_del(page, "rows");
	const char *envelope = rows_envelope(d, &envelope_len);

	good = good && result == ROWS_END && n == json_array_size(rows) && equals_json_text(page, envelope, envelope_len);
	if (!good)
		complain("not what jansson reads", doc, len, NULL, NULL);
	rows_destroy(d);
	json_decref(rows);
	json_decref(page);
	return good;
}

static void
test_generated(void)
{
	Text doc = {.data = NULL}, expected = {.data = NULL};
	RowsDecoder *d = new_decoder();
	bool equal = true, cut = true;
	size_t rows = 0;

	for (int i = 0; i < 300; i++)
	{
		document_generate(&doc);
		rows_reset(d);
		decode(d, doc.data, doc.len, whole, &expected);
		rows += strstr(expected.data, "row of") != NULL;
		equal = equals_jansson(doc.data, doc.len) && equal;
		cut = same_however_cut(doc.data, doc.len, &expected) && cut;
	}
	ok(equal, "300 generated pages hold what jansson reads in them");
	ok(cut, "cut at every position into two, byte by byte, at random: the same");
	ok(rows > 100, "most generated pages have rows");
	rows_destroy(d);
	text_free(&doc);
	text_free(&expected);
}

/* A page that stops early: a prefix of the rows, and always "more". */
static void
test_truncated(void)
{
	Text doc = {.data = NULL}, expected = {.data = NULL}, got = {.data = NULL};
	RowsDecoder *d = new_decoder();
	bool good = true;

	for (int i = 0; i < 60; i++)
	{
		document_generate(&doc);
		rows_reset(d);
		decode(d, doc.data, doc.len, whole, &expected);
		size_t closed = (size_t) (strrchr(doc.data, '}') - doc.data) + 1;

		for (size_t n = 0; n < closed; n++)
		{
			size_t len;

			rows_reset(d);
			RowsResult result = decode(d, doc.data, n, i % 2 ? bytewise : whole, &got);
			const char *envelope = rows_envelope(d, &len);
			json_t *json = json_loadb(envelope, len, 0, NULL);
			bool fine = result == ROWS_MORE && rows_next(d) == ROWS_MORE && json != NULL && got.len <= expected.len &&
						memcmp(got.data ? got.data : "", expected.data, got.len) == 0;

			json_decref(json);
			if (!fine)
				complain("truncated", doc.data, n, &expected, &got);
			good = good && fine;
		}
	}
	ok(good, "a truncated page gives its first rows, a well-formed envelope, and asks for more");
	rows_destroy(d);
	text_free(&doc);
	text_free(&expected);
	text_free(&got);
}

/* Is this what jansson refuses for reasons of its own: numbers' range, NUL in a key? */
static bool
jansson_only(const json_error_t *error)
{
	enum json_error_code code = json_error_code(error);

	return code == json_error_numeric_overflow || code == json_error_null_byte_in_key;
}

/* Does the decoder refuse it for the shape of a page, which jansson does not know? */
static bool
shape_only(const char *error)
{
	return strstr(error, "not an") != NULL || strstr(error, "without") != NULL || strstr(error, "duplicate") != NULL;
}

static void
test_mutated(void)
{
	Text doc = {.data = NULL}, expected = {.data = NULL};
	RowsDecoder *d = new_decoder();
	bool good = true, cut = true;
	int refused = 0;

	for (int i = 0; i < 20000; i++)
	{
		if (i % 20 == 0)
			document_generate(&doc);
		size_t at = random_below((unsigned int) doc.len);
		char saved = doc.data[at];
		json_error_t error;
		uint64_t offset;

		doc.data[at] = random_below(2) ? "\"\\{}[],:u0 tn-.eE9d\n\x01"[random_below(21)] : (char) random_below(256);
		json_t *json = json_loadb(doc.data, doc.len, JSON_ALLOW_NUL, &error);

		rows_reset(d);
		RowsResult result = decode(d, doc.data, doc.len, whole, &expected);
		bool fine = json != NULL ? result == ROWS_END || (result == ROWS_ERROR && shape_only(rows_error(d, &offset)))
								 : result != ROWS_END || jansson_only(&error);

		refused += result != ROWS_END;
		if (!fine)
			complain("mutated", doc.data, doc.len, NULL, &expected);
		good = good && fine;
		if (i % 50 == 0)
			cut = same_however_cut(doc.data, doc.len, &expected) && cut;
		json_decref(json);
		doc.data[at] = saved;
	}
	ok(good, "20000 pages with one byte changed are refused when jansson refuses them, or for their shape");
	ok(cut, "with the same rows, error and offset however they are cut");
	ok(refused > 5000 && refused < 19000, "many of them are refused, but not all");
	rows_destroy(d);
	text_free(&doc);
	text_free(&expected);
}

/* --- tables of pages --- */

#include "rows_cases.h"

static bool
check_case(const char *doc, const char *transcript)
{
	RowsDecoder *d = new_decoder();
	Text expected = {.data = NULL}, got = {.data = NULL};
	size_t len = strlen(doc), tail = strlen(transcript);

	decode(d, doc, len, whole, &got);
	bool good = got.len >= tail && memcmp(got.data + got.len - tail, transcript, tail) == 0;

	if (!good)
	{
		text_puts(&expected, transcript);
		complain("case", doc, len, &expected, &got);
	}
	good = same_however_cut(doc, len, &got) && good;
	text_free(&expected);
	text_free(&got);
	rows_destroy(d);
	return good;
}

static void
test_cases(void)
{
	char name[80];
	Text doc = {.data = NULL}, error = {.data = NULL};

	for (size_t i = 0; i < sizeof(good_cases) / sizeof(good_cases[0]); i++)
	{
		snprintf(name, sizeof(name), "good page %zu", i + 1);
		ok(check_case(good_cases[i].doc, good_cases[i].transcript), name);
	}
	for (size_t i = 0; i < sizeof(bad_cases) / sizeof(bad_cases[0]); i++)
	{
		doc.len = error.len = 0;
		text_puts(&doc, bad_cases[i].before);
		text_printf(&error, "error %s at %zu\n", bad_cases[i].error, doc.len);
		text_puts(&doc, bad_cases[i].rest);
		snprintf(name, sizeof(name), "bad page %zu: %s", i + 1, bad_cases[i].error);
		ok(check_case(doc.data, error.data), name);
	}
	text_free(&doc);
	text_free(&error);
}

int
main(void)
{
	seed_from_environment();
	test_cases();
	test_generated();
	test_truncated();
	test_mutated();
	test_limits();
	return done_testing();
}
