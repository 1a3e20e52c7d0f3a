/*
 * load_plan.c
 *	  A source resolved into plain data.
 *
 * Names are resolved at each load and OIDs never kept: after a restore, or when a
 * table was recreated, the name still refers to the right table, and an OID would
 * not.
 */
#include "postgres.h"

#include "access/table.h"
#include "catalog/namespace.h"
#include "catalog/pg_foreign_table.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "storage/lmgr.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/syscache.h"
#include "utils/varlena.h"

#include "bigquery/bqtype.h"
#include "ledger/extension.h"
#include "ledger/ledger_source.h"
#include "ledger/trust.h"
#include "load/load.h"
#include "load/load_internal.h"
#include "remote/deparse.h"

Oid
load_find_relation(const char *name)
{
	RangeVar *range = makeRangeVarFromNameList(textToQualifiedNameList(cstring_to_text(name)));
	Oid schema = range->schemaname != NULL ? get_namespace_oid(range->schemaname, true) : InvalidOid;

	return OidIsValid(schema) ? get_relname_relid(range->relname, schema) : InvalidOid;
}

/* The server of a source's foreign table; InvalidOid: the table does not exist, or is not a foreign table. */
static Oid
server_of(const LedgerSource *source)
{
	Oid relid = load_find_relation(source->remote_table);
	HeapTuple tuple = SearchSysCache1(FOREIGNTABLEREL, ObjectIdGetDatum(relid));
	Oid server;

	if (!HeapTupleIsValid(tuple))
		return InvalidOid;
	server = ((Form_pg_foreign_table) GETSTRUCT(tuple))->ftserver;
	ReleaseSysCache(tuple);
	return server;
}

List *
load_schedules(void)
{
	List *schedules = ledger_schedules(NULL);
	int n = list_length(schedules);
	Oid *servers = palloc(n * sizeof(Oid));

	for (int i = 0; i < n; i++)
		servers[i] = server_of(&((LedgerSchedule *) list_nth(schedules, i))->source);
	for (int i = 0; i < n; i++)
	{
		LedgerSchedule *schedule = list_nth(schedules, i);

		for (int j = 0; j < n; j++)
		{
			const LedgerSchedule *other = list_nth(schedules, j);

			if (servers[j] != servers[i] || !OidIsValid(servers[i]))
				continue;
			schedule->answer = Max(schedule->answer, other->answer);
			schedule->failure = Max(schedule->failure, other->failure);
			schedule->unreachable_at = Max(schedule->unreachable_at, other->unreachable_at);
			schedule->rules.answered_at = Max(schedule->rules.answered_at, other->rules.answered_at);
			schedule->rules.postponed_until = Max(schedule->rules.postponed_until, other->rules.postponed_until);
		}
	}
	/* not while they are compared: an outage that is over for one is over for all */
	for (int i = 0; i < n; i++)
	{
		LedgerSchedule *schedule = list_nth(schedules, i);

		if (schedule->failure < schedule->answer)
			schedule->unreachable_at = schedule->rules.postponed_until = 0;
	}
	return schedules;
}

/* It existed when the row was written: dropped or renamed since, or not yet restored. */
static void
refuse_unknown_relation(const char *name, const char *column)
{
	ereport(ERROR, (errcode(ERRCODE_UNDEFINED_TABLE), errmsg("relation \"%s\" does not exist", name),
					errhint("Put it back, or correct %s in contratos_sources.", column)));
}

/*
 * The caller needs no privilege on the schema: it may load a source whatever
 * schema its tables are in.  The privileges are required of the target's owner.
 */
Oid
load_relation(const char *name, const char *column)
{
	Oid relid = load_find_relation(name);

	/* the name may refer to another relation after the wait for the lock */
	while (OidIsValid(relid))
	{
		Oid now;

		load_lock(relid, AccessShareLock, name);
		now = load_find_relation(name);
		if (now == relid)
			return relid;
		UnlockRelationOid(relid, AccessShareLock);
		relid = now;
	}
	refuse_unknown_relation(name, column);
	return InvalidOid;
}

static char *
qualified_relation_name(Oid relid)
{
	return quote_qualified_identifier(get_namespace_name(get_rel_namespace(relid)), get_rel_name(relid));
}

static void
check_rights(const LoadPlan *plan)
{
	if (pg_class_aclcheck(plan->table->relid, plan->owner, ACL_SELECT) != ACLCHECK_OK)
		ereport(ERROR, (errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
						errmsg("permission denied for foreign table %s", plan->remote_name),
						errdetail("Source \"%s\" is loaded as role \"%s\", the owner of %s.", plan->source->name,
								  GetUserNameFromId(plan->owner, false), plan->target_name),
						errhint("GRANT SELECT ON %s TO %s;", plan->remote_name,
								quote_identifier(GetUserNameFromId(plan->owner, false)))));
}

