/*
 * json.c
 *	  Small JSON documents over jansson; see json.h.
 *
 * Two traps.  postgres exports a function named json_object(), to which a call of
 * jansson's function of that name would bind, and crash: never call it in this file.
 * And jansson.h cannot be included together with utils/builtins.h.
 */
#include "postgres.h"

#include <jansson.h>

#include "utils/json.h"
#include "utils/memutils.h"

#include "base/json.h"

/* Longer member names than any document we read has. */
#define MAX_NAME 128

struct JsonDoc
{
	json_t *root; /* jansson's, from malloc; NULL once freed */
	MemoryContext context; /* holds this struct */
	MemoryContextCallback callback; /* frees root with the context */
};

/*
 * Overwrite all strings of a tree, so that no private key of a key file stays in freed
 * memory.  jansson's parser bounds the depth.
 */
static void
wipe_strings(json_t *value)
{
	const char *name;
	json_t *member;
	size_t i;

	if (json_is_string(value))
		explicit_bzero((char *) json_string_value(value), json_string_length(value));
	json_object_foreach(value, name, member) wipe_strings(member);
	json_array_foreach(value, i, member) wipe_strings(member);
}

/* Memory-context callback: idempotent, allocates nothing. */
static void
release_document(void *arg)
{
	JsonDoc *doc = arg;

	if (doc->root == NULL)
		return;
	wipe_strings(doc->root);
	json_decref(doc->root);
	doc->root = NULL;
}

/*
 * Whether a document has more values than allowed: a value of 3 bytes takes a hundred
 * or more in jansson's tree.  In JSON each value but the first follows one of these
 * marks; for other texts the result does not matter.
 */
static bool
has_too_many(const char *text, size_t len)
{
	int marks = 0;
	bool quoted = false;

	for (size_t i = 0; i < len && marks < JSON_MAX_VALUES; i++)
	{
		if (text[i] == '"')
			quoted = !quoted;
		else if (quoted)
			i += text[i] == '\\';
		else
			marks += text[i] == ',' || text[i] == ':' || text[i] == '[' || text[i] == '{';
	}
	return marks == JSON_MAX_VALUES;
}

JsonDoc *
json_parse_document(const char *text, size_t len, Failure *f)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "contratos json", ALLOCSET_SMALL_SIZES);
	JsonDoc *doc = MemoryContextAllocZero(context, sizeof(JsonDoc));
	json_error_t error = {0};
	bool too_many = has_too_many(text, len);

	doc->context = context;
	doc->callback.func = release_document;
	doc->callback.arg = doc;
	MemoryContextRegisterResetCallback(context, &doc->callback);

	/*
	 * A string may hold U+0000 (the C string then ends at it); a document with two
	 * members of the same name is rejected, since readers disagree about which one
	 * counts.
	 */
	if (!too_many)
		doc->root = json_loadb(text, len, JSON_ALLOW_NUL | JSON_REJECT_DUPLICATES, &error);
	if (doc->root != NULL && json_is_object(doc->root))
		return doc;

	if (f != NULL)
	{
		if (too_many)
			failure_set(f, ERRCODE_PROGRAM_LIMIT_EXCEEDED, "a JSON document has more than %d values", JSON_MAX_VALUES);
		else if (doc->root != NULL)
			failure_set(f, ERRCODE_INVALID_TEXT_REPRESENTATION, "not a JSON object");
		else if (json_error_code(&error) == json_error_out_of_memory)
			failure_set(f, ERRCODE_OUT_OF_MEMORY, "out of memory while reading a JSON document");
		else
			failure_set(f, ERRCODE_INVALID_TEXT_REPRESENTATION, "not valid JSON at line %d, column %d", error.line,
						error.column);
	}
	MemoryContextDelete(context);
	return NULL;
}

void
json_free_document(JsonDoc *doc)
{
	if (doc != NULL)
		MemoryContextDelete(doc->context);
}

/* The value at `path`, the names of members and positions; NULL when there is none, or null. */
static const json_t *
value_at(const JsonDoc *doc, const char *path)
{
	const json_t *value = doc->root;

	while (value != NULL && *path != '\0')
	{
		size_t len = strcspn(path, ".");
		char name[MAX_NAME];

		if (len >= sizeof(name))
			return NULL;
		memcpy(name, path, len);
		name[len] = '\0';
		if (json_is_array(value))
		{
			char *end;
			unsigned long position = strtoul(name, &end, 10);

			value = isdigit((unsigned char) *name) && *end == '\0' ? json_array_get(value, position) : NULL;
		}
		else
			value = json_object_get(value, name); /* NULL if value is not an object */
		path += len + (path[len] == '.');
	}
	return json_is_null(value) ? NULL : value;
}

const char *
json_string_at(const JsonDoc *doc, const char *path)
{
	return json_string_value(value_at(doc, path)); /* NULL if it is not a string */
}

bool
json_int64_at(const JsonDoc *doc, const char *path, int64 *value)
{
	const json_t *found = value_at(doc, path);
	const char *text = json_string_value(found);

	if (json_is_integer(found))
	{
		*value = json_integer_value(found);
		return true;
	}
	if (text != NULL && (isdigit((unsigned char) text[0]) || (text[0] == '-' && isdigit((unsigned char) text[1]))))
	{
		char *end;
		long long parsed;

		errno = 0;
		parsed = strtoll(text, &end, 10);
		if (errno == 0 && *end == '\0')
		{
			*value = parsed;
			return true;
		}
	}
	return false;
}

bool
json_bool_at(const JsonDoc *doc, const char *path, bool missing)
{
	const json_t *found = value_at(doc, path);

	return json_is_boolean(found) ? json_is_true(found) : missing;
}

bool
json_has(const JsonDoc *doc, const char *path)
{
	return value_at(doc, path) != NULL;
}

bool
json_member_at(const JsonDoc *doc, const char *path, int n, const char **name, const char **value)
{
	json_t *object = (json_t *) value_at(doc, path); /* to be iterated over, not changed */
	void *iterator = json_object_iter(object); /* NULL if it is not an object */

	while (iterator != NULL && n-- > 0)
		iterator = json_object_iter_next(object, iterator);
	if (iterator == NULL)
		return false;
	*name = json_object_iter_key(iterator);
	*value = json_string_value(json_object_iter_value(iterator));
	return true;
}

int
json_length_at(const JsonDoc *doc, const char *path)
{
	return (int) json_array_size(value_at(doc, path)); /* 0 if it is not an array */
}

void
json_append_string(StringInfo buf, const char *text)
{
	if (text == NULL)
		appendStringInfoString(buf, "null");
	else
		escape_json(buf, text);
}

const char *
json_library_version(void)
{
	return jansson_version_str();
}
