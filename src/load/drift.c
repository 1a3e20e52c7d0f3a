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
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "parser/parse_coerce.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"

#include "base/crypto.h"
#include "base/failure.h"
#include "base/names.h"
#include "bigquery/bigquery.h"
#include "bigquery/bqtype.h"
#include "bigquery/job.h"
#include "bigquery/message.h"
#include "fdw/scan.h"
#include "ledger/ledger_history.h"
#include "load/drift.h"
#include "load/load.h"
#include "load/verify.h"
#include "remote/options.h"
#include "remote/schema.h"
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
add_statement(Comparison *drift, const char *remote, const char *type, const char *natural)
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
add_new_column(Comparison *drift, const BqField *field)
{
	const char *name = quote_identifier(failure_to_server(field->name));
	const char *type = failure_to_server(message_field_type(field));
	const char *natural = values_natural_sql(field);

	if (!has_room_for(drift))
		return;
	appendStringInfo(&drift->what, "%s (%s) is new in BigQuery", name, type);
	if (natural != NULL)
		add_statement(drift, failure_to_server(field->name), type, natural);
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
add_changed_column(Comparison *drift, int i, const BqField *field)
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
			add_new_column(&drift, &remote->fields[i]);
		else
			add_changed_column(&drift, column, &remote->fields[i]);
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
	char *reported = drift != NULL ? ledger_last_error(plan->source->name, DRIFT_REASON) : NULL;

	return reported != NULL && strstr(reported, drift->what) != NULL ? NULL : drift;
}

/* --------------------------------------------------------------------------
 * Columns that no longer exist, or have another type, in BigQuery
 *
 * BigQuery reports it as an error of our query, which the user has never seen, or
 * by the schema of a result that does not fit.  In both cases nothing has been
 * written yet, and the user needs the statement to run.
 * -------------------------------------------------------------------------- */

/* Prefixes of BigQuery's messages (failure.h puts "BigQuery: " before them). */
#define SAYS "BigQuery: "
#define SAYS_GONE SAYS "Unrecognized name: "
#define SAYS_MISMATCH SAYS "No matching signature for "

/* The column whose BigQuery name is this one of `len` bytes; -1: there is none. */
static int
column_named_in(const LoadPlan *plan, const char *name, size_t len)
{
	for (int i = 0; i < plan->ncolumns; i++)
	{
		const char *remote = plan->table->columns[i].remote_name;

		if (strlen(remote) == len && pg_strncasecmp(remote, name, len) == 0)
			return i;
	}
	return -1;
}

/* Y of "Did you mean Y?"; NULL: the message has no such guess. */
static char *
renamed_to(const char *evidence)
{
	static const char guess[] = "Did you mean ";
	const char *name = strstr(evidence, guess);

	return name ? pnstrdup(name + strlen(guess), strcspn(name + strlen(guess), "?")) : NULL;
}

/* `evidence`: the evidence, for the detail. */
static void
explain_gone(const LoadPlan *plan, int i, const char *evidence, Failure *f)
{
	const RemoteColumn *column = &plan->table->columns[i];
	const char *name = failure_from_server(quote_identifier(column->name));
	const char *table = failure_from_server(plan->remote_name);
	char *guess = renamed_to(evidence);
	char *reason = pstrdup(f->reason);
	const char *alter_target = "";

	if (plan->needed[i])
		alter_target =
			psprintf(" ALTER TABLE %s ALTER COLUMN %s DROP NOT NULL;", failure_from_server(plan->target_name), name);
	failure_set(f, ERRCODE_UNDEFINED_COLUMN, "column \"%s\" of foreign table %s is gone from BigQuery",
				failure_from_server(column->name), table);
	failure_detail(f, "%s", evidence);
	if (column == plan->timestamp)
		failure_hint(f,
					 "It is the timestamp_column of source \"%s\": name another in contratos_sources, or set the "
					 "column's option name to what it is called now.",
					 plan->source->name);
	else
		failure_hint(f,
					 "ALTER FOREIGN TABLE %s DROP COLUMN %s;%s Or, if it has another name now: ALTER FOREIGN TABLE "
					 "%s ALTER COLUMN %s OPTIONS (%s name '%s');",
					 table, name, alter_target, table, name,
					 strcmp(column->name, column->remote_name) == 0 ? "ADD" : "SET", guess ? guess : "...");
	failure_reason(f, reason);
	f->every_day = true;
}

