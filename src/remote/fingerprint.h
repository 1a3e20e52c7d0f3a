/*
 * fingerprint.h
 *	  The fingerprint of a day's rows, computed here from the wire values while
 *	  they stream in, and the GoogleSQL that computes the same there.
 *
 * A column gives "<bytes>:<text>", or "-" for NULL; INT64 "<text>:" and
 * TIMESTAMP "<microseconds since 1970>:".  A row is the SHA-256 of its columns'
 * texts in a row, a day the two sums of the first and the second 32 bits of
 * its rows' hashes, written "a:b": the order of rows does not matter, and
 * duplicates count.  It finds accidents, not an adversary.
 */
#ifndef CONTRATOS_FINGERPRINT_H
#define CONTRATOS_FINGERPRINT_H

#include "bigquery/message.h"
#include "remote/deparse.h"
#include "remote/options.h"
#include "rows/rows.h"

/* As long as a fingerprint's text may be, with its end: two int64 and ":". */
#define FINGERPRINT_SIZE 48

/* What no rows have. */
#define FINGERPRINT_NOTHING "0:0"

/* What a row adds to it. */
#define FINGERPRINT_ROW_BYTES 8

typedef struct Fingerprint Fingerprint;

/*
 * The type a column is taken to have there, by its option or by its local
 * type, if the fingerprint covers it: STRING, INT64, TIMESTAMP, DATE, BOOL,
 * BYTES, NUMERIC.  NULL: the column is no part of it, here as there.
 */
extern const char *fingerprint_type(const RemoteColumn *column);

/*
 * A day's fingerprint of rows whose cells are these columns, the fields of
 * their job; in CurrentMemoryContext.  NULL when a column turns out to be of
 * another type than fingerprint_type(): the query there could not tell the
 * same, so nothing is said.
 */
extern Fingerprint *fingerprint_create(const RemoteTable *table, const AttrNumber *columns, int ncolumns,
									   const BqField *fields);

/* One more row; cells as stream_next() gives them. */
extern void fingerprint_add(Fingerprint *fingerprint, const RowsCell *cells);

/*
 * The same in two steps, which may be two processes': what a row adds, and
 * adding it.  The other process makes its Fingerprint, in CurrentMemoryContext,
 * of the first one's agreements: a character for each cell.
 */
extern const char *fingerprint_agreements(const Fingerprint *fingerprint);
extern Fingerprint *fingerprint_agreed(const char *agreements);
extern void fingerprint_row(Fingerprint *fingerprint, const RowsCell *cells, uint8 result[FINGERPRINT_ROW_BYTES]);
extern void fingerprint_add_row(Fingerprint *fingerprint, const uint8 row[FINGERPRINT_ROW_BYTES]);

/* "a:b" of what has been added. */
extern void fingerprint_text(const Fingerprint *fingerprint, char text[FINGERPRINT_SIZE]);

/*
 * The query that answers, in one row, for these columns and conditions:
 * COUNT(*) as `n` (INT64), the largest `timestamp` column as `m` (TIMESTAMP,
 * whatever the column's type; NULL without rows, or for InvalidAttrNumber) and the fingerprint as `f`
 * (STRING).  The columns must be those of the fingerprint to compare with, in
 * the same order.  In CurrentMemoryContext.
 */
extern BqQuery *fingerprint_query(const RemoteTable *table, const AttrNumber *columns, int ncolumns,
								  AttrNumber timestamp, const RemoteCondition *conditions, int nconditions);

/*
 * The same for each UTC day of the `timestamp` column, which must be one: a row
 * a day, in no order, with days since 1970 as `d` (INT64) before the others.  A
 * day without rows has none.
 */
extern BqQuery *fingerprint_query_by_day(const RemoteTable *table, const AttrNumber *columns, int ncolumns,
										 AttrNumber timestamp, const RemoteCondition *conditions, int nconditions);

#endif /* CONTRATOS_FINGERPRINT_H */
