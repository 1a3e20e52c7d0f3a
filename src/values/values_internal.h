/*
 * values_internal.h
 *	  Shared by the files of the values module only.
 *
 * values.c chooses the reader for a pair of types; the other files contain the readers.
 * A reader never throws because of a value's content.
 */
#ifndef CONTRATOS_VALUES_INTERNAL_H
#define CONTRATOS_VALUES_INTERNAL_H

#include "datatype/timestamp.h"
#include "lib/stringinfo.h"
#include "utils/jsonb.h"
#include "utils/memutils.h"

#include "base/failure.h"
#include "bigquery/bqtype.h"
#include "bigquery/job.h"
#include "bigquery/message.h"
#include "rows/rows.h"
#include "values/values.h"

/*
 * Convert one cell, which is not ROWS_NULL; for a scalar it is a ROWS_STRING, for a
 * nested value it may be of any kind.  Never VALUE_BAD without *reason: a static text,
 * or one in CurrentMemoryContext.
 */
typedef ValueResult (*ValueRead)(ValueReader *reader, const RowsCell *cell, Datum *value, const char **reason);

/* The function that reads a scalar type by hand into a local type, or NULL. */
extern ValueRead values_find_read(BqType remote, Oid local);

/* Whether a type allows NULL; determined for a domain when the first NULL is read. */
typedef enum NullVerdict
{
	NULLS_ALLOWED = 0,
	NULLS_REFUSED,
	NULLS_UNKNOWN
} NullVerdict;

struct ValueReader
{
	ValueRead read;
	bool nested; /* read() takes cells that are not strings, too */
	bool by_hand; /* numerics are written in the server's own format */
	NullVerdict nulls; /* whether NULL is a value of the type */
	Oid conversion; /* UTF-8 to the server's encoding; InvalidOid: not
					 * needed */
	const BqField *field; /* the BigQuery field; outlives the reader */
	const char *column; /* for messages */
	Oid type; /* the type of the result; a domain only in the domain's own reader */
	int32 typmod;
	void *state; /* read()'s own */
};

/*
 * A reader for `field`, in CurrentMemoryContext, with everything set except the private
 * state of read().  NULL with *f set when UTF-8 cannot be converted to the database's
 * encoding at all.
 */
extern ValueReader *values_make(ValueRead read, const BqField *field, Oid type, int32 typmod, const char *column,
								Failure *f);

/*
 * Report in *f (0A000, naming column and both types, with a hint) that there is no such
 * conversion.  Returns NULL, so that a caller can return it.
 */
extern ValueReader *values_refuse(const BqField *field, Oid type, int32 typmod, const char *column, Failure *f);

/*
 * The largest amount of memory for building a value from its parts.  Without a limit it
 * could be many times its text, since a part of 3 bytes of text takes some hundred
 * bytes in memory. A value that takes more is bad.
 */
#define VALUES_MAX_MEMORY (256 * 1024 * 1024)

/*
 * So no reader comes near palloc()'s limit, where it would throw: in all server
 * encodings, a character has at most twice as many bytes as in UTF-8.
 */
StaticAssertDecl(ROWS_MAX_TEXT < MaxAllocSize / 4 && VALUES_MAX_MEMORY < MaxAllocSize / 2,
				 "the value of a cell must fit an allocation");

/* Whether the memory of a value being built is still below that limit: to be called for each of its parts. */
static inline bool
values_fit(MemoryContext scratch, uint64 part)
{
	return part % 1024 != 0 || MemoryContextMemAllocated(scratch, true) <= VALUES_MAX_MEMORY;
}

/* *reason = why; returns VALUE_BAD. */
extern ValueResult values_bad(const char **reason, const char *why);

/*
 * The same with a message that contains the value: it is shortened for display, or the
 * reasons of a load would be as large as its values.
 */
extern ValueResult values_bad_message(const char **reason, const char *message);

/* The same with "out of range of …", "more digits than … can hold": the reader's type. */
extern ValueResult values_out_of_range(const ValueReader *reader, const char **reason);
extern ValueResult values_inexact(const ValueReader *reader, const char **reason);

/*
 * A field that is repeated, a STRUCT, a RANGE, or a JSON into jsonb (values_nested.c).
 * `type` is never a domain: the caller passes its base type, and checks its
 * constraints.  NULL with *f set when there is no such conversion.
 */
extern ValueReader *values_nested_reader(const BqField *field, Oid type, int32 typmod, const char *column, Failure *f);

