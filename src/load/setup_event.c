/*
 * setup_event.c
 *	  Event triggers that are fired while the built-in source is created.
 *
 * They run with the search_path of the command that fires them, pg_catalog and
 * pg_temp, which is a secure one.  A function that names its tables without their
 * schema does not find them, and its error does not tell why.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/pg_event_trigger.h"
#include "catalog/pg_proc.h"
#include "commands/event_trigger.h"
#include "commands/trigger.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/syscache.h"

#include "load/setup.h"
#include "load/setup_internal.h"

/* Whether a function has a search_path of its own. */
static bool
has_search_path(Oid function)
{
	HeapTuple tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(function));
	bool isnull = true;
	Datum config =
		HeapTupleIsValid(tuple) ? SysCacheGetAttr(PROCOID, tuple, Anum_pg_proc_proconfig, &isnull) : (Datum) 0;
	bool found = false;

	if (!isnull)
	{
		Datum *settings;
		int n;

		deconstruct_array(DatumGetArrayTypeP(config), TEXTOID, -1, false, TYPALIGN_INT, &settings, NULL, &n);
		for (int i = 0; i < n; i++)
			found |= strncmp(TextDatumGetCString(settings[i]), "search_path=", strlen("search_path=")) == 0;
	}
	if (HeapTupleIsValid(tuple))
		ReleaseSysCache(tuple);
	return found;
}

List *
setup_event_functions(void)
{
	Relation catalog = table_open(EventTriggerRelationId, AccessShareLock);
	SysScanDesc scan = systable_beginscan(catalog, InvalidOid, false, NULL, 0, NULL);
	List *functions = NIL;
	HeapTuple tuple;

	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		Form_pg_event_trigger trigger = (Form_pg_event_trigger) GETSTRUCT(tuple);
		const char *event = NameStr(trigger->evtevent);
		SetupEventFunction *function;

		if (trigger->evtenabled == TRIGGER_DISABLED || strncmp(event, "ddl_command_", strlen("ddl_command_")) != 0 ||
			has_search_path(trigger->evtfoid))
			continue;
		function = palloc(sizeof(SetupEventFunction));
		function->trigger = pstrdup(NameStr(trigger->evtname));
		function->name = pstrdup(quote_identifier(get_func_name(trigger->evtfoid)));
		function->qualified = quote_qualified_identifier(get_namespace_name(get_func_namespace(trigger->evtfoid)),
														 get_func_name(trigger->evtfoid));
		functions = lappend(functions, function);
	}
	systable_endscan(scan);
	table_close(catalog, AccessShareLock);
	return functions;
}

/* Whether an error's CONTEXT has a function in it, by either of its names. */
static bool
is_in_context(const char *context, const SetupEventFunction *function)
{
	return context != NULL && (strstr(context, psprintf("function %s(", function->qualified)) != NULL ||
							   strstr(context, psprintf("function %s(", function->name)) != NULL);
}

char *
setup_event_cure(const SetupEventFunction *function)
{
	return psprintf(
		"Function %s() runs with search_path pg_catalog, pg_temp then: let it name its tables and functions "
		"with their schema, or give it a search_path of its own: ALTER FUNCTION %s() SET search_path = ...;",
		function->qualified, function->qualified);
}

void
setup_blame_event_trigger(const List *functions, ErrorData *edata)
{
	ListCell *cell;

	foreach (cell, functions)
	{
		const SetupEventFunction *function = lfirst(cell);

		if (!is_in_context(edata->context, function))
			continue;
		edata->message = psprintf("event trigger \"%s\", function %s(), failed while source \"%s\" was set up: %s",
								  function->trigger, function->qualified, SETUP_SOURCE, edata->message);
		edata->hint = setup_event_cure(function);
		return;
	}
}
