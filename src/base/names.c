/*
 * names.c
 *	  BigQuery's names as names of PostgreSQL; see names.h.
 *
 * Not makeObjectName() and a number, as PostgreSQL names its indexes: which
 * number a name gets depends on who came before, and to find it takes as many
 * looks as there are names that begin alike.
 */
#include "postgres.h"

#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"

#include "base/names.h"

/* Of the hash: 10,000 names of one beginning are different with a probability of 99.995 %. */
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
