/*
 * fdw_import.c
 *	  IMPORT FOREIGN SCHEMA: a dataset's tables as foreign tables.
 *
 * The calls are free: one for each table, and one for each 1,000 tables if they must be
 * listed.  With LIMIT TO the other tables are not listed.  Problems found during the
 * import, such as a column of a new type or a table that was just dropped, are reported
 * by a NOTICE, and the rest is imported.
 */
#include "postgres.h"

#include "commands/defrem.h"
#include "foreign/foreign.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#include "base/compat.h"
#include "base/failure.h"
#include "base/names.h"
#include "bigquery/bigquery.h"
#include "bigquery/connection.h"
#include "bigquery/request.h"
#include "fdw/fdw_internal.h"
#include "remote/options.h"

/* An error names no more tables of a dataset than these. */
#define MAX_SHOWN 10

/* A table that may be imported. */
typedef struct Candidate
{
	FdwName name; /* first: a Candidate * is an FdwName * */
	char *type; /* from BigQuery's list; NULL: not listed */
} Candidate;

/* The state of one statement. */
typedef struct Import
{
	ImportForeignSchemaStmt *stmt;
	Bigquery *bq;
	char *dataset; /* "project.dataset", UTF-8 */
	const char *location; /* the location of the server's queries */
	bool has_location;
	int nlisted; /* -1: not listed yet */
	Candidate **listed; /* by name; with local names */
	const char *into; /* name of the only foreign table, with its schema, quoted; NULL: each table's own name */
	List *commands;
} Import;

/* --------------------------------------------------------------------------
 * Which tables
 * -------------------------------------------------------------------------- */

static int
compare_listed(const void *a, const void *b)
{
	return strcmp((*(Candidate *const *) a)->name.remote, (*(Candidate *const *) b)->name.remote);
}

static void
list_tables(Import *import)
{
	List *tables;
	ListCell *cell;
	int kept = 0;
	Failure f;

	if (import->nlisted >= 0)
		return;
	if (!bigquery_tables(import->bq, import->dataset, &tables, &f))
		failure_throw(&f);
	import->listed = palloc(sizeof(Candidate *) * Max(list_length(tables), 1));
	import->nlisted = 0;
	foreach (cell, tables)
	{
		BqListed *listed = lfirst(cell);
		Candidate *candidate = palloc0(sizeof(Candidate));

		candidate->name.remote = fdw_server_name(listed->name);
		candidate->type = listed->type;
		if (candidate->name.remote != NULL)
			import->listed[import->nlisted++] = candidate;
		else
			fdw_leave_out(psprintf("table \"%s\"", failure_to_server(listed->name)),
						  "Its name has characters that the encoding of this database lacks");
	}
	qsort(import->listed, import->nlisted, sizeof(Candidate *), compare_listed);
	/* a table created while the list was read may be listed twice */
	for (int i = 0; i < import->nlisted; i++)
		if (kept == 0 || compare_listed(&import->listed[kept - 1], &import->listed[i]) != 0)
			import->listed[kept++] = import->listed[i];
	import->nlisted = kept;
	fdw_name_locally((FdwName **) import->listed, import->nlisted, NULL);
}

/* The newest of the tables `prefix`YYYYMMDD from listed[from] on, and their number. */
static Candidate *
newest_shard(const Import *import, int from, const char *prefix, int len, int *count)
{
	Candidate *newest = NULL;

	*count = 0;
	/* the list is sorted, so all tables with the prefix are adjacent */
	for (int i = from; i < import->nlisted && strncmp(import->listed[i]->name.remote, prefix, len) == 0; i++)
	{
		if (fdw_shard_prefix(import->listed[i]->name.remote) != len)
			continue;
		newest = import->listed[i];
		(*count)++;
	}
	return newest;
}

