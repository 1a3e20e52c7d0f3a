/*
 * values.c
 *	  One BigQuery value (its type, its text) → one Datum of a column's type.
 *
 * One table says which pairs of types there are.  Nothing here throws for what
 * a value holds, and nothing is rounded, cut or guessed.
 */
#include "postgres.h"

#include <limits.h>

#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "common/int.h"
#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/datetime.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "values.h"
#include "values_internal.h"

typedef ValueResult (*ReadFunction)(const ValueReader *reader, const char *data, size_t len, Datum *value,
									const char **reason);

struct ValueReader
{
	ReadFunction read;
	bool by_hand; /* numerics are written in the server's own format */
	Oid conversion; /* UTF-8 to the server's encoding; InvalidOid: none is
					 * needed */
};

static ValueResult read_text(const ValueReader *reader, const char *data, size_t len, Datum *value,
							 const char **reason);
static ValueResult read_numeric(const ValueReader *reader, const char *data, size_t len, Datum *value,
								const char **reason);
static ValueResult read_bigint(const ValueReader *reader, const char *data, size_t len, Datum *value,
							   const char **reason);
static ValueResult read_timestamptz(const ValueReader *reader, const char *data, size_t len, Datum *value,
									const char **reason);

/* What can be read as what, and what a local type stands for by itself. */
static const struct
{
	const char *remote;
	Oid local;
	bool natural;
	ReadFunction read;
} conversions[] = {
	{"STRING", TEXTOID, true, read_text},
	{"STRING", NUMERICOID, false, read_numeric},
	{"INT64", INT8OID, true, read_bigint},
	{"TIMESTAMP", TIMESTAMPTZOID, true, read_timestamptz},
};

/* --------------------------------------------------------------------------
 * Reading
 * -------------------------------------------------------------------------- */

static ValueResult
bad(const char **reason, const char *why)
{
	*reason = why;
	return VALUE_BAD;
}

/* A copy without the bytes that are 0; its length in *len. */
static char *
without_nul(const char *data, size_t *len)
{
	char *copy = MemoryContextAllocHuge(CurrentMemoryContext, Max(*len, 1));
	size_t n = 0;

	for (size_t i = 0; i < *len; i++)
	{
		if (data[i] != '\0')
			copy[n++] = data[i];
	}
	*len = n;
	return copy;
}

static bool
make_text(const char *data, size_t len, Datum *value)
{
	if (len > MaxAllocSize - VARHDRSZ)
		return false;
	*value = PointerGetDatum(cstring_to_text_with_len(data, (int) len));
	return true;
}

/* Of a text without U+0000, which conversions take for its end. */
static ValueResult
make_converted_text(Oid conversion, const char *data, size_t len, Datum *value, const char **reason)
{
	if (len >= INT_MAX / MAX_CONVERSION_GROWTH)
		return bad(reason, "too long to be converted to the database's encoding");

	int size = (int) len * MAX_CONVERSION_GROWTH + 1;
	char *converted = MemoryContextAllocHuge(CurrentMemoryContext, size);
	int done = pg_do_encoding_conversion_buf(conversion, PG_UTF8, GetDatabaseEncoding(),
											 (unsigned char *) unconstify(char *, data), (int) len,
											 (unsigned char *) converted, size, true);
	bool held = done == (int) len && make_text(converted, strlen(converted), value);

	pfree(converted);
	if (held)
		return VALUE_OK;
	return bad(reason, done == (int) len ? "longer than 1 GB" : "cannot be represented in the database's encoding");
}

static ValueResult
read_text(const ValueReader *reader, const char *data, size_t len, Datum *value, const char **reason)
{
	char *cleaned = (len > 0 && memchr(data, '\0', len)) ? without_nul(data, &len) : NULL;
	const char *text = cleaned ? cleaned : data;
	ValueResult result = VALUE_OK;

	if (OidIsValid(reader->conversion) && len > 0)
		result = make_converted_text(reader->conversion, text, len, value, reason);
	else if (!make_text(text, len, value))
		result = bad(reason, "longer than 1 GB");
	if (cleaned == NULL)
		return result;
	pfree(cleaned);
	if (result == VALUE_OK)
	{
		*reason = "holds U+0000";
		result = VALUE_ALTERED;
	}
	return result;
}

static ValueResult
read_numeric(const ValueReader *reader, const char *data, size_t len, Datum *value, const char **reason)
{
	return values_read_numeric(data, len, reader->by_hand, value, reason);
}

typedef enum IntegerResult
{
	INTEGER_OK,
	INTEGER_MALFORMED,
	INTEGER_OVERFLOW
} IntegerResult;

/* Sign and digits, nothing else.  Counts down, since there is one more below 0. */
static IntegerResult
parse_integer(const char *data, size_t len, int64 *value)
{
	bool negative = len > 0 && *data == '-';
	size_t i = (len > 0 && (*data == '-' || *data == '+')) ? 1 : 0;
	IntegerResult result = INTEGER_OK;
	int64 sum = 0;

	if (i == len)
		return INTEGER_MALFORMED;
	for (; i < len; i++)
	{
		if (data[i] < '0' || data[i] > '9')
			return INTEGER_MALFORMED;
		if (pg_mul_s64_overflow(sum, 10, &sum) || pg_sub_s64_overflow(sum, data[i] - '0', &sum))
			result = INTEGER_OVERFLOW;
	}
	if (!negative && pg_sub_s64_overflow(0, sum, &sum))
		result = INTEGER_OVERFLOW;
	*value = sum;
	return result;
}

