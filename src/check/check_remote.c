/*
 * check_remote.c
 *	  BigQuery's table: whether it can be read, whether it matches the foreign table,
 *	  and the cost of a day.  All of this is free of charge.
 */
#include "postgres.h"

#include "foreign/foreign.h"
#include "utils/builtins.h"

#include "base/day.h"
#include "base/failure.h"
#include "base/settings.h"
#include "bigquery/job.h"
#include "bigquery/message.h"
#include "check/check_internal.h"
#include "ledger/ledger_history.h"
#include "ledger/schedule.h"
#include "load/drift.h"
#include "load/setup.h"
#include "load/verify.h"
#include "remote/options.h"

#define MEGABYTE (INT64CONST(1024) * 1024)

/* Skip the check if BigQuery cannot be queried; returns false if it can. */
static bool
skip_unasked(Check *check)
{
	if (check->table == NULL && !check->builtin)
		check_report(check, CHECK_SKIPPED, "the foreign table cannot be used", NULL);
	else if (!check->reachable)
		check_report(check, CHECK_SKIPPED, "the endpoint cannot be reached", NULL);
	else if (!check->has_token)
		check_report(check, CHECK_SKIPPED, "there is no token", NULL);
	else
		return false;
	return true;
}

static bool
skip_without_table(Check *check)
{
	if (check->remote == NULL)
		check_report(check, CHECK_SKIPPED, "BigQuery's table is not known", NULL);
	else if (check->plan == NULL)
		check_report(check, CHECK_SKIPPED,
					 check->builtin ? "nothing is set up yet" : "the foreign table or the target has a problem", NULL);
	else
		return false;
	return true;
}

void
check_table(Check *check)
{
	const char *name = check->table ? check->table->table : SETUP_TABLE;
	BqTable remote;
	Failure f;

	if (skip_unasked(check))
		return;
	if (!bigquery_table(check->bq, name, &remote, &f))
	{
		check_report_failure(check, &f, "Check option \"table\" of the foreign table.");
		return;
	}
	check->remote = memcpy(palloc(sizeof(remote)), &remote, sizeof(remote));
	check_report(check, CHECK_OK,
				 psprintf("%s can be seen, a %s of %d columns", failure_to_server(name), failure_to_server(remote.type),
						  remote.nfields),
				 NULL);
}

/* --------------------------------------------------------------------------
 * Columns
 * -------------------------------------------------------------------------- */

/* Whether a load's query would find a column as it is declared; if not, sets *f. */
static bool
column_fits(const Check *check, int i, Failure *f)
{
	const BqTable *remote = check->remote;
	const char *name = check->plan->table->columns[i].remote_name;

	for (int r = 0; r < remote->nfields; r++)
		if (pg_strcasecmp(remote->fields[r].name, name) == 0)
			return drift_check_type(check->plan, i, &remote->fields[r], f);
	/* _PARTITIONTIME and similar columns are not in the schema */
	if (name[0] == '_' && (remote->ingestion_time || strcmp(remote->type, "EXTERNAL") == 0))
		return true;
	drift_column_gone(check->plan, i, f);
	return false;
}

void
check_columns(Check *check)
{
	Drift *drift;
	int wrong = 0;
	Failure first;
	Failure f;

	if (skip_without_table(check))
		return;
	for (int i = 0; i < check->plan->ncolumns; i++)
		if (!column_fits(check, i, &f) && wrong++ == 0)
			first = f;
	if (wrong > 0)
	{
		check_report_failure(check, &first, NULL);
		if (wrong > 1)
			check->found = psprintf("%s And %d more columns do not fit.", check->found, wrong - 1);
		return;
	}
	drift = drift_differences(check->plan, check->remote);
	if (drift != NULL)
		check_report(check, CHECK_WARNING, drift->what,
					 drift->remedy[0] != '\0' ? drift->remedy : "Add the columns that are wanted to both tables.");
	else
		check_report(check, CHECK_OK, psprintf("all %d exist and have matching types", check->plan->ncolumns), NULL);
}

/* --------------------------------------------------------------------------
 * Location
 * -------------------------------------------------------------------------- */