static void
report_shards(const Candidate *newest, int prefix, int count)
{
	const char *name = newest->name.remote;

	if (count > 1)
		ereport(NOTICE,
				(errmsg("only the newest of the tables \"%.*sYYYYMMDD\" is imported: \"%s\"", prefix, name, name),
				 errdetail("There are %d older ones, a table for each day.", count - 1),
				 errhint("LIMIT TO imports those that it names.")));
}

/* Whether EXCEPT names the table. */
static bool
is_excepted(const Import *import, const char *local)
{
	ListCell *cell;

	if (import->stmt->list_type != FDW_IMPORT_SCHEMA_EXCEPT)
		return false;
	foreach (cell, import->stmt->table_list)
		if (strcmp(((RangeVar *) lfirst(cell))->relname, local) == 0)
			return true;
	return false;
}

static bool
is_readable(const char *type)
{
	static const char *const readable[] = {"TABLE", "VIEW", "MATERIALIZED_VIEW", "EXTERNAL", "SNAPSHOT"};

	for (size_t i = 0; i < lengthof(readable); i++)
		if (strcmp(type, readable[i]) == 0)
			return true;
	return false;
}

/* The listed tables without those of EXCEPT and without older shards. */
static List *
choose_listed(Import *import)
{
	List *chosen = NIL;
	Candidate *shard = NULL;
	int kept = 0;

	list_tables(import);
	for (int i = 0; i < import->nlisted; i++)
		if (!is_excepted(import, import->listed[i]->name.local))
			import->listed[kept++] = import->listed[i];
	import->nlisted = kept;
	for (int i = 0; i < import->nlisted; i++)
	{
		CHECK_FOR_INTERRUPTS();

		Candidate *candidate = import->listed[i];
		int prefix = fdw_shard_prefix(candidate->name.remote);
		bool same = prefix > 0 && shard != NULL && fdw_shard_prefix(shard->name.remote) == prefix &&
					strncmp(shard->name.remote, candidate->name.remote, prefix) == 0;
		int count;

		if (prefix > 0 && !same)
		{
			shard = newest_shard(import, i, candidate->name.remote, prefix, &count);
			report_shards(shard, prefix, count);
		}
		if (prefix == 0 || candidate == shard)
			chosen = lappend(chosen, candidate);
	}
	return chosen;
}

/* "a, b, c and 4 more": the first of the dataset's tables. */
static char *
some_tables(const Import *import)
{
	StringInfoData buf;
	int shown = Min(import->nlisted, MAX_SHOWN);

	if (import->nlisted == 0)
		return "no tables";
	initStringInfo(&buf);
	for (int i = 0; i < shown; i++)
		appendStringInfo(&buf, "%s\"%s\"", i > 0 ? ", " : "", import->listed[i]->name.local);
	if (import->nlisted > shown)
		appendStringInfo(&buf, " and %d more", import->nlisted - shown);
	return buf.data;
}

pg_noreturn static void refuse_missing(const Import *import, const char *name);

static void
refuse_missing(const Import *import, const char *name)
{
	const char *other = NULL;

	for (int i = 0; i < import->nlisted && other == NULL; i++)
		if (pg_strcasecmp(import->listed[i]->name.local, name) == 0 ||
			(strlen(name) > NAMEDATALEN - MAX_MULTIBYTE_CHAR_LEN &&
			 pg_strncasecmp(import->listed[i]->name.remote, name, strlen(name)) == 0))
			other = import->listed[i]->name.local;
	ereport(
		ERROR,
		(errcode(ERRCODE_FDW_TABLE_NOT_FOUND),
		 errmsg("BigQuery has no table \"%s\" in dataset \"%s\"", name, failure_to_server(import->dataset)),
		 other != NULL ? errdetail("There is one named \"%s\".", other) : errdetail("It has: %s.", some_tables(import)),
		 other != NULL ? errhint("BigQuery names are case-sensitive: write the name in double quotes.") : 0));
}

