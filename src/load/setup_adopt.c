/*
 * setup_adopt.c
 *	  What contratos_setup() finds in the database: whether an existing table
 *	  tokens can be loaded, and event triggers that may fail.
 *
 * A team that already has these rows from elsewhere keeps its table: it is enough
 * that an INSERT of the eight columns can succeed.  All problems are reported at
 * once, so that one ALTER TABLE can fix them.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/relation.h"
#include "access/table.h"
#include "catalog/pg_class.h"
#include "catalog/pg_event_trigger.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "commands/event_trigger.h"
#include "commands/trigger.h"
#include "lib/stringinfo.h"
#include "nodes/nodes.h"
#include "parser/parse_coerce.h"
#include "rewrite/rewriteHandler.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/syscache.h"

#include "load/setup.h"

static void setup_misfit(StringInfo misfits, const char *format, ...) pg_attribute_printf(2, 3);

static void
setup_misfit(StringInfo misfits, const char *format, ...)
{
	if (misfits->len > 0)
		appendStringInfoString(misfits, "; ");
	for (;;)
	{
		va_list args;
		va_start(args, format);
		int more = appendStringInfoVA(misfits, format, args);
		va_end(args);
		if (more == 0)
			return;
		enlargeStringInfo(misfits, more);
	}
}

static Form_pg_attribute
setup_attribute(TupleDesc columns, const char *name)
{
	for (int i = 0; i < columns->natts; i++)
	{
		Form_pg_attribute attribute = TupleDescAttr(columns, i);
		if (!attribute->attisdropped && strcmp(NameStr(attribute->attname), name) == 0)
			return attribute;
	}
	return NULL;
}

/*
 * Whether a value of `from` can be put into a column of type `to`.  The rows of a
 * day are found by comparing the timestamp column with instants, which a text
 * column, although any value can be assigned to it, does not allow.
 */
static bool
setup_takes(const SetupColumn *column, Oid from, Oid to)
{
	Oid base = getBaseType(to);

	if (strcmp(column->name, SETUP_TIMESTAMP) == 0)
		return base == TIMESTAMPTZOID || base == TIMESTAMPOID || base == DATEOID;
	return can_coerce_type(1, &from, &to, COERCION_ASSIGNMENT);
}

static void
setup_check_column(StringInfo misfits, const SetupColumn *column, TupleDesc target, TupleDesc remote)
{
	Form_pg_attribute from = remote ? setup_attribute(remote, column->name) : NULL;
	Oid type = from ? from->atttypid : column->remote_local_type;
	Form_pg_attribute to = setup_attribute(target, column->name);

	if (to == NULL)
		setup_misfit(misfits, "%s: missing, wanted %s", column->name, format_type_be(type));
	else if (to->attgenerated || to->attidentity == ATTRIBUTE_IDENTITY_ALWAYS)
		setup_misfit(misfits, "%s: generated, wanted a plain %s", column->name, format_type_be(type));
	else if (!setup_takes(column, type, to->atttypid))
		setup_misfit(misfits, "%s: %s, wanted %s", column->name, format_type_be(to->atttypid), format_type_be(type));
}

/* A column that a load does not fill must have a default or accept NULL. */
static void
setup_check_other_columns(StringInfo misfits, TupleDesc target)
{
	for (int i = 0; i < target->natts; i++)
	{
		Form_pg_attribute attribute = TupleDescAttr(target, i);
		bool ours = false;
		for (int j = 0; j < SETUP_NCOLUMNS; j++)
			ours = ours || strcmp(NameStr(attribute->attname), setup_columns[j].name) == 0;
		if (!ours && !attribute->attisdropped && attribute->attnotnull && !attribute->atthasdef &&
			!attribute->attidentity)
			setup_misfit(misfits, "%s: not null and without a default, wanted either", NameStr(attribute->attname));
	}
}

