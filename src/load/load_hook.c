/*
 * load_hook.c
 *	  The user's functions that a source names: after_load, on_failure.
 *
 * Both run as the owner of the target.  A role that may write contratos_sources
 * must not gain the privileges of that owner through its own function, so the
 * function's owner must be a role that can act as the target's owner anyway.
 */
#include "postgres.h"

#include "catalog/namespace.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "nodes/parsenodes.h"
#include "parser/parse_func.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"
#include "utils/varlena.h"

#include "ledger/extension.h"
#include "ledger/ledger_source.h"
#include "ledger/statement.h"
#include "load/load_internal.h"

/* The arguments of both; after_load is called with the first two. */
#define MAX_ARGS 3
static const Oid hook_types[MAX_ARGS] = {TEXTOID, DATEOID, TEXTOID};
static const char *const hook_signatures[MAX_ARGS + 1] = {NULL, NULL, "source text, day date",
														  "source text, day date, error text"};

/* A function to call, named in a column of contratos_sources. */
typedef struct Hook
{
	const char *column;
	const char *name; /* as written in that column */
	int nargs;
} Hook;

static void
refuse_unknown_hook(const LoadPlan *plan, const Hook *hook)
{
	ereport(ERROR, (errcode(ERRCODE_UNDEFINED_FUNCTION), errmsg("function \"%s\" does not exist", hook->name),
					errdetail("It is named in %s of source \"%s\" and must accept (%s).", hook->column,
							  plan->source->name, hook_signatures[hook->nargs]),
					errhint("Make the function or procedure with these arguments, or change %s in contratos_sources; "
							"its name must have its schema.",
							hook->column)));
}

static void
refuse_owner(const LoadPlan *plan, const Hook *hook, const char *name, Oid owner)
{
	const char *role = GetUserNameFromId(plan->owner, false);

	ereport(ERROR, (errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
					errmsg("%s may not be %s of source \"%s\"", name, hook->column, plan->source->name),
					errdetail("It would run as role \"%s\", the owner of %s, but belongs to role \"%s\".", role,
							  plan->target_name, GetUserNameFromId(owner, true)),
					errhint("ALTER ROUTINE %s OWNER TO %s;", name, quote_identifier(role))));
}

/* Calls the SQL function, because the C function below it has another name from PostgreSQL 16 on. */
static bool
may_execute(Oid role, Oid function)
{
	return DatumGetBool(DirectFunctionCall3(has_function_privilege_id_id, ObjectIdGetDatum(role),
											ObjectIdGetDatum(function), CStringGetTextDatum("EXECUTE")));
}

static void
refuse_call(const LoadPlan *plan, const Hook *hook, const char *privilege, const char *object)
{
	const char *role = GetUserNameFromId(plan->owner, false);

	ereport(ERROR,
			(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
			 errmsg("%s of source \"%s\" may not be called by role \"%s\"", hook->column, plan->source->name, role),
			 errdetail("That role owns %s, and the call runs as it.", plan->target_name),
			 errhint("GRANT %s %s TO %s;", privilege, object, quote_identifier(role))));
}

/* Otherwise the look-up of the function would fail, without a hint. */
static void
check_schema(const LoadPlan *plan, const Hook *hook, List *name)
{
	char *schema;
	char *function;
	Oid oid;

	DeconstructQualifiedName(name, &schema, &function);
	oid = get_namespace_oid(schema, true);
	if (OidIsValid(oid) && !DatumGetBool(DirectFunctionCall3(has_schema_privilege_id_id, ObjectIdGetDatum(plan->owner),
															 ObjectIdGetDatum(oid), CStringGetTextDatum("USAGE"))))
		refuse_call(plan, hook, "USAGE ON SCHEMA", quote_identifier(schema));
}

static void
check_routine_kind(const LoadPlan *plan, const Hook *hook, char kind)
{
	if (kind != PROKIND_PROCEDURE && kind != PROKIND_FUNCTION)
		ereport(ERROR, (errcode(ERRCODE_WRONG_OBJECT_TYPE),
						errmsg("%s of source \"%s\" is neither a function nor a procedure: %s", hook->column,
							   plan->source->name, hook->name),
						errhint("Name one that takes (%s).", hook_signatures[hook->nargs])));
}

/* A function or procedure with exactly these arguments; InvalidOid: it does not exist. */
static Oid
find(const Hook *hook, List *name)
{
	ObjectWithArgs *routine = makeNode(ObjectWithArgs);

	routine->objname = name;
	for (int i = 0; i < hook->nargs; i++)
		routine->objargs = lappend(routine->objargs, makeTypeNameFromOid(hook_types[i], -1));
	return LookupFuncWithArgs(OBJECT_ROUTINE, routine, true);
}

/*
 * Find the function and make sure that the current user, the target's owner, may
 * call it.  Returns the statement that calls it; *name is its name with its
 * schema, *routine the routine that the statement must still refer to when it is
 * run, *code the result of SPI that means success.
 */