/* The statement that makes the source's server use that location. */
static char *
move_server(const Check *check, const char *location)
{
	ForeignServer *server;
	const char *verb = "ADD";
	ListCell *cell;

	if (check->table == NULL)
		return psprintf("Set contratos.location to '%s'.", location);
	server = GetForeignServer(GetForeignTable(check->table->relid)->serverid);
	foreach (cell, server->options)
		if (strcmp(((DefElem *) lfirst(cell))->defname, "location") == 0)
			verb = "SET";
	return psprintf("ALTER SERVER %s OPTIONS (%s location %s);", quote_identifier(server->servername), verb,
					quote_literal_cstr(location));
}

void
check_location(Check *check)
{
	const char *wanted = check->connection ? check->connection->location : NULL;
	const char *location;

	if (check->remote == NULL || wanted == NULL)
		check_report(check, CHECK_SKIPPED, "BigQuery's table is not known", NULL);
	else if (check->remote->location == NULL)
		check_report(check, CHECK_SKIPPED, "BigQuery does not say where the table is", NULL);
	else
	{
		location = failure_to_server(check->remote->location);
		if (pg_strcasecmp(location, wanted) == 0)
			check_report(check, CHECK_OK, location, NULL);
		else
			check_report(check, CHECK_FAILED,
						 psprintf("the table is in %s, and its queries are sent to %s", location, wanted),
						 move_server(check, location));
	}
}

/* --------------------------------------------------------------------------
 * Cost
 * -------------------------------------------------------------------------- */

/* Estimate the bytes that loading that day would bill; returns false if it cannot, with the result set. */
static bool
estimate_yesterday(Check *check, DateADT day)
{
	BqQuery *query = load_query(check->plan, day);
	int64 bytes;
	Failure f;

	if (!bigquery_estimate(check->bq, query, &bytes, &f))
	{
		drift_explain(check->plan, query->text, &f);
		check_report_failure(check, &f, NULL);
		return false;
	}
	check->billed = bytes < 0 ? -1 : message_billed(bytes);
	return true;
}

void
check_byte_cap(Check *check)
{
	DateADT day = day_yesterday(settings_now());
	int64 cap;
	char *found;

	if (skip_unasked(check) || skip_without_table(check))
		return;
	if (!check->has_project)
	{
		check_report(check, CHECK_SKIPPED, "no project is known", NULL);
		return;
	}
	if (!estimate_yesterday(check, day))
		return;
	cap = check->connection->max_bytes_billed;
	if (check->billed < 0)
	{
		check_report(check, CHECK_WARNING,
					 psprintf("BigQuery does not say what loading %s would bill%s", day_text(day),
							  cap > 0 ? psprintf("; it counts as the cap, %s", message_size_text(cap))
									  : ", and there is no cap"),
					 "The table has row access policies. Compare the bills with what the ledger has.");
		return;
	}
	found = psprintf("loading %s would bill %s", day_text(day), message_size_text(check->billed));
	if (cap == 0)
		check_report(check, CHECK_OK, psprintf("%s; there is no cap", found), NULL);
	else if (check->billed <= cap)
		check_report(check, CHECK_OK, psprintf("%s of at most %s", found, message_size_text(cap)), NULL);
	else
		check_report(check, CHECK_FAILED, psprintf("%s, but %s are allowed", found, message_size_text(cap)),
					 psprintf("Raise %s to at least '" INT64_FORMAT "MB'.", check->connection->cap_name,
							  (check->billed + MEGABYTE - 1) / MEGABYTE));
}

void
check_budget(Check *check)
{
	LedgerBudget budget;
	bool left = ledger_budget_left(check->source, settings_now(), &budget);
	int64 billed = budget.cap > 0 ? budget.billed : ledger_billed_today(check->source, settings_now());
	char *found = psprintf("%s billed today%s", message_size_text(billed), budget.total ? " for all sources" : "");
	char *allowed = message_size_text(budget.cap);
	char *cure = psprintf("Raise %s, or wait until tomorrow (UTC).", budget.setting);

	if (budget.cap == 0)
		check_report(check, CHECK_OK, psprintf("%s; there is no limit (contratos.max_bytes_per_day)", found), NULL);
	else if (!left)
		check_report(check, CHECK_FAILED, psprintf("%s, and %s are allowed: used up", found, allowed), cure);
	else if (check->billed > 0 && billed + check->billed > budget.cap)
		check_report(check, CHECK_WARNING,
					 psprintf("%s of %s: not enough left for another load of %s", found, allowed,
							  message_size_text(check->billed)),
					 cure);
	else
		check_report(check, CHECK_OK, psprintf("%s of %s", found, allowed), NULL);
}
