/*
 * fdw_import_names.c
 *	  What BigQuery's names become here.
 *
 * BigQuery's tables may have names of 1,024 bytes and its columns of 300
 * characters; PostgreSQL cuts a name at 63 bytes, and would take two long names
 * that begin alike for one.
 */
#include "postgres.h"

#include "mb/pg_wchar.h"

#include "failure.h"
#include "fdw_internal.h"

#define DATE_DIGITS 8

char *
fdw_server_name(const char *text)
{
	char *name = failure_to_server(text);
	char *back = pg_server_to_any(name, strlen(name), PG_UTF8);

	return strcmp(back, text) == 0 ? name : NULL;
}

static bool
is_taken(FdwName *names[], int n, const char *const *reserved, const char *name)
{
	for (; reserved != NULL && *reserved != NULL; reserved++)
		if (strcmp(*reserved, name) == 0)
			return true;
	for (int i = 0; i < n; i++)
		if (names[i]->local != NULL && strcmp(names[i]->local, name) == 0)
			return true;
	return false;
}

/* As much of `name` as leaves room for `suffix`, and that. */
static char *
cut(const char *name, const char *suffix)
{
	int len = strlen(name);
	int room = NAMEDATALEN - 1 - (int) strlen(suffix);

	return psprintf("%.*s%s", len <= room ? len : pg_mbcliplen(name, len, room), name, suffix);
}

void
fdw_name_locally(FdwName *names[], int n, const char *const *reserved)
{
	/* who fits comes first: nobody takes his name from him */
	for (int i = 0; i < n; i++)
	{
		bool fits = strlen(names[i]->remote) < NAMEDATALEN && !is_taken(NULL, 0, reserved, names[i]->remote);

		names[i]->local = fits ? pstrdup(names[i]->remote) : NULL;
	}
	for (int i = 0; i < n; i++)
	{
		char *local = names[i]->local ? NULL : cut(names[i]->remote, "");

		for (int number = 2; local != NULL && is_taken(names, n, reserved, local); number++)
			local = cut(names[i]->remote, psprintf("_%d", number));
		if (local != NULL)
			names[i]->local = local;
	}
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