static char *
resolve_hook(const LoadPlan *plan, const Hook *hook, char **name, StatementObjects *routine, int *code)
{
	List *parts = textToQualifiedNameList(cstring_to_text(hook->name));
	Oid function = InvalidOid;
	HeapTuple tuple;
	FormData_pg_proc form;

	/* with search_path the caller of a load could choose among the owner's functions */
	if (list_length(parts) > 1)
	{
		check_schema(plan, hook, parts);
		function = find(hook, parts);
	}
	if (!OidIsValid(function))
		refuse_unknown_hook(plan, hook);
	tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(function));
	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for function %u", function);
	memcpy(&form, GETSTRUCT(tuple), sizeof(form));
	ReleaseSysCache(tuple);

	*name = quote_qualified_identifier(get_namespace_name(form.pronamespace), NameStr(form.proname));
	check_routine_kind(plan, hook, form.prokind);
	if (!has_privs_of_role(form.proowner, plan->owner))
		refuse_owner(plan, hook, *name, form.proowner);
	if (!may_execute(plan->owner, function))
		refuse_call(plan, hook, "EXECUTE ON ROUTINE", *name);
	*routine = (StatementObjects){.routine = function};
	*code = form.prokind == PROKIND_PROCEDURE ? SPI_OK_UTILITY : SPI_OK_SELECT;
	return psprintf("%s %s(%s)", form.prokind == PROKIND_PROCEDURE ? "CALL" : "SELECT", *name,
					hook->nargs == 2 ? "$1, $2" : "$1, $2, $3");
}

/*
 * A role that registers a source chooses the function that is called as the
 * target's owner.  It may only choose a function that it may call itself, so that
 * it cannot use the owner's privileges to call others.
 */
static void
check_registrar(const Hook *hook, Oid function)
{
	const char *role = GetUserNameFromId(GetUserId(), false);

	if (may_execute(GetUserId(), function))
		return;
	ereport(ERROR, (errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
					errmsg("permission denied to register function %s as %s", hook->name, hook->column),
					errdetail("The role that registers it must be allowed to call it, and role \"%s\" is not.", role),
					errhint("GRANT EXECUTE ON ROUTINE %s(%s) TO %s;", hook->name,
							hook->nargs == 2 ? "text, date" : "text, date, text", quote_identifier(role))));
}

char *
load_qualify_hook(const char *name, int nargs, const char *column)
{
	Hook hook = {.column = column, .name = name, .nargs = nargs};
	List *parts;
	Oid function;

	if (!SplitIdentifierString(pstrdup(name), '.', &parts) || parts == NIL || list_length(parts) > 2)
		return pstrdup(name);
	function = find(&hook, textToQualifiedNameList(cstring_to_text(name)));
	if (OidIsValid(function))
		check_registrar(&hook, function);
	if (list_length(parts) == 2)
		return pstrdup(name);
	if (!OidIsValid(function))
	{
		ereport(WARNING, (errcode(ERRCODE_UNDEFINED_FUNCTION),
						  errmsg("function \"%s\", %s of a source, does not exist", name, column),
						  errdetail("It is called with (%s).", hook_signatures[nargs]),
						  errhint("Write it as schema.function: a load does not look for it by search_path.")));
		return pstrdup(name);
	}
	return quote_qualified_identifier(get_namespace_name(get_func_namespace(function)), get_func_name(function));
}

/*
 * The name with its schema.  The target's owner, not the caller, needs USAGE on
 * the schema.
 */
static char *
qualified_hook(const LoadPlan *plan, const Hook *hook)
{
	StatementObjects routine;
	char *name;
	Oid user;
	int context;
	int code;

	GetUserIdAndSecContext(&user, &context);
	SetUserIdAndSecContext(plan->owner, context | SECURITY_LOCAL_USERID_CHANGE);
	(void) resolve_hook(plan, hook, &name, &routine, &code);
	SetUserIdAndSecContext(user, context);
	return name;
}

static void
hook_context(void *arg)
{
	const Hook *hook = arg;

	errcontext("%s \"%s\"", hook->column, hook->name);
}

/* In a load's scope.  A procedure cannot commit in it, which would leave half a day. */
static void
call(const LoadPlan *plan, Hook *hook, Datum *values)
{
	ErrorContextCallback context = {.previous = error_context_stack, .callback = hook_context, .arg = hook};
	StatementObjects routine;
	Oid types[MAX_ARGS];
	StatementArgs args = {.n = hook->nargs, .types = types, .values = values};
	char *name;
	char *sql;
	int code;

	memcpy(types, hook_types, sizeof(types));
	error_context_stack = &context;
	/* again: it may have been dropped while BigQuery was queried */
	sql = resolve_hook(plan, hook, &name, &routine, &code);
	statement_execute(sql, &args, &routine, code);
	error_context_stack = context.previous;
}

char *
load_find_after_load(const LoadPlan *plan)
{
	Hook hook = {.column = "after_load", .name = plan->source->after_load, .nargs = 2};

	return hook.name != NULL ? qualified_hook(plan, &hook) : NULL;
}

void
load_check_on_failure(const LedgerSource *source, const char *name)
{
	Hook hook = {.column = "on_failure", .name = name, .nargs = 3};
	LoadPlan plan = {.source = source};

	load_find_target(&plan, false);
	if (name != NULL)
		(void) qualified_hook(&plan, &hook);
}

void
load_call_after_load(const LoadPlan *plan, DateADT day)
{
	Hook hook = {.column = "after_load", .name = plan->after_load, .nargs = 2};
	Datum values[MAX_ARGS] = {CStringGetTextDatum(plan->source->name), DateADTGetDatum(day)};

	if (hook.name != NULL)
		call(plan, &hook, values);
}

void
load_report_failure(const LedgerSource *source, DateADT day, const char *name, const char *error)
{
	Hook hook = {.column = "on_failure", .name = name, .nargs = 3};
	Datum values[MAX_ARGS] = {CStringGetTextDatum(source->name), DateADTGetDatum(day), CStringGetTextDatum(error)};
	LoadPlan plan = {.source = source};
	LoadSecurityContext scope;

	/* a session that has locked the target must not prevent the notification */
	load_find_target(&plan, false);
	hook.name = qualified_hook(&plan, &hook);
	load_show("calling %s", hook.name);
	load_enter_security_context(&scope, &plan, true);
	call(&plan, &hook, values);
	load_leave_security_context(&scope);
}
