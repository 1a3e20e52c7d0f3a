/*
 * message_schema.c
 *	  Schemas: the columns of a result or a table, with all nested fields.
 */
#include "postgres.h"

#include "base/failure.h"
#include "base/json.h"
#include "bigquery/bqtype.h"
#include "bigquery/job.h"
#include "bigquery/message.h"

const char *
message_type_name(const BqField *field)
{
	return field->type == BQ_UNKNOWN ? field->unknown : bqtypes[field->type].name;
}

char *
message_field_type(const BqField *field)
{
	if (field->unknown != NULL)
		return field->repeated ? psprintf("ARRAY<%s>", field->unknown) : pstrdup(field->unknown);
	return bqtype_text((BqColumnType){
		.type = field->type,
		.range_element = field->range_element,
		.repeated = field->repeated,
	});
}

/* RANGE alone leaves its elements open, and fits any. */
bool
message_type_fits(BqColumnType declared, const BqField *field)
{
	return declared.type == field->type && declared.repeated == field->repeated &&
		   (declared.range_element == BQ_UNKNOWN || declared.range_element == field->range_element);
}

static bool read_level(const JsonDoc *doc, const char *path, int depth, int *left, BqField **fields, int *nfields,
					   Failure *f);

static char *
copy_at(const JsonDoc *doc, const char *path, const char *member)
{
	const char *text = json_string_at(doc, psprintf("%s.%s", path, member));

	return text ? pstrdup(text) : NULL;
}

/* Returns false if it has none.  A type that this version does not know keeps its name. */
static bool
read_type(const JsonDoc *doc, const char *path, BqField *field)
{
	const char *type = json_string_at(doc, psprintf("%s.type", path));
	const char *element = json_string_at(doc, psprintf("%s.rangeElementType.type", path));

	if (type == NULL)
		return false;
	field->type = bqtype_find(type);
	field->range_element = element ? bqtype_find(element) : BQ_UNKNOWN;
	if (element != NULL && field->range_element == BQ_UNKNOWN)
		field->unknown = psprintf("%s<%s>", field->type == BQ_UNKNOWN ? type : bqtypes[field->type].name, element);
	else if (field->type == BQ_UNKNOWN)
		field->unknown = pstrdup(type);
	return true;
}

static bool
read_field(const JsonDoc *doc, const char *path, int depth, int *left, BqField *field, Failure *f)
{
	char *mode = copy_at(doc, path, "mode");

	field->name = copy_at(doc, path, "name");
	if (field->name == NULL || !read_type(doc, path, field))
		return failure_set(f, ERRCODE_FDW_ERROR, "BigQuery's answer describes a column without name or type");
	field->repeated = mode != NULL && strcmp(mode, "REPEATED") == 0;
	field->required = mode != NULL && strcmp(mode, "REQUIRED") == 0;
	field->description = copy_at(doc, path, "description");
	return read_level(doc, psprintf("%s.fields", path), depth + 1, left, &field->fields, &field->nfields, f);
}

/* `left` is the number of further fields that are allowed. */
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
