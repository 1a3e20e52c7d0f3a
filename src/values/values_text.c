/*
 * values_text.c
 *	  Values as text: text, varchar(n), char(n) and name, and the text for input
 *	  functions.
 *
 * PostgreSQL's own input functions remove trailing blanks from a text that is too long
 * for varchar(n), and truncate one that is too long for name.  In this file both are
 * bad values.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "common/int.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "bigquery/bqtype.h"
#include "bigquery/job.h"
#include "bigquery/message.h"
#include "rows/rows.h"
#include "values/values_internal.h"

/* --------------------------------------------------------------------------
 * Encoding
 * -------------------------------------------------------------------------- */

/* A copy without NUL bytes; its length is stored in *len. */
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

/*
 * Convert to the server's encoding a text without U+0000, which conversions treat as
 * its end: NUL-terminated, in CurrentMemoryContext; NULL with *reason.
 */
static char *
convert(Oid conversion, const char *data, size_t len, const char **reason)
{
	Size size = len * MAX_CONVERSION_GROWTH + 1;
	char *converted = MemoryContextAllocHuge(CurrentMemoryContext, size);
	int done = pg_do_encoding_conversion_buf(conversion, PG_UTF8, GetDatabaseEncoding(),
											 (unsigned char *) unconstify(char *, data), (int) len,
											 (unsigned char *) converted, (int) size, true);

	if (done == (int) len)
		return converted;
	pfree(converted);
	*reason = "cannot be represented in the database's encoding";
	return NULL;
}

bool
values_to_server(const ValueReader *reader, StringInfo buf, char **text, const char **reason)
{
	if (memchr(buf->data, '\0', buf->len) != NULL)
	{
		*reason = "holds U+0000";
		return false;
	}
	*text = buf->data;
	if (OidIsValid(reader->conversion) && buf->len > 0)
		*text = convert(reader->conversion, buf->data, buf->len, reason);
	return *text != NULL;
}

/* --------------------------------------------------------------------------
 * Text columns
 * -------------------------------------------------------------------------- */

/* As varchar(n) and char(n) store it: no longer than n characters, including blanks. */
static ValueResult
make_limited(const ValueReader *reader, const char *data, size_t len, Datum *value, const char **reason)
{
	size_t limit = reader->typmod - VARHDRSZ;
	size_t characters = pg_mbstrlen_with_len(data, (int) len);
	size_t padding = reader->type == BPCHAROID && characters < limit ? limit - characters : 0;

	if (characters > limit)
		return values_bad(reason, psprintf("too long for %s", format_type_with_typemod(reader->type, reader->typmod)));

	char *result = palloc(VARHDRSZ + len + padding);

	SET_VARSIZE(result, VARHDRSZ + len + padding);
	memcpy(result + VARHDRSZ, data, len);
	memset(result + VARHDRSZ + len, ' ', padding);
	*value = PointerGetDatum(result);
	return VALUE_OK;
}

static ValueResult
make_text(const ValueReader *reader, const char *data, size_t len, Datum *value, const char **reason)
{
	if (reader->typmod >= (int32) VARHDRSZ && reader->type != TEXTOID)
		return make_limited(reader, data, len, value, reason);
	*value = PointerGetDatum(cstring_to_text_with_len(data, (int) len));
	return VALUE_OK;
}

/* For a text without U+0000. */
static ValueResult
make_converted(const ValueReader *reader, const char *data, size_t len, Datum *value, const char **reason)
{
	if (!OidIsValid(reader->conversion) || len == 0)
		return make_text(reader, data, len, value, reason);

	char *converted = convert(reader->conversion, data, len, reason);

	if (converted == NULL)
		return VALUE_BAD;

	ValueResult result = make_text(reader, converted, strlen(converted), value, reason);

	pfree(converted);
	return result;
}

ValueResult
values_read_string(ValueReader *reader, const RowsCell *cell, Datum *value, const char **reason)
{
	size_t len = cell->len;

	if (len == 0 || memchr(cell->data, '\0', len) == NULL)
		return make_converted(reader, cell->data, len, value, reason);

	char *cleaned = without_nul(cell->data, &len);
	ValueResult result = make_converted(reader, cleaned, len, value, reason);

	pfree(cleaned);
	if (result == VALUE_OK)
	{
		*reason = "holds U+0000";
		result = VALUE_ALTERED;
	}
	return result;
}

ValueResult
values_read_text(ValueReader *reader, const RowsCell *cell, Datum *value, const char **reason)
{
	BqType type = reader->field->type;
	StringInfoData buf;

	/* values_text() accepts any text, and would return it unchanged */
	if (type == BQ_STRING || type == BQ_JSON || type == BQ_GEOGRAPHY)
		return values_read_string(reader, cell, value, reason);
	initStringInfo(&buf);

	/* only ASCII, which is the same in every server encoding */
	ValueResult result = values_text(reader->field, cell->data, cell->len, &buf, reason)
							 ? make_text(reader, buf.data, buf.len, value, reason)
							 : VALUE_BAD;

	pfree(buf.data);
	return result;
}

