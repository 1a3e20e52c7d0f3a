/*
 * message_schema.c
 *	  Schemas: the columns of a result or a table, as deep as they go.
 */
#include "postgres.h"

#include "base/failure.h"
#include "bigquery/job.h"
#include "bigquery/message.h"

/*
 * The REST API says the legacy names (INTEGER, FLOAT, BOOLEAN, RECORD), DDL and
 * INFORMATION_SCHEMA GoogleSQL's; everything here speaks GoogleSQL.
 */
static const struct
{
	const char *said;
	const char *name;
} type_names[] = {
	{"STRING", "STRING"},
	{"INT64", "INT64"},
	{"TIMESTAMP", "TIMESTAMP"},
	{"NUMERIC", "NUMERIC"},
	{"BIGNUMERIC", "BIGNUMERIC"},
	{"FLOAT64", "FLOAT64"},
	{"BOOL", "BOOL"},
	{"DATE", "DATE"},
	{"DATETIME", "DATETIME"},
	{"TIME", "TIME"},
	{"BYTES", "BYTES"},
	{"JSON", "JSON"},
	{"GEOGRAPHY", "GEOGRAPHY"},
	{"INTERVAL", "INTERVAL"},
	{"RANGE", "RANGE"},
	{"STRUCT", "STRUCT"},
	/* legacy names */
	{"INTEGER", "INT64"},
	{"FLOAT", "FLOAT64"},
	{"BOOLEAN", "BOOL"},
	{"RECORD", "STRUCT"},
	/* GoogleSQL's own aliases */
	{"INT", "INT64"},
	{"SMALLINT", "INT64"},
	{"BIGINT", "INT64"},
	{"TINYINT", "INT64"},
	{"BYTEINT", "INT64"},
	{"DECIMAL", "NUMERIC"},
	{"BIGDECIMAL", "BIGNUMERIC"},
};

const char *
message_type_name(const char *type)
{
	for (size_t i = 0; i < lengthof(type_names); i++)
	{
		if (pg_strcasecmp(type, type_names[i].said) == 0)
			return type_names[i].name;
	}
	return NULL;
}

/* "inner" of "OUTER<inner>", blanks stripped; NULL when text is no OUTER<…>. */
static char *
inside(const char *text, const char *outer)
{
	size_t len = strlen(outer);
	const char *end = text + strlen(text);

	if (pg_strncasecmp(text, outer, len) != 0 || text[len] != '<' || end[-1] != '>')
		return NULL;
	text += len + 1;
	end--;
	while (*text == ' ')
		text++;
	while (end > text && end[-1] == ' ')
		end--;
	return pnstrdup(text, end - text);
}

/* A type that is no ARRAY. */
static char *
single_type(const char *text)
{
	char *element = inside(text, "RANGE");
	const char *name = message_type_name(element ? element : text);

	if (name == NULL || element == NULL)
		return name ? pstrdup(name) : NULL;
	if (strcmp(name, "DATE") != 0 && strcmp(name, "DATETIME") != 0 && strcmp(name, "TIMESTAMP") != 0)
		return NULL;
	return psprintf("RANGE<%s>", name);
}

char *
message_column_type(const char *text)
{
	char *element = inside(text, "ARRAY");
	char *single = single_type(element ? element : text);

	return element && single ? psprintf("ARRAY<%s>", single) : single;
}

char *
message_field_type(const BqField *field)
{
	char *single = field->range_element ? psprintf("%s<%s>", field->type, field->range_element) : pstrdup(field->type);

	return field->repeated ? psprintf("ARRAY<%s>", single) : single;
}

/* RANGE alone says nothing of its elements, and fits any. */
bool
message_type_fits(const char *declared, const BqField *field)
{
	BqField bare = *field;

	bare.range_element = NULL;
	return strcmp(declared, message_field_type(field)) == 0 || strcmp(declared, message_field_type(&bare)) == 0;
}

static bool read_level(const JsonDoc *doc, const char *path, int depth, int *left, BqField **fields, int *nfields,
					   Failure *f);

static char *
copy_at(const JsonDoc *doc, const char *path, const char *member)
{
	const char *text = json_string_at(doc, psprintf("%s.%s", path, member));

	return text ? pstrdup(text) : NULL;
}

/* What BigQuery may call it tomorrow stays as it is said. */
static char *
type_at(const JsonDoc *doc, const char *path, const char *member)
{
	char *said = copy_at(doc, path, member);

	return said && message_type_name(said) ? pstrdup(message_type_name(said)) : said;
}

static bool
read_field(const JsonDoc *doc, const char *path, int depth, int *left, BqField *field, Failure *f)
{
	char *mode = copy_at(doc, path, "mode");

	field->name = copy_at(doc, path, "name");
	field->type = type_at(doc, path, "type");
	if (field->name == NULL || field->type == NULL)
		return failure_set(f, ERRCODE_FDW_ERROR, "BigQuery's answer describes a column without name or type");
	field->repeated = mode != NULL && strcmp(mode, "REPEATED") == 0;
	field->required = mode != NULL && strcmp(mode, "REQUIRED") == 0;
	field->description = copy_at(doc, path, "description");
	field->range_element = type_at(doc, path, "rangeElementType.type");
	return read_level(doc, psprintf("%s.fields", path), depth + 1, left, &field->fields, &field->nfields, f);
}

/* `left`: so many fields may still come. */
static bool
read_level(const JsonDoc *doc, const char *path, int depth, int *left, BqField **fields, int *nfields, Failure *f)
{
	*nfields = json_length_at(doc, path);
	*left -= *nfields;
	if (*left < 0)
		return failure_set(f, ERRCODE_PROGRAM_LIMIT_EXCEEDED, "BigQuery's answer describes more than %d columns",
						   MESSAGE_MAX_FIELDS);
	*fields = palloc0(sizeof(BqField) * Max(*nfields, 1));
	if (depth > MESSAGE_MAX_NESTING && *nfields > 0)
		return failure_set(f, ERRCODE_FDW_ERROR, "BigQuery's answer nests columns more than %d deep",
						   MESSAGE_MAX_NESTING);
	for (int i = 0; i < *nfields; i++)
		if (!read_field(doc, psprintf("%s.%d", path, i), depth, left, &(*fields)[i], f))
			return false;
	return true;
}

bool
message_read_fields(const JsonDoc *doc, const char *path, BqField **fields, int *nfields, Failure *f)
{
	int left = MESSAGE_MAX_FIELDS;

	return read_level(doc, path, 0, &left, fields, nfields, f);
}