/*
 * Append the text of one scalar value (UTF-8, not NUL-terminated) of `field`, whose
 * `repeated` is ignored, in the form for text columns and PostgreSQL's input functions:
 * a TIMESTAMP as YYYY-MM-DD HH:MM:SS[.ffffff]+00, everything else unchanged.  STRING,
 * JSON and GEOGRAPHY may hold U+0000.  False with *reason (a static text) for an
 * invalid value of its type; buf is then unchanged.
 */
extern bool values_text(const BqField *field, const char *data, size_t len, StringInfo buf, const char **reason);

/*
 * Convert a text in UTF-8 to a NUL-terminated one in the server's encoding, in
 * CurrentMemoryContext or, if nothing changes, in buf itself.  False with *reason for
 * U+0000, and for a character that the encoding lacks.
 */
extern bool values_to_server(const ValueReader *reader, StringInfo buf, char **text, const char **reason);

/*
 * Run body(arg), which may throw; false with *reason (its message, in
 * CurrentMemoryContext) if it did.  Errors that are not about the value (cancel,
 * shutdown, out of memory or disk, serialization failure, deadlock) are rethrown.  It
 * runs in a subtransaction, in the caller's memory context, with DateStyle ISO,
 * IntervalStyle postgres and TimeZone UTC.  If no subtransaction can be started (before
 * 17 in a plan that has parallel workers), an error of the reader's column is thrown
 * instead of returning false.
 */
extern bool values_guarded(ValueReader *reader, void (*body)(void *arg), void *arg, const char **reason);

/*
 * Whether a type's input function can be trusted with the result of values_text():
 * false if it would silently truncate or round, if its result depends on more than the
 * text, and for base64 in any type but text.
 */
extern bool values_input_fits(const BqField *field, Oid type, int32 typmod);

/*
 * A reader that passes values_text() to the input function of `type`: it returns the
 * value, or its error is the reason.
 */
extern ValueReader *values_input_reader(const BqField *field, Oid type, int32 typmod, const char *column, Failure *f);

/*
 * Make a Datum from a NUL-terminated text in the server's encoding, like the read
 * function of values_input_reader(); for any reader made by that.
 */
extern bool values_input(ValueReader *reader, char *text, Datum *value, const char **reason);

/* A reader for an enum, by its labels; errors of values_make(). */
extern ValueReader *values_enum_reader(const BqField *field, Oid type, const char *column, Failure *f);

/*
 * The values of `base`, as a domain over its type; a value or NULL that violates the
 * domain's constraints is bad.  Without constraints `base` is returned.
 */
extern ValueReader *values_domain_reader(ValueReader *base, Oid domain);

/* Whether the constraints of a reader's domain allow NULL. */
extern bool values_domain_allows_null(ValueReader *reader);

/* --------------------------------------------------------------------------
 * Read functions (ValueRead), by the local types of their results
 * -------------------------------------------------------------------------- */

/* values_text.c: STRING as text; any as text, varchar or char; any as name */
extern ValueResult values_read_string(ValueReader *reader, const RowsCell *cell, Datum *value, const char **reason);
extern ValueResult values_read_text(ValueReader *reader, const RowsCell *cell, Datum *value, const char **reason);
extern ValueResult values_read_name(ValueReader *reader, const RowsCell *cell, Datum *value, const char **reason);

/* values_number.c: INT64 as bigint; numbers as smallint, integer, bigint; as real, double precision; boolean */
extern ValueResult values_read_bigint(ValueReader *reader, const RowsCell *cell, Datum *value, const char **reason);
extern ValueResult values_read_integer(ValueReader *reader, const RowsCell *cell, Datum *value, const char **reason);
extern ValueResult values_read_float(ValueReader *reader, const RowsCell *cell, Datum *value, const char **reason);
extern ValueResult values_read_bool(ValueReader *reader, const RowsCell *cell, Datum *value, const char **reason);

/* values_numeric.c */
extern ValueResult values_read_numeric(ValueReader *reader, const RowsCell *cell, Datum *value, const char **reason);

/* values_time.c */
extern ValueResult values_read_date(ValueReader *reader, const RowsCell *cell, Datum *value, const char **reason);
extern ValueResult values_read_time(ValueReader *reader, const RowsCell *cell, Datum *value, const char **reason);
extern ValueResult values_read_timestamp(ValueReader *reader, const RowsCell *cell, Datum *value, const char **reason);
extern ValueResult values_read_timestamptz(ValueReader *reader, const RowsCell *cell, Datum *value,
										   const char **reason);
extern ValueResult values_read_interval(ValueReader *reader, const RowsCell *cell, Datum *value, const char **reason);

/* values_bytes.c: BYTES as bytea; uuid */
extern ValueResult values_read_base64(ValueReader *reader, const RowsCell *cell, Datum *value, const char **reason);
extern ValueResult values_read_uuid(ValueReader *reader, const RowsCell *cell, Datum *value, const char **reason);

