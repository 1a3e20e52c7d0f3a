/*
 * schema.c
 *	  Whether a column in BigQuery's answer is what the foreign table says.
 *
 * Tables there change without a word.  What is said here comes with the
 * statement that puts the foreign table right.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"

#include "base/failure.h"
#include "bigquery/bqtype.h"
#include "bigquery/job.h"
#include "bigquery/message.h"
#include "remote/options.h"
#include "remote/schema.h"
#include "values/values.h"

/*
 * The local type that a column needs for what it is there; NULL: its own will
 * do, as a text does for all, or nobody knows.  No catalog is asked: a worker
 * that waits for BigQuery has no transaction.
 */
static const char *
needed_type(const RemoteColumn *column, const BqField *field)
{
	const BqTypeFacts *facts = &bqtypes[field->type];

	if (column->type == TEXTOID || (!field->repeated && bqtype_of_local(column->type) == field->type))
		return NULL;
	if (field->repeated || field->type == BQ_STRUCT)
		return column->type == JSONBOID ? NULL : "jsonb";
	/* a type that shares its local type with another is told by the option alone */
	return bqtype_of_local(facts->local) == field->type ? facts->local_name : NULL;
}

const char *
schema_changed_type(const char *table_name, const RemoteColumn *column, const BqField *field, Failure *f)
{
	const char *column_name = failure_from_server(quote_identifier(column->name));
	const char *there = message_field_type(field);
	const char *needed = needed_type(column, field);

	failure_set(f, ERRCODE_DATATYPE_MISMATCH, "column \"%s\" of foreign table %s is of another type in BigQuery",
				failure_from_server(column->name), failure_from_server(table_name));
	f->every_day = true;
	if (column->remote_type.type != BQ_UNKNOWN)
		failure_detail(f, "It is %s there, and the column's option type says %s.", there,
					   bqtype_text(column->remote_type));
	else
		failure_detail(f, "It is %s there.", there);
	failure_hint(f, "ALTER FOREIGN TABLE %s %s%s%s%s%sALTER COLUMN %s OPTIONS (%s type '%s');",
				 failure_from_server(table_name), needed ? "ALTER COLUMN " : "", needed ? column_name : "",
				 needed ? " TYPE " : "", needed ? needed : "", needed ? ", " : "", column_name,
				 column->remote_type.type != BQ_UNKNOWN ? "SET" : "ADD", there);
	return needed;
}

bool
schema_check_column(const char *table_name, const RemoteColumn *column, const BqField *field, const char **needed,
					Failure *f)
{
	*needed = NULL;
	if (column->remote_type.type == BQ_UNKNOWN || message_type_fits(column->remote_type, field))
		return true;
	*needed = schema_changed_type(table_name, column, field, f);
	return false;
}
