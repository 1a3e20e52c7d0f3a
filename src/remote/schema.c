/*
 * schema.c
 *	  Whether a column in BigQuery's answer has the type that the foreign table says.
 *
 * BigQuery's tables change without notice.  The errors of this file contain the
 * statement that corrects the foreign table.
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
 * The local type that a column needs for its type in BigQuery; NULL if its own type can
 * be kept, as text can for all, or if the answer is unknown.  No catalog is used: a
 * worker that waits for BigQuery has no transaction.
 */
static const char *
needed_type(const RemoteColumn *column, const BqField *field)
{
	const BqTypeFacts *facts = &bqtypes[field->type];

	if (column->type == TEXTOID || (!field->repeated && bqtype_of_local(column->type) == field->type))
		return NULL;
	if (field->repeated || field->type == BQ_STRUCT)
		return column->type == JSONBOID ? NULL : "jsonb";
	/* if several types share a local type, only the option distinguishes them */
	return bqtype_of_local(facts->local) == field->type ? facts->local_name : NULL;
}

const char *
schema_changed_type(const char *table_name, const RemoteColumn *column, const BqField *field, Failure *f)
{
	const char *column_name = failure_from_server(quote_identifier(column->name));
	const char *remote_type = message_field_type(field);
	const char *needed = needed_type(column, field);

	failure_set(f, ERRCODE_DATATYPE_MISMATCH, "column \"%s\" of foreign table %s is of another type in BigQuery",
				failure_from_server(column->name), failure_from_server(table_name));
	f->every_day = true;
	if (column->remote_type.type != BQ_UNKNOWN)
		failure_detail(f, "Its type in BigQuery is %s, and the column's option type says %s.", remote_type,
					   bqtype_text(column->remote_type));
	else
		failure_detail(f, "Its type in BigQuery is %s.", remote_type);
	failure_hint(f, "ALTER FOREIGN TABLE %s %s%s%s%s%sALTER COLUMN %s OPTIONS (%s type '%s');",
				 failure_from_server(table_name), needed ? "ALTER COLUMN " : "", needed ? column_name : "",
				 needed ? " TYPE " : "", needed ? needed : "", needed ? ", " : "", column_name,
				 column->remote_type.type != BQ_UNKNOWN ? "SET" : "ADD", remote_type);
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
