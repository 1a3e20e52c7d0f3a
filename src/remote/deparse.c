/*
 * deparse.c
 *	  Columns and conditions → one GoogleSQL text and its named parameters.
 *
 * Values never become part of the text: they are sent as parameters, so no value in a
 * condition can change the meaning of the query.  The one exception is row_filter,
 * which is GoogleSQL by definition and belongs to the owner of the foreign table.
 */
#include "postgres.h"

#include "lib/stringinfo.h"

#include "bigquery/bqtype.h"
#include "bigquery/job.h"
#include "bigquery/message.h"
#include "remote/deparse.h"

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

BqType
deparse_column_type(const RemoteColumn *column)
{
	if (column->remote_type.type == BQ_UNKNOWN)
		return bqtype_of_local(column->type);
	return column->remote_type.repeated ? BQ_UNKNOWN : column->remote_type.type;
}

bool
deparse_takes_no_value(const char *op)
{
	return strncmp(op, "IS ", 3) == 0;
}

bool
deparse_takes_list(const char *op)
{
	return strcmp(op, "IN") == 0;
}

static int
compare_elements(const void *a, const void *b)
{
	return strcmp(*(char *const *) a, *(char *const *) b);
}

static int
compare_conditions(const void *a, const void *b)
{
	const RemoteCondition *x = a;
	const RemoteCondition *y = b;
	int diff = (int) x->attnum - (int) y->attnum;

	if (diff == 0)
		diff = strcmp(y->op, x->op); /* lower bounds first, as is usual in handwritten queries */
	if (diff == 0)
		diff = (x->value != NULL) - (y->value != NULL);
	if (diff == 0 && x->value != NULL && y->value != NULL)
		diff = strcmp(x->value, y->value);
	if (diff == 0)
		diff = x->nvalues - y->nvalues;
	for (int i = 0; diff == 0 && x->values != NULL && y->values != NULL && i < x->nvalues; i++)
		diff = strcmp(x->values[i], y->values[i]);
	return diff;
}

/* Sort the elements of a list and remove duplicates, in a copy. */
static void
sort_list(RemoteCondition *condition)
{
	char **sorted = palloc(sizeof(char *) * Max(condition->nvalues, 1));
	int kept = 0;

	memcpy(sorted, condition->values, sizeof(char *) * condition->nvalues);
	qsort(sorted, condition->nvalues, sizeof(char *), compare_elements);
	for (int i = 0; i < condition->nvalues; i++)
	{
		if (kept == 0 || strcmp(sorted[kept - 1], sorted[i]) != 0)
			sorted[kept++] = sorted[i];
	}
	condition->values = sorted;
	condition->nvalues = kept;
}

/* The conditions in canonical order, without duplicates. */
static RemoteCondition *
canonical(const RemoteCondition *conditions, int *n)
{
	RemoteCondition *sorted = palloc(sizeof(RemoteCondition) * Max(*n, 1));
	int kept = 0;

	memcpy(sorted, conditions, sizeof(RemoteCondition) * *n);
	for (int i = 0; i < *n; i++)
		if (sorted[i].values != NULL)
			sort_list(&sorted[i]);
	qsort(sorted, *n, sizeof(RemoteCondition), compare_conditions);
	for (int i = 0; i < *n; i++)
	{
		/* two unknown values may be different */
		bool known = sorted[i].value != NULL || sorted[i].values != NULL || deparse_takes_no_value(sorted[i].op);
		bool again = kept > 0 && known && compare_conditions(&sorted[kept - 1], &sorted[i]) == 0;

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
	int p = 0;

	for (int i = 0; i < nconditions; i++)
	{
		const char *op = conditions[i].op;
		const RemoteColumn *column = deparse_column(table, conditions[i].attnum);

		/* `column` operator operand; the operand is parameter number p */
		appendStringInfo(buf, "%s%s %s", glue, deparse_quote(column->remote_name), op);
		if (deparse_takes_list(op))
			appendStringInfo(buf, " UNNEST(@p%d)", ++p);
		else if (!deparse_takes_no_value(op))
			appendStringInfo(buf, " @p%d", ++p);
		glue = " AND ";
	}
	/* on lines of its own: a comment in the filter must not hide the closing parenthesis and the rest */
	if (table->row_filter != NULL)
		appendStringInfo(buf, "%s(\n%s\n)", glue, table->row_filter);
}

static BqParam
parameter(const RemoteCondition *condition, int number)
{
	BqParam param = {
		.name = psprintf("p%d", number),
		.type = condition->type,
		.value = condition->value ? pstrdup(condition->value) : NULL,
		.is_array = deparse_takes_list(condition->op),
	};

	if (condition->values == NULL)
		return param;
	param.nvalues = condition->nvalues;
	param.values = palloc(sizeof(char *) * Max(param.nvalues, 1));
	for (int i = 0; i < param.nvalues; i++)
		param.values[i] = pstrdup(condition->values[i]);
	return param;
}

/* The parameters of the conditions that have one; *n becomes their number. */
static BqParam *
parameters(const RemoteCondition *conditions, int *n)
{
	BqParam *params = palloc0(sizeof(BqParam) * Max(*n, 1));
	int p = 0;

	for (int i = 0; i < *n; i++)
	{
		if (deparse_takes_no_value(conditions[i].op))
			continue;
		params[p] = parameter(&conditions[i], p + 1);
		p++;
	}
	*n = p;
	return params;
}

/*
 * Some names are reserved by BigQuery: columns such as _PARTITIONTIME exist, but a
 * result cannot have them.  The columns of the result are identified by position, so
 * any alias will do that no column has.
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
	query->params = parameters(sorted, &query->nparams);
	return query;
}

/* Append a value with its length, so that two keys are equal only if all their values are. */
static void
append_value(StringInfo buf, const char *value)
{
	if (value == NULL)
		appendStringInfoString(buf, " ?");
	else
		appendStringInfo(buf, " %zu:%s", strlen(value), value);
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
	{
		if (deparse_takes_no_value(sorted[i].op))
			continue;
		appendStringInfo(&buf, "\n%s", bqtypes[sorted[i].type].name);
		if (sorted[i].values == NULL)
			append_value(&buf, sorted[i].value);
		else
			for (int v = 0; v < sorted[i].nvalues; v++)
				append_value(&buf, sorted[i].values[v]);
	}
	return buf.data;
}