/* --------------------------------------------------------------------------
 * Parsers for these functions; none throws
 * -------------------------------------------------------------------------- */

/* isspace() of the C locale, whatever the server's locale. */
extern bool values_is_blank(char c);

/* Skip blanks at both ends, as input functions do. */
extern void values_trim(const char **p, const char **end);

/* A sign and digits, and nothing else. */
typedef enum IntegerResult
{
	INTEGER_OK,
	INTEGER_MALFORMED,
	INTEGER_OVERFLOW
} IntegerResult;

extern IntegerResult values_parse_integer(const char *data, size_t len, int64 *value);

/* Convert microseconds since 1970 to PostgreSQL's since 2000; INTEGER_OVERFLOW: out of a timestamp's range. */
extern IntegerResult values_parse_micros(const char *data, size_t len, int64 *micros);

/* The parts of a decimal number; the pointers point into its text. */
typedef struct Decimal
{
	bool negative;
	bool plain; /* neither blanks nor exponent; set by the caller, unset by
				 * values_parse_decimal() */
	const char *before; /* digits before the point, from the first that is
						 * not 0 */
	size_t nbefore;
	const char *after; /* digits after the point */
	size_t nafter;
	int64 exponent; /* clamped to the range of an int */
} Decimal;

/* Parse a number without blanks around it; false if it is invalid. */
extern bool values_parse_decimal(const char *p, const char *end, Decimal *d);

/*
 * The double nearest to `d`, whose NUL-terminated text is `text`; false when the number
 * is too large for a double, or too small to be distinguished from 0.
 */
extern bool values_parse_double(const Decimal *d, const char *text, double *number);

/* NaN, Infinity, inf, the latter two with an optional sign, in any case. */
extern bool values_is_special_number(const char *p, const char *end);

/*
 * Set *ndigits to the number of digits from the first to the last that is not 0; the
 * number is 0.DIGITS * 10^places.  For 0 there are no digits, and places is 0.
 */
extern void values_significant(const Decimal *d, size_t *first, size_t *ndigits, int64 *places);

/* Digit `i`, counted from before[0]. */
extern char values_digit(const Decimal *d, size_t i);

/* YYYY-MM-DD: days since 2000-01-01.  Moves *p past it. */
extern bool values_parse_date(const char **p, const char *end, int *days);

/* Nothing, or a point and digits: microseconds; *exact: there are no further significant digits. */
extern bool values_parse_fraction(const char **p, const char *end, int64 *micros, bool *exact);

/* HH:MM:SS[.f…], or HH:MM if `loose`: microseconds since midnight; *exact: no further digits. */
extern bool values_parse_clock(const char **p, const char *end, bool loose, int64 *micros, bool *exact);

/* YYYY-MM-DD, T or a blank, HH:MM:SS[.f…]: microseconds since 2000-01-01; `loose`: the date alone is allowed. */
extern bool values_parse_datetime(const char **p, const char *end, bool loose, int64 *micros, bool *exact);

/* [-]Y-M [-]D [-]H:M:S[.f…] */
extern bool values_parse_interval(const char *p, const char *end, Interval *interval, bool *exact);

/* The number of bytes of a text in standard base64 with padding, -1 if it is invalid. */
extern int64 values_base64_length(const char *data, size_t len);

/*
 * A number as numeric without typmod, from a text of only digits and a point, in the
 * server's own format; false for any other text.  Only if
 * values_numeric_layout_known().
 */
extern bool values_write_numeric(const char *data, size_t len, Datum *value);

/*
 * Whether this server stores numerics in the format that we write.  Called once per
 * column; if not, all numbers go through numeric_in().
 */
extern bool values_numeric_layout_known(void);

/* --------------------------------------------------------------------------
 * Nested values
 *
 * values_nested.c follows a schema, values_json.c builds JSON along it, values_array.c
 * builds arrays and ranges.
 * -------------------------------------------------------------------------- */

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
 * values_array.c: a RANGE as daterange, tsrange or tstzrange, or as text; `by_input` is
 * set for a text type that is not built in.
 */
extern ValueReader *values_range_reader(const BqField *field, Oid type, int32 typmod, const char *column, bool by_input,
										Failure *f);

/*
 * Append a RANGE's text, in the form of PostgreSQL's range types, to buf.  False with
 * *reason for an invalid or empty range.
 */
extern bool values_range_text(const BqField *field, const char *data, size_t len, StringInfo buf, const char **reason);

#endif /* CONTRATOS_VALUES_INTERNAL_H */
