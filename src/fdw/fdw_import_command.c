/*
 * fdw_import_command.c
 *	  The definition of the foreign table for a BigQuery table, and the names in it.
 *
 * Names and descriptions come from other users; each goes through quote_identifier() or
 * quote_literal_cstr().
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"

#include "base/crypto.h"
#include "base/failure.h"
#include "base/names.h"
#include "bigquery/bqtype.h"
#include "bigquery/job.h"
#include "bigquery/message.h"
#include "fdw/fdw_internal.h"
#include "values/values.h"

/* --------------------------------------------------------------------------
 * Names
 * -------------------------------------------------------------------------- */

#define DATE_DIGITS 8

char *
fdw_server_name(const char *text)
{
	char *name = failure_to_server(text);
	char *back = pg_server_to_any(name, strlen(name), PG_UTF8);

	return strcmp(back, text) == 0 ? name : NULL;
}

/* Add the name to those that are taken; false if it already was. */
static bool
take(HTAB *taken, const char *name)
{
	bool found;

	(void) hash_search(taken, name, HASH_ENTER, &found);
	return !found;
}

void
fdw_name_locally(FdwName *names[], int n, const char *const *reserved)
{
	HASHCTL control = {.keysize = NAMEDATALEN, .entrysize = NAMEDATALEN, .hcxt = CurrentMemoryContext};
	HTAB *taken = hash_create("contratos names", n, &control, HASH_ELEM | HASH_STRINGS | HASH_CONTEXT);
	Digest *digest = digest_create();

	for (; reserved != NULL && *reserved != NULL; reserved++)
		(void) take(taken, *reserved);
	/* names that fit come first, so that no other column or table can take them */
	for (int i = 0; i < n; i++)
	{
		CHECK_FOR_INTERRUPTS();
		names[i]->local =
			names_fit(names[i]->remote) && take(taken, names[i]->remote) ? pstrdup(names[i]->remote) : NULL;
	}
	for (int i = 0; i < n; i++)
		for (int round = 0; names[i]->local == NULL; round++)
		{
			char *local = names_cut(digest, names[i]->remote, round);

			CHECK_FOR_INTERRUPTS();
			if (take(taken, local))
				names[i]->local = local;
		}
	hash_destroy(taken);
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

/* --------------------------------------------------------------------------
 * The statement
 * -------------------------------------------------------------------------- */

void
fdw_leave_out(const char *what, const char *why)
{
	ereport(NOTICE, (errmsg("%s is left out", what), errdetail_internal("%s.", why)));
}

typedef struct ImportColumn
{
	FdwName name; /* first: an ImportColumn * is an FdwName * */
	const BqField *field;
	const char *type; /* SQL */
} ImportColumn;

/* Names that a column of a table cannot have. */
static const char *const system_columns[] = {"ctid", "xmin", "cmin", "xmax", "cmax", "tableoid", NULL};

/* The column, or NULL if it must be left out. */
static ImportColumn *
make_column(const FdwName *table, const BqField *field)
{
	ImportColumn *column = palloc0(sizeof(ImportColumn));
	const char *why = NULL;

	column->field = field;
	column->type = values_natural_sql(field);
	column->name.remote = fdw_server_name(field->name);
	if (column->type == NULL)
		why = psprintf("Its type is %s, which has no equivalent in PostgreSQL",
					   failure_to_server(message_field_type(field)));
	else if (column->name.remote == NULL)
		why = "Its name has characters that the encoding of this database lacks";
	if (why == NULL)
		return column;
	fdw_leave_out(psprintf("column \"%s\" of table \"%s\"", failure_to_server(field->name), table->remote), why);
	return NULL;
}

/*
 * Collect the columns, and name them; returns their number.  If BigQuery partitions the
 * table by ingestion time, that pseudocolumn is one of them: conditions on it work like
 * on any column.
 */
static int
make_columns(const FdwName *table, const BqTable *described, ImportColumn **columns)
{
	static const BqField arrival = {.name = "_PARTITIONTIME", .type = BQ_TIMESTAMP};
	int room = MaxHeapAttributeNumber - (described->ingestion_time ? 1 : 0);
	int n = 0;

	for (int i = 0; i < described->nfields; i++)
	{
		ImportColumn *column = n < room ? make_column(table, &described->fields[i]) : NULL;

		if (column != NULL)
			columns[n++] = column;
		else if (n == room)
		{
			fdw_leave_out(psprintf("everything after column %d of table \"%s\"", n, table->remote),
						  "PostgreSQL's tables cannot have more columns");
			break;
		}
	}
	if (n > 0 && described->ingestion_time)
	{
		columns[n] = make_column(table, &arrival);
		columns[n++]->name.remote = pstrdup("_partitiontime");
	}
	fdw_name_locally((FdwName **) columns, n, system_columns);
	return n;
}

/* name 'value', in a list of options */
static void
append_option(StringInfo buf, const char *name, const char *value)
{
	bool first = buf->data[buf->len - 1] == '(';

	appendStringInfo(buf, "%s%s %s", first ? "" : ", ", name, quote_literal_cstr(value));
}

static void
append_column(StringInfo buf, const ImportColumn *column)
{
	const BqField *field = column->field;
	char *name = failure_to_server(field->name);

	appendStringInfo(buf, "\n\t%s %s OPTIONS (", quote_identifier(column->name.local), column->type);
	if (strcmp(name, column->name.local) != 0)
		append_option(buf, "name", name);
	append_option(buf, "type", message_field_type(field));
	if (field->description != NULL && field->description[0] != '\0')
		append_option(buf, "description", failure_to_server(field->description));
	appendStringInfo(buf, ")%s", field->required ? " NOT NULL" : "");
}

char *
fdw_import_definition(const char *server, const char *dataset, const FdwName *table, const BqTable *described)
{
	ImportColumn **columns = palloc(sizeof(ImportColumn *) * (described->nfields + 1));
	int n = make_columns(table, described, columns);
	/* the column by which BigQuery partitions the table */
	const char *partitioned_by = described->ingestion_time ? "_PARTITIONTIME" : described->partition_field;
	const ImportColumn *partition = NULL;
	StringInfoData buf;

	if (n == 0)
	{
		fdw_leave_out(psprintf("table \"%s\"", table->remote), "It has no columns that could be read");
		return NULL;
	}
	initStringInfo(&buf);
	appendStringInfoChar(&buf, '(');
	for (int i = 0; i < n; i++)
	{
		if (i > 0)
			appendStringInfoChar(&buf, ',');
		append_column(&buf, columns[i]);
		if (partition == NULL && partitioned_by != NULL && pg_strcasecmp(columns[i]->field->name, partitioned_by) == 0)
			partition = columns[i];
	}
	appendStringInfo(&buf, "\n) SERVER %s OPTIONS (", quote_identifier(server));
	append_option(&buf, "table", psprintf("%s.%s", failure_to_server(dataset), table->remote));
	if (partition != NULL)
	{
		append_option(&buf, "partition_column", partition->name.local);
		append_option(&buf, "require_filter", "true");
	}
	appendStringInfoChar(&buf, ')');
	return buf.data;
}
