/*
 * bqtype.h
 *	  BigQuery's types, and the facts about each.
 */
#ifndef CONTRATOS_BQTYPE_H
#define CONTRATOS_BQTYPE_H

/*
 * Tables are indexed by this, and assert that they have BQ_NTYPES lines: a new type is
 * added at the end, and the code does not compile until every table has it.
 */
typedef enum BqType
{
	BQ_UNKNOWN, /* none, or one that this version does not know */
	BQ_STRING,
	BQ_BYTES,
	BQ_INT64,
	BQ_FLOAT64,
	BQ_NUMERIC,
	BQ_BIGNUMERIC,
	BQ_BOOL,
	BQ_TIMESTAMP,
	BQ_DATE,
	BQ_TIME,
	BQ_DATETIME,
	BQ_GEOGRAPHY,
	BQ_INTERVAL,
	BQ_JSON,
	BQ_STRUCT,
	BQ_RANGE,
	BQ_NTYPES
} BqType;

/* The largest number of other names of one type. */
#define BQ_MAX_ALIASES 6

typedef struct BqTypeFacts
{
	const char *name; /* in GoogleSQL; NULL for BQ_UNKNOWN only */
	const char *aliases[BQ_MAX_ALIASES]; /* the REST API's legacy name, GoogleSQL's own aliases; terminated by NULL */

	/* the PostgreSQL type that holds all its values, and its name in a statement;
	 * InvalidOid for RANGE, which depends on the type of its elements */
	Oid local;
	const char *local_name;
	Oid range; /* the PostgreSQL range type for a RANGE of it; InvalidOid: there is no such RANGE */

	/*
	 * The text that a fingerprint is made of: the text on the wire, and the GoogleSQL
	 * that produces the same (%s: the column).  NULL: not covered, since no simple
	 * expression reproduces the text on the wire.
	 */
	const char *fingerprint;
	bool fingerprint_plain; /* "<text>:" instead of "<bytes>:<text>": no such text can hold a colon */
} BqTypeFacts;

/* By BqType.  It has no size in this declaration, so that the table itself must have the right one. */
extern const BqTypeFacts bqtypes[];

/* The whole type of a column, as far as it is known. */
typedef struct BqColumnType
{
	BqType type; /* BQ_UNKNOWN: unknown */
	BqType range_element; /* of a RANGE; BQ_UNKNOWN: of any */
	bool repeated; /* an ARRAY of it */
} BqColumnType;

/* The type with that name or alias, in any case; BQ_UNKNOWN if there is none. */
extern BqType bqtype_find(const char *name);

/*
 * The type that a PostgreSQL type stands for by default: text → STRING, bigint → INT64,
 * timestamptz → TIMESTAMP, …; BQ_UNKNOWN if none.
 */
extern BqType bqtype_of_local(Oid local);

/*
 * Parse a type's name, or RANGE<DATE>, ARRAY<INT64>, ARRAY<RANGE<DATE>>; a STRUCT only
 * without its fields.  Returns false, with *type unknown, for any other text.
 */
extern bool bqtype_parse(const char *text, BqColumnType *type);

/* The same as text, in GoogleSQL's names, in CurrentMemoryContext; the type must be known. */
extern char *bqtype_text(BqColumnType type);

#endif /* CONTRATOS_BQTYPE_H */
