/*
 * check_role.c
 *	  The roles that load, which are seldom the role that asks: the worker's, and a
 *	  target's owner.  The privileges that either lacks, and publications, because of
 *	  which a target may not be deleted from.
 *
 * All of it is read from the catalogs: no expression of a table is evaluated.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_type.h"
#include "commands/dbcommands.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/guc.h"
#include "utils/syscache.h"

#include "base/settings.h"
#include "check/check_internal.h"
#include "ledger/extension.h"
#include "ledger/statement.h"

/* A table and all its partitions. */
#define TREE "(SELECT $1 UNION SELECT t.relid FROM pg_partition_tree($1) t)"

/* Query the catalogs; false: no row.  The texts of the row, NULL for null, are in check->context. */
static bool
query_catalogs(const Check *check, const char *sql, Oid first, Oid second, char *texts[2])
{
	Oid types[] = {OIDOID, OIDOID};
	Datum values[] = {ObjectIdGetDatum(first), ObjectIdGetDatum(second)};
	StatementArgs args = {.n = 2, .types = types, .values = values};
	StatementObjects none = {0};
	MemoryContext context = CurrentMemoryContext;
	int level = extension_pin_settings();
	bool found;

	SPI_connect();
	statement_execute(sql, &args, &none, SPI_OK_SELECT);
	found = SPI_processed > 0;
	for (int i = 0; i < 2 && found; i++)
	{
		char *text = SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, i + 1);

		texts[i] = text != NULL ? MemoryContextStrdup(check->context, text) : NULL;
	}
	SPI_finish();
	AtEOXact_GUC(true, level);
	MemoryContextSwitchTo(context);
	return found;
}

/* --------------------------------------------------------------------------
 * The worker's role
 * -------------------------------------------------------------------------- */

static bool
can_login(Oid role)
{
	HeapTuple tuple = SearchSysCache1(AUTHOID, ObjectIdGetDatum(role));
	bool can = HeapTupleIsValid(tuple) && ((Form_pg_authid) GETSTRUCT(tuple))->rolcanlogin;

	if (HeapTupleIsValid(tuple))
		ReleaseSysCache(tuple);
	return can;
}

/* Calls the SQL function, because the C function below it has another name from PostgreSQL 16 on. */
static bool
may_connect(Oid role)
{
	return DatumGetBool(DirectFunctionCall3(has_database_privilege_id_id, ObjectIdGetDatum(role),
											ObjectIdGetDatum(MyDatabaseId), CStringGetTextDatum("CONNECT")));
}

void
check_role(Check *check)
{
	bool has_worker = check->preloaded && check->listed && !check->standby;
	CheckStatus bad = has_worker ? CHECK_FAILED : CHECK_WARNING;
	Oid role = settings_role[0] ? get_role_oid(settings_role, true) : BOOTSTRAP_SUPERUSERID;
	const char *name = quote_identifier(settings_role);

	if (has_worker)
		check->worker_role = role;
	if (!settings_role[0])
		check_report(check, CHECK_OK, psprintf("the bootstrap superuser, %s", GetUserNameFromId(role, true)), NULL);
	else if (!OidIsValid(role))
		check_report(check, bad, psprintf("contratos.role is %s, which does not exist", name),
					 psprintf("CREATE ROLE %s LOGIN;", name));
	else if (!can_login(role))
		check_report(check, bad, psprintf("contratos.role is %s, which cannot log in", name),
					 psprintf("ALTER ROLE %s LOGIN;", name));
	else if (!may_connect(role))
		check_report(
			check, bad, psprintf("contratos.role is %s, which may not connect", name),
			psprintf("GRANT CONNECT ON DATABASE %s TO %s;", quote_identifier(get_database_name(MyDatabaseId)), name));
	else
		check_report(check, CHECK_OK, psprintf("%s, as contratos.role says", name), NULL);
}

/*
 * Settings that the worker has from elsewhere: this session's own ones, those of its
 * role, and those of the worker's role.
 */
void
check_settings(Check *check)
{
	char *names[2] = {0};
	Oid mine = GetSessionUserId();

	if (!OidIsValid(check->worker_role))
	{
		check_report(check, CHECK_SKIPPED, "no worker loads in this database", NULL);
		return;
	}
	(void) query_catalogs(
		check,
		"SELECT string_agg(DISTINCT name, ', '), NULL::text FROM ("
		"SELECT name FROM pg_settings WHERE name LIKE 'contratos.%' "
		"AND (source IN ('client', 'session') OR $1 <> $2 AND source IN ('user', 'database user')) "
		"UNION SELECT split_part(unnest(s.setconfig), '=', 1) FROM pg_db_role_setting s WHERE $1 <> $2 "
		"AND s.setrole = $2 AND (s.setdatabase = 0 OR s.setdatabase = "
		"(SELECT d.oid FROM pg_database d WHERE d.datname = current_database()))) both_roles WHERE name LIKE "
		"'contratos.%'",
		mine, check->worker_role, names);
	if (names[0] == NULL)
		check_report(check, CHECK_OK, "this session and the worker have the same", NULL);
	else
		check_report(check, CHECK_WARNING, psprintf("the worker has other values of %s", names[0]),
					 "They are set for this session, or for one of the two roles: the rows below are true for calls in "
					 "this session. RESET them, and check again.");
}

