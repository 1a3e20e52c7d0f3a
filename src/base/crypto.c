/*
 * crypto.c
 *	  Signatures and hashes with OpenSSL; see crypto.h.
 */
#include "postgres.h"

#include <openssl/bio.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>

#include "base/compat.h"
#include "base/crypto.h"
#include "base/json.h"
#include "base/crypto.h"

/* --------------------------------------------------------------------------
 * SHA-256, many times.  The algorithm is fetched once: EVP_sha256() would be looked
 * up anew with every text, which takes longer than hashing a row.
 * -------------------------------------------------------------------------- */

struct Digest
{
	MemoryContextCallback callback;
	EVP_MD *algorithm;
	EVP_MD_CTX *state;
};

/* OpenSSL's objects are not palloc'd: they go with the memory context. */
static void
release(void *arg)
{
	Digest *digest = arg;

	EVP_MD_CTX_free(digest->state);
	EVP_MD_free(digest->algorithm);
	digest->state = NULL;
	digest->algorithm = NULL;
}

/* Raise OpenSSL's error, and empty its error queue, which belongs to the whole process. */
static void
openssl_fail(void)
{
	unsigned long code = ERR_peek_last_error();
	const char *reason = ERR_reason_error_string(code);

	ERR_clear_error();
	ereport(ERROR,
			(errcode(ERR_GET_REASON(code) == ERR_R_MALLOC_FAILURE ? ERRCODE_OUT_OF_MEMORY : ERRCODE_INTERNAL_ERROR),
			 errmsg("could not compute a SHA-256 hash"), reason ? errdetail("OpenSSL says: %s.", reason) : 0,
			 errhint("OpenSSL's configuration must offer SHA-256.")));
}

Digest *
digest_create(void)
{
	Digest *digest = palloc0(sizeof(Digest));

	/* registered before there is anything to free */
	digest->callback.func = release;
	digest->callback.arg = digest;
	MemoryContextRegisterResetCallback(CurrentMemoryContext, &digest->callback);

	ERR_clear_error();
	digest->algorithm = EVP_MD_fetch(NULL, "SHA256", NULL);
	digest->state = EVP_MD_CTX_new();
	if (digest->algorithm == NULL || digest->state == NULL ||
		EVP_DigestInit_ex(digest->state, digest->algorithm, NULL) != 1)
		openssl_fail();
	return digest;
}

void
digest_begin(Digest *digest)
{
	/* a NULL algorithm means the one it was created with */
	if (EVP_DigestInit_ex(digest->state, NULL, NULL) != 1)
		openssl_fail();
}

void
digest_add(Digest *digest, const void *data, size_t len)
{
	if (EVP_DigestUpdate(digest->state, data, len) != 1)
		openssl_fail();
}

void
digest_end(Digest *digest, uint8 result[DIGEST_BYTES])
{
	if (EVP_DigestFinal_ex(digest->state, result, NULL) != 1)
		openssl_fail();
}

/* --------------------------------------------------------------------------
 * JSON Web Tokens.  Between taking OpenSSL's objects and freeing them nothing is
 * palloc'd, so nothing can throw and leak a private key.
 * -------------------------------------------------------------------------- */

/* The signature of an RSA key of 16384 bits, OpenSSL's own limit. */
#define MAX_SIGNATURE 2048

/* Append base64url without padding (RFC 4648, section 5). */
static void
append_base64url(StringInfo out, const void *data, int len)
{
	int room = pg_b64_enc_len(len);
	char *start;
	int written;

	enlargeStringInfo(out, room);
	start = out->data + out->len;
	written = pg_b64_encode_compat(data, len, start, room);
	if (written < 0)
		elog(ERROR, "base64 buffer is too small");
	while (written > 0 && start[written - 1] == '=')
		written--;
	for (int i = 0; i < written; i++)
		start[i] = start[i] == '+' ? '-' : start[i] == '/' ? '_' : start[i];
	start[written] = '\0';
	out->len += written;
}

/* Called for an encrypted key; OpenSSL's own would ask on the terminal. */
static int
no_password(char *buf pg_attribute_unused(), int size pg_attribute_unused(), int rwflag pg_attribute_unused(),
			void *arg pg_attribute_unused())
{
	return 0;
}

/* Fill *f from OpenSSL's error queue, and empty the queue.  Returns false. */
static bool
openssl_failure(Failure *f, const char *message)
{
	const char *reason = ERR_reason_error_string(ERR_peek_last_error());

	failure_set(f, ERRCODE_CONFIG_FILE_ERROR, "%s", message);
	if (reason != NULL)
		failure_detail(f, "OpenSSL says: %s.", reason);
	f->every_day = true;
	ERR_clear_error();
	return false;
}

/* The private key in `pem`; NULL with *f set. */
static EVP_PKEY *
read_pem_key(const char *pem, Failure *f)
{
	BIO *bio = BIO_new_mem_buf(pem, -1);
	EVP_PKEY *key = bio ? PEM_read_bio_PrivateKey(bio, NULL, no_password, NULL) : NULL;

	BIO_free(bio);
	if (key == NULL)
		openssl_failure(f, "private key cannot be read");
	else if (EVP_PKEY_base_id(key) == EVP_PKEY_RSA)
		return key;
	else
		openssl_failure(f, "private key is not an RSA key");
	failure_hint(f, "It must be an unencrypted RSA key in PEM format, as in the key file that was downloaded.");
	EVP_PKEY_free(key);
	return NULL;
}

/* RS256 over `text` into `signature`, MAX_SIGNATURE bytes; false with *f set. */
static bool
sign_rsa(const char *pem, const char *text, size_t text_len, unsigned char *signature, size_t *len, Failure *f)
{
	EVP_PKEY *key = read_pem_key(pem, f);
	EVP_MD_CTX *md;
	bool ok;

	if (key == NULL)
		return false;
	*len = MAX_SIGNATURE;
	md = EVP_MD_CTX_new();
	ok = md != NULL && EVP_PKEY_size(key) <= MAX_SIGNATURE &&
		 EVP_DigestSignInit(md, NULL, EVP_sha256(), NULL, key) == 1 &&
		 EVP_DigestSign(md, signature, len, (const unsigned char *) text, text_len) == 1;
	EVP_MD_CTX_free(md);
	EVP_PKEY_free(key);
	return ok || openssl_failure(f, "could not sign with the private key");
}

bool
jwt_sign(const char *pem, const char *kid, const char *claims, StringInfo out, Failure *f)
{
	StringInfoData header;
	unsigned char signature[MAX_SIGNATURE];
	size_t len;
	int start = out->len;

	initStringInfo(&header);
	appendStringInfoString(&header, "{\"alg\":\"RS256\",\"typ\":\"JWT\"");
	if (kid != NULL)
	{
		appendStringInfoString(&header, ",\"kid\":");
		json_append_string(&header, kid);
	}
	appendStringInfoChar(&header, '}');

	append_base64url(out, header.data, header.len);
	appendStringInfoChar(out, '.');
	append_base64url(out, claims, strlen(claims));
	pfree(header.data);

	/* the queue belongs to the whole process: PostgreSQL's own TLS may have left entries in it */
	ERR_clear_error();
	if (!sign_rsa(pem, out->data + start, out->len - start, signature, &len, f))
		return false;
	ERR_clear_error();

	appendStringInfoChar(out, '.');
	append_base64url(out, signature, (int) len);
	explicit_bzero(signature, sizeof(signature));
	return true;
}

const char *
jwt_library_version(void)
{
	return OpenSSL_version(OPENSSL_VERSION);
}
