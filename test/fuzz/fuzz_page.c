/*
 * fuzz_page.c
 *	  libFuzzer target: a page of a result, cut in two ways, must give the same rows,
 *	  the same envelope and the same error; nested cells must be readable or refused.
 *
 * The input is the page; its length and first byte choose the random cuts.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "rows_harness.h"

extern int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Reads a nested cell to the bottom, as values_nested does. */
static void
read_nested(const RowsCell *cell, int depth)
{
	RowsDecoder *d = new_decoder();
	const RowsCell *cells;
	int n;

	if (cell->len > 0 && cell->data[0] == '[')
	{
		rows_array(d, cell->data, cell->len);
		while (rows_elements(d, &cells, &n))
			for (int i = 0; i < n; i++)
				if (cells[i].kind == ROWS_JSON && depth < ROWS_MAX_DEPTH)
					read_nested(&cells[i], depth + 1);
	}
	else if (rows_record(d, cell->data, cell->len))
	{
		cells = rows_cells(d, &n);
		for (int i = 0; i < n; i++)
			if (cells[i].kind == ROWS_JSON && depth < ROWS_MAX_DEPTH)
				read_nested(&cells[i], depth + 1);
	}
	rows_destroy(d);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static Text expected, got;
	const char *page = (const char *) data;
	RowsDecoder *d = new_decoder();

	random_seed(size + (size > 0 ? (uint64_t) data[0] << 32 : 0));
	RowsResult result = decode(d, page, size, whole, &expected);
	rows_reset(d);
	if (decode(d, page, size, random_cuts, &got) != result || !same(&expected, &got))
	{
		fprintf(stderr, "cut elsewhere, the page gives something else\n--- whole\n%.*s\n--- cut\n%.*s\n",
				(int) expected.len, expected.data, (int) got.len, got.data);
		abort();
	}

	rows_reset(d);
	rows_feed(d, page, size);
	while (rows_next(d) == ROWS_ROW)
	{
		int n;
		const RowsCell *cells = rows_cells(d, &n);

		for (int i = 0; i < n; i++)
			if (cells[i].kind == ROWS_JSON)
				read_nested(&cells[i], 0);
	}
	rows_destroy(d);
	return 0;
}
