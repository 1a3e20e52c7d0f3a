/*
 * values.c
 *	  One BigQuery value (its type, its text) → one Datum of a column's type.
 *
 * Two tables say all there is to say: the scalar types with what is natural
 * for each, and the pairs that are read by hand.  A local type that is in the
 * second is read from nothing but what stands there; any other goes through
 * its own input function.  Nothing here throws for what a value holds, and
 * nothing is rounded, cut or guessed.
 */
#include "postgres.h"

#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"

#include "base/failure.h"
#include "bigquery/job.h"
#include "rows/rows.h"
#include "values/values.h"
#include "values/values_internal.h"

/* As much of a message as a reason shows. */
#define REASON_BYTES 400

/* Types by BigQuery's names, and the PostgreSQL type that holds all of them. */
typedef struct NaturalType
{
	const char *remote;
	const char *element; /* of a RANGE; NULL: of no other type */
	Oid local;
} NaturalType;

/* What one local type stands for is the first line that has it. */
static const NaturalType natural_types[] = {
	{"STRING", NULL, TEXTOID},
	{"INT64", NULL, INT8OID},
	{"TIMESTAMP", NULL, TIMESTAMPTZOID},
	{"NUMERIC", NULL, NUMERICOID},
	{"BIGNUMERIC", NULL, NUMERICOID},
	{"FLOAT64", NULL, FLOAT8OID},
	{"BOOL", NULL, BOOLOID},
	{"DATE", NULL, DATEOID},
	{"DATETIME", NULL, TIMESTAMPOID},
	{"TIME", NULL, TIMEOID},
	{"BYTES", NULL, BYTEAOID},
	{"JSON", NULL, JSONBOID},
	{"GEOGRAPHY", NULL, TEXTOID},
	{"INTERVAL", NULL, INTERVALOID},
	{"RANGE", "DATE", DATERANGEOID},
	{"RANGE", "DATETIME", TSRANGEOID},
	{"RANGE", "TIMESTAMP", TSTZRANGEOID},
	{"STRUCT", NULL, JSONBOID},
};

/* What is read by hand.  NULL: from every scalar type. */
static const struct
{
	const char *remote;
	Oid local;
	ValueRead read;
} conversions[] = {
	{"STRING", TEXTOID, values_read_string},
	{NULL, TEXTOID, values_read_text},
	{NULL, VARCHAROID, values_read_text},
	{NULL, BPCHAROID, values_read_text},
	{NULL, NAMEOID, values_read_name},

	{"INT64", INT8OID, values_read_bigint},
	{"INT64", INT2OID, values_read_integer},
	{"INT64", INT4OID, values_read_integer},
	{"NUMERIC", INT2OID, values_read_integer},
	{"NUMERIC", INT4OID, values_read_integer},
	{"NUMERIC", INT8OID, values_read_integer},
	{"BIGNUMERIC", INT2OID, values_read_integer},
	{"BIGNUMERIC", INT4OID, values_read_integer},
	{"BIGNUMERIC", INT8OID, values_read_integer},
	{"FLOAT64", INT2OID, values_read_integer},
	{"FLOAT64", INT4OID, values_read_integer},
	{"FLOAT64", INT8OID, values_read_integer},
	{"STRING", INT2OID, values_read_integer},
	{"STRING", INT4OID, values_read_integer},
	{"STRING", INT8OID, values_read_integer},

	{"FLOAT64", FLOAT8OID, values_read_float},
	{"FLOAT64", FLOAT4OID, values_read_float},
	{"INT64", FLOAT8OID, values_read_float},
	{"INT64", FLOAT4OID, values_read_float},
	{"NUMERIC", FLOAT8OID, values_read_float},
	{"NUMERIC", FLOAT4OID, values_read_float},
	{"BIGNUMERIC", FLOAT8OID, values_read_float},
	{"BIGNUMERIC", FLOAT4OID, values_read_float},
	{"STRING", FLOAT8OID, values_read_float},
	{"STRING", FLOAT4OID, values_read_float},

	{"NUMERIC", NUMERICOID, values_read_numeric},
	{"BIGNUMERIC", NUMERICOID, values_read_numeric},
	{"INT64", NUMERICOID, values_read_numeric},
	{"FLOAT64", NUMERICOID, values_read_numeric},
	{"STRING", NUMERICOID, values_read_numeric},

	{"BOOL", BOOLOID, values_read_bool},
	{"STRING", BOOLOID, values_read_bool},
	{"INT64", BOOLOID, values_read_bool},

	{"DATE", DATEOID, values_read_date},
	{"DATETIME", DATEOID, values_read_date},
	{"TIMESTAMP", DATEOID, values_read_date},
	{"STRING", DATEOID, values_read_date},
	{"TIME", TIMEOID, values_read_time},
	{"STRING", TIMEOID, values_read_time},
	{"DATETIME", TIMESTAMPOID, values_read_timestamp},
	{"DATE", TIMESTAMPOID, values_read_timestamp},
	{"TIMESTAMP", TIMESTAMPOID, values_read_timestamp},
	{"STRING", TIMESTAMPOID, values_read_timestamp},
	{"TIMESTAMP", TIMESTAMPTZOID, values_read_timestamptz},
	{"STRING", TIMESTAMPTZOID, values_read_timestamptz},
	{"INTERVAL", INTERVALOID, values_read_interval},
	{"STRING", INTERVALOID, values_read_interval},

	{"BYTES", BYTEAOID, values_read_base64},
	{"STRING", UUIDOID, values_read_uuid},
};

