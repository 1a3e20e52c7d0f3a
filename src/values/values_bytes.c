/*
 * values_bytes.c
 *	  Bytes, from base64, and uuid, which consists of bytes.
 */
#include "postgres.h"

#include "utils/builtins.h"
#include "utils/uuid.h"

#include "rows/rows.h"
#include "values/values_internal.h"

/* --------------------------------------------------------------------------
 * bytea
 * -------------------------------------------------------------------------- */

/* The six bits that a character stands for; -1 if it is not a base64 character. */
static int
sextet(char c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	return c == '+' ? 62 : c == '/' ? 63 : -1;
}

/* Unused bits must be 0, or different texts would give the same bytes. */
int64
values_base64_length(const char *data, size_t len)
{
	size_t padding = 0;

	if (len % 4 != 0)
		return -1;
	while (padding < 2 && padding < len && data[len - 1 - padding] == '=')
		padding++;
	for (size_t i = 0; i < len - padding; i++)
	{
		if (sextet(data[i]) < 0)
			return -1;
	}
	/* 2 or 4 bits of the last character are unused */
	if (padding > 0 && (sextet(data[len - padding - 1]) & (padding == 1 ? 0x03 : 0x0F)) != 0)
		return -1;
	return (int64) (len / 4 * 3 - padding);
}

/* `nbytes` is the result of values_base64_length(). */
static void
decode(const char *data, char *bytes, int64 nbytes)
{
	uint32 bits = 0;
	int nbits = 0;

	for (int64 n = 0; n < nbytes; data++)
	{
		bits = (bits << 6 | (uint32) sextet(*data)) & 0xFFFF;
		nbits += 6;
		if (nbits < 8)
			continue;
		nbits -= 8;
		bytes[n++] = (char) (bits >> nbits & 0xFF);
	}
}

ValueResult
values_read_base64(ValueReader *reader pg_attribute_unused(), const RowsCell *cell, Datum *value, const char **reason)
{
	int64 length = values_base64_length(cell->data, cell->len);

	if (length < 0)
		return values_bad(reason, "not base64");

	bytea *result = palloc(VARHDRSZ + length);

	SET_VARSIZE(result, VARHDRSZ + length);
	decode(cell->data, VARDATA(result), length);
	*value = PointerGetDatum(result);
	return VALUE_OK;
}

/* --------------------------------------------------------------------------
 * uuid
 * -------------------------------------------------------------------------- */

static int
base64_hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* 32 digits in either case, with optional hyphens after any four of them and optional braces. */
static bool
parse_uuid(const char *p, const char *end, unsigned char *bytes)
{
	bool braces = end - p >= 2 && *p == '{' && end[-1] == '}';

	if (braces)
	{
		p++;
		end--;
	}
	for (int i = 0; i < UUID_LEN; i++)
	{
		if (end - p < 2 || base64_hex_digit(p[0]) < 0 || base64_hex_digit(p[1]) < 0)
			return false;
		bytes[i] = (unsigned char) (base64_hex_digit(p[0]) << 4 | base64_hex_digit(p[1]));
		p += 2;
		if (i % 2 == 1 && i < UUID_LEN - 1 && p < end && *p == '-')
			p++;
	}
	return p == end;
}

ValueResult
values_read_uuid(ValueReader *reader pg_attribute_unused(), const RowsCell *cell, Datum *value, const char **reason)
{
	pg_uuid_t *uuid = palloc(sizeof(pg_uuid_t));

	if (!parse_uuid(cell->data, cell->data + cell->len, uuid->data))
		return values_bad(reason, "not a uuid");
	*value = UUIDPGetDatum(uuid);
	return VALUE_OK;
}
