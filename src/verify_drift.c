/*
 * verify_drift.c
 *	  The columns BigQuery's table has now against those of the foreign table.
 *
 * What upstream drops, a query names and fails; what it adds, nothing would ever
 * tell.  So it is looked for, by one free call.  A foreign table may leave
 * columns out on purpose: that is said as well, as nobody can tell the one from
 * the other, but in the same words only once.
 */
#include "postgres.h"

#include "utils/builtins.h"

#include "failure.h"
#include "ledger.h"
#include "values.h"
#include "verify.h"

/* As many columns as one message names. */
#define MAX_NAMED 20

/* What is being put together. */
typedef struct Drift
{
	const LoadPlan *plan;
	StringInfoData what;
	StringInfoData remedy;
	int named;
	int unnamed;
} Drift;

static const RemoteColumn *
column_of(const RemoteTable *table, const BqField *field)
{
	for (int i = 0; i < table->ncolumns; i++)
		if (pg_strcasecmp(table->columns[i].remote_name, field->name) == 0)
			return &table->columns[i];
	return NULL;
}

/* Whether one more column is to be named; separates it from the one before. */
static bool
has_room(Drift *drift)
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

static void
say_new(Drift *drift, const BqField *field)
{
	const char *name = quote_identifier(failure_to_server(field->name));
	const char *type = failure_to_server(message_field_type(field));
	const char *natural = values_natural_sql(field);

	if (!has_room(drift))
		return;
	appendStringInfo(&drift->what, "%s (%s) is new there", name, type);
	if (natural != NULL)
		appendStringInfo(&drift->remedy,
						 "ALTER FOREIGN TABLE %s ADD COLUMN %s %s OPTIONS (type %s); "
						 "ALTER TABLE %s ADD COLUMN IF NOT EXISTS %s %s; ",
						 drift->plan->remote_name, name, natural, quote_literal_cstr(type), drift->plan->target_name,
						 name, natural);
}

static void
say_changed(Drift *drift, const RemoteColumn *column, const BqField *field)
{
	const char *name = quote_identifier(column->name);
	const char *type = failure_to_server(message_field_type(field));

	if (column->remote_type != NULL && !message_type_fits(column->remote_type, field) && has_room(drift))
	{
		appendStringInfo(&drift->what, "%s is %s there, not %s", name, type, column->remote_type);
		appendStringInfo(&drift->remedy, "ALTER FOREIGN TABLE %s ALTER COLUMN %s OPTIONS (SET type %s); ",
						 drift->plan->remote_name, name, quote_literal_cstr(type));
	}
	if (column->not_null && !field->required && has_room(drift))
	{
		appendStringInfo(&drift->what, "%s may be NULL there", name);
		appendStringInfo(&drift->remedy, "ALTER FOREIGN TABLE %s ALTER COLUMN %s DROP NOT NULL; ",
						 drift->plan->remote_name, name);
	}
}

bool
verify_ask_columns(const LoadPlan *plan, Bigquery *bq, BqTable *there)
{
	Failure f;

	if (bigquery_table(bq, plan->table->table, there, &f))
		return true;
	ereport(LOG, (errmsg("source \"%s\": could not look for new columns: %s", plan->source->name,
						 failure_to_server(f.message))));
	return false;
}

VerifyDrift *
verify_columns(const LoadPlan *plan, const BqTable *there)
{
	Drift drift = {.plan = plan};
	VerifyDrift *result;

	initStringInfo(&drift.what);
	initStringInfo(&drift.remedy);
	for (int i = 0; i < there->nfields; i++)
	{
		const RemoteColumn *column = column_of(plan->table, &there->fields[i]);

		if (column == NULL)
			say_new(&drift, &there->fields[i]);
		else
			say_changed(&drift, column, &there->fields[i]);
	}
	if (drift.unnamed > 0)
		appendStringInfo(&drift.what, ", and %d more", drift.unnamed);
	if (drift.named == 0)
		return NULL;

	char *said = ledger_last_error(plan->source->name, VERIFY_DRIFT_REASON);

	result = palloc(sizeof(VerifyDrift));
	result->what = psprintf("BigQuery's table %s has other columns than foreign table %s: %s",
							failure_to_server(plan->table->table), plan->remote_name, drift.what.data);
	result->remedy = drift.remedy.data;
	return said != NULL && strstr(said, result->what) != NULL ? NULL : result;
}