/* --------------------------------------------------------------------------
 * Reading
 * -------------------------------------------------------------------------- */

ValueResult
values_bad(const char **reason, const char *why)
{
	*reason = why;
	return VALUE_BAD;
}

ValueResult
values_bad_said(const char **reason, const char *message)
{
	int len = (int) strlen(message);

	if (len <= REASON_BYTES)
		return values_bad(reason, message);
	return values_bad(reason, psprintf("%.*s...", pg_mbcliplen(message, len, REASON_BYTES), message));
}

ValueResult
values_out_of_range(const ValueReader *reader, const char **reason)
{
	return values_bad(reason, psprintf("out of range of %s", format_type_with_typemod(reader->type, reader->typmod)));
}

ValueResult
values_inexact(const ValueReader *reader, const char **reason)
{
	return values_bad(reason,
					  psprintf("more digits than %s can hold", format_type_with_typemod(reader->type, reader->typmod)));
}

bool
values_allows_null(ValueReader *reader)
{
	if (reader->nulls == NULLS_UNKNOWN)
		reader->nulls = values_domain_allows_null(reader) ? NULLS_ALLOWED : NULLS_REFUSED;
	return reader->nulls == NULLS_ALLOWED;
}

ValueResult
values_read(ValueReader *reader, const RowsCell *cell, Datum *value, bool *isnull, const char **reason)
{
	ValueResult result = VALUE_OK;

	*value = (Datum) 0;
	*reason = NULL;
	if (cell->kind == ROWS_JSON && !reader->nested)
		result = values_bad(reason, "not a string");
	else if (cell->kind != ROWS_NULL)
		result = reader->read(reader, cell, value, reason);
	*isnull = result == VALUE_BAD || cell->kind == ROWS_NULL;
	return result;
}

/* --------------------------------------------------------------------------
 * Which readers there are
 * -------------------------------------------------------------------------- */

static const NaturalType *
find_natural(const BqField *field)
{
	for (size_t i = 0; i < lengthof(natural_types); i++)
	{
		const NaturalType *line = &natural_types[i];

		if (strcmp(line->remote, field->type) == 0 &&
			(line->element == NULL || (field->range_element && strcmp(line->element, field->range_element) == 0)))
			return line;
	}
	return NULL;
}

static Oid
natural_oid(const BqField *field)
{
	const NaturalType *line = find_natural(field);

	if (line == NULL)
		return InvalidOid;
	if (!field->repeated || strcmp(field->type, "STRUCT") == 0)
		return line->local;
	return get_array_type(line->local);
}

const char *
values_natural_sql(const BqField *field)
{
	Oid type = natural_oid(field);

	return OidIsValid(type) ? format_type_be(type) : NULL;
}

const char *
values_natural_type(Oid type)
{
	for (size_t i = 0; i < lengthof(natural_types); i++)
	{
		if (natural_types[i].local == type)
			return natural_types[i].remote;
	}
	return NULL;
}

/* ARRAY<RANGE<DATE>>, as GoogleSQL spells it; of a STRUCT without its fields. */
static char *
remote_text(const BqField *field)
{
	char *text = field->range_element ? psprintf("%s<%s>", field->type, field->range_element) : field->type;

	return field->repeated ? psprintf("ARRAY<%s>", text) : text;
}

ValueReader *
values_refuse(const BqField *field, Oid type, int32 typmod, const char *column, Failure *f)
{
	char *local = format_type_with_typemod(type, typmod);
	const char *natural = values_natural_sql(field);

	/* a Failure's text is UTF-8 whatever the database's encoding */
	failure_set(f, ERRCODE_FEATURE_NOT_SUPPORTED, "column \"%s\": BigQuery's %s cannot be read as %s",
				pg_server_to_any(column, strlen(column), PG_UTF8), remote_text(field),
				pg_server_to_any(local, strlen(local), PG_UTF8));
	f->every_day = true;
	if (natural == NULL)
		failure_hint(f, "Drop the column from the foreign table: columns of this type cannot be read.");
	else if (strcmp(natural, "text") == 0)
		failure_hint(f, "Declare the column of the foreign table as text.");
	else
		failure_hint(f, "Declare the column of the foreign table as %s or text.", natural);
	return NULL;
}