static ValueResult
read_bigint(const ValueReader *reader pg_attribute_unused(), const char *data, size_t len, Datum *value,
			const char **reason)
{
	int64 number;

	switch (parse_integer(data, len, &number))
	{
		case INTEGER_MALFORMED:
			return bad(reason, "not an integer");
		case INTEGER_OVERFLOW:
			return bad(reason, "out of range of bigint");
		case INTEGER_OK:
			break;
	}
	*value = Int64GetDatum(number);
	return VALUE_OK;
}

/* Microseconds since 1970, as asked for with useInt64Timestamp. */
static ValueResult
read_timestamptz(const ValueReader *reader pg_attribute_unused(), const char *data, size_t len, Datum *value,
				 const char **reason)
{
	const int64 epochs_apart = (int64) (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * USECS_PER_DAY;
	int64 micros = 0;
	IntegerResult result = parse_integer(data, len, &micros);

	if (result == INTEGER_MALFORMED)
		return bad(reason, "not a timestamp in microseconds");
	if (result == INTEGER_OVERFLOW || pg_sub_s64_overflow(micros, epochs_apart, &micros) || !IS_VALID_TIMESTAMP(micros))
		return bad(reason, "out of range of timestamp with time zone");
	*value = TimestampTzGetDatum(micros);
	return VALUE_OK;
}

ValueResult
values_read(ValueReader *reader, const RowsCell *cell, Datum *value, bool *isnull, const char **reason)
{
	ValueResult result = VALUE_OK;

	*value = (Datum) 0;
	*reason = NULL;
	if (cell->kind == ROWS_JSON)
		result = bad(reason, "not a string");
	else if (cell->kind == ROWS_STRING)
		result = reader->read(reader, cell->data, cell->len, value, reason);
	*isnull = result == VALUE_BAD || cell->kind == ROWS_NULL;
	return result;
}

/* --------------------------------------------------------------------------
 * Which conversions there are
 * -------------------------------------------------------------------------- */

static ReadFunction
find_conversion(const char *remote, Oid local)
{
	for (size_t i = 0; i < lengthof(conversions); i++)
	{
		if (conversions[i].local == local && strcmp(conversions[i].remote, remote) == 0)
			return conversions[i].read;
	}
	return NULL;
}

/* Tell what the column could be declared as. */
static void
hint_at_types(const char *remote, Failure *f)
{
	StringInfoData types;

	initStringInfo(&types);
	for (size_t i = 0; i < lengthof(conversions); i++)
	{
		if (strcmp(conversions[i].remote, remote) == 0)
			appendStringInfo(&types, "%s%s", types.len > 0 ? " or " : "", format_type_be(conversions[i].local));
	}
	if (types.len > 0)
		failure_hint(f, "Declare the column of the foreign table as %s.", types.data);
	else
		failure_hint(f, "Drop the column from the foreign table: columns of this type cannot be read yet.");
	pfree(types.data);
}

static bool
refuse(const char *remote, bool repeated, Oid type, int32 typmod, const char *column, Failure *f)
{
	char *local = format_type_with_typemod(type, typmod);

	/* a Failure's text is UTF-8 whatever the database's encoding */
	failure_set(f, ERRCODE_FEATURE_NOT_SUPPORTED, "column \"%s\": BigQuery's %s%s%s cannot be read as %s",
				pg_server_to_any(column, strlen(column), PG_UTF8), repeated ? "ARRAY<" : "", remote,
				repeated ? ">" : "", pg_server_to_any(local, strlen(local), PG_UTF8));
	f->every_day = true;
	hint_at_types(repeated ? "" : remote, f);
	return false;
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
values_reader(const BqField *field, Oid type, int32 typmod, const char *column, Failure *f)
{
	ReadFunction read = (field->repeated || typmod >= 0) ? NULL : find_conversion(field->type, type);
	Oid conversion;

	/* with a typmod a value might have to be rounded */
	if (read == NULL)
	{
		refuse(field->type, field->repeated, type, typmod, column, f);
		return NULL;
	}
	if (!find_encoding_conversion(&conversion, f))
		return NULL;

	ValueReader *reader = palloc0(sizeof(ValueReader));

	reader->read = read;
	reader->conversion = conversion;
	if (read == read_numeric)
	{
		reader->by_hand = values_numeric_layout_known();
		if (!reader->by_hand)
			elog(DEBUG1, "numerics go through numeric_in(): this server stores them in an unknown way");
	}
	return reader;
}

const char *
values_natural_type(Oid type)
{
	for (size_t i = 0; i < lengthof(conversions); i++)
	{
		if (conversions[i].natural && conversions[i].local == type)
			return conversions[i].remote;
	}
	return NULL;
}

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