/* The candidate with the statement's name for the table as its local name. */
static Candidate *
named_so(const Candidate *candidate, const char *name)
{
	Candidate *copy = palloc(sizeof(Candidate));

	*copy = *candidate;
	copy->name.local = pstrdup(name);
	return copy;
}

/* The table whose name PostgreSQL has truncated to this, if it is the only one. */
static Candidate *
find_cut(const Import *import, const char *name)
{
	Candidate *found = NULL;

	for (int i = 0; i < import->nlisted; i++)
	{
		const char *remote = import->listed[i]->name.remote;
		int len = (int) strlen(remote);

		if (names_fit(remote) || pg_mbcliplen(remote, len, NAMEDATALEN - 1) != (int) strlen(name) ||
			strncmp(remote, name, strlen(name)) != 0)
			continue;
		if (found != NULL)
			return NULL;
		found = import->listed[i];
	}
	return found;
}

/*
 * Resolve a name of LIMIT TO under which no table was found: it may be the truncated
 * name of a table, or the common prefix of the tables of days.
 */
static Candidate *
find_by_list(Import *import, const char *name)
{
	size_t len = strlen(name);
	char *prefix = psprintf("%s%s", name, len > 0 && name[len - 1] == '_' ? "" : "_");
	Candidate *shard = NULL;
	int count = 0;

	list_tables(import);
	for (int i = 0; i < import->nlisted; i++)
		if (strcmp(import->listed[i]->name.local, name) == 0)
			return import->listed[i];
	if (find_cut(import, name) != NULL)
		return named_so(find_cut(import, name), name);
	len = strlen(prefix);
	for (int i = 0; i < import->nlisted && shard == NULL; i++)
		if (strncmp(import->listed[i]->name.remote, prefix, len) == 0)
			shard = newest_shard(import, i, prefix, (int) len, &count);
	if (shard == NULL)
		refuse_missing(import, name);
	report_shards(shard, (int) len, count);
	return named_so(shard, name);
}

/* --------------------------------------------------------------------------
 * The statement
 * -------------------------------------------------------------------------- */

/* Tables can be described in any location, but queries search one location only. */
static void
check_dataset_location(Import *import, const char *location)
{
	if (import->has_location || location == NULL || pg_strcasecmp(location, import->location) == 0)
		return;
	import->has_location = true;
	ereport(WARNING, (errmsg("dataset \"%s\" is in location %s, and server \"%s\" looks for data in %s",
							 failure_to_server(import->dataset), failure_to_server(location), import->stmt->server_name,
							 import->location),
					  errdetail("Queries of its tables will not find them."),
					  errhint("Set option \"location\" of the server to '%s'.", failure_to_server(location))));
}

/* Request the description of a table, and add its command.  Returns false if the table does not exist. */
static bool
add_table(Import *import, const FdwName *name, MemoryContext scratch)
{
	MemoryContext old = MemoryContextSwitchTo(scratch);
	char *table = pg_server_to_any(name->remote, strlen(name->remote), PG_UTF8);
	BqTable described;
	Failure f;
	bool found = bigquery_table(import->bq, psprintf("%s.%s", import->dataset, table), &described, &f);
	char *definition = NULL;

	if (!found && f.sqlstate != ERRCODE_UNDEFINED_TABLE)
		failure_throw(&f);
	if (found && !is_readable(described.type))
		fdw_leave_out(psprintf("table \"%s\"", name->remote),
					  psprintf("It is a %s", failure_to_server(described.type)));
	else if (found)
	{
		check_dataset_location(import, described.location);
		definition = fdw_import_definition(import->stmt->server_name, import->dataset, name, &described);
	}
	MemoryContextSwitchTo(old);
	if (definition != NULL)
		import->commands =
			lappend(import->commands,
					psprintf("CREATE FOREIGN TABLE %s %s",
							 import->into != NULL ? import->into : quote_identifier(name->local), definition));
	MemoryContextReset(scratch);
	return found;
}

