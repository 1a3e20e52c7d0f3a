/*
 * drift.c
 *	  Columns of BigQuery's table compared with those of the foreign table.
 *
 * A query fails when a column that it names was dropped upstream; a column that was
 * added would go unnoticed.  So the columns are compared, by one free call.  A foreign
 * table may leave columns out on purpose: that is reported as well, as the two cannot
 * be told apart, but each difference only once.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/heap.h"
#include "catalog/pg_attribute.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"

#include "base/crypto.h"
#include "base/failure.h"
#include "base/names.h"
#include "bigquery/bigquery.h"
#include "bigquery/bqtype.h"
#include "bigquery/job.h"
#include "bigquery/message.h"
#include "ledger/ledger_history.h"
#include "load/drift.h"
#include "load/load.h"
#include "load/verify.h"
#include "remote/options.h"
#include "values/values.h"

/* The maximum number of columns that one message names. */
#define MAX_NAMED 20

/* A Drift while it is put together. */
typedef struct Comparison
{
	const LoadPlan *plan;
	StringInfoData what;
	StringInfoData remedy;
	int named;
	int unnamed;
} Comparison;

/* The number of the foreign table's column for the field; -1: there is none. */
static int
column_of(const RemoteTable *table, const BqField *field)
{
	for (int i = 0; i < table->ncolumns; i++)
		if (pg_strcasecmp(table->columns[i].remote_name, field->name) == 0)
			return i;
	return -1;
}

/* Whether one more column is named; adds a separator after the one before. */
static bool
has_room_for(Comparison *drift)
{
	if (drift->named == MAX_NAMED)
	{
		drift->unnamed++;
		return false;
	}
	if (drift->named++ > 0)
		appendStringInfoString(&drift->what, ", ");
	return true;
}

static bool
is_taken(const RemoteTable *table, const char *name)
{
	return options_column(unconstify(RemoteTable *, table), name) != NULL || SystemAttributeByName(name) != NULL;
}

/* A local name for a new column, as IMPORT FOREIGN SCHEMA would choose it. */
static const char *
local_name(const RemoteTable *table, const char *remote)
{
	Digest *digest;
	const char *name;

	if (names_fit(remote) && !is_taken(table, remote))
		return remote;
	digest = digest_create();
	for (int round = 0; is_taken(table, name = names_cut(digest, remote, round)); round++)
		CHECK_FOR_INTERRUPTS();
	return name;
}

/* Add the statements that add the column to both tables. */
static void
say_how_to_add(Comparison *drift, const char *remote, const char *type, const char *natural)
{
	const LoadPlan *plan = drift->plan;
	const char *local = local_name(plan->table, remote);
	const char *name = quote_identifier(local);
	const char *option = strcmp(local, remote) != 0 ? psprintf("name %s, ", quote_literal_cstr(remote)) : "";

	appendStringInfo(&drift->remedy, "ALTER FOREIGN TABLE %s ADD COLUMN %s %s OPTIONS (%stype %s); ", plan->remote_name,
					 name, natural, option, quote_literal_cstr(type));
	if (get_attnum(plan->target, local) == InvalidAttrNumber)
		appendStringInfo(&drift->remedy, "ALTER TABLE %s ADD COLUMN IF NOT EXISTS %s %s; ", plan->target_name, name,
						 natural);
}

static void
say_new(Comparison *drift, const BqField *field)
{
	const char *name = quote_identifier(failure_to_server(field->name));
	const char *type = failure_to_server(message_field_type(field));
	const char *natural = values_natural_sql(field);

	if (!has_room_for(drift))
		return;
	appendStringInfo(&drift->what, "%s (%s) is new in BigQuery", name, type);
	if (natural != NULL)
		say_how_to_add(drift, failure_to_server(field->name), type, natural);
}

static bool
target_refuses_null(const LoadPlan *plan, const char *column)
{
	HeapTuple tuple = SearchSysCacheAttName(plan->target, column);
	bool refuses = HeapTupleIsValid(tuple) && ((Form_pg_attribute) GETSTRUCT(tuple))->attnotnull;

	if (HeapTupleIsValid(tuple))
		ReleaseSysCache(tuple);
	return refuses;
}

static void
say_changed(Comparison *drift, int i, const BqField *field)
{
	const LoadPlan *plan = drift->plan;
	const RemoteColumn *column = &plan->table->columns[i];
	const char *name = quote_identifier(column->name);
	Failure f;

	if (!drift_check_type(plan, i, field, &f) && has_room_for(drift))
	{
		appendStringInfo(&drift->what, "%s is %s in BigQuery, not %s", name,
						 failure_to_server(message_field_type(field)), bqtype_text(column->remote_type));
		appendStringInfo(&drift->remedy, "%s ", failure_to_server(f.hint));
	}
	if (column->not_null && !field->required && has_room_for(drift))
	{
		/* NULLs are to be expected, and the target has its NOT NULL from the foreign table */
		appendStringInfo(&drift->what, "%s may be NULL in BigQuery", name);
		appendStringInfo(&drift->remedy, "ALTER FOREIGN TABLE %s ALTER COLUMN %s DROP NOT NULL; ", plan->remote_name,
						 name);
		if (target_refuses_null(plan, column->name))
			appendStringInfo(&drift->remedy, "ALTER TABLE %s ALTER COLUMN %s DROP NOT NULL; ", plan->target_name, name);
	}
}

bool
drift_ask(const LoadPlan *plan, Bigquery *bq, BqTable *remote)
{
	Failure f;

	if (bigquery_table(bq, plan->table->table, remote, &f))
		return true;
	ereport(LOG, (errmsg("source \"%s\": could not look for new columns: %s", plan->source->name,
						 failure_to_server(f.message))));
	return false;
}

Drift *
drift_differences(const LoadPlan *plan, const BqTable *remote)
{
	Comparison drift = {.plan = plan};
	Drift *result;

	initStringInfo(&drift.what);
	initStringInfo(&drift.remedy);
	for (int i = 0; i < remote->nfields; i++)
	{
		int column = column_of(plan->table, &remote->fields[i]);

		if (column < 0)
			say_new(&drift, &remote->fields[i]);
		else
			say_changed(&drift, column, &remote->fields[i]);
	}
	if (drift.unnamed > 0)
		appendStringInfo(&drift.what, ", and %d more", drift.unnamed);
	if (drift.named == 0)
		return NULL;

	result = palloc(sizeof(Drift));
	result->what = psprintf("BigQuery's table %s has other columns than foreign table %s: %s",
							failure_to_server(plan->table->table), plan->remote_name, drift.what.data);
	result->remedy = drift.remedy.data;
	return result;
}

Drift *
drift_news(const LoadPlan *plan, const BqTable *remote)
{
	Drift *drift = drift_differences(plan, remote);
	char *said = drift != NULL ? ledger_last_error(plan->source->name, DRIFT_REASON) : NULL;

	return said != NULL && strstr(said, drift->what) != NULL ? NULL : drift;
}
