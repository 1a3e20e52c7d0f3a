/*
 * rows_harness.c
 *	  What the decoder's tests share: TAP, counted memory, transcripts.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "rows_harness.h"
#include "seed.h"

static int tests, failures;

void
ok(bool good, const char *name)
{
	tests++;
	failures += !good;
	printf("%sok %d - %s\n", good ? "" : "not ", tests, name);
	fflush(stdout);
}

void
seed_from_environment(void)
{
	random_seed(seed_of_run());
	printf("# CONTRATOS_SEED=%llu\n", seed_of_run());
}

void
complain(const char *what, const char *doc, size_t len, const Text *expected, const Text *got)
{
	static int complaints;

	if (complaints++ < 5)
		printf("# %s, page:\n# %.*s\n# expected: %s\n# got: %s\n", what, (int) len, doc,
			   expected && expected->data ? expected->data : "", got && got->data ? got->data : "");
}

void *
counting_alloc(void *arg, void *ptr, size_t size)
{
	Memory *m = arg;

	if (size == 0)
	{
		m->blocks -= ptr != NULL;
		free(ptr);
		return NULL;
	}
	if (++m->calls == m->fail_at)
		return NULL;
	m->blocks += ptr == NULL;
	m->bytes += size;
	m->largest = size > m->largest ? size : m->largest;
	return realloc(ptr, size);
}

const Cuts whole = {.first = SIZE_MAX}, bytewise = {.first = 1, .step = 1}, random_cuts = {.first = 3};

static void
write_row(Text *t, RowsDecoder *d)
{
	int n;
	const RowsCell *cells = rows_cells(d, &n);

	text_printf(t, "row of %d:", n);
	for (int i = 0; i < n; i++)
	{
		text_printf(t, " %d,%zu<", (int) cells[i].kind, cells[i].len);
		text_add(t, cells[i].data, cells[i].len);
		text_puts(t, ">");
	}
	text_puts(t, "\n");
}

static void
write_envelope(Text *t, RowsDecoder *d)
{
	size_t len;
	const char *envelope = rows_envelope(d, &len);

	text_puts(t, "envelope ");
	text_add(t, envelope, len);
	text_puts(t, strlen(envelope) == len ? "\n" : " has no NUL at its end\n");
}

RowsResult
drain(RowsDecoder *d, Text *t)
{
	for (;;)
	{
		RowsResult result = rows_next(d);
		uint64_t offset;

		if (result == ROWS_ROW)
		{
			if (t->len == 0)
				write_envelope(t, d);
			write_row(t, d);
			continue;
		}
		if (result == ROWS_ERROR)
		{
			text_printf(t, "error %s", rows_error(d, &offset));
			text_printf(t, " at %llu\n", (unsigned long long) offset);
		}
		return result;
	}
}

RowsResult
decode(RowsDecoder *d, const char *doc, size_t len, Cuts cuts, Text *t)
{
	RowsResult result = ROWS_MORE;
	size_t n = cuts.first;

	t->len = 0;
	for (size_t at = 0; result != ROWS_ERROR; at += n, n = cuts.step > 0 ? cuts.step : 1 + random_below(20))
	{
		if (n > len - at)
			n = len - at;
		char *piece = malloc(n > 0 ? n : 1);

		if (n > 0)
			memcpy(piece, doc + at, n);
		rows_feed(d, piece, n);
		result = drain(d, t);
		free(piece);
		if (at + n == len)
			break;
	}
	if (result == ROWS_END)
		write_envelope(t, d);
	return result;
}

RowsDecoder *
new_decoder(void)
{
	static Memory memory;

	return rows_create(counting_alloc, &memory);
}

bool
same(const Text *a, const Text *b)
{
	return a->len == b->len && (a->len == 0 || memcmp(a->data, b->data, a->len) == 0);
}

bool
same_however_cut(const char *doc, size_t len, const Text *expected)
{
	RowsDecoder *d = new_decoder();
	Text got = {.data = NULL};
	bool good = true;

	for (size_t k = 0; k < len + 12 && good; k++)
	{
		Cuts cuts = k <= len ? (Cuts){.first = k, .step = SIZE_MAX} : k == len + 1 ? bytewise : random_cuts;

		rows_reset(d);
		decode(d, doc, len, cuts, &got);
		good = same(expected, &got);
		if (!good)
			complain("cut differently", doc, len, expected, &got);
	}
	text_free(&got);
	rows_destroy(d);
	return good;
}

int
done_testing(void)
{
	printf("1..%d\n", tests);
	if (failures > 0)
		printf("# " SEED_AGAIN "\n", seed_of_run());
	return failures > 0;
}
