/*
 * document.c
 *	  Random but well-formed BigQuery pages for the decoder's tests.
 *
 * Every page has its own manners: with or without white space, all cells of
 * the common form or none, "rows" before or after "schema".  Keys that mean
 * something in one place ("rows", "f", "v") are put where they mean nothing.
 */
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "document.h"

static uint64_t random_state;
static unsigned int space_percent; /* of the page being generated */
static unsigned int nested_percent; /* cells that are an ARRAY; as many are a STRUCT */
static unsigned int odd_percent; /* cells and rows that are not of the common form */

void
text_add(Text *t, const char *data, size_t n)
{
	if (t->size - t->len <= n)
	{
		t->size = (t->len + n + 1) * 2;
		t->data = realloc(t->data, t->size);
		if (t->data == NULL)
			abort();
	}
	if (n > 0)
		memcpy(t->data + t->len, data, n);
	t->len += n;
	t->data[t->len] = '\0';
}

void
text_puts(Text *t, const char *s)
{
	text_add(t, s, strlen(s));
}

void
text_printf(Text *t, const char *format, ...)
{
	char line[200];
	va_list args;

	va_start(args, format);
	vsnprintf(line, sizeof(line), format, args);
	va_end(args);
	text_puts(t, line);
}

void
text_free(Text *t)
{
	free(t->data);
	*t = (Text){.data = NULL};
}

void
random_seed(uint64_t seed)
{
	random_state = seed * UINT64_C(0x9E3779B97F4A7C15) + 1;
}

/* xorshift64* */
unsigned int
random_below(unsigned int below)
{
	random_state ^= random_state >> 12;
	random_state ^= random_state << 25;
	random_state ^= random_state >> 27;
	return (unsigned int) ((random_state * UINT64_C(0x2545F4914F6CDD1D)) >> 33) % below;
}

static void
space(Text *t)
{
	static const char *const spaces[] = {" ", "\n", "\t", "\r\n  ", "    "};

	if (random_below(100) < space_percent)
		text_puts(t, spaces[random_below(5)]);
}

/* A structural character, with white space around it or not. */
static void
mark(Text *t, const char *s)
{
	space(t);
	text_puts(t, s);
	space(t);
}

static void
string_part(Text *t)
{
	static const char *const parts[] = {"\\n",
										"\\\"",
										"\\\\",
										"\\/",
										"\\b\\f\\r\\t",
										"\\u0001",
										"\\u00e9",
										"\\u20AC",
										"\\uD83D\\ude00",
										"\\uffff",
										"\\udbff\\uDFFF",
										"\xC2\x80",
										"\xC3\xA9",
										"\xE0\xA0\x80",
										"\xE4\xB8\xAD\xE6\x96\x87",
										"\xED\x9F\xBF",
										"\xEF\xBF\xBF",
										"\xF0\x90\x80\x80",
										"\xF4\x8F\xBF\xBF",
										"\x7F",
										"{\\\"v\\\":",
										"]}",
										"'",
										"x",
										"0x95222290dd7278aa3ddd389cc1e1d165cc4bafe5"};

	text_puts(t, parts[random_below(sizeof(parts) / sizeof(parts[0]))]);
}

static void
string(Text *t)
{
	text_puts(t, "\"");
	for (unsigned int n = random_below(3) == 0 ? random_below(6) : 0; n > 0; n--)
		string_part(t);
	for (unsigned int n = random_below(4) == 0 ? random_below(70) : random_below(6); n > 0; n--)
		text_printf(t, "%c", "abcdefghijklmnopqrstuvwxyz 0123456789{}[]:,"[random_below(43)]);
	if (random_below(4) == 0)
		string_part(t);
	text_puts(t, "\"");
}

/* A cell's string may hold what JSON libraries refuse elsewhere. */
static void
cell_string(Text *t)
{
	if (random_below(20) == 0)
		text_puts(t, "\"a\\u0000b\"");
	else
		string(t);
}

static void
scalar(Text *t)
{
	static const char *const scalars[] = {"null", "true", "false",	  "0",	 "-0",	 "12",
										  "-7",	  "1.5",  "-0.25e+3", "1E2", "2e-2", "0.0"};

	if (random_below(2) == 0)
		string(t);
	else
		text_puts(t, scalars[random_below(sizeof(scalars) / sizeof(scalars[0]))]);
}

static void
key(Text *t, const char *name)
{
	text_printf(t, "\"%s\"", name);
	mark(t, ":");
}

