/*
 * crypto.h
 *	  SHA-256 of many texts, and signed JSON Web Tokens (RFC 7519, RS256 of RFC 7518).
 *	  This is the only module that uses OpenSSL: its EVP interface, with the algorithm
 *	  fetched once, takes two thirds of the time of PostgreSQL's own hash.
 */
#ifndef CONTRATOS_CRYPTO_H
#define CONTRATOS_CRYPTO_H

#include "postgres.h"

#include "lib/stringinfo.h"

#include "base/failure.h"

#define DIGEST_BYTES 32

typedef struct Digest Digest;

/* Lives in CurrentMemoryContext and is freed with it.  53200 or XX000 when OpenSSL does not offer SHA-256. */
extern Digest *digest_create(void);

/* The hash of one text, which may be added in pieces. */
extern void digest_begin(Digest *digest);
extern void digest_add(Digest *digest, const void *data, size_t len);
extern void digest_end(Digest *digest, uint8 result[DIGEST_BYTES]);

/*
 * Append base64url(header) "." base64url(claims) "." base64url(signature) to `out`.
 * `pem` is an unencrypted PKCS#8 or PKCS#1 RSA private key, `kid` its id or NULL,
 * `claims` a JSON object.  False with *f set: F0000 when the PEM cannot be read, is not
 * an RSA key, or signing fails.  OpenSSL's error queue is left empty, the key is freed
 * and no part of it reaches *f.
 */
extern bool jwt_sign(const char *pem, const char *kid, const char *claims, StringInfo out, Failure *f);

extern const char *jwt_library_version(void);

#endif /* CONTRATOS_CRYPTO_H */
