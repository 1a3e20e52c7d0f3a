/*
 * setup.c
 *	  The built-in source: server bigquery, foreign table bigquery_tokens, table
 *	  tokens and its row in contratos_sources.
 *
 * They could be created by the extension's script; but then they would belong to
 * the extension, pg_dump would leave out their options and lose their rows after
 * an ADD COLUMN, and DROP EXTENSION would drop the data.  Created by a call they
 * belong to the user, like any other table.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_class.h"
#include "catalog/pg_extension.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "commands/comment.h"
#include "commands/defrem.h"
#include "foreign/foreign.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/syscache.h"

#include "ledger/extension.h"
#include "ledger/ledger_history.h"
#include "ledger/ledger_source.h"
#include "ledger/statement.h"
#include "load/load.h"
#include "load/setup.h"

#define SETUP_REMOTE "bigquery_tokens"
#define SETUP_TARGET "tokens"
#define SETUP_REMOTE_OPTIONS                                                                                           \
	"\"table\" '" SETUP_TABLE "', "                                                                                    \
	"partition_column '" SETUP_TIMESTAMP "', require_filter 'true'"

/*
 * REQUIRED columns of BigQuery are NOT NULL in both tables.  The texts that contracts give as
 * numbers are anything: one bad row must not stop a query of all columns.
 */
const SetupColumn setup_columns[SETUP_NCOLUMNS] = {
	{"address", TEXTOID, "text OPTIONS (type 'STRING') NOT NULL", "text NOT NULL",
	 "address of the token''s contract; not unique: a contract can be made again at the same address"},
	{"symbol", TEXTOID, "text OPTIONS (type 'STRING')", "text", "symbol of the token, as its contract says"},
	{"name", TEXTOID, "text OPTIONS (type 'STRING')", "text", "name of the token, as its contract says"},
	{"decimals", NUMERICOID, "numeric OPTIONS (type 'STRING', on_bad_value 'null')", "numeric",
	 "number of decimal places the token uses"},
	{"total_supply", NUMERICOID, "numeric OPTIONS (type 'STRING', on_bad_value 'null')", "numeric",
	 "total supply, in the smallest unit"},
	{"block_timestamp", TIMESTAMPTZOID, "timestamptz OPTIONS (type 'TIMESTAMP') NOT NULL", "timestamptz NOT NULL",
	 "time of the block that made the contract; a day is cut by it, in UTC"},
	{"block_number", INT8OID, "bigint OPTIONS (type 'INT64') NOT NULL", "bigint NOT NULL", "number of that block"},
	{"block_hash", TEXTOID, "text OPTIONS (type 'STRING') NOT NULL", "text NOT NULL", "hash of that block"},
};

/*
 * `block` reads like 2023-11-09 11:12:47+00:00_0x5e07…_18534012.  A cast of a
 * timestamp or a date to text, and to_char(), depend on settings, and a function
 * of ours would tie the table to the extension.  So the text is put together from
 * parts; only the output of type time depends on no setting.  An interval as time zone
 * needs no look-up, and date_part() no numeric; the year may be infinite, which no
 * integer is.
 */
#define SETUP_UTC "(" SETUP_TIMESTAMP " AT TIME ZONE INTERVAL '0')"
#define SETUP_BLOCK SETUP_BLOCK_OF(SETUP_UTC)
#define SETUP_BLOCK_OF(utc)                                                                                            \
	"lpad(extract(year FROM " utc ")::text, 4, '0') || '-' || "                                                        \
	"lpad(date_part('month', " utc ")::integer::text, 2, '0') || '-' || "                                              \
	"lpad(date_part('day', " utc ")::integer::text, 2, '0') || ' ' || "                                                \
	"date_trunc('second', " utc ")::time::text || '+00:00_' || block_hash || '_' || block_number::text"
/*
 * The table's own function for it, so that \d shows the table in a terminal.  It belongs to
 * the table's owner, and is inlined: a statement runs the expression itself.
 */
