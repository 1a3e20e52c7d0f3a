/*
 * options.c
 *	  A foreign table, its columns and its connection as plain data, so that using
 *	  them needs no catalog, transaction or snapshot.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/relation.h"
#include "access/reloptions.h"
#include "catalog/pg_class.h"
#include "catalog/pg_user_mapping.h"
#include "commands/defrem.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/syscache.h"

#include "base/failure.h"
#include "base/settings.h"
#include "bigquery/bqtype.h"
#include "bigquery/connection.h"
#include "bigquery/message.h"
#include "bigquery/request.h"
#include "http/http.h"
#include "remote/options.h"

const char *
options_find(List *options, const char *name)
{
	ListCell *cell;

	foreach (cell, options)
	{
		DefElem *option = lfirst_node(DefElem, cell);

		if (strcmp(option->defname, name) == 0)
			return defGetString(option);
	}
	return NULL;
}

bool
options_parse_on_bad_value(const char *value, bool *null_on_bad_value)
{
	bool is_null = pg_strcasecmp(value, "null") == 0;

	if (!is_null && pg_strcasecmp(value, "error") != 0)
		return false;
	if (null_on_bad_value)
		*null_on_bad_value = is_null;
	return true;
}

/* GoogleSQL is UTF-8, whatever the database's encoding. */
static char *
to_utf8(const char *text)
{
	return text ? pstrdup(pg_server_to_any(text, strlen(text), PG_UTF8)) : NULL;
}

/* The handler identifies our foreign tables: wrappers can be renamed, and others can be created with it. */
static ForeignTable *
foreign_table_of_ours(Oid relid)
{
	char *name = get_rel_name(relid);

	if (name == NULL)
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_TABLE), errmsg("relation with OID %u does not exist", relid)));
	if (get_rel_relkind(relid) != RELKIND_FOREIGN_TABLE)
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE), errmsg("\"%s\" is not a foreign table", name),
				 errhint("In contratos_sources, remote_table is the foreign table and target_table the local one.")));

	ForeignTable *table = GetForeignTable(relid);
	ForeignDataWrapper *wrapper = GetForeignDataWrapper(GetForeignServer(table->serverid)->fdwid);
	char *handler = OidIsValid(wrapper->fdwhandler) ? get_func_name(wrapper->fdwhandler) : NULL;

	if (handler == NULL || strcmp(handler, "_contratos_fdw_handler") != 0)
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE), errmsg("foreign table \"%s\" does not belong to contratos", name),
				 errdetail("Its foreign-data wrapper is \"%s\".", wrapper->fdwname),
				 errhint("Name a foreign table of a server created with FOREIGN DATA WRAPPER contratos.")));
	return table;
}

/*
 * Add the server's project to a name without one.  If no project is set, the name is
 * returned unchanged: BigQuery then uses the project that runs the query.
 */
static char *
with_project(const char *name, ForeignServer *server)
{
	const char *project = options_find(server->options, "dataset_project");

	if (project == NULL)
		project = options_find(server->options, "project");
	if (project == NULL && *settings_project != '\0')
		project = settings_project;
	return to_utf8(project ? psprintf("%s.%s", project, name) : name);
}

char *
options_dataset(const char *name, Oid serverid)
{
	const char *problem = options_dataset_problem(name);

	if (problem != NULL)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("\"%s\" is not a valid dataset name", name),
						errdetail_internal("%s", problem),
						errhint("Write it in double quotes, without a table (LIMIT TO names tables): IMPORT FOREIGN "
								"SCHEMA \"project.dataset\" ...")));
	return strchr(name, '.') ? to_utf8(name) : with_project(name, GetForeignServer(serverid));
}

