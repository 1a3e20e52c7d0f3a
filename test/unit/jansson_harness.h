/*
 * jansson_harness.h
 *	  What the tests share that compare with jansson: documents, whole and
 *	  spoilt, and what jansson makes of them.
 */
#ifndef CONTRATOS_TEST_JANSSON_HARNESS_H
#define CONTRATOS_TEST_JANSSON_HARNESS_H

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "rows_harness.h"

/* A copy of its exact size, so that the sanitizer sees whoever reads beyond it. */
static inline char *
exact(const char *data, size_t len)
{
	char *copy = malloc(len > 0 ? len : 1);

	if (copy == NULL)
		abort();
	memcpy(copy, data, len);
	return copy;
}

static inline json_t *
load(const char *data, size_t len, json_error_t *error)
{
	return json_loadb(data, len, JSON_DECODE_ANY | JSON_ALLOW_NUL, error);
}

/* Is this what jansson refuses for reasons of its own: numbers' range, NUL in a key? */
static inline bool
jansson_only(const json_error_t *error)
{
	enum json_error_code code = json_error_code(error);

	return code == json_error_numeric_overflow || code == json_error_null_byte_in_key;
}

/* Change a byte of the document, or cut it off there.  Not to 0, which jansson takes for the end. */
static inline size_t
mutate(Text *doc, char *copy)
{
	size_t at = random_below((unsigned int) doc->len);

	memcpy(copy, doc->data, doc->len);
	if (random_below(8) == 0)
		return at;
	copy[at] = random_below(2) ? "\"\\{}[],:u0 tn-.eE9d\n\x01"[random_below(21)] : (char) (1 + random_below(255));
	return doc->len;
}

/* test_rows_json.c */
extern void test_json_documents(void);

#endif /* CONTRATOS_TEST_JANSSON_HARNESS_H */