#define SETUP_BLOCK_FUNCTION "tokens_block"
#define SETUP_BLOCK_ARGUMENTS SETUP_TIMESTAMP " timestamptz, block_hash text, block_number bigint"
#define SETUP_BLOCK_COLUMN "block"
#define SETUP_BLOCK_FUNCTION_COMMENT "the column " SETUP_BLOCK_COLUMN " of table " SETUP_TARGET
#define SETUP_BLOCK_COMMENT "block_timestamp (UTC, whole seconds), block_hash and block_number in one text"

static bool
setup_is_text(Oid type)
{
	return type == TEXTOID || type == VARCHAROID || type == BPCHAROID;
}

/*
 * Whether the column exists, and has a type that can be used in a generated text
 * without a cast that depends on settings.
 */
static bool
setup_can_be_part(Relation target, const char *column)
{
	Oid type = get_atttype(RelationGetRelid(target), get_attnum(RelationGetRelid(target), column));

	return setup_is_text(type) || type == INT4OID || type == INT8OID || type == NUMERICOID;
}

char *
setup_fill_column(const char *remote, const char *name, Relation target, const char *column)
{
	Oid relid = RelationGetRelid(target);
	Form_pg_attribute attribute = TupleDescAttr(RelationGetDescr(target), get_attnum(relid, column) - 1);
	Oid timestamp = get_atttype(relid, get_attnum(relid, SETUP_TIMESTAMP));

	if (strcmp(remote, SETUP_TABLE) != 0 || strcmp(column, SETUP_BLOCK_COLUMN) != 0 ||
		target->rd_rel->relkind == RELKIND_VIEW || attribute->attinhcount > 0 || !setup_is_text(attribute->atttypid) ||
		(timestamp != TIMESTAMPTZOID && timestamp != TIMESTAMPOID) || !setup_can_be_part(target, "block_hash") ||
		!setup_can_be_part(target, "block_number"))
		return NULL;
	/* of type text, as its present type may be too narrow */
	return psprintf("ALTER TABLE %s DROP COLUMN %s, ADD COLUMN %s text GENERATED ALWAYS AS (%s) STORED;", name, column,
					column, timestamp == TIMESTAMPTZOID ? SETUP_BLOCK : SETUP_BLOCK_OF(SETUP_TIMESTAMP));
}

/* The objects of the built-in source, as far as they exist. */
typedef struct Setup
{
	Oid schema;
	char *schema_name; /* quoted */
	Oid wrapper;
	Oid server; /* InvalidOid: to be created, as for the next two */
	Oid remote;
	Oid target;
	bool has_source;
} Setup;

/* A server or foreign table of that name must belong to this wrapper. */
static void
setup_check_kind(const Setup *setup)
{
	if (OidIsValid(setup->server) && GetForeignServer(setup->server)->fdwid != setup->wrapper)
		ereport(ERROR,
				(errcode(ERRCODE_DUPLICATE_OBJECT),
				 errmsg("server \"%s\" exists and belongs to another foreign-data wrapper", SETUP_SERVER),
				 errhint("Rename it (ALTER SERVER %s RENAME TO ...) and call contratos_setup() again.", SETUP_SERVER)));
	if (OidIsValid(setup->remote) &&
		(get_rel_relkind(setup->remote) != RELKIND_FOREIGN_TABLE ||
		 GetForeignServer(GetForeignTable(setup->remote)->serverid)->fdwid != setup->wrapper))
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("%s.%s exists and is not a foreign table of contratos", setup->schema_name, SETUP_REMOTE),
				 errhint("Rename it and call contratos_setup() again.")));
}

static Setup
setup_look(void)
{
	Oid schema = extension_schema();
	Setup setup = {
		.schema = schema,
		.schema_name = extension_schema_name(),
		.wrapper = get_foreign_data_wrapper_oid("contratos", false),
		.server = get_foreign_server_oid(SETUP_SERVER, true),
		.remote = get_relname_relid(SETUP_REMOTE, schema),
		.target = get_relname_relid(SETUP_TARGET, schema),
		.has_source = ledger_has_source(SETUP_SOURCE),
	};

	setup_check_kind(&setup);
	return setup;
}

