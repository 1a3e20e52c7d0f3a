/*
 * rows_harness.h
 *	  What the decoder's tests share: TAP, counted memory, transcripts.
 *
 * A decoding is written down as a transcript (rows, cells, envelope, error and
 * offset); cutting the page elsewhere must not change a byte of it.  Pieces
 * are heap blocks of their exact size, freed as soon as the door allows, so
 * that the sanitizer sees whoever reads beyond them or too late.
 */
#ifndef CONTRATOS_TEST_ROWS_HARNESS_H
#define CONTRATOS_TEST_ROWS_HARNESS_H

#include <stdbool.h>

#include "document.h"

#include "rows/rows.h"

/* TAP: a line; the plan and the exit code. */
extern void ok(bool good, const char *name);
extern int done_testing(void);
/* Seed the random documents with CONTRATOS_SEED, and say so: it repeats a run. */
extern void seed_from_environment(void);
/* Show the first few wrong cases of a test, not thousands. */
extern void complain(const char *what, const char *doc, size_t len, const Text *expected, const Text *got);

/* Counts, and gives nothing at the call it is told to. */
typedef struct Memory
{
	long blocks; /* alive */
	long calls;
	long fail_at; /* the call that gets nothing, 0: none */
	size_t bytes; /* asked for, in all */
	size_t largest; /* asked for at once */
} Memory;

extern void *counting_alloc(void *arg, void *ptr, size_t size);
/* A decoder whose memory nobody looks at. */
extern RowsDecoder *new_decoder(void);

/* How a page is cut. */
typedef struct Cuts
{
	size_t first; /* bytes of the first piece */
	size_t step; /* of the others; 0: random, 1 to 20 */
} Cuts;

extern const Cuts whole;
extern const Cuts bytewise;
extern const Cuts random_cuts;

/* Take what the piece gives. */
extern RowsResult drain(RowsDecoder *d, Text *t);
/* The transcript of a page, cut this way, replaces what is in t. */
extern RowsResult decode(RowsDecoder *d, const char *doc, size_t len, Cuts cuts, Text *t);
extern bool same(const Text *a, const Text *b);
/* Does every cut into two, byte by byte and in random pieces give this transcript? */
extern bool same_however_cut(const char *doc, size_t len, const Text *expected);

/* test_rows_limits.c */
extern void test_limits(void);

#endif /* CONTRATOS_TEST_ROWS_HARNESS_H */
