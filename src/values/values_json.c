/*
 * values_json.c
 *	  Builds JSON values, as jsonb or as text.
 *
 * PostgreSQL makes both from text, with functions that throw on invalid input; and they
 * cannot make a jsonb from a text with an escaped U+0000.  So this file puts the pieces
 * together, within limits below those where the functions used would throw: the parts
 * of a jsonb have at most 256 MB, and its lists grow by doubling within 1 GB, which
 * VALUES_MAX_MEMORY keeps them far from.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/numeric.h"

#include "base/failure.h"
#include "rows/rows.h"
#include "values/values.h"
#include "values/values_internal.h"

/* A value in a jsonb takes an entry of 4 bytes, and up to 3 bytes for alignment. */
#define ENTRY_SIZE 7

JsonMaker *
values_json_maker(const ValueReader *reader, Failure *f)
{
	JsonMaker *m = palloc0(sizeof(JsonMaker));

	m->reader = reader;
	m->jsonb = reader->type == JSONBOID;
	if (!m->jsonb)
	{
		initStringInfo(&m->text);
		return m;
	}
	m->numeric = values_make(values_read_numeric, reader->field, NUMERICOID, -1, reader->column, f);
	if (m->numeric == NULL)
		return NULL;
	m->numeric->by_hand = values_numeric_layout_known();
	return m;
}

void
values_json_begin(JsonMaker *m, const RowsCell *cell)
{
	m->given = cell->data;
	m->given_end = cell->data + cell->len;
	m->bad = NULL;
	m->altered = NULL;
	m->state = NULL;
	m->root = NULL;
	m->size = VARHDRSZ;
	m->parts = 0;
	m->comma = false;
	if (!m->jsonb)
		resetStringInfo(&m->text);
}

void
values_json_fail(JsonMaker *m, const char *why)
{
	if (m->bad == NULL)
		m->bad = why;
}

/* --------------------------------------------------------------------------
 * As jsonb
 * -------------------------------------------------------------------------- */

/* Account for one more part with that many bytes; false when that is too much. */
static bool
claim_key(JsonMaker *m, size_t len)
{
	if (m->bad == NULL && (len > JENTRY_OFFLENMASK || m->size + len + ENTRY_SIZE > JENTRY_OFFLENMASK))
		values_json_fail(m, "larger than jsonb can hold");
	if (!values_fit(CurrentMemoryContext, ++m->parts))
		values_json_fail(m, "takes more than 256 MB to be put together");
	m->size += len + ENTRY_SIZE;
	return m->bad == NULL;
}

/* Add a scalar: an element, a value, or the whole document (which jsonb keeps in an array of its own). */
static void
put(JsonMaker *m, JsonbValue *value)
{
	JsonbValue list = {.type = jbvArray, .val.array = {.nElems = 1, .rawScalar = true}};

	if (m->bad != NULL)
		return;
	if (m->state != NULL)
	{
		pushJsonbValue(&m->state, m->state->contVal.type == jbvArray ? WJB_ELEM : WJB_VALUE, value);
		return;
	}
	pushJsonbValue(&m->state, WJB_BEGIN_ARRAY, &list);
	pushJsonbValue(&m->state, WJB_ELEM, value);
	m->root = pushJsonbValue(&m->state, WJB_END_ARRAY, NULL);
}

/*
 * Make a string in the server's encoding, whose bytes stay valid until the value is
 * complete.  U+0000, which PostgreSQL cannot hold, is left out.
 */
static bool
make_string(JsonMaker *m, const char *data, size_t len, JsonbValue *string)
{
	bool zero = len > 0 && memchr(data, '\0', len) != NULL;
	char *text = unconstify(char *, data);

	if (!claim_key(m, len))
		return false;
	if (zero || OidIsValid(m->reader->conversion) || data < m->given || data >= m->given_end)
	{
		StringInfoData copy = {.data = palloc(len + 1), .len = 0, .maxlen = (int) len + 1};

		for (size_t i = 0; i < len; i++)
			if (data[i] != '\0')
				copy.data[copy.len++] = data[i];
		copy.data[copy.len] = '\0';
		if (!values_to_server(m->reader, &copy, &text, &m->bad))
			return false;
		len = strlen(text);
	}
	if (zero)
		m->altered = "holds U+0000";
	*string = (JsonbValue){.type = jbvString, .val.string = {.val = text, .len = (int) len}};
	return true;
}