static void
read_column(const RemoteTable *table, Form_pg_attribute attribute, RemoteColumn *column)
{
	List *options = GetForeignColumnOptions(table->relid, attribute->attnum);
	const char *remote_name = options_find(options, "name");
	const char *remote_type = options_find(options, "type");
	const char *on_bad_value = options_find(options, "on_bad_value");

	column->attnum = attribute->attnum;
	column->name = pstrdup(NameStr(attribute->attname));
	column->remote_name = to_utf8(remote_name ? remote_name : column->name);
	if (remote_type != NULL)
		(void) bqtype_parse(remote_type, &column->remote_type);
	column->type = attribute->atttypid;
	column->typmod = attribute->atttypmod;
	column->not_null = attribute->attnotnull;
	column->null_on_bad_value = table->null_on_bad_value;
	if (on_bad_value != NULL)
		(void) options_parse_on_bad_value(on_bad_value, &column->null_on_bad_value);
}

static void
read_columns(Relation relation, RemoteTable *table)
{
	TupleDesc tuple_desc = RelationGetDescr(relation);

	table->columns = palloc0(sizeof(RemoteColumn) * Max(tuple_desc->natts, 1));
	for (int i = 0; i < tuple_desc->natts; i++)
	{
		Form_pg_attribute attribute = TupleDescAttr(tuple_desc, i);

		if (!attribute->attisdropped)
			read_column(table, attribute, &table->columns[table->ncolumns++]);
	}
}

/* A result cannot contain a column twice; the names of BigQuery's columns are case-insensitive. */
static void
check_remote_columns(const RemoteTable *table)
{
	for (int i = 0; i < table->ncolumns; i++)
	{
		for (int j = 0; j < i; j++)
		{
			if (pg_strcasecmp(table->columns[i].remote_name, table->columns[j].remote_name) == 0)
				ereport(ERROR, (errcode(ERRCODE_FDW_INVALID_COLUMN_NAME),
								errmsg("columns \"%s\" and \"%s\" of foreign table \"%s\" stand for the same column of "
									   "BigQuery",
									   table->columns[j].name, table->columns[i].name, get_rel_name(table->relid)),
								errhint("Set option \"name\" of one of them to the column it stands for.")));
		}
	}
}

static void
read_table_options(RemoteTable *table, List *options, ForeignServer *server)
{
	const char *name = options_find(options, "table");
	const char *partition_column = options_find(options, "partition_column");
	const char *require_filter = options_find(options, "require_filter");
	const char *on_bad_value = options_find(options, "on_bad_value");

	if (name == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_FDW_DYNAMIC_PARAMETER_VALUE_NEEDED),
				 errmsg("foreign table \"%s\" does not say which BigQuery table it is", get_rel_name(table->relid)),
				 errhint("Set its option \"table\" to 'project.dataset.table'.")));
	table->table = strchr(name, '.') != strrchr(name, '.') ? to_utf8(name) : with_project(name, server);
	table->row_filter = to_utf8(options_find(options, "row_filter"));
	table->partition_column = partition_column ? pstrdup(partition_column) : NULL;
	if (require_filter != NULL)
		(void) parse_bool(require_filter, &table->require_filter);
	if (on_bad_value != NULL)
		(void) options_parse_on_bad_value(on_bad_value, &table->null_on_bad_value);
}

RemoteTable *
options_table(Oid relid)
{
	Relation relation = try_relation_open(relid, AccessShareLock);
	ForeignTable *foreign = foreign_table_of_ours(relid); /* also reports why it cannot be opened */
	RemoteTable *table = palloc0(sizeof(RemoteTable));

	table->relid = relid;
	read_table_options(table, foreign->options, GetForeignServer(foreign->serverid));
	read_columns(relation, table);
	check_remote_columns(table);
	if (table->partition_column != NULL && options_column(table, table->partition_column) == NULL)
		ereport(ERROR, (errcode(ERRCODE_FDW_COLUMN_NAME_NOT_FOUND),
						errmsg("option \"partition_column\" of foreign table \"%s\" names column \"%s\", which does "
							   "not exist",
							   get_rel_name(relid), table->partition_column),
						errhint("Set it to the name of a column of the foreign table, not of the BigQuery table.")));
	relation_close(relation, NoLock);
	return table;
}