/*
 * Add "right on object" to the list unless the current user has it.  Calls the SQL
 * function, because the C function below it has another name from PostgreSQL 16
 * on.
 */
static void
setup_need(StringInfo missing, PGFunction has_privilege, Oid object, const char *right, const char *kind,
		   const char *name)
{
	Datum has = DirectFunctionCall2(has_privilege, ObjectIdGetDatum(object), CStringGetTextDatum(right));

	if (!DatumGetBool(has))
		appendStringInfo(missing, "%s%s on %s %s", missing->len > 0 ? ", " : "", right, kind, name);
}

/* All missing privileges are reported at once, before anything is created. */
static void
setup_check_rights(const Setup *setup)
{
	StringInfoData missing;

	initStringInfo(&missing);
	if (!OidIsValid(setup->remote) || !OidIsValid(setup->target))
		setup_need(&missing, has_schema_privilege_id, setup->schema, "CREATE", "schema", setup->schema_name);
	if (!OidIsValid(setup->server))
		setup_need(&missing, has_foreign_data_wrapper_privilege_id, setup->wrapper, "USAGE", "foreign-data wrapper",
				   "contratos");
	else if (!OidIsValid(setup->remote))
		setup_need(&missing, has_server_privilege_id, setup->server, "USAGE", "server", SETUP_SERVER);

	/* loads will run as its owner, so only the owner may have it registered */
	if (OidIsValid(setup->target) && !setup->has_source &&
		!has_privs_of_role(GetUserId(), extension_relation_owner(setup->target)))
		appendStringInfo(&missing, "%sownership of %s.%s", missing.len > 0 ? ", " : "", setup->schema_name,
						 SETUP_TARGET);
	if (missing.len > 0)
		ereport(ERROR, (errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
						errmsg("permission denied to set up source \"%s\"", SETUP_SOURCE),
						errdetail("Role \"%s\" lacks: %s.", GetUserNameFromId(GetUserId(), false), missing.data),
						errhint("Have a superuser, or a role that has these rights, call %s.contratos_setup() once.",
								setup->schema_name)));
}

static void setup_execute(const char *format, ...) pg_attribute_printf(1, 2);

/* Run one utility statement; SPI is connected. */
static void
setup_execute(const char *format, ...)
{
	StringInfoData sql;

	initStringInfo(&sql);
	for (;;)
	{
		va_list args;
		va_start(args, format);
		int more = appendStringInfoVA(&sql, format, args);
		va_end(args);
		if (more == 0)
			break;
		enlargeStringInfo(&sql, more);
	}
	statement_execute(sql.data, &(StatementArgs){0}, NULL, SPI_OK_UTILITY);
}

/* Add comments to the columns that both tables have. */
static void
setup_comment_columns(const char *schema, const char *table)
{
	for (int i = 0; i < SETUP_NCOLUMNS; i++)
		setup_execute("COMMENT ON COLUMN %s.%s.%s IS '%s'", schema, table, setup_columns[i].name,
					  setup_columns[i].comment);
}

static void
setup_make_remote(const char *schema)
{
	StringInfoData columns;

	initStringInfo(&columns);
	for (int i = 0; i < SETUP_NCOLUMNS; i++)
		appendStringInfo(&columns, "%s%s %s", i > 0 ? ", " : "", setup_columns[i].name,
						 setup_columns[i].remote_definition);
	setup_execute("CREATE FOREIGN TABLE %s.%s (%s) SERVER %s OPTIONS (%s)", schema, SETUP_REMOTE, columns.data,
				  SETUP_SERVER, SETUP_REMOTE_OPTIONS);
	setup_execute("COMMENT ON FOREIGN TABLE %s.%s IS "
				  "'Ethereum''s token contracts, in BigQuery: each query is billed'",
				  schema, SETUP_REMOTE);
	setup_comment_columns(schema, SETUP_REMOTE);
	ereport(NOTICE, (errmsg("created foreign table %s.%s", schema, SETUP_REMOTE)));
}

