/*
 * digest.c
 *	  SHA-256, many times; see digest.h.
 *
 * The algorithm is fetched once: EVP_sha256() would be looked up anew with
 * every text, which takes longer than hashing a row.
 */
#include "postgres.h"

#include <openssl/err.h>
#include <openssl/evp.h>

#include "base/digest.h"

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

/* OpenSSL's reason, and its error queue, which is the process's, emptied. */
static void
fail(void)
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

	/* armed before there is anything to free */
	digest->callback.func = release;
	digest->callback.arg = digest;
	MemoryContextRegisterResetCallback(CurrentMemoryContext, &digest->callback);

	ERR_clear_error();
	digest->algorithm = EVP_MD_fetch(NULL, "SHA256", NULL);
	digest->state = EVP_MD_CTX_new();
	if (digest->algorithm == NULL || digest->state == NULL ||
		EVP_DigestInit_ex(digest->state, digest->algorithm, NULL) != 1)
		fail();
	return digest;
}

void
digest_begin(Digest *digest)
{
	/* no algorithm named: the one it was created with */
	if (EVP_DigestInit_ex(digest->state, NULL, NULL) != 1)
		fail();
}

void
digest_add(Digest *digest, const void *data, size_t len)
{
	if (EVP_DigestUpdate(digest->state, data, len) != 1)
		fail();
}

void
digest_end(Digest *digest, uint8 result[DIGEST_BYTES])
{
	if (EVP_DigestFinal_ex(digest->state, result, NULL) != 1)
		fail();
}
