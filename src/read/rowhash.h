/*
 * rowhash.h
 *	  The fingerprint of a day's rows, computed from the wire values while they
 *	  stream in.
 *
 * A column gives "<bytes>:<text>", or "-" for NULL; INT64 "<text>:" and
 * TIMESTAMP "<microseconds since 1970>:".  A row is the SHA-256 of its columns'
 * texts in a row, a day the two sums of the first and the second 32 bits of
 * its rows' hashes, written "a:b": the order of rows does not matter, and
 * duplicates count.  It finds accidents, not an adversary.  What computes the same
 * in BigQuery is in fingerprint.h.
 */
#ifndef CONTRATOS_ROWHASH_H
#define CONTRATOS_ROWHASH_H

#include "postgres.h"

#include "base/day.h"
#include "rows/rows.h"

/* What a row adds to it. */
#define ROWHASH_BYTES 8

/* How a cell goes into its row's hash; a string of these describes a row. */
#define ROWHASH_NONE '-' /* left out */
#define ROWHASH_PLAIN 'p' /* "<text>:" */
#define ROWHASH_COUNTED 'c' /* "<bytes>:<text>" */

typedef struct RowHash RowHash;

/* Of rows whose cells go into it like that, a character for each; in CurrentMemoryContext. */
extern RowHash *rowhash_create(const char *forms);
extern const char *rowhash_forms(const RowHash *hash);

/* One more row; cells as stream_next() gives them. */
extern void rowhash_add(RowHash *hash, const RowsCell *cells);

/* The same in two steps, which may be two processes': what a row adds, and adding it. */
extern void rowhash_row(RowHash *hash, const RowsCell *cells, uint8 result[ROWHASH_BYTES]);
extern void rowhash_add_row(RowHash *hash, const uint8 row[ROWHASH_BYTES]);

/* "a:b" of what has been added. */
extern void rowhash_text(const RowHash *hash, char text[FINGERPRINT_SIZE]);

#endif /* CONTRATOS_ROWHASH_H */