/*
 * An index on tokens.  Its name is chosen as CREATE INDEX would: after an old
 * tokens was renamed, its indexes still have theirs.
 */
static void
setup_make_index(const Setup *setup, const char *column, const char *operator_class, const char *comment)
{
	const char *name = quote_identifier(ChooseRelationName(SETUP_TARGET, column, "idx", setup->schema, false));

	setup_execute("CREATE INDEX %s ON %s.%s (%s %s)", name, setup->schema_name, SETUP_TARGET, column, operator_class);
	setup_execute("COMMENT ON INDEX %s.%s IS '%s'", setup->schema_name, name, comment);
}

/*
 * Whether a routine with name and arguments of the function is not the one that an earlier
 * set-up of this role made, so that another role could change it, or something else calls it.
 */
static bool
setup_is_taken(Oid schema)
{
	Oid arguments[] = {TIMESTAMPTZOID, TEXTOID, INT8OID};
	HeapTuple exists =
		SearchSysCache3(PROCNAMEARGSNSP, CStringGetDatum(SETUP_BLOCK_FUNCTION),
						PointerGetDatum(buildoidvector(arguments, lengthof(arguments))), ObjectIdGetDatum(schema));

	if (!HeapTupleIsValid(exists))
		return false;

	Form_pg_proc function = (Form_pg_proc) GETSTRUCT(exists);
	const char *comment = GetComment(function->oid, ProcedureRelationId, 0);
	bool taken =
		function->proowner != GetUserId() || comment == NULL || strcmp(comment, SETUP_BLOCK_FUNCTION_COMMENT) != 0;

	ReleaseSysCache(exists);
	return taken;
}

/*
 * The expression of `block`: a call of the function, which is made or replaced; or what the
 * function does, if its name is taken.
 */
static const char *
setup_make_block(const Setup *setup)
{
	const char *schema = setup->schema_name;

	if (setup_is_taken(setup->schema))
		return SETUP_BLOCK;
	setup_execute("CREATE OR REPLACE FUNCTION %s." SETUP_BLOCK_FUNCTION "(" SETUP_BLOCK_ARGUMENTS ") RETURNS text "
				  "LANGUAGE sql IMMUTABLE PARALLEL SAFE RETURN " SETUP_BLOCK,
				  schema);
	/* whatever the default privileges are: an INSERT into the table calls it */
	setup_execute("GRANT EXECUTE ON FUNCTION %s." SETUP_BLOCK_FUNCTION "(timestamptz, text, bigint) TO PUBLIC", schema);
	setup_execute("COMMENT ON FUNCTION %s." SETUP_BLOCK_FUNCTION "(timestamptz, text, bigint) IS "
				  "'" SETUP_BLOCK_FUNCTION_COMMENT "'",
				  schema);
	return psprintf("%s." SETUP_BLOCK_FUNCTION "(" SETUP_TIMESTAMP ", block_hash, block_number)", schema);
}

/* No primary key: the source has none. */
static void
setup_make_target(const Setup *setup)
{
	const char *schema = setup->schema_name;
	const char *block = setup_make_block(setup);
	StringInfoData columns;

	initStringInfo(&columns);
	for (int i = 0; i < SETUP_NCOLUMNS; i++)
		appendStringInfo(&columns, "%s %s, ", setup_columns[i].name, setup_columns[i].definition);
	setup_execute("CREATE TABLE %s.%s (%s " SETUP_BLOCK_COLUMN " text GENERATED ALWAYS AS (%s) STORED)", schema,
				  SETUP_TARGET, columns.data, block);
	setup_execute("COMMENT ON TABLE %s.%s IS 'Ethereum''s token contracts, kept equal to BigQuery''s day by day'",
				  schema, SETUP_TARGET);
	setup_comment_columns(schema, SETUP_TARGET);
	setup_execute("COMMENT ON COLUMN %s.%s." SETUP_BLOCK_COLUMN " IS '%s'", schema, SETUP_TARGET, SETUP_BLOCK_COMMENT);
	/* without a primary key a publication of all tables would refuse to delete a day */
	setup_execute("ALTER TABLE %s.%s REPLICA IDENTITY FULL", schema, SETUP_TARGET);
	setup_make_index(setup, SETUP_TIMESTAMP, "", "finds the rows of a day");
	setup_make_index(setup, "address", "text_pattern_ops", "finds a contract by its address, or the start of it");
	ereport(NOTICE, (errmsg("created table %s.%s", schema, SETUP_TARGET)));
}

