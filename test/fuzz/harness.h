/*
 * harness.h
 *	  What the fuzz targets share that link the extension's own files: memory that ends
 *	  with the input, and properties.
 *
 * server.c stands in for the few functions of the server that these files call.  Nothing
 * that is fuzzed may throw because of what it reads: an ERROR is a finding.
 */
#ifndef CONTRATOS_FUZZ_HARNESS_H
#define CONTRATOS_FUZZ_HARNESS_H

#include "postgres.h"

#include "base/failure.h"

/* The target's: libFuzzer's LLVMFuzzerTestOneInput(); -1: not an input of this target. */
extern int fuzz_input(const uint8_t *data, size_t size);

/* server.c: free what an input has allocated; its contexts' callbacks are called. */
extern void end_input(void);

/* A NUL-terminated copy of its exact size, so that the sanitizer sees who reads beyond it. */
extern char *copy_of(const uint8_t *data, size_t size);

/* Ends the run unless it holds; `format` says what was found instead. */
extern void property(bool holds, const char *format, ...) __attribute__((format(__printf__, 2, 3)));

extern bool is_utf8(const char *text);

/* A refusal: it has a SQLSTATE and a message, and its texts are UTF-8, each in its field. */
extern void check_failure(const Failure *f);

/* The same, and none of its texts has `secret` in it. */
extern void check_failure_hides(const Failure *f, const char *secret);

#endif /* CONTRATOS_FUZZ_HARNESS_H */