static void
put_json_number(JsonMaker *m, const char *data, size_t len)
{
	RowsCell cell = {.data = data, .len = len, .kind = ROWS_STRING};
	JsonbValue number = {.type = jbvNumeric};
	Datum value;

	if (values_read_numeric(m->numeric, &cell, &value, &m->bad) == VALUE_BAD)
		return;
	number.val.numeric = DatumGetNumeric(value);
	if (claim_key(m, VARSIZE_ANY(number.val.numeric)))
		put(m, &number);
}

/* --------------------------------------------------------------------------
 * As text.  With the names of its fields a text can be many times as long as the cells
 * it is made from; so everything is appended by these functions, within a limit.
 * -------------------------------------------------------------------------- */

static void
append_text(JsonMaker *m, const char *data, size_t len)
{
	if (m->bad != NULL)
		return;
	if (len > VALUES_MAX_MEMORY - (Size) m->text.len)
		values_json_fail(m, "takes more than 256 MB to be put together");
	else
		appendBinaryStringInfo(&m->text, data, (int) len);
}

/* A comma if the next item needs one before it. */
static void
append_comma(JsonMaker *m)
{
	if (m->comma)
		append_text(m, ",", 1);
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

/* A string, with its quotes and escapes. */
static void
append_quoted(JsonMaker *m, const char *data, size_t len)
{
	const char *end = data + len, *run = data;
	char buf[8];

	append_text(m, "\"", 1);
	for (const char *p = data; p < end; p++)
	{
		unsigned char c = (unsigned char) *p;

		if (c >= 0x20 && c != '"' && c != '\\')
			continue;
		append_text(m, run, p - run);
		append_text(m, buf, escape(c, buf));
		run = p + 1;
	}
	append_text(m, run, end - run);
	append_text(m, "\"", 1);
}

/* A decimal number in JSON's grammar: a digit on either side of the point, no sign but -. */
static void
append_decimal(JsonMaker *m, const char *data, size_t len)
{
	Decimal d = {.plain = true};
	char exponent[32];

	if (!values_parse_decimal(data, data + len, &d))
	{
		values_json_fail(m, "not a number");
		return;
	}
	if (d.negative)
		append_text(m, "-", 1);
	append_text(m, d.nbefore > 0 ? d.before : "0", Max(d.nbefore, 1));
	if (d.nafter > 0)
	{
		append_text(m, ".", 1);
		append_text(m, d.after, d.nafter);
	}
	if (d.exponent != 0)
		append_text(m, exponent, snprintf(exponent, sizeof(exponent), "e" INT64_FORMAT, d.exponent));
}

/* --------------------------------------------------------------------------
 * Both forms
 * -------------------------------------------------------------------------- */

void
values_json_open(JsonMaker *m, bool list)
{
	if (m->bad != NULL)
		return;
	if (!m->jsonb)
	{
		append_comma(m);
		append_text(m, list ? "[" : "{", 1);
		m->comma = false;
	}
	else if (claim_key(m, sizeof(uint32)))
		pushJsonbValue(&m->state, list ? WJB_BEGIN_ARRAY : WJB_BEGIN_OBJECT, NULL);
}

void
values_json_close(JsonMaker *m, bool list)
{
	if (m->bad != NULL)
		return;
	m->comma = true;
	if (!m->jsonb)
	{
		append_text(m, list ? "]" : "}", 1);
		return;
	}

	int pairs = list ? 0 : m->state->contVal.val.object.nPairs;
	JsonbValue *made = pushJsonbValue(&m->state, list ? WJB_END_ARRAY : WJB_END_OBJECT, NULL);

	/* at the end of an object jsonb drops all but the last of equal keys */
	if (!list && made->val.object.nPairs < pairs)
		m->altered = "holds a key twice";
	if (m->state == NULL)
		m->root = made;
}

void
values_json_key(JsonMaker *m, const char *data, size_t len)
{
	JsonbValue key;

	if (m->bad != NULL)
		return;
	if (m->jsonb)
	{
		if (make_string(m, data, len, &key))
			pushJsonbValue(&m->state, WJB_KEY, &key);
		return;
	}
	append_comma(m);
	append_quoted(m, data, len);
	append_text(m, ":", 1);
	m->comma = false;
}

void
values_json_string(JsonMaker *m, const char *data, size_t len)
{
	JsonbValue string;

	if (m->bad != NULL)
		return;
	if (m->jsonb)
	{
		if (make_string(m, data, len, &string))
			put(m, &string);
		return;
	}
	append_comma(m);
	append_quoted(m, data, len);
}

void
values_json_number(JsonMaker *m, const char *data, size_t len)
{
	if (m->bad != NULL)
		return;
	if (m->jsonb)
	{
		put_json_number(m, data, len);
		return;
	}
	append_comma(m);
	append_decimal(m, data, len);
}

void
values_json_bool(JsonMaker *m, bool truth)
{
	JsonbValue value = {.type = jbvBool, .val.boolean = truth};

	if (m->bad != NULL)
		return;
	if (m->jsonb)
	{
		if (claim_key(m, 0))
			put(m, &value);
		return;
	}
	append_comma(m);
	append_text(m, truth ? "true" : "false", truth ? 4 : 5);
}

void
values_json_null(JsonMaker *m)
{
	JsonbValue value = {.type = jbvNull};

	if (m->bad != NULL)
		return;
	if (m->jsonb)
	{
		if (claim_key(m, 0))
			put(m, &value);
		return;
	}
	append_comma(m);
	append_text(m, "null", 4);
}

static void
put_token(JsonMaker *m, RowsToken token, const char *data, size_t len)
{
	switch (token)
	{
		case ROWS_TOKEN_OBJECT:
		case ROWS_TOKEN_LIST:
			values_json_open(m, token == ROWS_TOKEN_LIST);
			break;
		case ROWS_TOKEN_OBJECT_END:
		case ROWS_TOKEN_LIST_END:
			values_json_close(m, token == ROWS_TOKEN_LIST_END);
			break;
		case ROWS_TOKEN_KEY:
			values_json_key(m, data, len);
			break;
		case ROWS_TOKEN_STRING:
			values_json_string(m, data, len);
			break;
		case ROWS_TOKEN_NUMBER:
			values_json_number(m, data, len);
			break;
		case ROWS_TOKEN_TRUE:
		case ROWS_TOKEN_FALSE:
			values_json_bool(m, token == ROWS_TOKEN_TRUE);
			break;
		default:
			values_json_null(m);
	}
}

void
values_json_document(JsonMaker *m, RowsJson *reader, const char *data, size_t len)
{
	const char *text;
	size_t n;

	rows_json_begin(reader, data, len);
	while (m->bad == NULL)
	{
		RowsToken token = rows_json_next(reader, &text, &n);

		CHECK_FOR_INTERRUPTS();
		if (token == ROWS_TOKEN_ERROR)
			values_json_fail(m, psprintf("not JSON: %s", rows_json_error(reader)));
		if (token >= ROWS_TOKEN_DONE)
			break;
		if (m->jsonb)
			put_token(m, token, text, n);
	}
	if (m->jsonb || m->bad != NULL)
		return;
	append_comma(m);
	append_text(m, data, len);
}

ValueResult
values_json_finish(JsonMaker *m, MemoryContext context, Datum *value, const char **reason)
{
	MemoryContext scratch = MemoryContextSwitchTo(context);
	ValueResult result = m->altered ? VALUE_ALTERED : VALUE_OK;

	if (m->bad != NULL)
		result = values_bad(reason, pstrdup(m->bad));
	else if (m->jsonb)
	{
		*reason = m->altered;
		*value = JsonbPGetDatum(JsonbValueToJsonb(m->root));
	}
	else
	{
		RowsCell cell = {.data = m->text.data, .len = m->text.len, .kind = ROWS_STRING};

		result = values_read_string(unconstify(ValueReader *, m->reader), &cell, value, reason);
	}
	MemoryContextSwitchTo(scratch);
	return result;
}
