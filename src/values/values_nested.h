/*
 * values_nested.h
 *	  Shared by the files for nested values only.
 *
 * values_nested.c follows a schema, values_json.c builds JSON along it, values_array.c
 * and values_range.c build arrays and ranges.
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
 * Builds a JSON value: as jsonb, or as text.  A value that cannot be stored is recorded
 * in `bad`, and its rest is then ignored, so that callers need not check every step.
 * All memory is in the context that is current while the value is built.
 */
typedef struct JsonMaker
{
	/* written once */
	const ValueReader *reader; /* its encoding, and the type of the text */
	ValueReader *numeric; /* for jsonb: makes its numbers */
	bool jsonb;

	/* of the value being built */
	const char *given; /* its cell: texts in it need no copy */
	const char *given_end;
	const char *bad; /* the reason if the value is bad; NULL: good so far */
	const char *altered; /* what it lost; NULL: nothing */
	JsonbParseState *state; /* jsonb: the open containers */
	JsonbValue *root; /* jsonb: the whole value, once it is complete */
	Size size; /* jsonb: an upper bound of its bytes */
	uint64 parts; /* jsonb: keys, scalars, containers so far */
	StringInfoData text; /* text: the part built so far, UTF-8 */
	bool comma; /* text: the next item needs a comma before it */
} JsonMaker;

/*
 * Create a maker for a column of type jsonb, json or any text.  NULL with *f set like
 * values_make().
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

/* A decimal number in any form that values_parse_decimal() accepts. */
extern void values_json_number(JsonMaker *m, const char *data, size_t len);

/* A JSON document: its tokens as jsonb, or its text unchanged once it is known to be valid. */
extern void values_json_document(JsonMaker *m, RowsJson *reader, const char *data, size_t len);

/* Record that the value is bad, with the reason (a static text, or one that lives as long as the value). */
extern void values_json_fail(JsonMaker *m, const char *why);

/*
 * Return the finished value, in `context`.  Anything but VALUE_OK comes with *reason,
 * in that context if it is not static.
 */
extern ValueResult values_json_finish(JsonMaker *m, MemoryContext context, Datum *value, const char **reason);

/* --------------------------------------------------------------------------
 * Reading values along a schema
 * -------------------------------------------------------------------------- */

/* ARRAY and STRUCT alternate, as deep as message_read_fields() allows. */
#define VALUES_MAX_LEVELS (2 * (MESSAGE_MAX_NESTING + 1) + 1)

typedef struct NestedState NestedState;
typedef struct NestedNode NestedNode;

/* Put a cell that is a string. */
typedef void (*PutScalar)(NestedState *state, const NestedNode *node, const RowsCell *cell);

/* A place in the schema. */
struct NestedNode
{
	const BqField *field;
	bool array; /* an ARRAY of nodes[0]; else a STRUCT of its fields, or a scalar */
	PutScalar put; /* for a scalar */
	int level; /* the level of the decoder that reads it */
	int nnodes;
	NestedNode *nodes;
	char *name; /* for a field of a STRUCT: its key, UTF-8 */
};

struct NestedState
{
	NestedNode root;
	JsonMaker *maker;
	RowsDecoder *decoders[VALUES_MAX_LEVELS]; /* made when the schema has such a level */
	RowsJson *json;
	ValueReader *number; /* FLOAT64 to double precision */
	ValueReader *input; /* for a type whose text goes through its input function; else NULL */
	StringInfoData text; /* of one scalar */
	MemoryContext context; /* the reader's */
	MemoryContext scratch; /* for the value being built */
};

/* values_array.c: an ARRAY as a PostgreSQL array. */
extern ValueReader *values_array_reader(const BqField *field, Oid type, int32 typmod, const char *column, Failure *f);

/*
 * values_range.c: a RANGE as daterange, tsrange or tstzrange, or as text; `by_input` is
 * set for a text type that is not built in.
 */
extern ValueReader *values_range_reader(const BqField *field, Oid type, int32 typmod, const char *column, bool by_input,
										Failure *f);

/*
 * Append a RANGE's text, in the form of PostgreSQL's range types, to buf.  False with
 * *reason for an invalid or empty range.
 */
extern bool values_range_text(const BqField *field, const char *data, size_t len, StringInfo buf, const char **reason);

#endif /* CONTRATOS_VALUES_NESTED_H */
