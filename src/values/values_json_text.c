/*
 * values_json_text.c
 *	  Builds JSON as text.
 *
 * With the names of its fields a text can be many times as long as the cells it is made
 * from; so everything is appended by the functions of this file, within a limit.
 */
#include "postgres.h"

#include "values/values_internal.h"
#include "values/values_nested.h"

void
values_json_append(JsonMaker *m, const char *data, size_t len)
{
	if (m->bad != NULL)
		return;
	if (len > VALUES_MAX_MEMORY - (Size) m->text.len)
		values_json_fail(m, "takes more than 256 MB to be put together");
	else
		appendBinaryStringInfo(&m->text, data, (int) len);
}

void
values_json_comma(JsonMaker *m)
{
	if (m->comma)
		values_json_append(m, ",", 1);
	m->comma = true;
}

/* The JSON escape for a character that must be escaped, and its length. */
static size_t
escape(unsigned char c, char *buf)
{
	static const char letters[] = "\"\\\b\f\n\r\t", escapes[] = "\"\\bfnrt";
	const char *letter = memchr(letters, c, sizeof(letters) - 1);

	if (letter == NULL)
		return (size_t) sprintf(buf, "\\u%04x", c);
	buf[0] = '\\';
	buf[1] = escapes[letter - letters];
	return 2;
}

void
values_json_quoted(JsonMaker *m, const char *data, size_t len)
{
	const char *end = data + len, *run = data;
	char buf[8];

	values_json_append(m, "\"", 1);
	for (const char *p = data; p < end; p++)
	{
		unsigned char c = (unsigned char) *p;

		if (c >= 0x20 && c != '"' && c != '\\')
			continue;
		values_json_append(m, run, p - run);
		values_json_append(m, buf, escape(c, buf));
		run = p + 1;
	}
	values_json_append(m, run, end - run);
	values_json_append(m, "\"", 1);
}

void
values_json_decimal(JsonMaker *m, const char *data, size_t len)
{
	Decimal d = {.plain = true};
	char exponent[32];

	if (!values_parse_decimal(data, data + len, &d))
	{
		values_json_fail(m, "not a number");
		return;
	}
	if (d.negative)
		values_json_append(m, "-", 1);
	values_json_append(m, d.nbefore > 0 ? d.before : "0", Max(d.nbefore, 1));
	if (d.nafter > 0)
	{
		values_json_append(m, ".", 1);
		values_json_append(m, d.after, d.nafter);
	}
	if (d.exponent != 0)
		values_json_append(m, exponent, snprintf(exponent, sizeof(exponent), "e" INT64_FORMAT, d.exponent));
}
