/*
 * digest.h
 *	  SHA-256, many times.  Besides jwt the only room with OpenSSL: its EVP
 *	  interface, fetched once, takes two thirds of the time of PostgreSQL's own.
 */
#ifndef CONTRATOS_DIGEST_H
#define CONTRATOS_DIGEST_H

#include "postgres.h"

#define DIGEST_BYTES 32

typedef struct Digest Digest;

/* Lives in CurrentMemoryContext and is freed with it.  53200 or XX000 when
 * OpenSSL has no SHA-256 to give. */
extern Digest *digest_create(void);

/* The hash of one text, which may come in pieces. */
extern void digest_begin(Digest *digest);
extern void digest_add(Digest *digest, const void *data, size_t len);
extern void digest_end(Digest *digest, uint8 result[DIGEST_BYTES]);

#endif /* CONTRATOS_DIGEST_H */
