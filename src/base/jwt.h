/*
 * jwt.h
 *	  Signed JSON Web Tokens (RFC 7519, RS256 of RFC 7518).  The only room with
 *	  OpenSSL.
 */
#ifndef CONTRATOS_JWT_H
#define CONTRATOS_JWT_H

#include "lib/stringinfo.h"

#include "base/failure.h"

/*
 * Append base64url(header) "." base64url(claims) "." base64url(signature) to
 * `out`.  `pem` is an unencrypted PKCS#8 or PKCS#1 RSA private key, `kid` its
 * id or NULL, `claims` a JSON object.  False with *f set: F0000 when the PEM
 * cannot be read, or is of another kind than RSA, or signing fails.  OpenSSL's
 * error queue is left empty, the key is freed and no part of it reaches *f.
 */
extern bool jwt_sign(const char *pem, const char *kid, const char *claims, StringInfo out, Failure *f);

extern const char *jwt_library_version(void);

#endif /* CONTRATOS_JWT_H */
