/*
 * names.c
 *	  BigQuery's names as PostgreSQL names; see names.h.
 *
 * This does not append a number as makeObjectName() does for indexes: the number of a
 * name would depend on the names made before it, and finding it takes as many lookups
 * as there are names with the same beginning.
 */
#include "postgres.h"

#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"

#include "base/names.h"

/*
 * Hexadecimal digits of the hash: 10,000 names with the same beginning differ with a
 * probability of 99.995 %.
 */
#define HASH_BYTES 5

bool
names_fit(const char *name)
{
	return strlen(name) < NAMEDATALEN;
}

char *
names_cut(Digest *digest, const char *name, int round)
{
	/* UTF-8: the same in each database */
	const char *text = pg_server_to_any(name, (int) strlen(name), PG_UTF8);
	int len = (int) strlen(name);
	int room = NAMEDATALEN - 1 - (1 + 2 * HASH_BYTES);
	uint8 hash[DIGEST_BYTES];
	StringInfoData cut;

	digest_begin(digest);
	digest_add(digest, text, strlen(text));
	for (int i = 0; i < round; i++)
		digest_add(digest, "", 1);
	digest_end(digest, hash);
	initStringInfo(&cut);
	appendBinaryStringInfo(&cut, name, len <= room ? len : pg_mbcliplen(name, len, room));
	appendStringInfoChar(&cut, '_');
	for (int i = 0; i < HASH_BYTES; i++)
		appendStringInfo(&cut, "%02x", hash[i]);
	return cut.data;
}