/* Everything but the source row. */
static void
setup_make_objects(const Setup *setup)
{
	MemoryContext context = CurrentMemoryContext;
	List *event_functions = setup_event_functions();
	int level = extension_pin_settings();

	PG_TRY();
	{
		SPI_connect();
		if (!OidIsValid(setup->server))
		{
			setup_execute("CREATE SERVER %s FOREIGN DATA WRAPPER contratos", SETUP_SERVER);
			setup_execute("COMMENT ON SERVER %s IS 'BigQuery'", SETUP_SERVER);
			ereport(NOTICE, (errmsg("created server %s", SETUP_SERVER)));
		}
		if (!OidIsValid(setup->remote))
			setup_make_remote(setup->schema_name);
		if (!OidIsValid(setup->target))
			setup_make_target(setup);
		SPI_finish();
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(context);
		ErrorData *edata = CopyErrorData();
		FlushErrorState();
		AtEOXact_GUC(true, level);
		setup_blame_event_trigger(event_functions, edata);
		ReThrowError(edata);
	}
	PG_END_TRY();
	AtEOXact_GUC(true, level);
}

void
setup_check_role(Oid role)
{
	Setup setup = setup_look();
	Oid user;
	int context;

	GetUserIdAndSecContext(&user, &context);
	SetUserIdAndSecContext(role, context | SECURITY_LOCAL_USERID_CHANGE);
	setup_check_rights(&setup);
	SetUserIdAndSecContext(user, context);
}

Oid
setup_check_target(void)
{
	Oid schema = extension_schema();
	Oid target = get_relname_relid(SETUP_TARGET, schema);

	if (OidIsValid(target))
		setup_check_fit(target, get_relname_relid(SETUP_REMOTE, schema));
	return target;
}

void
setup_builtin(void)
{
	/* when two first calls run at once, the second waits, and then finds all objects */
	LockDatabaseObject(ExtensionRelationId, extension_lock(), 0, ShareUpdateExclusiveLock);

	Setup setup = setup_look();
	LedgerSuccess last;
	setup_check_rights(&setup);
	if (OidIsValid(setup.target) && !setup.has_source)
		setup_adopt(setup.target, setup.remote);
	setup_make_objects(&setup);
	LedgerSource source = {
		.name = SETUP_SOURCE,
		.remote_table = psprintf("%s.%s", setup.schema_name, SETUP_REMOTE),
		.target_table = psprintf("%s.%s", setup.schema_name, SETUP_TARGET),
		.timestamp_column = SETUP_TIMESTAMP,
	};
	if (!setup.has_source && ledger_add_source(&source, true))
		ereport(NOTICE, (errmsg("registered source %s", SETUP_SOURCE)));
	/* the worker may have set it up, so that nobody has seen what the first load will do */
	if (setup.has_source && !ledger_newest_success(SETUP_SOURCE, &last))
		load_report(ledger_source(SETUP_SOURCE));
}

void
setup_if_untouched(void)
{
	Oid extension = extension_lock();

	if (!ledger_is_untouched())
		return;
	LockDatabaseObject(ExtensionRelationId, extension, 0, ShareUpdateExclusiveLock);
	if (ledger_is_untouched())
		setup_builtin();
}
