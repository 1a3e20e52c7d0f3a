/*
 * check_server.c
 *	  The parts that all sources share: the library, and the worker.
 */
#include "postgres.h"

#include "catalog/pg_database.h"
#include "commands/dbcommands.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/syscache.h"
#include "utils/varlena.h"

#include "base/json.h"
#include "base/crypto.h"
#include "base/settings.h"
#include "check/check_internal.h"
#include "http/http.h"
#include "ledger/extension.h"
#include "ledger/wake.h"

void
check_extension(Check *check)
{
	const char *installed = extension_version();

	if (strcmp(installed, CONTRATOS_VERSION) == 0)
		check_report(check, CHECK_OK, psprintf("version %s, and the library's is the same", installed), NULL);
	else
		check_report(
			check, CHECK_FAILED,
			psprintf("version %s, but the library's is %s: the worker stays idle", installed, CONTRATOS_VERSION),
			"After an update of the library: ALTER EXTENSION contratos UPDATE; after one of the extension: "
			"restart the server, which still has the old library loaded.");
}

void
check_libraries(Check *check)
{
	const char *curl = http_library_version();
	const char *openssl = jwt_library_version();
	size_t words = strcspn(openssl, " ");

	/* "libcurl/7.88.1 and more", "OpenSSL 3.0.15 and its date" */
	if (openssl[words] == ' ')
		words += 1 + strcspn(openssl + words + 1, " ");
	check_report(check, CHECK_OK,
				 psprintf("%s, %s, jansson %s", pnstrdup(curl, strcspn(curl, " ")), pnstrdup(openssl, words),
						  json_library_version()),
				 NULL);
}

/* Whether shared_preload_libraries, with its value at the start of the server, lists the library. */
static bool
is_preloaded(void)
{
	List *names;
	ListCell *cell;
	char *value = pstrdup(shared_preload_libraries_string ? shared_preload_libraries_string : "");

	if (!SplitDirectoriesString(value, ',', &names))
		return false;
	foreach (cell, names)
	{
		const char *name = last_dir_separator(lfirst(cell));

		name = name ? name + 1 : lfirst(cell);
		if (strcmp(name, "contratos") == 0 || strcmp(name, "contratos.so") == 0)
			return true;
	}
	return false;
}

void
check_preloaded(Check *check)
{
	const char *others = shared_preload_libraries_string ? shared_preload_libraries_string : "";

	check->preloaded = is_preloaded();
	if (check->preloaded)
		check_report(check, CHECK_OK, "shared_preload_libraries has contratos", NULL);
	else
		check_report(
			check, CHECK_WARNING,
			"shared_preload_libraries has no contratos: there is no worker, and only calls load days",
			psprintf("In postgresql.conf: shared_preload_libraries = '%s%scontratos' and contratos.databases = "
					 "'%s'; then restart the server.",
					 others, others[0] != '\0' ? ", " : "", quote_identifier(get_database_name(MyDatabaseId))));
}

/* Whether this database is a template. */
static bool
is_template(void)
{
	HeapTuple tuple = SearchSysCache1(DATABASEOID, ObjectIdGetDatum(MyDatabaseId));
	bool found;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for database %u", MyDatabaseId);
	found = settings_refuse_template(NameStr(((Form_pg_database) GETSTRUCT(tuple))->datname),
									 ((Form_pg_database) GETSTRUCT(tuple))->datistemplate);
	ReleaseSysCache(tuple);
	return found;
}

void
check_database(Check *check)
{
	const char *name = get_database_name(MyDatabaseId);
	const char *others = settings_databases;
	ListCell *cell;

	foreach (cell, settings_database_names())
		check->listed |= strcmp(lfirst(cell), name) == 0;
	if (check->listed && is_template())
	{
		check->listed = false;
		check->template = true;
		check_report(
			check, CHECK_WARNING, psprintf("contratos.databases has %s, which is a template and gets no worker", name),
			"A database that CREATE DATABASE copies must not have sessions. Load in a database made from it, or: "
			"ALTER DATABASE ... IS_TEMPLATE false;");
	}
	else if (check->listed)
		check_report(check, CHECK_OK, psprintf("contratos.databases has %s", name), NULL);
	else
		check_report(check, CHECK_WARNING,
					 psprintf("contratos.databases does not list %s: no worker loads its sources", name),
					 psprintf("In postgresql.conf: contratos.databases = '%s%s%s'; then reload it: SELECT "
							  "pg_reload_conf();",
							  others, others[0] != '\0' ? ", " : "", quote_identifier(name)));
}

void
check_worker(Check *check)
{
	check->worker = wake_worker_pid();
	if (check->worker != 0)
		check_report(check, CHECK_OK, psprintf("runs as process %d", check->worker), NULL);
	else if (check->standby)
		check_report(check, CHECK_SKIPPED, "this server is a standby: the worker runs on the primary", NULL);
	else if (!check->preloaded)
		check_report(check, CHECK_SKIPPED, "the library is not preloaded", NULL);
	else if (!check->listed)
		check_report(check, CHECK_SKIPPED,
					 check->template ? "the database is a template" : "the database is not listed", NULL);
	else
		check_report(
			check, CHECK_FAILED, "no worker runs for this database",
			"Look for contratos in the server's log: max_worker_processes may be too small, or contratos.role may "
			"name a role that cannot log in. The worker is restarted within a minute.");
}

void
check_housekeeping(Check *check)
{
	const char *failed = ledger_failed_steps();

	if (failed == NULL)
		check_report(check, CHECK_OK, "the worker has no errors other than those of loads", NULL);
	else
		check_report(
			check, CHECK_WARNING, failed,
			"The server's log has the full error. The worker tries again within an hour, and when contratos_sources "
			"changes.");
}

void
check_subscription(Check *check)
{
	if (!ledger_is_subscribed())
		check_report(check, CHECK_OK, "no subscription brings rows of contratos' own tables", NULL);
	else
		check_report(
			check, CHECK_WARNING,
			"a subscription brings rows of contratos_sources, contratos_runs or contratos_rejects from another "
			"server, which loads them: the worker ignores this database, and calls may collide with that server's "
			"run numbers",
			"Publish the tables that are loaded, without contratos' own; or remove this database from "
			"contratos.databases, and do not load days by calls.");
}
