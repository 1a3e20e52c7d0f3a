/*
 * rowhash.h
 *	  The fingerprint of a day's rows, computed from the wire values while they
 *	  stream in.
 *
 * A column contributes "<bytes>:<text>", or "-" for NULL; INT64 "<text>:" and TIMESTAMP
 * "<microseconds since 1970>:".  The hash of a row is the SHA-256 of its columns'
 * texts, concatenated; the fingerprint of a day consists of the sums of the first and
 * of the second 32 bits of its rows' hashes, written "a:b": the order of rows does not
 * matter, and duplicates count.  It detects accidents, not tampering.  fingerprint.h
 * has the query that computes the same in BigQuery.
 */
#ifndef CONTRATOS_ROWHASH_H
#define CONTRATOS_ROWHASH_H

#include "postgres.h"

#include "base/day.h"
#include "rows/rows.h"

/* The part of a row's hash that is added up. */
#define ROWHASH_BYTES 8

/* The form of a cell in its row's hash; a string of these describes a row. */
#define ROWHASH_NONE '-' /* left out */
#define ROWHASH_PLAIN 'p' /* "<text>:" */
#define ROWHASH_COUNTED 'c' /* "<bytes>:<text>" */

typedef struct RowHash RowHash;

/* For rows whose cells have these forms, one character for each; in CurrentMemoryContext. */
extern RowHash *rowhash_create(const char *forms);
extern const char *rowhash_forms(const RowHash *hash);

/* One more row; cells as returned by stream_next(). */
extern void rowhash_add(RowHash *hash, const RowsCell *cells);

/* The same in two steps, possibly in two processes: compute a row's contribution, and add it. */
extern void rowhash_row(RowHash *hash, const RowsCell *cells, uint8 result[ROWHASH_BYTES]);
extern void rowhash_add_row(RowHash *hash, const uint8 row[ROWHASH_BYTES]);

/* "a:b" for the rows added so far. */
extern void rowhash_text(const RowHash *hash, char text[FINGERPRINT_SIZE]);

#endif /* CONTRATOS_ROWHASH_H */