RemoteColumn *
options_column(RemoteTable *table, const char *name)
{
	for (int i = 0; i < table->ncolumns; i++)
	{
		if (strcmp(table->columns[i].name, name) == 0)
			return &table->columns[i];
	}
	return NULL;
}

/* --------------------------------------------------------------------------
 * The connection of a foreign table: the result of its options, those of its server
 * and of the user mapping, and the settings
 * -------------------------------------------------------------------------- */

/* The places of an option, the nearest first. */
typedef struct Layers
{
	List *mapping; /* options of the user mapping; NIL: none */
	ForeignServer *server;
} Layers;

/*
 * The options of the user mapping of userid, or else of PUBLIC.  GetUserMapping()
 * cannot be used: it throws when there is none.
 */
static List *
mapping_options(Oid userid, Oid serverid)
{
	HeapTuple tuple = SearchSysCache2(USERMAPPINGUSERSERVER, ObjectIdGetDatum(userid), ObjectIdGetDatum(serverid));

	if (!HeapTupleIsValid(tuple))
		tuple = SearchSysCache2(USERMAPPINGUSERSERVER, ObjectIdGetDatum(InvalidOid), ObjectIdGetDatum(serverid));
	if (!HeapTupleIsValid(tuple))
		return NIL;

	bool isnull;
	Datum options = SysCacheGetAttr(USERMAPPINGUSERSERVER, tuple, Anum_pg_user_mapping_umoptions, &isnull);
	List *list = isnull ? NIL : untransformRelOptions(options);

	ReleaseSysCache(tuple);
	return list;
}

/* The nearest value of an option, or NULL if only the setting is left. */
static const char *
nearest(const Layers *layers, const char *name)
{
	const char *value = options_find(layers->mapping, name);

	return value != NULL ? value : options_find(layers->server->options, name);
}

/* The same including the setting; NULL if the nearest value is ''. */
static char *
nearest_text(const Layers *layers, const char *name, const char *setting)
{
	const char *value = nearest(layers, name);

	if (value == NULL)
		value = setting;
	return (value && *value) ? pstrdup(value) : NULL;
}

static int
nearest_ms(const Layers *layers, const char *name, int setting)
{
	const char *value = nearest(layers, name);
	int number;

	return (value && parse_int(value, &number, GUC_UNIT_MS, NULL)) ? number : setting;
}

/* Lower the cap to that of `options`, if they have one and it is lower. */
static void
apply_cap(BqConnection *connection, List *options, const char *kind, const char *name)
{
	const char *value = options_find(options, "max_bytes_billed");
	int megabytes;

	if (value == NULL || !parse_int(value, &megabytes, GUC_UNIT_MB, NULL))
		return;

	int64 bytes = (int64) megabytes * 1024 * 1024;

	if (connection->max_bytes_billed != 0 && connection->max_bytes_billed <= bytes)
		return;
	connection->max_bytes_billed = bytes;
	connection->cap_name = psprintf("option max_bytes_billed of %s \"%s\"", kind, name);
}

/* https://host/ and https://host are the same; paths are appended with a slash. */
static void
set_endpoint(BqConnection *connection, const Layers *layers)
{
	char *url = nearest_text(layers, "endpoint", settings_endpoint);
	Failure f;

	if (url == NULL)
		url = pstrdup(SETTINGS_DEFAULT_ENDPOINT);
	for (size_t len = strlen(url); len > 0 && url[len - 1] == '/'; len--)
		url[len - 1] = '\0';
	if (!http_url_check(url, &f))
	{
		if (f.hint[0] == '\0')
			failure_hint(&f, "Change option \"endpoint\" of server \"%s\" or setting \"contratos.endpoint\".",
						 layers->server->servername);
		failure_throw(&f);
	}
	connection->endpoint = url;
}

/*
 * USAGE on a server allows reading everything that its key may read, and anyone with
 * USAGE on the wrapper can create a server: so the setting does not serve all servers.
 */
