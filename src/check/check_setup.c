/*
 * check_setup.c
 *	  What must be set up: libraries, worker, source and foreign table.
 */
#include "postgres.h"

#include "catalog/pg_database.h"
#include "commands/dbcommands.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"
#include "utils/varlena.h"

#include "base/crypto.h"
#include "base/day.h"
#include "base/failure.h"
#include "base/json.h"
#include "base/settings.h"
#include "check/check_internal.h"
#include "http/http.h"
#include "ledger/extension.h"
#include "ledger/ledger_history.h"
#include "ledger/schedule.h"
#include "ledger/worker_signal.h"
#include "load/setup.h"
#include "remote/options.h"

/* --------------------------------------------------------------------------
 * The server
 * -------------------------------------------------------------------------- */

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
					 psprintf("ALTER SYSTEM SET contratos.databases = %s; SELECT pg_reload_conf();",
							  quote_literal_cstr(
								  psprintf("%s%s%s", others, others[0] != '\0' ? ", " : "", quote_identifier(name)))));
}

void
check_worker(Check *check)
{
	check->worker = worker_signal_pid(MyDatabaseId);
	if (check->worker != 0)
		check_report(check, CHECK_OK, psprintf("runs as process %d", check->worker), NULL);
	else if (check->standby)
		check_report(check, CHECK_SKIPPED, "this server is a standby: the worker runs on the primary", NULL);
	else if (!check->preloaded)
		check_report(check, CHECK_SKIPPED, "the library is not preloaded", NULL);
	else if (!check->listed)
		check_report(check, CHECK_SKIPPED,
					 check->template ? "the database is a template" : "the database is not listed", NULL);
	else if (worker_signal_is_expected(MyDatabaseId))
		check_report(check, CHECK_OK, "is being started", NULL);
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

/* --------------------------------------------------------------------------
 * The source
 * -------------------------------------------------------------------------- */

/* Nothing is set up: report what sets it up, and what may prevent that. */
static void
report_builtin(Check *check)
{
	List *functions = setup_event_functions();
	const SetupEventFunction *function = functions != NIL ? linitial(functions) : NULL;

	setup_check_role(OidIsValid(check->worker_role) ? check->worker_role : GetUserId());
	if (function == NULL)
		check_report(check, CHECK_WARNING, "nothing is set up yet; the first load or contratos_setup() will do it",
					 psprintf("SELECT %scontratos_setup();", check->schema));
	else
		check_report(check, CHECK_WARNING,
					 psprintf("nothing is set up yet; doing it will fire event trigger \"%s\"", function->trigger),
					 psprintf("%s Then: SELECT %scontratos_setup();", setup_event_cure(function), check->schema));
}

void
check_source(Check *check)
{
	List *found = ledger_schedules(check->source);
	const LedgerSource *source;

	if (found != NIL)
	{
		check->schedule = linitial(found);
		source = &check->schedule->source;
		load_report_undecided(source, ERROR);
		check_report(check, CHECK_OK,
					 psprintf("%s into %s, %s%s", source->remote_table, source->target_table,
							  source->timestamp_column ? "by " : "as a whole",
							  source->timestamp_column ? source->timestamp_column : ""),
					 NULL);
		return;
	}
	check->builtin = strcmp(check->source, SETUP_SOURCE) == 0 && ledger_is_untouched();
	if (check->builtin)
		report_builtin(check);
	else
		(void) ledger_source(check->source); /* throws, with the existing names */
}

/* Before contratos_setup() has created the objects, they cannot be checked. */
static bool
skip_builtin(Check *check)
{
	if (check->builtin)
		check_report(check, CHECK_SKIPPED, "nothing is set up yet", NULL);
	return check->builtin;
}

void
check_enabled(Check *check)
{
	if (skip_builtin(check))
		return;

	const ScheduleRules *rules = &check->schedule->rules;
	int minutes = (int) (rules->run_at / USECS_PER_MINUTE);

	if (rules->enabled)
		check_report(
			check, CHECK_OK,
			psprintf("due daily at %02d:%02d UTC, from %s on", minutes / 60, minutes % 60, day_text(rules->start_date)),
			NULL);
	else
		check_report(check, CHECK_WARNING, "disabled: the worker ignores it, only calls load it",
					 psprintf("UPDATE %scontratos_sources SET enabled = true WHERE name = %s;", check->schema,
							  quote_literal_cstr(check->source)));
}

void
check_foreign_table(Check *check)
{
	if (skip_builtin(check))
		return;

	const char *name = check->schedule->source.remote_table;

	check->hint = psprintf("Create the foreign table, or correct remote_table in %scontratos_sources.", check->schema);
	check->table = options_table(load_relation(name, "remote_table"));
	check_report(check, CHECK_OK, psprintf("%s is BigQuery's %s", name, failure_to_server(check->table->table)), NULL);
}

/* A table that contratos_setup() would use. */
static void
check_adopted(Check *check)
{
	Oid target = setup_check_target();

	if (OidIsValid(target))
	{
		check->owner = extension_relation_owner(target);
		check_report(check, CHECK_OK, psprintf("the existing table %s can be used", get_rel_name(target)), NULL);
	}
	else
		check_report(check, CHECK_SKIPPED, "nothing is set up yet", NULL);
}

void
check_target(Check *check)
{
	if (check->builtin)
	{
		check_adopted(check);
		return;
	}

	Oid target = load_find_relation(check->schedule->source.target_table);

	if (OidIsValid(target))
		check->owner = extension_relation_owner(target);
	if (check->schedule->source.timestamp_column == NULL && !check->schedule->source.snapshot)
	{
		check_report(check, CHECK_SKIPPED, "the rows that a load replaces are not defined (see source)", NULL);
		return;
	}
	check->hint = psprintf("Create the table, or correct target_table in %scontratos_sources.", check->schema);
	if (check->table == NULL)
	{
		(void) load_relation(check->schedule->source.target_table, "target_table");
		check_report(check, CHECK_SKIPPED, "it exists, but its columns are compared with those of the foreign table",
					 NULL);
		return;
	}
	check->plan = load_plan_tables(&check->schedule->source);
	load_check_rivals(check->plan);
	check_report(
		check, CHECK_OK,
		psprintf("%s takes the %d columns of the foreign table", check->plan->target_name, check->plan->ncolumns),
		NULL);
}
