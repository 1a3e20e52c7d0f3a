/*
 * fuzz_json.c
 *	  libFuzzer target: a JSON document, which our reader must take exactly when jansson
 *	  takes it, but for what jansson cannot hold (numbers beyond its range, U+0000 in a key),
 *	  for documents nested deeper than ours may be, and for a NUL byte, which jansson takes
 *	  for the end.
 */
#include <jansson.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "rows_harness.h"

extern int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Whether our reader takes the document; *deep: it is nested more deeply than it may be. */
static bool
takes(const char *text, size_t len, bool *deep)
{
	Memory memory = {.blocks = 0};
	RowsJson *j = rows_json_create(counting_alloc, &memory);
	RowsToken token;
	const char *part;
	size_t n, sum = 0;
	int depth = 0;

	rows_json_begin(j, text, len);
	while ((token = rows_json_next(j, &part, &n)) != ROWS_TOKEN_DONE && token != ROWS_TOKEN_ERROR)
	{
		if (token == ROWS_TOKEN_OBJECT || token == ROWS_TOKEN_LIST)
			depth++;
		if (token == ROWS_TOKEN_OBJECT_END || token == ROWS_TOKEN_LIST_END)
			depth--;
		if (token == ROWS_TOKEN_KEY || token == ROWS_TOKEN_STRING || token == ROWS_TOKEN_NUMBER)
			for (size_t i = 0; i < n; i++) /* the sanitizer sees whether it may be read */
				sum += (unsigned char) part[i];
	}
	*deep = token == ROWS_TOKEN_ERROR && depth >= ROWS_MAX_JSON_DEPTH;
	if (token == ROWS_TOKEN_DONE && depth != 0)
	{
		fprintf(stderr, "done at depth %d (%zu)\n", depth, sum);
		abort();
	}
	rows_json_destroy(j);
	if (memory.blocks != 0)
	{
		fprintf(stderr, "%ld blocks are left\n", memory.blocks);
		abort();
	}
	return token == ROWS_TOKEN_DONE;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *text = (const char *) data;
	json_error_t error;
	bool deep;
	bool ours = takes(text, size, &deep);
	json_t *theirs = json_loadb(text, size, JSON_DECODE_ANY | JSON_ALLOW_NUL, &error);
	enum json_error_code code = theirs == NULL ? json_error_code(&error) : json_error_unknown;
	bool beyond =
		code == json_error_numeric_overflow || code == json_error_stack_overflow || code == json_error_null_byte_in_key;

	if (ours != (theirs != NULL) && !deep && !beyond && memchr(text, 0, size) == NULL)
	{
		fprintf(stderr, "ours: %s, jansson: %s\n", ours ? "taken" : "refused", theirs != NULL ? "taken" : error.text);
		abort();
	}
	json_decref(theirs);
	return 0;
}