/* --------------------------------------------------------------------------
 * The owner of the target
 * -------------------------------------------------------------------------- */

char *
check_missing_grant(const Check *check)
{
	char *texts[2];

	if (!query_catalogs(
			check,
			"WITH code AS (SELECT 'pg_attrdef'::regclass::oid AS classid, a.oid AS objid FROM pg_attrdef a "
			"WHERE a.adrelid IN " TREE " UNION ALL SELECT 'pg_constraint'::regclass, c.oid FROM pg_constraint c "
			"WHERE c.conrelid IN " TREE " OR c.contypid <> 0 AND c.contypid IN "
			"(SELECT a.atttypid FROM pg_attribute a WHERE a.attrelid IN " TREE ") "
			"UNION ALL SELECT 'pg_class'::regclass, i.indexrelid FROM pg_index i WHERE i.indrelid IN " TREE "), "
			"used AS MATERIALIZED (SELECT d.refobjid, d.refclassid = 'pg_proc'::regclass AS is_function "
			"FROM code JOIN pg_depend d USING (classid, objid) LEFT JOIN pg_class s ON s.oid = d.refobjid "
			"AND d.refclassid = 'pg_class'::regclass AND s.relkind = 'S' "
			"WHERE d.refclassid = 'pg_proc'::regclass OR s.oid IS NOT NULL) "
			"SELECT CASE WHEN is_function THEN format('EXECUTE ON FUNCTION %s', refobjid::regprocedure) "
			"ELSE format('USAGE ON SEQUENCE %s', refobjid::regclass) END, NULL::text FROM used "
			"WHERE NOT CASE WHEN is_function THEN has_function_privilege($2, refobjid, 'EXECUTE') "
			"ELSE has_sequence_privilege($2, refobjid, 'USAGE, UPDATE') END ORDER BY 1 LIMIT 1",
			check->plan->target, check->plan->owner, texts))
		return NULL;
	return texts[0];
}

/* --------------------------------------------------------------------------
 * Publications
 * -------------------------------------------------------------------------- */

void
check_publication(Check *check)
{
	char *texts[2] = {0};
	Oid schema = extension_schema();

	(void) query_catalogs(check,
						  "SELECT string_agg(DISTINCT quote_ident(p.pubname), ', '), NULL::text "
						  "FROM pg_publication_tables p JOIN pg_namespace n ON n.nspname = p.schemaname "
						  "WHERE n.oid = $1 AND $2 = $2 "
						  "AND p.tablename IN ('contratos_sources', 'contratos_runs', 'contratos_rejects')",
						  schema, schema, texts);
	if (texts[0] == NULL)
		check_report(check, CHECK_OK, "none has contratos' own tables", NULL);
	else
		check_report(check, CHECK_WARNING, psprintf("contratos' own tables are in %s", texts[0]),
					 "Publish the tables that are loaded, without contratos' own: a subscriber that has contratos, "
					 "too, would take this server's sources and runs for its own.");
}

void
check_replica_identity(Check *check)
{
	char *texts[2] = {0};
	const char *name = check->plan != NULL ? check->plan->target_name : NULL;

	if (name == NULL)
	{
		check_report(check, CHECK_SKIPPED,
					 check->builtin ? "nothing is set up yet" : "the foreign table or the target has a problem", NULL);
		return;
	}
	(void) query_catalogs(
		check,
		"SELECT string_agg(DISTINCT quote_ident(p.pubname), ', '), min(format('%I.%I', n.nspname, c.relname)) "
		"FILTER (WHERE c.relreplident = 'n' OR c.relreplident IN ('d', 'i') AND NOT EXISTS (SELECT FROM pg_index i "
		"WHERE i.indrelid = c.oid AND CASE c.relreplident WHEN 'd' THEN i.indisprimary ELSE i.indisreplident END)) "
		"FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace, pg_publication b "
		"JOIN pg_publication_tables p ON p.pubname = b.pubname JOIN pg_namespace pn ON pn.nspname = p.schemaname "
		"JOIN pg_class pc ON pc.relname = p.tablename AND pc.relnamespace = pn.oid "
		"WHERE c.oid IN " TREE " AND c.relkind = 'r' AND b.pubdelete AND $2 = $2 "
		"AND (pc.oid = c.oid OR pc.oid IN (SELECT a.relid FROM pg_partition_ancestors(c.oid) a))",
		check->plan->target, check->plan->owner, texts);
	if (texts[0] == NULL)
		check_report(check, CHECK_OK, "not needed: no publication has its deletes", NULL);
	else if (texts[1] == NULL)
		check_report(check, CHECK_OK, psprintf("there is one, for publication %s", texts[0]), NULL);
	else
		check_report(check, CHECK_FAILED, psprintf("none on %s, in publication %s", texts[1], texts[0]),
					 psprintf("ALTER TABLE %s REPLICA IDENTITY FULL;", texts[1]));
}