/* The relation must allow INSERT and DELETE. */
static void
setup_check_relation(Relation target, const char *name)
{
	const int wanted = (1 << CMD_INSERT) | (1 << CMD_DELETE);
	char kind = target->rd_rel->relkind;
	bool may_fit = kind == RELKIND_RELATION || kind == RELKIND_PARTITIONED_TABLE || kind == RELKIND_FOREIGN_TABLE ||
				   kind == RELKIND_VIEW;

	if (!may_fit)
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE), errmsg("%s exists and is not a table that can be loaded", name),
				 errhint("Rename it and call contratos_setup() again.")));
	if ((relation_is_updatable(RelationGetRelid(target), NIL, true, NULL) & wanted) != wanted)
		ereport(ERROR, (errcode(ERRCODE_WRONG_OBJECT_TYPE),
						errmsg("%s exists and does not allow both INSERT and DELETE", name),
						errhint("Give it INSTEAD OF triggers, or rename it, and call contratos_setup() again.")));
}

/*
 * Checks only whether there is a predicate: RelationGetIndexPredicate() evaluates
 * its constant parts, and so runs functions of the table's owner as the current
 * user.
 */
bool
setup_has_index(Relation table, const char *column)
{
	AttrNumber wanted = setup_attribute(RelationGetDescr(table), column)->attnum;
	List *indexes = RelationGetIndexList(table);
	bool found = false;
	ListCell *cell;

	foreach (cell, indexes)
	{
		Relation index = index_open(lfirst_oid(cell), AccessShareLock);
		if (index->rd_index->indisvalid && index->rd_index->indkey.values[0] == wanted &&
			heap_attisnull(index->rd_indextuple, Anum_pg_index_indpred, NULL))
			found = true;
		index_close(index, AccessShareLock);
	}
	list_free(indexes);
	return found;
}

void
setup_check_fit(Oid target_id, Oid remote_id)
{
	Relation target = relation_open(target_id, AccessShareLock);
	Relation remote = OidIsValid(remote_id) ? relation_open(remote_id, AccessShareLock) : NULL;
	const char *name =
		quote_qualified_identifier(get_namespace_name(RelationGetNamespace(target)), RelationGetRelationName(target));

	setup_check_relation(target, name);

	StringInfoData misfits;
	initStringInfo(&misfits);
	for (int i = 0; i < SETUP_NCOLUMNS; i++)
		setup_check_column(&misfits, &setup_columns[i], RelationGetDescr(target),
						   remote ? RelationGetDescr(remote) : NULL);
	setup_check_other_columns(&misfits, RelationGetDescr(target));
	if (misfits.len > 0)
		ereport(ERROR, (errcode(ERRCODE_DATATYPE_MISMATCH), errmsg("%s exists and does not fit", name),
						errdetail("%s.", misfits.data),
						errhint("Change these columns, or rename the table, and call contratos_setup() again.")));
	if (remote)
		relation_close(remote, NoLock);
	relation_close(target, NoLock);
}

void
setup_adopt(Oid target_id, Oid remote_id)
{
	Relation target;
	const char *name;

	setup_check_fit(target_id, remote_id);
	target = relation_open(target_id, NoLock);
	name =
		quote_qualified_identifier(get_namespace_name(RelationGetNamespace(target)), RelationGetRelationName(target));
	ereport(NOTICE, (errmsg("using existing %s", name)));
	char kind = target->rd_rel->relkind;
	if ((kind == RELKIND_RELATION || kind == RELKIND_PARTITIONED_TABLE) && !setup_has_index(target, SETUP_TIMESTAMP))
		ereport(NOTICE, (errmsg("%s has no index on %s: each load reads all of it", name, SETUP_TIMESTAMP),
						 errhint("CREATE INDEX ON %s (%s);", name, SETUP_TIMESTAMP)));
	relation_close(target, NoLock);
}

/* --------------------------------------------------------------------------
 * Event triggers that are fired while the built-in source is created.  They run
 * with the search_path of the command that fires them, pg_catalog and pg_temp,
 * which is a secure one.  A function that names its tables without their schema
 * does not find them, and its error does not give the reason.
 * -------------------------------------------------------------------------- */

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

	if (edata->context == NULL)
		return;
	foreach (cell, functions)
	{
		const SetupEventFunction *function = lfirst(cell);

		/* the error's CONTEXT has it by either of its names */
		if (strstr(edata->context, psprintf("function %s(", function->qualified)) == NULL &&
			strstr(edata->context, psprintf("function %s(", function->name)) == NULL)
			continue;
		edata->message = psprintf("event trigger \"%s\", function %s(), failed while source \"%s\" was set up: %s",
								  function->trigger, function->qualified, SETUP_SOURCE, edata->message);
		edata->hint = setup_event_cure(function);
		return;
	}
}