static void
anything(Text *t, int depth)
{
	static const char *const keys[] = {"rows", "f", "v", "", "a", "\\u0066", "\xC3\xA9", "rowsrowsrows"};
	unsigned int n = random_below(4);
	bool array = random_below(2) == 0;

	if (depth == 0 || random_below(3) == 0)
	{
		scalar(t);
		return;
	}
	mark(t, array ? "[" : "{");
	for (unsigned int i = 0; i < n; i++)
	{
		if (i > 0)
			mark(t, ",");
		if (!array)
			key(t, keys[random_below(sizeof(keys) / sizeof(keys[0]))]);
		anything(t, depth - 1);
	}
	mark(t, array ? "]" : "}");
}

static bool
odd(void)
{
	return random_below(100) < odd_percent;
}

static void cells(Text *t, unsigned int n);
static void row(Text *t);

static void
cell_value(Text *t)
{
	unsigned int kind = random_below(100);

	if (kind < nested_percent)
		cells(t, random_below(4));
	else if (kind < nested_percent * 2)
		row(t);
	else if (random_below(6) == 0)
		text_puts(t, "null");
	else
		cell_string(t);
}

static void
cell(Text *t)
{
	bool strange = odd();

	mark(t, "{");
	if (strange && random_below(2) == 0)
	{
		key(t, random_below(2) == 0 ? "rows" : "vv");
		anything(t, 2);
		mark(t, ",");
	}
	key(t, strange && random_below(3) == 0 ? "\\u0076" : "v");
	if (strange)
		anything(t, 3);
	else
		cell_value(t);
	if (strange && random_below(2) == 0)
	{
		mark(t, ",");
		key(t, random_below(2) == 0 ? "f" : "y");
		anything(t, 2);
	}
	mark(t, "}");
}

static void
cells(Text *t, unsigned int n)
{
	mark(t, "[");
	for (unsigned int i = 0; i < n; i++)
	{
		if (i > 0)
			mark(t, ",");
		cell(t);
	}
	mark(t, "]");
}

static void
row(Text *t)
{
	bool strange = odd();
	unsigned int n = random_below(9);

	mark(t, "{");
	if (strange && random_below(2) == 0)
	{
		key(t, random_below(2) == 0 ? "v" : "rows");
		anything(t, 2);
		mark(t, ",");
	}
	key(t, strange && random_below(3) == 0 ? "\\u0066" : "f");
	cells(t, n);
	if (strange && random_below(2) == 0)
	{
		mark(t, ",");
		key(t, "x");
		anything(t, 2);
	}
	mark(t, "}");
}

static void
rows(Text *t)
{
	static const char *const names[] = {"rows", "rows", "rows", "\\u0072ows", "\\u0072\\u006f\\u0077\\u0073"};
	unsigned int n = random_below(7);

	key(t, names[random_below(5)]);
	if (random_below(20) == 0)
	{
		text_puts(t, "null");
		return;
	}
	mark(t, "[");
	for (unsigned int i = 0; i < n; i++)
	{
		if (i > 0)
			mark(t, ",");
		row(t);
	}
	mark(t, "]");
}

/* The manners of the next document. */
static void
begin(Text *doc)
{
	space_percent = random_below(2) == 0 ? 0 : 25;
	odd_percent = random_below(3) == 0 ? 0 : random_below(60);
	doc->len = 0;
}

void
document_array(Text *doc)
{
	begin(doc);
	nested_percent = random_below(9);
	cells(doc, random_below(9));
	nested_percent = 0;
}

void
document_record(Text *doc)
{
	begin(doc);
	nested_percent = random_below(9);
	row(doc);
	nested_percent = 0;
}

void
document_json(Text *doc)
{
	begin(doc);
	space(doc);
	anything(doc, 6);
	space(doc);
}

void
document_generate(Text *doc)
{
	static const char *const names[] = {"schema", "kind", "row", "rowss", "f", "v", "totalRows", "pageToken"};
	unsigned int members = random_below(6), at = random_below(members + 2);

	begin(doc);
	mark(doc, "{");
	/* at == members + 1: a page without "rows" */
	for (unsigned int i = 0; i < members + (at <= members); i++)
	{
		if (i > 0)
			mark(doc, ",");
		if (i == at)
			rows(doc);
		else
		{
			key(doc, names[random_below(8)]);
			anything(doc, 3);
		}
	}
	mark(doc, "}");
}
