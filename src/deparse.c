/*
 * deparse.c
 *	  Columns and conditions → one GoogleSQL text and its named parameters.
 *
 * Values never become part of the text: they travel as parameters, so nothing
 * a user can put into a condition can change what the query means.  The one
 * exception is row_filter, which is GoogleSQL by definition and belongs to the
 * owner of the foreign table.
 */
#include "postgres.h"

#include "lib/stringinfo.h"

#include "deparse.h"

/*
 * In GoogleSQL a backtick and a backslash inside a quoted identifier are
 * written with a backslash (Lexical structure, "Quoted identifiers").
 */
char *
deparse_quote(const char *name)
{
	StringInfoData buf;

	initStringInfo(&buf);
	appendStringInfoChar(&buf, '`');
	for (const char *c = name; *c != '\0'; c++)
	{
		if (*c == '`' || *c == '\\')
			appendStringInfoChar(&buf, '\\');
		appendStringInfoChar(&buf, *c);
	}
	appendStringInfoChar(&buf, '`');
	return buf.data;
}

const RemoteColumn *
deparse_column(const RemoteTable *table, AttrNumber attnum)
{
	for (int i = 0; i < table->ncolumns; i++)
		if (table->columns[i].attnum == attnum)
			return &table->columns[i];
	elog(ERROR, "foreign table %u has no column number %d", table->relid, attnum);
	return NULL;
}

static int
compare_text(const char *a, const char *b)
{
	if (a == NULL || b == NULL)
		return (a != NULL) - (b != NULL);
	return strcmp(a, b);
}

static int
compare_conditions(const void *a, const void *b)
{
	const RemoteCondition *x = a;
	const RemoteCondition *y = b;
	int diff = (int) x->attnum - (int) y->attnum;

	if (diff == 0)
		diff = strcmp(y->op, x->op); /* lower bounds first, as people write them */
	if (diff == 0)
		diff = compare_text(x->value, y->value);
	return diff;
}

/* The conditions in canonical order, each once. */
static RemoteCondition *
canonical(const RemoteCondition *conditions, int *n)
{
	RemoteCondition *sorted = palloc(sizeof(RemoteCondition) * Max(*n, 1));
	int kept = 0;

	memcpy(sorted, conditions, sizeof(RemoteCondition) * *n);
	qsort(sorted, *n, sizeof(RemoteCondition), compare_conditions);
	for (int i = 0; i < *n; i++)
	{
		/* two unknown values need not be equal */
		bool again = kept > 0 && sorted[i].value != NULL && compare_conditions(&sorted[kept - 1], &sorted[i]) == 0;

		if (!again)
			sorted[kept++] = sorted[i];
	}
	*n = kept;
	return sorted;
}

static void
append_where(StringInfo buf, const RemoteTable *table, const RemoteCondition *conditions, int nconditions)
{
	const char *glue = " WHERE ";

	for (int i = 0; i < nconditions; i++)
	{
		const RemoteColumn *column = deparse_column(table, conditions[i].attnum);

		appendStringInfo(buf, "%s%s %s @p%d", glue, deparse_quote(column->remote_name), conditions[i].op, i + 1);
		glue = " AND ";
	}
	/* on lines of its own: a comment in the filter must not swallow the rest */
	if (table->row_filter != NULL)
		appendStringInfo(buf, "%s(\n%s\n)", glue, table->row_filter);
}

static BqParam *
parameters(const RemoteCondition *conditions, int n)
{
	BqParam *params = palloc0(sizeof(BqParam) * Max(n, 1));

	for (int i = 0; i < n; i++)
	{
		params[i].name = psprintf("p%d", i + 1);
		params[i].type = conditions[i].type;
		params[i].value = conditions[i].value ? pstrdup(conditions[i].value) : NULL;
	}
	return params;
}

/*
 * Names that BigQuery keeps for itself: there are such columns, as
 * _PARTITIONTIME, but a result cannot have them.  What comes back is told
 * apart by its position, so any alias will do that no column has.
 */
static const char *
alias_of(const char *name)
{
	static const char *const reserved[] = {"_PARTITION",	 "_TABLE_",	 "_FILE_",
										   "_ROW_TIMESTAMP", "__ROOT__", "_COLIDENTIFIER"};

	for (size_t i = 0; i < lengthof(reserved); i++)
		if (pg_strncasecmp(name, reserved[i], strlen(reserved[i])) == 0)
			return psprintf(" AS %s", deparse_quote(psprintf("pseudo%s", name)));
	return "";
}

BqQuery *
deparse_query(const RemoteTable *table, const AttrNumber *columns, int ncolumns, const RemoteCondition *conditions,
			  int nconditions)
{
	StringInfoData list;

	initStringInfo(&list);
	for (int i = 0; i < ncolumns; i++)
	{
		const char *name = deparse_column(table, columns[i])->remote_name;

		appendStringInfo(&list, "%s%s%s", i > 0 ? ", " : "", deparse_quote(name), alias_of(name));
	}
	if (ncolumns == 0)
		appendStringInfoString(&list, "1 AS `_1`");
	return deparse_select(table, list.data, conditions, nconditions);
}

BqQuery *
deparse_select(const RemoteTable *table, const char *list, const RemoteCondition *conditions, int nconditions)
{
	BqQuery *query = palloc0(sizeof(BqQuery));
	RemoteCondition *sorted = canonical(conditions, &nconditions);
	StringInfoData buf;

	initStringInfo(&buf);
	appendStringInfo(&buf, "SELECT %s FROM %s", list, deparse_quote(table->table));
	append_where(&buf, table, sorted, nconditions);

	query->text = buf.data;
	query->nparams = nconditions;
	query->params = parameters(sorted, nconditions);
	return query;
}

char *
deparse_rows_key(const RemoteTable *table, const RemoteCondition *conditions, int nconditions)
{
	RemoteCondition *sorted = canonical(conditions, &nconditions);
	StringInfoData buf;

	initStringInfo(&buf);
	appendStringInfoString(&buf, deparse_quote(table->table));
	append_where(&buf, table, sorted, nconditions);
	for (int i = 0; i < nconditions; i++)
		appendStringInfo(&buf, "\n@p%d %s %s", i + 1, sorted[i].type, sorted[i].value ? sorted[i].value : "?");
	return buf.data;
}