static void
set_credentials(BqConnection *connection, const Layers *layers, Oid userid)
{
	const char *option = nearest(layers, "credentials_file");
	const char *server = layers->server->servername;

	connection->credentials_file = nearest_text(layers, "credentials_file", settings_credentials_file);
	if (connection->credentials_file == NULL)
	{
		/* on this machine, unencrypted, so it expects no secret */
		bool emulator =
			pg_strncasecmp(connection->endpoint, "http://", 7) == 0 && http_url_is_loopback(connection->endpoint);

		if (!emulator)
			ereport(ERROR, (errcode(ERRCODE_INVALID_AUTHORIZATION_SPECIFICATION),
							errmsg("no credentials for server \"%s\"", server),
							errhint("Set contratos.credentials_file, or option \"credentials_file\" of a user mapping "
									"for role \"%s\", to a file with credentials.",
									GetUserNameFromId(userid, false))));
	}
	else if (option == NULL && !superuser_arg(layers->server->owner))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("contratos.credentials_file does not serve server \"%s\"", server),
				 errdetail("Its owner \"%s\" is not a superuser.", GetUserNameFromId(layers->server->owner, false)),
				 errhint("A superuser or a member of the role pg_read_server_files can set option "
						 "\"credentials_file\" of a user mapping for role \"%s\".",
						 GetUserNameFromId(userid, false))));
}

/* `table` NULL: a server before it has one. */
static BqConnection *
connection_from(ForeignTable *table, ForeignServer *server, Oid userid, bool with_credentials)
{
	Layers layers = {
		.mapping = mapping_options(userid, server->serverid),
		.server = server,
	};
	BqConnection *connection = palloc0(sizeof(BqConnection));

	set_endpoint(connection, &layers);
	if (with_credentials)
		set_credentials(connection, &layers, userid);

	/* a cap is a limit, not a preference: the smallest applies, not the nearest */
	connection->max_bytes_billed = (int64) settings_max_bytes_billed * 1024 * 1024;
	connection->cap_name = pstrdup("contratos.max_bytes_billed");
	apply_cap(connection, server->options, "server", server->servername);
	if (table != NULL)
		apply_cap(connection, table->options, "foreign table", get_rel_name(table->relid));

	connection->project = nearest_text(&layers, "project", settings_project);
	connection->location = nearest_text(&layers, "location", settings_location);
	if (connection->location == NULL)
		connection->location = pstrdup(SETTINGS_DEFAULT_LOCATION);
	connection->ca_file = nearest_text(&layers, "ca_file", settings_ca_file);
	connection->proxy = nearest_text(&layers, "proxy", settings_proxy);
	connection->connect_timeout_ms = nearest_ms(&layers, "connect_timeout", settings_connect_timeout);
	connection->request_timeout_ms = nearest_ms(&layers, "request_timeout", settings_request_timeout);
	connection->job_timeout_ms = nearest_ms(&layers, "job_timeout", settings_job_timeout);
	connection->page_rows = settings_page_rows;
	connection->parallel_pages = settings_parallel_pages;
	return connection;
}

/* A server as contratos_setup() creates it. */
static ForeignServer *
new_server(const char *name, Oid owner)
{
	ForeignServer *server = palloc0(sizeof(ForeignServer));

	server->servername = pstrdup(name);
	server->owner = owner;
	return server;
}

BqConnection *
options_connection(Oid relid, Oid userid)
{
	ForeignTable *table = foreign_table_of_ours(relid);

	return connection_from(table, GetForeignServer(table->serverid), userid, true);
}

BqConnection *
options_server_connection(Oid serverid, Oid userid)
{
	return connection_from(NULL, GetForeignServer(serverid), userid, true);
}

BqConnection *
options_new_server_connection(const char *name, Oid userid)
{
	return connection_from(NULL, new_server(name, userid), userid, true);
}

BqConnection *
options_route(Oid relid, Oid serverid, const char *name, Oid userid)
{
	ForeignTable *table = OidIsValid(relid) ? foreign_table_of_ours(relid) : NULL;

	if (table != NULL)
		serverid = table->serverid;
	return connection_from(table, OidIsValid(serverid) ? GetForeignServer(serverid) : new_server(name, userid), userid,
						   false);
}
