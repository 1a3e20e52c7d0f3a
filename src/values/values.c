/*
 * values.c
 *	  One BigQuery value (its type, its text) → one Datum of a column's type.
 *
 * bqtypes has the natural local type of each type, and a table in this file the pairs
 * of types that are read by hand.  A local type in that table is read only from the
 * types in its entries; any other goes through its own input function.  No reader
 * throws because of a value's content, and no value is rounded, truncated or guessed.
 */
#include "postgres.h"

#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"

#include "base/failure.h"
#include "bigquery/bqtype.h"
#include "bigquery/job.h"
#include "bigquery/message.h"
#include "rows/rows.h"
#include "values/values.h"
#include "values/values_internal.h"

/* The part of a message that a reason shows, in bytes. */
#define REASON_BYTES 400

/* A local type, and the function that reads it by hand. */
typedef struct Conversion
{
	Oid local;
	ValueRead read;
} Conversion;

#define MAX_CONVERSIONS 14

/* The local types that each type is read into by hand, in addition to texts; terminated by InvalidOid. */
static const Conversion conversions[][MAX_CONVERSIONS] = {
	[BQ_UNKNOWN] = {{.local = InvalidOid}},
	[BQ_STRING] =
		{
			{TEXTOID, values_read_string},
			{INT2OID, values_read_integer},
			{INT4OID, values_read_integer},
			{INT8OID, values_read_integer},
			{FLOAT8OID, values_read_float},
			{FLOAT4OID, values_read_float},
			{NUMERICOID, values_read_numeric},
			{BOOLOID, values_read_bool},
			{DATEOID, values_read_date},
			{TIMEOID, values_read_time},
			{TIMESTAMPOID, values_read_timestamp},
			{TIMESTAMPTZOID, values_read_timestamptz},
			{INTERVALOID, values_read_interval},
			{UUIDOID, values_read_uuid},
		},
	[BQ_BYTES] = {{BYTEAOID, values_read_base64}},
	[BQ_INT64] =
		{
			{INT8OID, values_read_bigint},
			{INT2OID, values_read_integer},
			{INT4OID, values_read_integer},
			{FLOAT8OID, values_read_float},
			{FLOAT4OID, values_read_float},
			{NUMERICOID, values_read_numeric},
			{BOOLOID, values_read_bool},
		},
	[BQ_FLOAT64] =
		{
			{INT2OID, values_read_integer},
			{INT4OID, values_read_integer},
			{INT8OID, values_read_integer},
			{FLOAT8OID, values_read_float},
			{FLOAT4OID, values_read_float},
			{NUMERICOID, values_read_numeric},
		},
	[BQ_NUMERIC] =
		{
			{INT2OID, values_read_integer},
			{INT4OID, values_read_integer},
			{INT8OID, values_read_integer},
			{FLOAT8OID, values_read_float},
			{FLOAT4OID, values_read_float},
			{NUMERICOID, values_read_numeric},
		},
	[BQ_BIGNUMERIC] =
		{
			{INT2OID, values_read_integer},
			{INT4OID, values_read_integer},
			{INT8OID, values_read_integer},
			{FLOAT8OID, values_read_float},
			{FLOAT4OID, values_read_float},
			{NUMERICOID, values_read_numeric},
		},
	[BQ_BOOL] = {{BOOLOID, values_read_bool}},
	[BQ_TIMESTAMP] =
		{
			{DATEOID, values_read_date},
			{TIMESTAMPOID, values_read_timestamp},
			{TIMESTAMPTZOID, values_read_timestamptz},
		},
	[BQ_DATE] =
		{
			{DATEOID, values_read_date},
			{TIMESTAMPOID, values_read_timestamp},
		},
	[BQ_TIME] = {{TIMEOID, values_read_time}},
	[BQ_DATETIME] =
		{
			{DATEOID, values_read_date},
			{TIMESTAMPOID, values_read_timestamp},
		},
	[BQ_GEOGRAPHY] = {{.local = InvalidOid}},
	[BQ_INTERVAL] = {{INTERVALOID, values_read_interval}},
	[BQ_JSON] = {{.local = InvalidOid}},
	[BQ_STRUCT] = {{.local = InvalidOid}},
	[BQ_RANGE] = {{.local = InvalidOid}},
};

