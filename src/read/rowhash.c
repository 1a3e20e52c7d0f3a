/*
 * rowhash.c
 *	  The fingerprint of a day's rows, computed from the wire values.
 *
 * It is made of the texts on the wire and not of the values in the target: text in a
 * numeric column ("018", "1e3", " 18") is not read back as it was, and a text loses its
 * U+0000 in PostgreSQL.  Lengths separate columns, so that moving text from one column
 * to the next changes the row; NULL has none.
 *
 * It uses sums and not XOR because equal rows are common in the source, and under XOR
 * each pair of them would vanish.  32 bits per row are enough for 2^31 rows a day.
 */
#include "postgres.h"

#include "lib/stringinfo.h"
#include "port/pg_bswap.h"
#include "utils/builtins.h"

#include "base/crypto.h"
#include "base/day.h"
#include "read/rowhash.h"
#include "rows/rows.h"

struct RowHash
{
	Digest *digest;
	StringInfoData row; /* the text to hash: most rows as a whole, long ones in pieces */
	uint64 sums[2];
	int ncells;
	char *forms;
};

/* Short texts are collected and hashed at once, which is faster; long ones are hashed without a copy. */
#define PIECE_BYTES (64 * 1024)

RowHash *
rowhash_create(const char *forms)
{
	RowHash *hash = palloc0(sizeof(RowHash));

	hash->ncells = (int) strlen(forms);
	hash->forms = pstrdup(forms);
	initStringInfo(&hash->row);
	hash->digest = digest_create();
	return hash;
}

const char *
rowhash_forms(const RowHash *hash)
{
	return hash->forms;
}

/* Hash the text collected so far. */
static void
hash_piece(RowHash *hash)
{
	digest_add(hash->digest, hash->row.data, hash->row.len);
	hash->row.len = 0;
}

/* Append a cell's text; like appendStringInfo(), but in half the time. */
static void
append_cell(RowHash *hash, char form, const RowsCell *cell)
{
	StringInfo row = &hash->row;
	bool is_long = cell->len > PIECE_BYTES;

	/* and space for a length and a colon */
	enlargeStringInfo(row, (is_long ? 0 : (int) cell->len) + 16);
	if (cell->kind == ROWS_NULL)
	{
		row->data[row->len++] = '-';
		return;
	}
	if (form == ROWHASH_COUNTED)
	{
		row->len += pg_ultoa_n((uint32) cell->len, row->data + row->len);
		row->data[row->len++] = ':';
	}
	if (is_long)
	{
		hash_piece(hash);
		digest_add(hash->digest, cell->data, cell->len);
	}
	else
	{
		memcpy(row->data + row->len, cell->data, cell->len);
		row->len += (int) cell->len;
	}
	if (form == ROWHASH_PLAIN)
		row->data[row->len++] = ':';
	if (row->len > PIECE_BYTES)
		hash_piece(hash);
}

void
rowhash_row(RowHash *hash, const RowsCell *cells, uint8 result[ROWHASH_BYTES])
{
	uint8 bytes[DIGEST_BYTES];

	digest_begin(hash->digest);
	hash->row.len = 0;
	for (int i = 0; i < hash->ncells; i++)
		if (hash->forms[i] != ROWHASH_NONE)
			append_cell(hash, hash->forms[i], &cells[i]);
	hash_piece(hash);
	digest_end(hash->digest, bytes);
	memcpy(result, bytes, ROWHASH_BYTES);
}

void
rowhash_add_row(RowHash *hash, const uint8 row[ROWHASH_BYTES])
{
	uint32 halves[2];

	memcpy(halves, row, sizeof(halves));
	for (int i = 0; i < 2; i++)
		hash->sums[i] += pg_ntoh32(halves[i]);
}

void
rowhash_add(RowHash *hash, const RowsCell *cells)
{
	uint8 row[ROWHASH_BYTES];

	rowhash_row(hash, cells, row);
	rowhash_add_row(hash, row);
}

void
rowhash_text(const RowHash *hash, char text[FINGERPRINT_SIZE])
{
	snprintf(text, FINGERPRINT_SIZE, UINT64_FORMAT ":" UINT64_FORMAT, hash->sums[0], hash->sums[1]);
}
