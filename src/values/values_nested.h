/*
 * values_nested.h
 *	  What the files about values made of values share; no door for others.
 *
 * values_nested.c walks along a schema, values_nested_scalar.c knows the types at
 * its ends, values_json.c makes JSON of what they find, values_array.c and values_range.c make arrays and ranges.
 */
#ifndef CONTRATOS_VALUES_NESTED_H
#define CONTRATOS_VALUES_NESTED_H

#include "utils/jsonb.h"

#include "base/failure.h"
#include "bigquery/job.h"
#include "bigquery/message.h"
#include "rows/rows.h"
#include "values/values.h"
#include "values/values_internal.h"

/*
 * A JSON value in the making: as jsonb, or as text.  What cannot be held is
 * remembered in `bad`, and the rest of the value is then ignored, so that
 * callers need not ask after every step.  All of it lives in the context that
 * is current while it is made.
 */
typedef struct JsonMaker
{
	/* written once */
	const ValueReader *reader; /* its encoding, and the type of the text */
	ValueReader *numeric; /* of a jsonb: makes its numbers */
	bool jsonb;

	/* of the value being made */
	const char *given; /* its cell: what lies in there needs no copy */
	const char *given_end;
	const char *bad; /* why there is none; NULL: good so far */
	const char *altered; /* what it had to lose; NULL: nothing */
	JsonbParseState *state; /* jsonb: the open containers */
	JsonbValue *root; /* jsonb: the whole, when it is complete */
	Size size; /* jsonb: bytes it takes at most */
	uint64 parts; /* jsonb: keys, scalars, containers so far */
	StringInfoData text; /* text: as far as it is made, UTF-8 */
	bool comma; /* text: one is due before what comes next */
} JsonMaker;

/*
 * A maker for a column of type jsonb, json or any text.  NULL with *f set as
 * values_make() does.
 */
extern JsonMaker *values_json_maker(const ValueReader *reader, Failure *f);

/* Begin with the value of this cell. */
extern void values_json_begin(JsonMaker *m, const RowsCell *cell);

/* Objects and lists; keys and strings are UTF-8 and may hold U+0000. */
extern void values_json_open(JsonMaker *m, bool list);
extern void values_json_close(JsonMaker *m, bool list);
extern void values_json_key(JsonMaker *m, const char *data, size_t len);
extern void values_json_string(JsonMaker *m, const char *data, size_t len);
extern void values_json_bool(JsonMaker *m, bool truth);
extern void values_json_null(JsonMaker *m);

/* A decimal number in any form that values_parse_decimal() takes. */
extern void values_json_number(JsonMaker *m, const char *data, size_t len);

/* A JSON document: its tokens as jsonb, or as it is, once it is known to be one. */
extern void values_json_document(JsonMaker *m, RowsJson *reader, const char *data, size_t len);

/* It is no good, for this reason (a static text, or one that lives as long as the value). */
extern void values_json_fail(JsonMaker *m, const char *why);

/*
 * The finished value, in `context`.  Anything but VALUE_OK with *reason, in
 * that context if it is not static.
 */
extern ValueResult values_json_finish(JsonMaker *m, MemoryContext context, Datum *value, const char **reason);

/* values_json_text.c: append to the text; what may come after a comma has it before */
extern void values_json_append(JsonMaker *m, const char *data, size_t len);
extern void values_json_comma(JsonMaker *m);
/* a string, with its quotes and escapes */
extern void values_json_quoted(JsonMaker *m, const char *data, size_t len);
/* a decimal number as JSON's grammar wants it: a digit on either side of the point, no sign but - */
extern void values_json_decimal(JsonMaker *m, const char *data, size_t len);

/* --------------------------------------------------------------------------
 * Along a schema
 * -------------------------------------------------------------------------- */

/* ARRAY and STRUCT by turns, as deep as message_read_fields() lets them go. */
#define VALUES_MAX_LEVELS (2 * (MESSAGE_MAX_NESTING + 1) + 1)

typedef struct NestedState NestedState;
typedef struct NestedNode NestedNode;

/* Put a cell that is a string. */
typedef void (*PutScalar)(NestedState *state, const NestedNode *node, const RowsCell *cell);

/* A place in the schema. */
struct NestedNode
{
	const BqField *field;
	bool array; /* an ARRAY, of nodes[0]; else a STRUCT, of its fields, or a scalar */
	PutScalar put; /* of a scalar */
	int level; /* whose decoder reads it */
	int nnodes;
	NestedNode *nodes;
	char *name; /* of a field of a STRUCT: its key, UTF-8 */
};

struct NestedState
{
	NestedNode root;
	JsonMaker *maker;
	RowsDecoder *decoders[VALUES_MAX_LEVELS]; /* made when the schema has such a level */
	RowsJson *json;
	ValueReader *number; /* FLOAT64 to double precision */
	ValueReader *input; /* of a type that gets its text through its input function; NULL: others */
	StringInfoData text; /* of one scalar */
	MemoryContext context; /* the reader's */
	MemoryContext scratch; /* of the value being made */
};

/* values_nested_scalar.c: how a scalar is put; NULL: of a type that is not known. */
extern PutScalar values_nested_scalar(const BqField *field);

/* Rooms' memory from a MemoryContext (RowsAlloc). */
extern void *values_alloc(void *context, void *ptr, size_t size);

/* values_array.c: an ARRAY as an array of PostgreSQL's. */
extern ValueReader *values_array_reader(const BqField *field, Oid type, int32 typmod, const char *column, Failure *f);

/*
 * values_range.c: a RANGE as daterange, tsrange or tstzrange, or as text;
 * `by_input`: as a text type that is not built in.
 */
extern ValueReader *values_range_reader(const BqField *field, Oid type, int32 typmod, const char *column, bool by_input,
										Failure *f);

/*
 * A RANGE's text as PostgreSQL's range types have it, appended to buf.  False
 * with *reason for what is no range, or an empty one.
 */
extern bool values_range_text(const BqField *field, const char *data, size_t len, StringInfo buf, const char **reason);

#endif /* CONTRATOS_VALUES_NESTED_H */
