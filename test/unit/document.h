/*
 * document.h
 *	  Random but well-formed BigQuery pages for the decoder's tests.
 */
#ifndef CONTRATOS_TEST_DOCUMENT_H
#define CONTRATOS_TEST_DOCUMENT_H

#include <stddef.h>
#include <stdint.h>

typedef struct Text
{
	char *data; /* NUL-terminated too */
	size_t len;
	size_t size;
} Text;

extern void text_add(Text *t, const char *data, size_t n);
extern void text_puts(Text *t, const char *s);
/* A printf of at most 200 bytes. */
extern void text_printf(Text *t, const char *format, ...);
extern void text_free(Text *t);

/* The same numbers from the same seed on any machine. */
extern void random_seed(uint64_t seed);
/* From 0 to below - 1. */
extern unsigned int random_below(unsigned int below);

/* Replace what is in doc by the next page. */
extern void document_generate(Text *doc);
/* The same for what a cell may hold: an ARRAY of cells, a STRUCT, nested or not; any JSON. */
extern void document_array(Text *doc);
extern void document_record(Text *doc);
extern void document_json(Text *doc);

#endif /* CONTRATOS_TEST_DOCUMENT_H */
