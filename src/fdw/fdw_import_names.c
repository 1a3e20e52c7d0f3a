/*
 * fdw_import_names.c
 *	  What BigQuery's names become here.
 */
#include "postgres.h"

#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/hsearch.h"

#include "base/digest.h"
#include "base/failure.h"
#include "base/names.h"
#include "fdw/fdw_internal.h"

#define DATE_DIGITS 8

char *
fdw_server_name(const char *text)
{
	char *name = failure_to_server(text);
	char *back = pg_server_to_any(name, strlen(name), PG_UTF8);

	return strcmp(back, text) == 0 ? name : NULL;
}

/* Make the name one of those that are taken; false if it was. */
static bool
take(HTAB *taken, const char *name)
{
	bool found;

	(void) hash_search(taken, name, HASH_ENTER, &found);
	return !found;
}

static HTAB *
make_taken(int n, const char *const *reserved)
{
	HASHCTL control = {.keysize = NAMEDATALEN, .entrysize = NAMEDATALEN, .hcxt = CurrentMemoryContext};
	HTAB *taken = hash_create("contratos names", n, &control, HASH_ELEM | HASH_STRINGS | HASH_CONTEXT);

	for (; reserved != NULL && *reserved != NULL; reserved++)
		(void) take(taken, *reserved);
	return taken;
}

void
fdw_name_locally(FdwName *names[], int n, const char *const *reserved)
{
	HTAB *taken = make_taken(n, reserved);
	Digest *digest = digest_create();

	/* who fits comes first: nobody takes his name from him */
	for (int i = 0; i < n; i++)
	{
		CHECK_FOR_INTERRUPTS();
		names[i]->local =
			names_fit(names[i]->remote) && take(taken, names[i]->remote) ? pstrdup(names[i]->remote) : NULL;
	}
	for (int i = 0; i < n; i++)
		for (int round = 0; names[i]->local == NULL; round++)
		{
			char *local = names_cut(digest, names[i]->remote, round);

			CHECK_FOR_INTERRUPTS();
			if (take(taken, local))
				names[i]->local = local;
		}
	hash_destroy(taken);
}

int
fdw_shard_prefix(const char *name)
{
	int prefix = (int) strlen(name) - DATE_DIGITS;
	const char *date = name + prefix;

	if (prefix < 2 || date[-1] != '_' || strspn(date, "0123456789") != DATE_DIGITS)
		return 0;

	int month = (date[4] - '0') * 10 + date[5] - '0';
	int day = (date[6] - '0') * 10 + date[7] - '0';

	return month >= 1 && month <= 12 && day >= 1 && day <= 31 ? prefix : 0;
}