ValueResult
values_read_name(ValueReader *reader, const RowsCell *cell, Datum *value, const char **reason)
{
	StringInfoData buf;
	char *text;

	initStringInfo(&buf);
	if (!values_text(reader->field, cell->data, cell->len, &buf, reason) ||
		!values_to_server(reader, &buf, &text, reason))
		return VALUE_BAD;
	if (strlen(text) >= NAMEDATALEN)
		return values_bad(reason, "too long for name");

	Name name = palloc0(NAMEDATALEN);

	memcpy(NameStr(*name), text, strlen(text));
	*value = NameGetDatum(name);
	return VALUE_OK;
}

/* --------------------------------------------------------------------------
 * Each type's text
 * -------------------------------------------------------------------------- */

static bool
is_integer(const char *p, const char *end)
{
	int64 number;

	return values_parse_integer(p, end - p, &number) == INTEGER_OK;
}

static bool
is_decimal(const char *p, const char *end)
{
	Decimal d = {.plain = true};

	return values_parse_decimal(p, end, &d);
}

static bool
is_float(const char *p, const char *end)
{
	return is_decimal(p, end) || values_is_special_number(p, end);
}

static bool
is_bool(const char *p, const char *end)
{
	return (end - p == 4 && memcmp(p, "true", 4) == 0) || (end - p == 5 && memcmp(p, "false", 5) == 0);
}

static bool
is_date(const char *p, const char *end)
{
	int days;

	return values_parse_date(&p, end, &days) && p == end;
}

static bool
is_time(const char *p, const char *end)
{
	int64 micros;
	bool exact;

	return values_parse_clock(&p, end, false, &micros, &exact) && p == end;
}

static bool
is_datetime(const char *p, const char *end)
{
	int64 micros;
	bool exact;

	return values_parse_datetime(&p, end, false, &micros, &exact) && p == end;
}

static bool
is_interval(const char *p, const char *end)
{
	Interval interval;
	bool exact;

	return values_parse_interval(p, end, &interval, &exact);
}

static bool
is_base64(const char *p, const char *end)
{
	return values_base64_length(p, end - p) >= 0;
}

static bool
is_none(const char *p pg_attribute_unused(), const char *end pg_attribute_unused())
{
	return false;
}

/* The types whose texts are not changed, with the check for valid values. */
static const struct
{
	bool (*check)(const char *p, const char *end); /* NULL: any text is valid */
	const char *reason; /* the reason if it is invalid */
} texts[] = {
	[BQ_UNKNOWN] = {is_none, "of a type that has no text"},
	[BQ_STRING] = {NULL, NULL},
	[BQ_BYTES] = {is_base64, "not base64"},
	[BQ_INT64] = {is_integer, "not an integer of 64 bits"},
	[BQ_FLOAT64] = {is_float, "not a number"},
	[BQ_NUMERIC] = {is_decimal, "not a number"},
	[BQ_BIGNUMERIC] = {is_decimal, "not a number"},
	[BQ_BOOL] = {is_bool, "neither true nor false"},
	[BQ_TIMESTAMP] = {NULL, NULL}, /* append_timestamp() */
	[BQ_DATE] = {is_date, "not a date"},
	[BQ_TIME] = {is_time, "not a time"},
	[BQ_DATETIME] = {is_datetime, "not a date and time"},
	[BQ_GEOGRAPHY] = {NULL, NULL},
	[BQ_INTERVAL] = {is_interval, "not an interval"},
	[BQ_JSON] = {NULL, NULL},
	[BQ_STRUCT] = {is_none, "of a type that has no text"},
	[BQ_RANGE] = {is_none, "of a type that has no text"},
};

StaticAssertDecl(lengthof(texts) == BQ_NTYPES, "each type needs its text, or none");

/* In the form of BigQuery's CAST: no fraction, or three digits, or six. */
static bool
append_timestamp(const char *data, size_t len, StringInfo buf, const char **reason)
{
	const int64 epochs_apart = (int64) (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * USECS_PER_DAY;
	int64 micros = 0;
	IntegerResult result = values_parse_integer(data, len, &micros);

	if (result == INTEGER_MALFORMED)
		*reason = "not a timestamp in microseconds";
	else if (result == INTEGER_OVERFLOW || pg_sub_s64_overflow(micros, epochs_apart, &micros) ||
			 !values_timestamp_in_range(micros))
		*reason = "out of range of BigQuery's timestamps";
	else
	{
		char *text = values_timestamp_text(micros);
		int digits = micros % 1000 != 0 ? 6 : micros % USECS_PER_SEC != 0 ? 3 : 0;

		/* YYYY-MM-DD HH:MM:SS is 19 bytes */
		appendBinaryStringInfo(buf, text, 19 + (digits > 0 ? digits + 1 : 0));
		appendStringInfoString(buf, "+00");
		pfree(text);
		return true;
	}
	return false;
}

bool
values_text(const BqField *field, const char *data, size_t len, StringInfo buf, const char **reason)
{
	if (field->type == BQ_TIMESTAMP)
		return append_timestamp(data, len, buf, reason);
	*reason = texts[field->type].reason;
	if (texts[field->type].check != NULL && !texts[field->type].check(data, data + len))
		return false;
	appendBinaryStringInfo(buf, data, (int) len);
	return true;
}
