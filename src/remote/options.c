/*
 * options.c
 *	  A foreign table and its columns as plain data, so that using it needs no catalog,
 *	  transaction or snapshot.
 */
#include "postgres.h"

#include "access/relation.h"
#include "catalog/pg_class.h"
#include "commands/defrem.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

#include "base/settings.h"
#include "bigquery/bqtype.h"
#include "bigquery/message.h"
#include "remote/options_internal.h"

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
ForeignTable *
options_foreign_table(Oid relid)
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
read_column(Oid relid, Form_pg_attribute attribute, RemoteColumn *column)
{
	List *options = GetForeignColumnOptions(relid, attribute->attnum);
	const char *remote_name = options_find(options, "name");
	const char *remote_type = options_find(options, "type");

	column->attnum = attribute->attnum;
	column->name = pstrdup(NameStr(attribute->attname));
	column->remote_name = to_utf8(remote_name ? remote_name : column->name);
	if (remote_type != NULL)
		(void) bqtype_parse(remote_type, &column->remote_type);
	column->type = attribute->atttypid;
	column->typmod = attribute->atttypmod;
	column->not_null = attribute->attnotnull;
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
			read_column(table->relid, attribute, &table->columns[table->ncolumns++]);
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
	ForeignTable *foreign = options_foreign_table(relid); /* also reports why it cannot be opened */
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
