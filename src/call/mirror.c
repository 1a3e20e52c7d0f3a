/*
 * mirror.c
 *	  contratos_mirror(): foreign table, target, index and source for another
 *	  BigQuery table, in one call.
 *
 * They are the statements that the caller could run: everything is created as the
 * caller, with the caller's search_path and privileges, and belongs to the caller.
 * Only the source is registered as the owner of contratos_sources, which is safe since
 * both of its tables are the caller's own.
 */
#include "postgres.h"

#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "commands/dbcommands.h"
#include "commands/defrem.h"
#include "executor/spi.h"
#include "foreign/foreign.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "nodes/primnodes.h"
#include "tcop/utility.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/lsyscache.h"
#include "utils/varlena.h"

#include "base/day.h"
#include "base/settings.h"
#include "call/mirror.h"
#include "call/run.h"
#include "fdw/fdw.h"
#include "ledger/extension.h"
#include "ledger/ledger_source.h"
#include "ledger/schedule.h"
#include "ledger/statement.h"
#include "load/load.h"
#include "load/setup.h"
#include "remote/options.h"

#define FUNCTION "contratos_mirror()"
#define REMOTE_PREFIX "bigquery_"

/* The names of the objects, before they exist. */
typedef struct Names
{
	Oid schema;
	char *schema_name;
	char *dataset;
	char *remote; /* BigQuery's table, without its dataset */
	char *foreign; /* without schema, as the next two */
	char *target;
	char *source;
} Names;

static void
split_remote(const char *remote, Names *names)
{
	const char *dot = strrchr(remote, '.');
	bool complete = dot != NULL && dot != remote && dot[1] != '\0';
	const char *problem = NULL;

	if (complete)
	{
		names->dataset = pnstrdup(remote, dot - remote);
		names->remote = pstrdup(dot + 1);
		problem = options_dataset_problem(names->dataset);
	}
	if (!complete || problem != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("\"%s\" is not the name of a BigQuery table", remote),
				 problem != NULL ? errdetail_internal("%s", problem) : 0,
				 errhint("Write it as 'project.dataset.table'.")));
}

/* BigQuery's name in lower case, with _ for what an identifier without quotes cannot have. */
static char *
plain_name(const char *remote)
{
	char *name = psprintf("%s%s", isdigit((unsigned char) remote[0]) ? "_" : "", remote);

	for (char *c = name; *c != '\0'; c++)
	{
		*c = pg_ascii_tolower((unsigned char) *c);
		if (!(*c >= 'a' && *c <= 'z') && !(*c >= '0' && *c <= '9'))
			*c = '_';
	}
	return name;
}

static Oid
current_schema_oid(void)
{
	List *path = fetch_search_path(false);

	if (path == NIL)
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_SCHEMA), errmsg("no schema has been selected to create in"),
						errhint("Name one: target => 'schema.table'.")));
	return linitial_oid(path);
}

/* As the CHECK of contratos_sources has it. */
static bool
can_be_source(const char *name)
{
	return strlen(name) < NAMEDATALEN && strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_") == strlen(name) &&
		   name[0] != '\0' && !isdigit((unsigned char) name[0]);
}

static Names *
choose_names(const MirrorRequest *request)
{
	Names *names = palloc0(sizeof(Names));

	split_remote(request->remote, names);
	if (request->target == NULL)
	{
		names->target = plain_name(names->remote);
		names->schema = current_schema_oid();
	}
	else
	{
		RangeVar *range = makeRangeVarFromNameList(textToQualifiedNameList(cstring_to_text(request->target)));

		if (range->catalogname != NULL && strcmp(range->catalogname, get_database_name(MyDatabaseId)) != 0)
			ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
							errmsg("\"%s\" is a table of another database", request->target),
							errhint("Write the target as 'schema.table'.")));
		names->target = range->relname;
		names->schema = range->schemaname != NULL ? get_namespace_oid(range->schemaname, false) : current_schema_oid();
	}
	names->schema_name = get_namespace_name(names->schema);
	names->foreign = psprintf(REMOTE_PREFIX "%s", names->target);
	if (strlen(names->foreign) >= NAMEDATALEN)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("name \"%s\" of the foreign table is too long", names->foreign),
						errhint("Give the target a shorter name: target => '...'.")));
	names->source = pstrdup(request->name != NULL ? request->name : names->target);
	if (!can_be_source(names->source))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("\"%s\" cannot be the name of a source", names->source),
						errdetail("It consists of lower-case letters, digits and _, and does not begin with a digit."),
						errhint("Give the source another name: name => '...'.")));
	return names;
}