void
drift_column_gone(const LoadPlan *plan, int i, Failure *f)
{
	memset(f, 0, sizeof(*f));
	explain_gone(
		plan, i,
		psprintf("BigQuery's table %s has no column \"%s\".", plan->table->table, plan->table->columns[i].remote_name),
		f);
}

/*
 * The column that a mismatch is about: the first one that our text names at or
 * after the position "at [1:N]", which is that of the function or operator.
 */
static int
column_mismatched(const LoadPlan *plan, const char *text, const char *evidence)
{
	const char *place = strstr(evidence, " at [1:");
	size_t position = place ? strtoul(place + strlen(" at [1:"), NULL, 10) : 0;
	const char *name = position > 0 && position <= strlen(text) ? strchr(text + position - 1, '`') : NULL;
	int column = name ? column_named_in(plan, name + 1, strcspn(name + 1, "`")) : -1;

	/* an operator: only the window and the row filter have operators */
	if (column < 0 && plan->timestamp != NULL && plan->table->row_filter == NULL)
		column = (int) (plan->timestamp - plan->table->columns);
	return column;
}

/* The first of "argument types: INT64, STRING. …"; false when the message has none. */
static bool
type_in_message(const char *evidence, BqField *field)
{
	static const char types[] = "rgument types: ";
	const char *type = strstr(evidence, types);
	size_t len;

	if (type == NULL)
		return false;
	type += strlen(types);
	field->repeated = strncmp(type, "ARRAY<", strlen("ARRAY<")) == 0;
	type += field->repeated ? strlen("ARRAY<") : 0;
	len = strspn(type, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789");
	field->type = bqtype_find(pnstrdup(type, len));
	field->unknown = field->type == BQ_UNKNOWN ? pnstrdup(type, len) : NULL;
	return len > 0;
}

static void
explain_mismatch(const LoadPlan *plan, const char *text, Failure *f)
{
	int i = column_mismatched(plan, text, f->message);
	char *reason = pstrdup(f->reason);
	BqField field = {0};

	/* of the declared type: then the row filter is at fault, and BigQuery's message explains it best */
	if (i < 0 || !type_in_message(f->message, &field))
		return;
	(void) schema_changed_type(plan->remote_name, &plan->table->columns[i], &field, f);
	failure_reason(f, reason);
}

void
drift_explain(const LoadPlan *plan, const char *text, Failure *f)
{
	if (strncmp(f->message, SAYS_GONE, strlen(SAYS_GONE)) == 0)
	{
		/* "X at [1:8]", "X; Did you mean Y? at [1:8]", X perhaps between backticks */
		const char *name = f->message + strlen(SAYS_GONE);
		size_t len = *name == '`' ? strcspn(++name, "`") : strcspn(name, "; ");
		int i = column_named_in(plan, name, len);

		if (i >= 0)
			explain_gone(plan, i, pstrdup(f->message), f);
	}
	else if (strncmp(f->message, SAYS_MISMATCH, strlen(SAYS_MISMATCH)) == 0)
		explain_mismatch(plan, text, f);
}

bool
drift_check_type(const LoadPlan *plan, int i, const BqField *field, Failure *f)
{
	const RemoteColumn *column = &plan->table->columns[i];
	const char *needed;

	if (schema_check_column(plan->remote_name, column, field, &needed, f))
		return true;
	/* add to the hint the statement that the target needs, if any */
	if (needed != NULL)
	{
		Oid from = DatumGetObjectId(DirectFunctionCall1(regtypein, CStringGetDatum(needed)));
		Oid to = get_atttype(plan->target, get_attnum(plan->target, column->name));
		char *hint = pstrdup(f->hint);
		const char *name = failure_from_server(quote_identifier(column->name));

		if (!can_coerce_type(1, &from, &to, COERCION_ASSIGNMENT))
			failure_hint(f, "%s ALTER TABLE %s ALTER COLUMN %s TYPE %s USING %s::text::%s;", hint,
						 failure_from_server(plan->target_name), name, needed, name, needed);
	}
	return false;
}

void
drift_check_types(const LoadPlan *plan, const BqJob *job)
{
	Failure f;

	if (job->nfields != plan->ncolumns)
		ereport(ERROR, (errcode(ERRCODE_FDW_ERROR), errmsg("BigQuery's answer has %d columns where %d were asked for",
														   job->nfields, plan->ncolumns)));
	for (int i = 0; i < plan->ncolumns; i++)
		if (!drift_check_type(plan, i, &job->fields[i], &f))
			failure_throw(&f);
}
