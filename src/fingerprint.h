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

#include "deparse.h"
#include "rows.h"

typedef struct Fingerprint Fingerprint;

/*
 * Whether a column of this BigQuery type (GoogleSQL name) is part of the
 * fingerprint: STRING, INT64, TIMESTAMP, DATE, BOOL, BYTES, NUMERIC, not
 * repeated.
 */
extern bool fingerprint_covers(const char *type, bool repeated);

/* A day's fingerprint of rows with these fields; in CurrentMemoryContext. */
extern Fingerprint *fingerprint_create(const BqField *fields, int nfields);

/* One more row; cells as stream_next() gives them. */
extern void fingerprint_add(Fingerprint *fingerprint, const RowsCell *cells);

/* "a:b" of what has been added ("0:0": nothing); in CurrentMemoryContext. */
extern char *fingerprint_text(const Fingerprint *fingerprint);

/*
 * The query that answers, in one row, for these columns and conditions:
 * COUNT(*) as `n` (INT64), the largest `timestamp` column as `m` (TIMESTAMP;
 * without one NULL) and the fingerprint as `f` (STRING).  Column types are the
 * ones the foreign table's options say; a column of a type that is not covered
 * is left out, here as there.
 */
extern BqQuery *fingerprint_query(const RemoteTable *table, const AttrNumber *columns, int ncolumns,
								  AttrNumber timestamp, const RemoteCondition *conditions, int nconditions);

#endif /* CONTRATOS_FINGERPRINT_H */
