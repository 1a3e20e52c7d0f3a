/*
 * extension.c
 *	  Where this extension is installed, and how its own SQL is run.
 *
 * Nothing is cached from one call to the next: DROP EXTENSION and CREATE EXTENSION
 * in another session may move everything, and a cached schema OID would then be
 * invalid, or that of another schema.  A lookup in pg_extension is cheap compared
 * with a query to BigQuery.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/pg_extension.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"

#include "ledger/extension.h"

/*
 * The extension's OID, or InvalidOid, its schema and, unless NULL, its version.
 * Not by get_extension_schema(), which is not exported before PostgreSQL 16.
 */
static Oid
extension_find(Oid *schema, char **version)
{
	Relation catalog = table_open(ExtensionRelationId, AccessShareLock);
	ScanKeyData key;

	ScanKeyInit(&key, Anum_pg_extension_extname, BTEqualStrategyNumber, F_NAMEEQ, CStringGetDatum("contratos"));
	SysScanDesc scan = systable_beginscan(catalog, ExtensionNameIndexId, true, NULL, 1, &key);

	Oid extension = InvalidOid;
	*schema = InvalidOid;
	HeapTuple tuple = systable_getnext(scan);
	if (HeapTupleIsValid(tuple))
	{
		Form_pg_extension form = (Form_pg_extension) GETSTRUCT(tuple);
		extension = form->oid;
		*schema = form->extnamespace;
		if (version != NULL)
		{
			bool isnull;
			Datum value = heap_getattr(tuple, Anum_pg_extension_extversion, RelationGetDescr(catalog), &isnull);

			*version = isnull ? NULL : TextDatumGetCString(value);
		}
	}
	systable_endscan(scan);
	table_close(catalog, AccessShareLock);
	return extension;
}

/* The same, but 42704 when it is not installed. */
static Oid
extension_must_find(Oid *schema, char **version)
{
	Oid extension = extension_find(schema, version);

	if (!OidIsValid(extension))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT), errmsg("extension \"contratos\" is not installed in this database"),
				 errhint("Run CREATE EXTENSION contratos.")));
	return extension;
}

Oid
extension_try_lock(void)
{
	for (;;)
	{
		Oid schema;
		Oid extension = extension_find(&schema, NULL);

		if (!OidIsValid(extension))
			return InvalidOid;
		LockDatabaseObject(ExtensionRelationId, extension, 0, AccessShareLock);

		/* it may have been dropped, and even recreated, during the wait */
		if (extension_find(&schema, NULL) == extension)
			return extension;
		UnlockDatabaseObject(ExtensionRelationId, extension, 0, AccessShareLock);
	}
}

Oid
extension_lock(void)
{
	Oid extension = extension_try_lock();
	Oid schema;

	return OidIsValid(extension) ? extension : extension_must_find(&schema, NULL);
}

Oid
extension_schema(void)
{
	Oid schema;

	extension_must_find(&schema, NULL);
	return schema;
}

char *
extension_version(void)
{
	Oid schema;
	char *version = NULL;

	extension_must_find(&schema, &version);
	return version;
}

bool
extension_fits_library(int elevel)
{
	char *version = extension_version();
	bool fits = strcmp(version, CONTRATOS_VERSION) == 0;

	if (!fits && elevel != 0)
		ereport(elevel,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("extension \"contratos\" is of version %s, but the library is of version %s", version,
						CONTRATOS_VERSION),
				 errhint("Run ALTER EXTENSION contratos UPDATE; when that is done already, restart the server, or "
						 "where the library is not preloaded begin a new session, to load the new library.")));
	return fits;
}

void
extension_lock_for_call(void)
{
	static TimestampTz warned_at = 0;
	TimestampTz statement = GetCurrentStatementStartTimestamp();

	extension_lock();
	if (warned_at != statement && !extension_fits_library(WARNING))
		warned_at = statement;
}

char *
extension_schema_name(void)
{
	Oid schema = extension_schema();
	char *name = get_namespace_name(schema);

	if (name == NULL)
		elog(ERROR, "cache lookup failed for namespace %u", schema);
	return pstrdup(quote_identifier(name));
}

Oid
extension_relation(const char *name)
{
	Oid relid = get_relname_relid(name, extension_schema());

	if (!OidIsValid(relid))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE), errmsg("table \"%s\" of extension \"contratos\" is missing", name),
				 errhint("Bring the extension up to date with ALTER EXTENSION contratos UPDATE.")));
	return relid;
}

Oid
extension_relation_owner(Oid relid)
{
	HeapTuple tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(relid));

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for relation %u", relid);
	Oid owner = ((Form_pg_class) GETSTRUCT(tuple))->relowner;
	ReleaseSysCache(tuple);
	return owner;
}

int
extension_pin_settings(void)
{
	static const char *const dumps[] = {"debug_print_parse", "debug_print_rewritten", "debug_print_plan"};
	int level = NewGUCNestLevel();

	/* temporary objects last, so that none of them can hide an object of pg_catalog */
	(void) set_config_option("search_path", "pg_catalog, pg_temp", PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, 0,
							 false);
	/* rows that a policy hides cause an error, never an incomplete result */
	(void) set_config_option("row_security", "off", PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
	/* it would cost more than the statement: the planner cannot know how few days there are */
	(void) set_config_option("jit", "off", PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
	/* they would show the caller values of statements that run as another role */
	if (Debug_print_parse || Debug_print_rewritten || Debug_print_plan)
		for (int i = 0; i < (int) lengthof(dumps); i++)
			(void) set_config_option(dumps[i], "off", PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
	return level;
}
