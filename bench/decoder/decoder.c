/*
 * decoder.c
 *	  The decoder of pages against yajl and jansson, over one page in memory.
 *
 *	decoder PAGE ROUNDS [NAME]
 *
 * prints what each found ("found NAME ROWS CELLS BYTES": of cells that are
 * strings), then a line for each round with the seconds of each.  They take
 * turns within a round, so that all meet the same machine.  With a NAME only
 * that one runs (for callgrind, which counts inside decode_NAME).
 *
 * yajl and ours are fed in pieces as a connection gives them, and do the same:
 * say where each value is.  jansson can only build the whole tree.
 */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <yajl/yajl_parse.h>

#include "rows/rows.h"

/* libcurl's pieces */
#define PIECE 16384

typedef struct Page
{
	char *data;
	size_t len;
} Page;

typedef struct Found
{
	size_t rows, cells, bytes;
} Found;

static void
die(const char *what)
{
	fprintf(stderr, "decoder: %s\n", what);
	exit(1);
}

static size_t
piece_at(const Page *page, size_t at)
{
	return page->len - at < PIECE ? page->len - at : PIECE;
}

/* --------------------------------------------------------------------- ours */

static void *
allocate(void *arg, void *ptr, size_t size)
{
	(void) arg;
	if (size > 0)
		return realloc(ptr, size);
	free(ptr);
	return NULL;
}

static void
count_cells(const RowsDecoder *d, Found *found)
{
	int n;
	const RowsCell *cells = rows_cells(d, &n);

	found->rows++;
	for (int i = 0; i < n; i++)
		if (cells[i].kind == ROWS_STRING)
		{
			found->cells++;
			found->bytes += cells[i].len;
		}
}

__attribute__((noinline)) void
decode_rows(const Page *page, Found *found)
{
	RowsDecoder *d = rows_create(allocate, NULL);
	RowsResult result = ROWS_MORE;

	for (size_t at = 0; at < page->len; at += PIECE)
	{
		rows_feed(d, page->data + at, piece_at(page, at));
		while ((result = rows_next(d)) == ROWS_ROW)
			count_cells(d, found);
		if (result == ROWS_ERROR)
			die("ours found an error");
	}
	if (result != ROWS_END)
		die("ours found no end");
	rows_destroy(d);
}

/* --------------------------------------------------------------------- yajl */

/* What tells a cell from the envelope: an array "f" stands three deep. */
typedef struct Walk
{
	Found *found;
	bool in_value, in_fields;
} Walk;

static int
yajl_null_seen(void *arg)
{
	((Walk *) arg)->in_value = false;
	return 1;
}

static int
yajl_string_seen(void *arg, const unsigned char *text, size_t len)
{
	Walk *walk = arg;

	(void) text;
	if (walk->in_value)
	{
		walk->found->cells++;
		walk->found->bytes += len;
	}
	walk->in_value = false;
	return 1;
}

static int
yajl_key_seen(void *arg, const unsigned char *key, size_t len)
{
	Walk *walk = arg;

	walk->in_value = len == 1 && key[0] == 'v';
	walk->in_fields = len == 1 && key[0] == 'f';
	return 1;
}

static int
yajl_array_seen(void *arg)
{
	Walk *walk = arg;

	walk->found->rows += walk->in_fields;
	walk->in_fields = false;
	return 1;
}

__attribute__((noinline)) void
decode_yajl(const Page *page, Found *found)
{
	static const yajl_callbacks callbacks = {
		.yajl_null = yajl_null_seen,
		.yajl_string = yajl_string_seen,
		.yajl_map_key = yajl_key_seen,
		.yajl_start_array = yajl_array_seen,
	};
	Walk walk = {.found = found};
	yajl_handle handle = yajl_alloc(&callbacks, NULL, &walk);

	for (size_t at = 0; at < page->len; at += PIECE)
		if (yajl_parse(handle, (const unsigned char *) page->data + at, piece_at(page, at)) != yajl_status_ok)
			die("yajl found an error");
	if (yajl_complete_parse(handle) != yajl_status_ok)
		die("yajl found no end");
	yajl_free(handle);
}

/* ------------------------------------------------------------------ jansson */

__attribute__((noinline)) void
decode_jansson(const Page *page, Found *found)
{
	json_error_t error;
	json_t *root = json_loadb(page->data, page->len, JSON_ALLOW_NUL, &error);
	json_t *row, *cell;
	size_t i, c;

	if (root == NULL)
		die("jansson found an error");
	json_array_foreach(json_object_get(root, "rows"), i, row)
	{
		found->rows++;
		json_array_foreach(json_object_get(row, "f"), c, cell)
		{
			json_t *value = json_object_get(cell, "v");

			if (json_is_string(value))
			{
				found->cells++;
				found->bytes += json_string_length(value);
			}
		}
	}
	json_decref(root);
}

/* --------------------------------------------------------------------- main */

typedef struct Decoder
{
	const char *name;
	void (*decode)(const Page *page, Found *found);
} Decoder;

static const Decoder decoders[] = {{"rows", decode_rows}, {"yajl", decode_yajl}, {"jansson", decode_jansson}};
#define NDECODERS (sizeof(decoders) / sizeof(decoders[0]))

static Page
read_page(const char *path)
{
	FILE *file = fopen(path, "rb");
	Page page = {0};
	long size;

	if (file == NULL || fseek(file, 0, SEEK_END) != 0 || (size = ftell(file)) < 0)
		die("cannot read the page");
	rewind(file);
	page.len = (size_t) size;
	page.data = malloc(page.len + 1);
	if (page.data == NULL || fread(page.data, 1, page.len, file) != page.len)
		die("cannot read the page");
	fclose(file);
	return page;
}

static double
seconds_of(const Decoder *decoder, const Page *page, Found *found)
{
	struct timespec before, after;

	*found = (Found){0};
	clock_gettime(CLOCK_MONOTONIC, &before);
	decoder->decode(page, found);
	clock_gettime(CLOCK_MONOTONIC, &after);
	return (double) (after.tv_sec - before.tv_sec) + (double) (after.tv_nsec - before.tv_nsec) / 1e9;
}

int
main(int argc, char **argv)
{
	Page page;
	Found found;

	if (argc < 3)
		die("PAGE ROUNDS [NAME]");
	page = read_page(argv[1]);
	for (int round = 0; round <= atoi(argv[2]); round++)
	{
		/* the first is for the caches, and tells what is found */
		if (round > 0)
			printf("round");
		for (size_t i = 0; i < NDECODERS; i++)
		{
			double seconds;

			if (argc > 3 && (strcmp(argv[3], decoders[i].name) != 0 || round == 0))
				continue;
			seconds = seconds_of(&decoders[i], &page, &found);
			if (round > 0)
				printf(" %s %.9f", decoders[i].name, seconds);
			else
				printf("found %s %zu %zu %zu\n", decoders[i].name, found.rows, found.cells, found.bytes);
		}
		if (round > 0)
			printf("\n");
	}
	free(page.data);
	return 0;
}