/*
 * Code attached to a foreign table runs, even when a statement is only planned, as
 * the target's owner: so the foreign table must be owned by a role that has the
 * privileges of that owner anyway.
 */
static void
check_remote_owner(const LoadPlan *plan)
{
	Oid owner = extension_relation_owner(plan->table->relid);
	const char *remote_role = quote_identifier(GetUserNameFromId(owner, true));
	const char *role = quote_identifier(GetUserNameFromId(plan->owner, false));

	if (has_privs_of_role(owner, plan->owner))
		return;
	ereport(
		ERROR,
		(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
		 errmsg("foreign table %s may not be loaded into %s", plan->remote_name, plan->target_name),
		 errdetail("A load reads it as role %s, the owner of %s, and code attached to it, such as statistics, would "
				   "run as that role; but it belongs to role %s, which does not have the privileges of role %s.",
				   role, plan->target_name, remote_role, role),
		 superuser_arg(plan->owner)
			 ? errhint("ALTER FOREIGN TABLE %s OWNER TO %s;", plan->remote_name, role)
			 : errhint("ALTER FOREIGN TABLE %s OWNER TO %s; or, if role %s may do all that role %s may: GRANT %s TO "
					   "%s;",
					   plan->remote_name, role, remote_role, role, role, remote_role)));
}

/* Match each column of the foreign table with the target's column of the same name. */
static void
match_columns(LoadPlan *plan)
{
	StringInfoData list;

	initStringInfo(&list);
	plan->ncolumns = plan->table->ncolumns;
	plan->columns = palloc(sizeof(AttrNumber) * Max(plan->ncolumns, 1));
	for (int i = 0; i < plan->ncolumns; i++)
	{
		const char *name = plan->table->columns[i].name;

		if (get_attnum(plan->target, name) == InvalidAttrNumber)
			ereport(ERROR, (errcode(ERRCODE_UNDEFINED_COLUMN),
							errmsg("table %s has no column \"%s\"", plan->target_name, name),
							errdetail("Foreign table %s has it, and columns are matched by name.", plan->remote_name),
							errhint("Add the column to the table, or drop it from the foreign table.")));
		plan->columns[i] = plan->table->columns[i].attnum;
		appendStringInfo(&list, "%s%s", i > 0 ? ", " : "", quote_identifier(name));
	}
	if (plan->ncolumns == 0)
		ereport(ERROR, (errcode(ERRCODE_INVALID_TABLE_DEFINITION),
						errmsg("foreign table %s has no columns", plan->remote_name),
						errhint("Add some with ALTER FOREIGN TABLE ... ADD COLUMN.")));
	plan->column_list = list.data;
}

/* BigQuery's type for a local type that a timestamp_column may have; BQ_UNKNOWN: it may not. */
static BqType
remote_type_of(Oid type)
{
	switch (type)
	{
		case TIMESTAMPTZOID:
			return BQ_TIMESTAMP;
		case TIMESTAMPOID:
			return BQ_DATETIME;
		case DATEOID:
			return BQ_DATE;
		default:
			return BQ_UNKNOWN;
	}
}

static void
find_timestamp_column(LoadPlan *plan)
{
	const char *name = plan->source->timestamp_column;
	BqType type;

	if (name == NULL)
		return;
	plan->timestamp = options_column(plan->table, name);
	if (plan->timestamp == NULL)
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_COLUMN),
						errmsg("foreign table %s has no column \"%s\"", plan->remote_name, name),
						errdetail("It is the timestamp_column of source \"%s\".", plan->source->name),
						errhint("Correct timestamp_column in contratos_sources.")));
	type = remote_type_of(plan->timestamp->type);
	if (type == BQ_UNKNOWN || deparse_column_type(plan->timestamp) != type)
		ereport(ERROR, (errcode(ERRCODE_INVALID_OBJECT_DEFINITION),
						errmsg("column \"%s\" of foreign table %s cannot be used as timestamp_column", name,
							   plan->remote_name),
						errdetail("The timestamp_column of a source must be timestamp with time zone in PostgreSQL and "
								  "TIMESTAMP in BigQuery, or timestamp and DATETIME, or date and DATE."),
						errhint("Correct timestamp_column in contratos_sources, or the column's type.")));
	load_check_precision(plan->timestamp->name, plan->remote_name, "FOREIGN TABLE", plan->timestamp->type,
						 plan->timestamp->typmod);
	plan->timestamp_remote = type;
}