static void
check_free(const Names *names)
{
	const char *const relations[] = {names->target, names->foreign};

	/* calls without a source load that of set-up: a role with EXECUTE alone must not choose its tables */
	if (strcmp(names->source, SETUP_SOURCE) == 0 &&
		pg_class_aclcheck(extension_relation("contratos_sources"), GetUserId(), ACL_INSERT) != ACLCHECK_OK)
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied to register source \"%s\"", SETUP_SOURCE),
				 errdetail("It is the built-in source, and the default of all calls."),
				 errhint("SELECT contratos_setup() makes it. For another table, give the source another name: name "
						 "=> '...'.")));
	for (int i = 0; i < (int) lengthof(relations); i++)
		if (OidIsValid(get_relname_relid(relations[i], names->schema)))
			ereport(ERROR,
					(errcode(ERRCODE_DUPLICATE_OBJECT),
					 errmsg("relation %s already exists", quote_qualified_identifier(names->schema_name, relations[i])),
					 errhint("Give the target another name: target => 'schema.table'. For a table that exists, "
							 "import the foreign table and insert a row into contratos_sources.")));
	if (ledger_has_source(names->source))
		ereport(ERROR, (errcode(ERRCODE_DUPLICATE_OBJECT), errmsg("source \"%s\" already exists", names->source),
						errhint("Give the source another name: name => '...'.")));
}

/* 42501 unless the current user has the privilege; by the SQL function, as in setup.c. */
static void
require(PGFunction has_privilege, Oid object, const char *right, const char *kind, const char *name)
{
	if (DatumGetBool(DirectFunctionCall2(has_privilege, ObjectIdGetDatum(object), CStringGetTextDatum(right))))
		return;
	ereport(ERROR, (errcode(ERRCODE_INSUFFICIENT_PRIVILEGE), errmsg("permission denied to create a mirror"),
					errdetail("It needs %s on %s %s.", right, kind, name),
					errhint("GRANT %s ON %s %s TO %s;", right, kind, quote_identifier(name),
							quote_identifier(GetUserNameFromId(GetUserId(), false)))));
}

/* Before BigQuery is asked with the server's key. */
static void
check_privileges(const char *server, const Names *names)
{
	Oid serverid = get_foreign_server_oid(server, true);

	if (!OidIsValid(serverid))
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_OBJECT), errmsg("server \"%s\" does not exist", server),
						errhint("CREATE SERVER %s FOREIGN DATA WRAPPER contratos;", quote_identifier(server))));
	if (GetForeignServer(serverid)->fdwid != get_foreign_data_wrapper_oid("contratos", false))
		ereport(ERROR, (errcode(ERRCODE_WRONG_OBJECT_TYPE),
						errmsg("server \"%s\" belongs to another foreign-data wrapper", server),
						errhint("Name a server created with FOREIGN DATA WRAPPER contratos.")));
	require(has_server_privilege_id, serverid, "USAGE", "FOREIGN SERVER", server);
	require(has_schema_privilege_id, names->schema, "CREATE", "SCHEMA", names->schema_name);
}

/* Whether days can be cut by a column, as it was imported. */
static bool
cuts_days(const RemoteColumn *column)
{
	return column->type == TIMESTAMPTZOID || column->type == TIMESTAMPOID || column->type == DATEOID;
}

/* The timestamp_column; NULL: none, as the whole table is replaced. */
static const char *
choose_column(const MirrorRequest *request, const RemoteTable *table)
{
	const char *wanted = request->timestamp_column != NULL ? request->timestamp_column : table->partition_column;
	StringInfoData candidates;
	const char *first = NULL;

	if (request->snapshot)
		return NULL;
	initStringInfo(&candidates);
	for (int i = 0; i < table->ncolumns; i++)
	{
		const RemoteColumn *column = &table->columns[i];

		if (!cuts_days(column))
			continue;
		if (wanted != NULL && strcmp(column->name, wanted) == 0)
			return column->name;
		first = first != NULL ? first : column->name;
		appendStringInfo(&candidates, "%s%s", candidates.len > 0 ? ", " : "", quote_identifier(column->name));
	}
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 request->timestamp_column != NULL
				 ? errmsg("days of \"%s\" cannot be cut by column \"%s\"", request->remote, wanted)
				 : errmsg("the column that cuts \"%s\" into days is not known", request->remote),
			 first != NULL ? errdetail("Columns that can: %s.", candidates.data)
						   : errdetail("It has no column of type TIMESTAMP, DATETIME or DATE."),
			 first != NULL ? errhint("Name it: timestamp_column => '%s'. Or snapshot => true, to replace the whole "
									 "table each day.",
									 first)
						   : errhint("snapshot => true replaces the whole table each day.")));
	return NULL;
}