static void
import_named(Import *import, MemoryContext scratch)
{
	List *seen = NIL;
	ListCell *cell;

	foreach (cell, import->stmt->table_list)
	{
		char *wanted = ((RangeVar *) lfirst(cell))->relname;
		FdwName name = {.remote = wanted, .local = wanted};
		String *value = makeString(wanted);

		if (list_member(seen, value))
			continue;
		seen = lappend(seen, value);
		if (!add_table(import, &name, scratch) && !add_table(import, &find_by_list(import, wanted)->name, scratch))
			refuse_missing(import, wanted);
	}
}

static void
import_listed(Import *import, MemoryContext scratch)
{
	List *chosen = choose_listed(import);
	ListCell *cell;

	foreach (cell, chosen)
	{
		Candidate *candidate = lfirst(cell);
		char *what = psprintf("table \"%s\"", candidate->name.remote);

		if (candidate->type != NULL && !is_readable(candidate->type))
			fdw_leave_out(what, psprintf("It is a %s", failure_to_server(candidate->type)));
		else if (!add_table(import, &candidate->name, scratch))
			fdw_leave_out(what, "It has been dropped meanwhile");
	}
}

/*
 * The dataset: PostgreSQL truncates the name in the statement to 63 bytes, but not an
 * option.
 */
static const char *
dataset_name(const ImportForeignSchemaStmt *stmt)
{
	const char *name = stmt->remote_schema;
	ListCell *cell;

	foreach (cell, stmt->options)
	{
		DefElem *option = lfirst_node(DefElem, cell);

		if (strcmp(option->defname, "dataset") != 0)
			ereport(ERROR, (errcode(ERRCODE_FDW_INVALID_OPTION_NAME), errmsg("invalid option \"%s\"", option->defname),
							errhint("Valid options in this context are: dataset")));
		name = defGetString(option);
	}
	if (name == stmt->remote_schema && strlen(name) == NAMEDATALEN - 1)
		ereport(NOTICE, (errmsg("the name of the dataset may have been cut: \"%s\"", name),
						 errhint("Use IMPORT FOREIGN SCHEMA ... OPTIONS (dataset '...') for a longer name.")));
	return name;
}

static List *
import_tables(ImportForeignSchemaStmt *stmt, Oid serverid, const char *name, const char *into)
{
	Import import = {.stmt = stmt, .nlisted = -1, .into = into};
	char *dataset = options_dataset(name, serverid);
	BqConnection *connection = options_server_connection(serverid, GetUserId());
	MemoryContext scratch = AllocSetContextCreate(CurrentMemoryContext, "contratos import", ALLOCSET_DEFAULT_SIZES);
	Failure f;

	import.bq = bigquery_open(connection, CurrentMemoryContext);
	import.location = connection->location;
	import.dataset = bigquery_dataset(import.bq, dataset, &f);
	if (import.dataset == NULL)
		failure_throw(&f);
	if (stmt->list_type == FDW_IMPORT_SCHEMA_LIMIT_TO)
		import_named(&import, scratch);
	else
		import_listed(&import, scratch);
	bigquery_close(import.bq);
	MemoryContextDelete(scratch);
	return import.commands;
}

List *
fdw_import(ImportForeignSchemaStmt *stmt, Oid serverid)
{
	return import_tables(stmt, serverid, dataset_name(stmt), NULL);
}

char *
fdw_import_table(const char *server, const char *dataset, const char *table, const char *into)
{
	ImportForeignSchemaStmt *stmt = makeNode(ImportForeignSchemaStmt);
	List *commands;

	stmt->server_name = pstrdup(server);
	stmt->list_type = FDW_IMPORT_SCHEMA_LIMIT_TO;
	stmt->table_list = list_make1(makeRangeVar(NULL, pstrdup(table), -1));
	commands = import_tables(stmt, get_foreign_server_oid(server, false), dataset, into);
	return commands != NIL ? linitial(commands) : NULL;
}