static Oid
type_owner(Oid type)
{
	HeapTuple tuple = SearchSysCache1(TYPEOID, ObjectIdGetDatum(type));
	Oid owner;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for type %u", type);
	owner = ((Form_pg_type) GETSTRUCT(tuple))->typowner;
	ReleaseSysCache(tuple);
	return owner;
}

/*
 * A domain's CHECK and a type's casts are functions of the type's owner, and a
 * load would call them as the target's owner: the same rule applies as for
 * after_load.  If the target's column has the same type, the target's owner has
 * chosen it.
 */
static void
check_column_types(const LoadPlan *plan)
{
	for (int i = 0; i < plan->ncolumns; i++)
	{
		const RemoteColumn *column = &plan->table->columns[i];
		Oid owner = type_owner(column->type);
		const char *type = format_type_be(column->type);
		const char *role;

		if (column->type == get_atttype(plan->target, get_attnum(plan->target, column->name)) ||
			has_privs_of_role(owner, plan->owner))
			continue;
		role = GetUserNameFromId(plan->owner, false);
		ereport(ERROR, (errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
						errmsg("type %s of column \"%s\" of foreign table %s may not be used by a load", type,
							   column->name, plan->remote_name),
						errdetail("Its checks and casts would run as role \"%s\", the owner of %s, but the "
								  "type belongs to role \"%s\".",
								  role, plan->target_name, GetUserNameFromId(owner, true)),
						errhint("Make the column another type, or: ALTER TYPE %s OWNER TO %s;", type,
								quote_identifier(role))));
	}
}

/*
 * The scan would be refused, but only after BigQuery has read, and billed, the
 * whole table for the day.
 */
static void
check_filter(const LoadPlan *plan)
{
	const char *wanted = plan->table->partition_column;

	if (!plan->table->require_filter || wanted == NULL)
		return;
	if (plan->timestamp != NULL && strcmp(plan->timestamp->name, wanted) == 0)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_OBJECT_DEFINITION),
			 errmsg("a load of source \"%s\" would read the whole BigQuery table", plan->source->name),
			 errdetail("Foreign table %s requires a condition on its partition_column \"%s\", and a load has one "
					   "only on the source's timestamp_column.",
					   plan->remote_name, wanted),
			 errhint("Make both the same column, or set the foreign table's option require_filter to 'false'.")));
}

void
load_find_target(LoadPlan *plan, bool lock)
{
	const char *name = plan->source->target_table;

	plan->target = lock ? load_relation(name, "target_table") : load_find_relation(name);
	if (!OidIsValid(plan->target))
		refuse_unknown_relation(name, "target_table");
	plan->target_name = qualified_relation_name(plan->target);
	plan->owner = extension_relation_owner(plan->target);
}

LoadPlan *
load_plan_tables(const LedgerSource *source)
{
	LoadPlan *plan = palloc0(sizeof(LoadPlan));

	load_report_undecided(source, ERROR);
	plan->source = source;
	plan->table = options_table(load_relation(source->remote_table, "remote_table"));
	plan->remote_name = qualified_relation_name(plan->table->relid);
	load_find_target(plan, true);

	match_columns(plan);
	find_timestamp_column(plan);
	load_check_target(plan);
	check_filter(plan);
	check_rights(plan);
	check_remote_owner(plan);
	trust_check_statistics(plan->table->relid, plan->owner);
	trust_check(plan->target, plan->owner, AccessShareLock, load_lock);
	check_column_types(plan);
	return plan;
}

static void
refuse_replaced(const char *table)
{
	ereport(ERROR, (errcode(ERRCODE_OBJECT_IN_USE), errmsg("table %s was replaced while the query was running", table),
					errdetail("Its name now stands for another table, or it was given to another owner."),
					errhint("Load the day again.")));
}

void
load_check_again(const LoadPlan *plan)
{
	LoadPlan now = {.source = plan->source};

	load_find_target(&now, plan->table != NULL);
	if (now.target != plan->target || now.owner != plan->owner)
		refuse_replaced(plan->target_name);
	if (plan->table != NULL && load_relation(plan->source->remote_table, "remote_table") != plan->table->relid)
		refuse_replaced(plan->remote_name);
	if (plan->table != NULL)
		(void) load_plan_tables(plan->source);
}

LoadPlan *
load_plan(const LedgerSource *source)
{
	LoadPlan *plan = load_plan_tables(source);

	load_check_rivals(plan);
	plan->after_load = load_find_after_load(plan);
	plan->connection = options_connection(plan->table->relid, plan->owner);
	return plan;
}
