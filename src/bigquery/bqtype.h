/*
 * bqtype.h
 *	  BigQuery's types, and all that is known of each.
 */
#ifndef CONTRATOS_BQTYPE_H
#define CONTRATOS_BQTYPE_H

/*
 * Tables are indexed by this, and assert that they have BQ_NTYPES lines: a new type
 * comes last, and does not compile before each table has it.
 */
typedef enum BqType
{
	BQ_UNKNOWN, /* none, or one that BigQuery has and this does not know */
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

/* Other names of one type, at most. */
#define BQ_MAX_ALIASES 6

typedef struct BqTypeFacts
{
	const char *name; /* in GoogleSQL; NULL of BQ_UNKNOWN alone */
	const char *aliases[BQ_MAX_ALIASES]; /* the REST API's legacy name, GoogleSQL's own aliases; up to a NULL */

	/* the PostgreSQL type that holds all its values, and its name in a statement;
	 * InvalidOid of a RANGE, where the elements decide */
	Oid local;
	const char *local_name;
	Oid range; /* as elements of a RANGE: the PostgreSQL type of that; InvalidOid: there is no such RANGE */

	/*
	 * The text that a fingerprint is made of: the wire's own, and the GoogleSQL
	 * that gives the same (%s: the column).  NULL: not covered, since BigQuery does
	 * not give the wire's text again that simply.
	 */
	const char *fingerprint;
	bool fingerprint_plain; /* "<text>:" instead of "<bytes>:<text>": no such text can hold a colon */
} BqTypeFacts;

/* By BqType.  Without a size here, so that the table itself has to have the right one. */
extern const BqTypeFacts bqtypes[];

/* The whole type of a column, as far as it is said. */
typedef struct BqColumnType
{
	BqType type; /* BQ_UNKNOWN: nothing is said */
	BqType range_element; /* of a RANGE; BQ_UNKNOWN: of any */
	bool repeated; /* an ARRAY of it */
} BqColumnType;

/* The type of that name, an alias or not, in any case; BQ_UNKNOWN: there is none. */
extern BqType bqtype_find(const char *name);

/*
 * What a PostgreSQL type stands for when nothing else is said: text → STRING,
 * bigint → INT64, timestamptz → TIMESTAMP, …; BQ_UNKNOWN: nothing.
 */
extern BqType bqtype_of_local(Oid local);

/*
 * Read a type's name, or RANGE<DATE>, ARRAY<INT64>, ARRAY<RANGE<DATE>>; of a
 * STRUCT the word alone.  False, and nothing said in *type, when it is no such type.
 */
extern bool bqtype_parse(const char *text, BqColumnType *type);

/* The same as text, in GoogleSQL's names, in CurrentMemoryContext; there must be a type. */
extern char *bqtype_text(BqColumnType type);

#endif /* CONTRATOS_BQTYPE_H */