/* How text gets from UTF-8 to the server's encoding; SQL_ASCII keeps it as it is. */
static bool
find_encoding_conversion(Oid *conversion, Failure *f)
{
	int encoding = GetDatabaseEncoding();

	*conversion = InvalidOid;
	if (encoding == PG_UTF8 || encoding == PG_SQL_ASCII)
		return true;
	*conversion = FindDefaultConversionProc(PG_UTF8, encoding);
	if (OidIsValid(*conversion))
		return true;
	failure_set(f, ERRCODE_UNDEFINED_FUNCTION, "there is no default conversion from UTF8 to %s",
				pg_encoding_to_char(encoding));
	failure_hint(f, "Use a database with encoding UTF8.");
	f->every_day = true;
	return false;
}

ValueReader *
values_make(ValueRead read, const BqField *field, Oid type, int32 typmod, const char *column, Failure *f)
{
	Oid conversion;

	if (!find_encoding_conversion(&conversion, f))
		return NULL;

	ValueReader *reader = palloc0(sizeof(ValueReader));

	reader->read = read;
	reader->conversion = conversion;
	reader->field = field;
	reader->column = column;
	reader->type = type;
	reader->typmod = typmod;
	return reader;
}

/* NULL with *known: the local type is read by hand, but not from this. */
static ValueRead
find_conversion(const char *remote, Oid local, bool *known)
{
	*known = false;
	for (size_t i = 0; i < lengthof(conversions); i++)
	{
		if (conversions[i].local != local)
			continue;
		*known = true;
		if (conversions[i].remote == NULL || strcmp(conversions[i].remote, remote) == 0)
			return conversions[i].read;
	}
	return NULL;
}

static ValueReader *
scalar_reader(const BqField *field, Oid type, int32 typmod, const char *column, Failure *f)
{
	bool known = false;
	ValueRead read = find_natural(field) ? find_conversion(field->type, type, &known) : NULL;

	if (read == NULL)
	{
		if (find_natural(field) == NULL || known || !values_input_fits(field, type, typmod))
			return values_refuse(field, type, typmod, column, f);
		return type_is_enum(type) ? values_enum_reader(field, type, column, f)
								  : values_input_reader(field, type, typmod, column, f);
	}

	ValueReader *reader = values_make(read, field, type, typmod, column, f);

	if (reader != NULL && type == NUMERICOID)
	{
		reader->by_hand = values_numeric_layout_known();
		if (!reader->by_hand)
			elog(DEBUG1, "numerics go through numeric_in(): this server stores them in an unknown way");
	}
	return reader;
}

static bool
is_nested(const BqField *field, Oid type)
{
	return field->repeated || strcmp(field->type, "STRUCT") == 0 || strcmp(field->type, "RANGE") == 0 ||
		   (strcmp(field->type, "JSON") == 0 && (type == JSONBOID || type == JSONOID));
}

/* jsonb_in() throws all but the last of equal keys away without a word: such a STRING is read as a JSON is. */
static const BqField *
as_document(const BqField *field, Oid type)
{
	BqField *document;

	if (type != JSONBOID || field->repeated || strcmp(field->type, "STRING") != 0)
		return field;
	document = palloc(sizeof(BqField));
	*document = *field;
	document->type = "JSON";
	return document;
}

ValueReader *
values_reader(const BqField *field, Oid type, int32 typmod, const char *column, Failure *f)
{
	int32 base_typmod = typmod;
	Oid base = getBaseTypeAndTypmod(type, &base_typmod);

	field = as_document(field, base);

	/* array_in() takes no text of any other type */
	if (!field->repeated && OidIsValid(get_element_type(base)) && strcmp(field->type, "STRING") != 0)
		return values_refuse(field, type, typmod, column, f);

	ValueReader *reader = is_nested(field, base) ? values_nested_reader(field, base, base_typmod, column, f)
												 : scalar_reader(field, base, base_typmod, column, f);

	return reader == NULL || base == type ? reader : values_domain_reader(reader, type);
}

/* --------------------------------------------------------------------------
 * For a person's eyes
 * -------------------------------------------------------------------------- */

char *
values_shown(const RowsCell *cell, int max_bytes)
{
	size_t len = Min(cell->len, (size_t) max_bytes);
	StringInfoData buf;

	/* not pg_mbcliplen(): it ends at U+0000 */
	while (len > 0 && len < cell->len && ((unsigned char) cell->data[len] & 0xC0) == 0x80)
		len--;
	initStringInfo(&buf);
	for (size_t i = 0; i < len; i++)
	{
		if (cell->data[i] == '\0')
			appendStringInfoString(&buf, "\357\277\275"); /* U+FFFD */
		else
			appendStringInfoChar(&buf, cell->data[i]);
	}
	return failure_to_server(buf.data);
}