static void run_statement(const char *format, ...) pg_attribute_printf(1, 2);

/* Run one utility statement; SPI is connected. */
static void
run_statement(const char *format, ...)
{
	va_list args;
	char sql[1024]; /* names only, each of 63 bytes at most */

	va_start(args, format);
	vsnprintf(sql, sizeof(sql), format, args);
	va_end(args);
	statement_execute(sql, &(StatementArgs){0}, NULL, SPI_OK_UTILITY);
}

/* Foreign table, target and index; the timestamp_column is returned. */
static const char *
create_tables(const MirrorRequest *request, const Names *names, const Mirror *mirror)
{
	char *command = fdw_import_table(request->server, names->dataset, names->remote, mirror->remote_table);
	RemoteTable *table;
	const char *column;

	if (command == NULL)
		ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED), errmsg("\"%s\" cannot be mirrored", request->remote),
						errdetail("The NOTICE before this error says why.")));
	statement_execute(command, &(StatementArgs){0}, NULL, SPI_OK_UTILITY);
	table = options_table(get_relname_relid(names->foreign, names->schema));
	column = choose_column(request, table);
	/* it reads the whole table, and is meant to */
	if (request->snapshot && table->require_filter)
		run_statement("ALTER FOREIGN TABLE %s OPTIONS (SET require_filter 'false')", mirror->remote_table);
	run_statement("CREATE TABLE %s (LIKE %s)", mirror->target_table, mirror->remote_table);
	/* without a primary key a publication of all tables would refuse to delete a day */
	run_statement("ALTER TABLE %s REPLICA IDENTITY FULL", mirror->target_table);
	if (column != NULL)
		run_statement("CREATE INDEX ON %s (%s)", mirror->target_table, quote_identifier(column));
	return column;
}

static void
keep_estimate(void *arg, const RunEstimate *estimate)
{
	*(RunEstimate *) arg = *estimate;
}

Mirror *
mirror_create(const MirrorRequest *request)
{
	Mirror *mirror = palloc0(sizeof(Mirror));
	MemoryContext context = CurrentMemoryContext;
	DateADT yesterday = day_yesterday(settings_now());
	Names *names;

	PreventCommandDuringRecovery(FUNCTION);
	PreventCommandIfReadOnly(FUNCTION);
	extension_lock_for_call();
	if (request->snapshot && request->timestamp_column != NULL)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("a full-table source has no timestamp_column"),
						errhint("Give either snapshot => true or timestamp_column => '...'.")));
	names = choose_names(request);
	check_privileges(request->server, names);
	check_free(names);
	mirror->source = names->source;
	mirror->remote_table = quote_qualified_identifier(names->schema_name, names->foreign);
	mirror->target_table = quote_qualified_identifier(names->schema_name, names->target);

	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	mirror->timestamp_column = create_tables(request, names, mirror);
	if (mirror->timestamp_column != NULL)
		mirror->timestamp_column = MemoryContextStrdup(context, mirror->timestamp_column);
	SPI_finish();

	LedgerSource source = {
		.name = mirror->source,
		.remote_table = mirror->remote_table,
		.target_table = mirror->target_table,
		.timestamp_column = unconstify(char *, mirror->timestamp_column),
		.snapshot = request->snapshot,
	};
	/* the errors of a load; for the source itself they would be a WARNING */
	(void) load_plan_tables(&source);
	(void) ledger_add_source(&source, request->enabled);
	run_estimate(mirror->source, yesterday, yesterday, keep_estimate, &mirror->estimate);
	if (!request->enabled)
		ereport(NOTICE,
				(errmsg("source \"%s\" is registered and not enabled: nothing is loaded yet", mirror->source),
				 errhint("Load a day: SELECT * FROM contratos_run(source => '%s'); let the worker load it: UPDATE "
						 "contratos_sources SET enabled = true WHERE name = '%s';",
						 mirror->source, mirror->source)));
	return mirror;
}
