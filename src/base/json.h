/*
 * json.h
 *	  Small JSON documents: envelopes, errors, credentials.  The only module that uses
 *	  jansson.
 *
 * Rows are never parsed by this module (see rows.h): jansson builds a tree, which is
 * slow and large.  A document is read by path: member names and array positions joined
 * by dots, "error.errors.0.reason".  A path that does not exist, or holds another kind
 * of value, counts as absent (NULL, false, or the default).
 */
#ifndef CONTRATOS_JSON_H
#define CONTRATOS_JSON_H

#include "lib/stringinfo.h"

#include "base/failure.h"

typedef struct JsonDoc JsonDoc;

/* A list of 1,000 tables, or the schema of 10,000 columns, has fewer than 200,000. */
#define JSON_MAX_VALUES 500000

/*
 * Parse `len` bytes of UTF-8.  NULL when it is not one JSON object; *f, if not NULL,
 * then holds 22P02 and the position, never any of the text (it may be a key file); or
 * 54000 when it has more values than JSON_MAX_VALUES.  The tree is freed with
 * CurrentMemoryContext.
 */
extern JsonDoc *json_parse_document(const char *text, size_t len, Failure *f);

/* Free the tree now; tolerates NULL. */
extern void json_free_document(JsonDoc *doc);

/* The string at `path`, NUL-terminated, valid as long as the document. */
extern const char *json_string_at(const JsonDoc *doc, const char *path);

/* An integer, written as a JSON number or as a decimal string. */
extern bool json_int64_at(const JsonDoc *doc, const char *path, int64 *value);

/* A JSON true/false; `missing` when there is none. */
extern bool json_bool_at(const JsonDoc *doc, const char *path, bool missing);

/* Whether there is anything at `path` (null counts as nothing). */
extern bool json_has(const JsonDoc *doc, const char *path);

/*
 * Member number `n` (from 0) of the object at `path`, whatever its name: false
 * when there is none.  *value is NULL unless it is a string.
 */
extern bool json_member_at(const JsonDoc *doc, const char *path, int n, const char **name, const char **value);

/* Elements of the array at `path`; 0 when there is none. */
extern int json_length_at(const JsonDoc *doc, const char *path);

/* Append `text` (UTF-8) to buf as a quoted JSON string; NULL as null. */
extern void json_append_string(StringInfo buf, const char *text);

extern const char *json_library_version(void);

#endif /* CONTRATOS_JSON_H */