StaticAssertDecl(lengthof(conversions) == BQ_NTYPES, "each type needs its conversions");

/* Texts, into which every scalar type can be read. */
static const Conversion text_conversions[] = {
	{TEXTOID, values_read_text},
	{VARCHAROID, values_read_text},
	{BPCHAROID, values_read_text},
	{NAMEOID, values_read_name},
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
values_bad_message(const char **reason, const char *message)
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
 * The choice of a reader
 * -------------------------------------------------------------------------- */

/* The type that holds all values of a field that is not an ARRAY; InvalidOid if the field's type is unknown. */
static Oid
natural_scalar(const BqField *field)
{
	return field->type == BQ_RANGE ? bqtypes[field->range_element].range : bqtypes[field->type].local;
}

const char *
values_natural_sql(const BqField *field)
{
	Oid type = natural_scalar(field);

	if (OidIsValid(type) && field->repeated && field->type != BQ_STRUCT)
		type = get_array_type(type);
	return OidIsValid(type) ? format_type_be(type) : NULL;
}

ValueReader *
values_refuse(const BqField *field, Oid type, int32 typmod, const char *column, Failure *f)
{
	char *local = format_type_with_typemod(type, typmod);
	const char *natural = values_natural_sql(field);

	/* a Failure's text is UTF-8 regardless of the database's encoding */
	failure_set(f, ERRCODE_FEATURE_NOT_SUPPORTED, "column \"%s\": BigQuery's %s cannot be read as %s",
				pg_server_to_any(column, strlen(column), PG_UTF8), message_field_type(field),
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

/* Find the conversion of text from UTF-8 to the server's encoding; SQL_ASCII needs none. */
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

static ValueRead
find_read(const Conversion *known, int n, Oid local)
{
	for (int i = 0; i < n && OidIsValid(known[i].local); i++)
		if (known[i].local == local)
			return known[i].read;
	return NULL;
}

ValueRead
values_find_read(BqType remote, Oid local)
{
	ValueRead read = find_read(conversions[remote], MAX_CONVERSIONS, local);

	return read ? read : find_read(text_conversions, lengthof(text_conversions), local);
}

/* Whether the local type is read by hand, from any type. */
static bool
is_by_hand(Oid local)
{
	for (int type = 0; type < BQ_NTYPES; type++)
		if (values_find_read((BqType) type, local) != NULL)
			return true;
	return false;
}

static ValueReader *
scalar_reader(const BqField *field, Oid type, int32 typmod, const char *column, Failure *f)
{
	bool known = OidIsValid(natural_scalar(field));
	ValueRead read = known ? values_find_read(field->type, type) : NULL;

	if (read == NULL)
	{
		if (!known || is_by_hand(type) || !values_input_fits(field, type, typmod))
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

ValueReader *
values_reader(const BqField *field, Oid type, int32 typmod, const char *column, Failure *f)
{
	int32 base_typmod = typmod;
	Oid base = getBaseTypeAndTypmod(type, &base_typmod);

	/* jsonb_in() silently drops all but the last of equal keys: such a STRING is read like a JSON */
	if (base == JSONBOID && field->type == BQ_STRING && !field->repeated)
	{
		BqField *document = palloc(sizeof(BqField));

		*document = *field;
		document->type = BQ_JSON;
		field = document;
	}

	/* array_in() is used for the texts of STRING only */
	if (!field->repeated && OidIsValid(get_element_type(base)) && field->type != BQ_STRING)
		return values_refuse(field, type, typmod, column, f);

	bool nested = field->repeated || field->type == BQ_STRUCT || field->type == BQ_RANGE ||
				  (field->type == BQ_JSON && (base == JSONBOID || base == JSONOID));
	ValueReader *reader = nested ? values_nested_reader(field, base, base_typmod, column, f)
								 : scalar_reader(field, base, base_typmod, column, f);

	return reader == NULL || base == type ? reader : values_domain_reader(reader, type);
}

/* --------------------------------------------------------------------------
 * For display
 * -------------------------------------------------------------------------- */

char *
values_shown(const RowsCell *cell, int max_bytes)
{
	size_t len = Min(cell->len, (size_t) max_bytes);
	StringInfoData buf;

	/* not pg_mbcliplen(), which ends at U+0000 */
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
