/*
 * check_source.c
 *	  A source's row in contratos_sources, and the two tables that it names.
 */
#include "postgres.h"

#include "utils/builtins.h"

#include "base/day.h"
#include "base/failure.h"
#include "check/check_internal.h"
#include "ledger/schedule.h"
#include "load/setup.h"
#include "remote/options.h"

static LedgerSchedule *
find_schedule(const char *name)
{
	List *found = ledger_schedules(name);

	return found != NIL ? linitial(found) : NULL;
}

/* Nothing is set up: report what sets it up, and what may prevent that. */
static void
report_builtin(Check *check)
{
	List *functions = setup_event_functions();
	const SetupEventFunction *function = functions != NIL ? linitial(functions) : NULL;

	if (function == NULL)
		check_report(check, CHECK_WARNING, "nothing is set up yet; the first load or contratos_setup() will do it",
					 psprintf("SELECT %scontratos_setup();", check->schema));
	else
		check_report(check, CHECK_WARNING,
					 psprintf("nothing is set up yet; doing it will fire event trigger \"%s\"", function->trigger),
					 psprintf("%s Then: SELECT %scontratos_setup();", setup_event_cure(function), check->schema));
}

void
check_source(Check *check)
{
	const LedgerSource *source;

	check->schedule = find_schedule(check->source);
	if (check->schedule != NULL)
	{
		source = &check->schedule->source;
		load_report_undecided(source, ERROR);
		check_report(check, CHECK_OK,
					 psprintf("%s into %s, %s%s", source->remote_table, source->target_table,
							  source->timestamp_column ? "by " : "as a whole",
							  source->timestamp_column ? source->timestamp_column : ""),
					 NULL);
		return;
	}
	check->builtin = strcmp(check->source, SETUP_SOURCE) == 0 && ledger_is_untouched();
	if (check->builtin)
		report_builtin(check);
	else
		(void) ledger_source(check->source); /* throws, with the existing names */
}

/* Before contratos_setup() has created the objects, they cannot be checked. */
static bool
skip_builtin(Check *check)
{
	if (check->builtin)
		check_report(check, CHECK_SKIPPED, "nothing is set up yet", NULL);
	return check->builtin;
}

void
check_enabled(Check *check)
{
	if (skip_builtin(check))
		return;

	const ScheduleRules *rules = &check->schedule->rules;
	int minutes = (int) (rules->run_at / USECS_PER_MINUTE);

	if (rules->enabled)
		check_report(
			check, CHECK_OK,
			psprintf("due daily at %02d:%02d UTC, from %s on", minutes / 60, minutes % 60, day_text(rules->start_date)),
			NULL);
	else
		check_report(check, CHECK_WARNING, "disabled: the worker ignores it, only calls load it",
					 psprintf("UPDATE %scontratos_sources SET enabled = true WHERE name = %s;", check->schema,
							  quote_literal_cstr(check->source)));
}

void
check_foreign_table(Check *check)
{
	if (skip_builtin(check))
		return;

	const char *name = check->schedule->source.remote_table;

	check->hint = psprintf("Create the foreign table, or correct remote_table in %scontratos_sources.", check->schema);
	check->table = options_table(load_relation(name, "remote_table"));
	check_report(check, CHECK_OK, psprintf("%s is BigQuery's %s", name, failure_to_server(check->table->table)), NULL);
}

void
check_target(Check *check)
{
	if (skip_builtin(check))
		return;
	if (check->schedule->source.timestamp_column == NULL && !check->schedule->source.snapshot)
	{
		check_report(check, CHECK_SKIPPED, "the rows that a load replaces are not defined (see source)", NULL);
		return;
	}
	check->hint = psprintf("Create the table, or correct target_table in %scontratos_sources.", check->schema);
	if (check->table == NULL)
	{
		(void) load_relation(check->schedule->source.target_table, "target_table");
		check_report(check, CHECK_SKIPPED, "it exists, but its columns are compared with those of the foreign table",
					 NULL);
		return;
	}
	check->plan = load_plan_tables(&check->schedule->source);
	load_check_rivals(check->plan);
	check_report(
		check, CHECK_OK,
		psprintf("%s takes the %d columns of the foreign table", check->plan->target_name, check->plan->ncolumns),
		NULL);
}
