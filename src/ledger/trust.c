/*
 * trust.c
 *	  Whether the role that runs a statement on a table may trust all roles whose
 *	  code the statement may run.
 *
 * The catalogs do not record who created a trigger: only its function has an
 * owner.  So another role's function is refused even if the table's owner created
 * the trigger.
 */
#include "postgres.h"

#include "access/relation.h"
#include "access/transam.h"
#include "catalog/catalog.h"
#include "catalog/partition.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_statistic_ext.h"
#include "commands/trigger.h"
#include "miscadmin.h"
#include "nodes/nodeFuncs.h"
#include "rewrite/prs2lock.h"
#include "storage/lmgr.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/regproc.h"
#include "utils/rel.h"
#include "utils/reltrigger.h"
#include "utils/syscache.h"

#include "ledger/extension.h"
#include "ledger/trust.h"

typedef struct Trust
{
	Oid role;
	TrustLock lock; /* NULL: none */
	List *reached; /* tables, by OID; grows while it is iterated over */
} Trust;

static char *
qualified_name_of(Oid schema, const char *name)
{
	return quote_qualified_identifier(get_namespace_name(schema), name);
}

static char *
relation_name(Oid relid)
{
	return qualified_name_of(get_rel_namespace(relid), get_rel_name(relid));
}

/* --------------------------------------------------------------------------
 * Checks
 * -------------------------------------------------------------------------- */

static void
check_owner(const Trust *trust, Oid relid)
{
	Oid owner = extension_relation_owner(relid);
	const char *name = relation_name(relid);
	const char *table = relation_name(linitial_oid(trust->reached));
	const char *role = quote_identifier(GetUserNameFromId(trust->role, false));
	const char *other = quote_identifier(GetUserNameFromId(owner, true));

	if (has_privs_of_role(owner, trust->role))
		return;
	ereport(
		ERROR,
		(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
		 errmsg("table %s may not be touched by a statement on %s", name, table),
		 errdetail("Such a statement runs code attached to it, such as its triggers, as role %s; but it belongs to "
				   "role %s, which does not have the privileges of role %s.",
				   role, other, role),
		 errhint("Drop the foreign key, rule or inheritance by which it is reached; or review the code attached to it, "
				 "and then: ALTER TABLE %s OWNER TO %s;",
				 name, role)));
}

/* The owner of statistics; InvalidOid when they have no expression, and so run no code. */
static Oid
statistics_owner(Oid statistics, char **name)
{
	HeapTuple tuple = SearchSysCache1(STATEXTOID, ObjectIdGetDatum(statistics));
	Oid owner = InvalidOid;
	bool isnull;

	if (!HeapTupleIsValid(tuple))
		return InvalidOid;
	(void) SysCacheGetAttr(STATEXTOID, tuple, Anum_pg_statistic_ext_stxexprs, &isnull);
	if (!isnull)
	{
		Form_pg_statistic_ext form = (Form_pg_statistic_ext) GETSTRUCT(tuple);

		owner = form->stxowner;
		*name = qualified_name_of(form->stxnamespace, NameStr(form->stxname));
	}
	ReleaseSysCache(tuple);
	return owner;
}

static void
check_statistics(Oid role, Relation relation)
{
	const char *table = relation_name(RelationGetRelid(relation));
	ListCell *cell;

	foreach (cell, RelationGetStatExtList(relation))
	{
		char *name;
		Oid owner = statistics_owner(lfirst_oid(cell), &name);

		if (OidIsValid(owner) && !has_privs_of_role(owner, role))
			ereport(ERROR,
					(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
					 relation->rd_rel->relkind == RELKIND_FOREIGN_TABLE
						 ? errmsg("foreign table %s has statistics that may not be used by a load: %s", table, name)
						 : errmsg("table %s has statistics that may not be used by a load: %s", table, name),
					 errdetail("Their expressions would run as role \"%s\", but they belong to role \"%s\", which does "
							   "not have its privileges.",
							   GetUserNameFromId(role, false), GetUserNameFromId(owner, true)),
					 errhint("DROP STATISTICS %s;", name)));
	}
}

static void
refuse_trigger(const Trust *trust, Relation relation, const Trigger *trigger, Form_pg_proc function)
{
	const char *table = relation_name(RelationGetRelid(relation));
	const char *name = qualified_name_of(function->pronamespace, NameStr(function->proname));
	const char *role = quote_identifier(GetUserNameFromId(trust->role, false));
	const char *owner = quote_identifier(GetUserNameFromId(function->proowner, true));

	ereport(ERROR,
			(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
			 errmsg("trigger \"%s\" of table %s may not be fired as role %s", trigger->tgname, table, role),
			 errdetail("Its function %s belongs to role %s, which does not have the privileges of role %s.", name,
					   owner, role),
			 errhint("DROP TRIGGER %s ON %s; and, if others may create triggers on it: REVOKE TRIGGER ON %s FROM "
					 "...; or read the function, and then: ALTER FUNCTION %s() OWNER TO %s;",
					 quote_identifier(trigger->tgname), table, table, name, role)));
}

static void
check_trigger(const Trust *trust, Relation relation, const Trigger *trigger)
{
	HeapTuple tuple;
	Form_pg_proc function;

	if (trigger->tgenabled == TRIGGER_DISABLED)
		return;
	tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(trigger->tgfoid));
	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for function %u", trigger->tgfoid);
	function = (Form_pg_proc) GETSTRUCT(tuple);
	if (!has_privs_of_role(function->proowner, trust->role))
		refuse_trigger(trust, relation, trigger, function);
	ReleaseSysCache(tuple);
}

typedef struct GeneratedColumn
{
	Oid role;
	const char *table;
	const char *column;
} GeneratedColumn;

static bool
check_generator(Oid function, void *context)
{
	const GeneratedColumn *generated = context;
	HeapTuple tuple = function < FirstNormalObjectId ? NULL : SearchSysCache1(PROCOID, ObjectIdGetDatum(function));

	if (!HeapTupleIsValid(tuple))
		return false;

	Form_pg_proc form = (Form_pg_proc) GETSTRUCT(tuple);
	const char *role = quote_identifier(GetUserNameFromId(generated->role, false));

	if (!has_privs_of_role(form->proowner, generated->role))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("column \"%s\" of table %s may not be generated as role %s", generated->column,
						generated->table, role),
				 errdetail("Function %s belongs to role %s, which does not have the privileges of role %s.",
						   format_procedure(function), quote_identifier(GetUserNameFromId(form->proowner, true)), role),
				 errhint("Read the function, and then: ALTER FUNCTION %s OWNER TO %s;",
						 format_procedure_qualified(function), role)));
	ReleaseSysCache(tuple);
	return false;
}

static bool
check_generators(Node *node, void *context)
{
	return node != NULL && (check_functions_in_node(node, check_generator, context) ||
							expression_tree_walker(node, check_generators, context));
}

/* The table's former owner may still own the functions of its generated columns, as tokens_block. */
static void
check_generated(const Trust *trust, Relation relation)
{
	const TupleConstr *constr = RelationGetDescr(relation)->constr;

	for (int i = 0; constr != NULL && i < constr->num_defval; i++)
	{
		Form_pg_attribute attribute = TupleDescAttr(RelationGetDescr(relation), constr->defval[i].adnum - 1);
		GeneratedColumn generated = {.role = trust->role,
									 .table = relation_name(RelationGetRelid(relation)),
									 .column = pstrdup(NameStr(attribute->attname))};

		if (attribute->attgenerated)
			(void) check_generators(stringToNode(constr->defval[i].adbin), &generated);
	}
}

/* --------------------------------------------------------------------------
 * Reached tables
 * -------------------------------------------------------------------------- */

/* With the caller's function, which shows what is waited for. */
static void
lock_relation(const Trust *trust, Oid relid, LOCKMODE mode)
{
	if (trust->lock != NULL && get_rel_name(relid) != NULL)
		trust->lock(relid, mode, relation_name(relid));
}

static void
reach(Trust *trust, Oid relid)
{
	List *all;
	ListCell *cell;

	if (list_member_oid(trust->reached, relid))
		return;
	foreach (cell, find_all_inheritors(relid, NoLock, NULL))
		lock_relation(trust, lfirst_oid(cell), AccessShareLock);
	all = find_all_inheritors(relid, AccessShareLock, NULL);
	trust->reached = trust->reached == NIL ? all : list_concat_unique_oid(trust->reached, all);
}

/* Every table that a rule's query names. */
static bool
reach_named(Node *node, void *context)
{
	if (node == NULL)
		return false;
	if (IsA(node, Query))
		return query_tree_walker((Query *) node, reach_named, context, QTW_EXAMINE_RTES_BEFORE);
	if (IsA(node, RangeTblEntry))
	{
		if (((RangeTblEntry *) node)->rtekind == RTE_RELATION)
			reach(context, ((RangeTblEntry *) node)->relid);
		return false;
	}
	return expression_tree_walker(node, reach_named, context);
}

static void
reach_rules(Trust *trust, Relation relation)
{
	for (int i = 0; relation->rd_rules != NULL && i < relation->rd_rules->numLocks; i++)
	{
		RewriteRule *rule = relation->rd_rules->rules[i];
		ListCell *cell;

		(void) reach_named(rule->qual, trust);
		foreach (cell, rule->actions)
			(void) reach_named(lfirst(cell), trust);
	}
}

static void
check_trusted(Trust *trust, Relation relation)
{
	/* a copy: while locks are taken below, a new trigger may have the relation cache free its own */
	TriggerDesc *triggers = CopyTriggerDesc(relation->trigdesc);
	ListCell *cell;

	check_owner(trust, RelationGetRelid(relation));
	check_statistics(trust->role, relation);
	check_generated(trust, relation);
	/* triggers on them are copied to their partitions, so their owners can create triggers on this table */
	if (relation->rd_rel->relispartition)
		foreach (cell, get_partition_ancestors(RelationGetRelid(relation)))
		{
			lock_relation(trust, lfirst_oid(cell), AccessShareLock);
			LockRelationOid(lfirst_oid(cell), AccessShareLock);
			check_owner(trust, lfirst_oid(cell));
		}
	reach_rules(trust, relation);
	for (int i = 0; triggers != NULL && i < triggers->numtriggers; i++)
	{
		const Trigger *trigger = &triggers->triggers[i];

		check_trigger(trust, relation, trigger);
		/* the rows of the referencing table may be deleted or changed together with these, and are always read */
		if (OidIsValid(trigger->tgconstrrelid) && RI_FKey_trigger_type(trigger->tgfoid) == RI_TRIGGER_PK)
			reach(trust, trigger->tgconstrrelid);
	}
}

void
trust_check(Oid relid, Oid role, LOCKMODE mode, TrustLock lock)
{
	Trust trust = {.role = role, .lock = lock};

	reach(&trust, relid);
	for (int i = 0; i < list_length(trust.reached); i++)
	{
		Oid next = list_nth_oid(trust.reached, i);
		LOCKMODE needed = get_rel_relispartition(next) && next != relid ? AccessShareLock : mode;
		Relation relation;

		CHECK_FOR_INTERRUPTS();
		lock_relation(&trust, next, needed);
		relation = try_relation_open(next, needed);
		if (relation == NULL)
			continue; /* dropped since */
		/* no user's code is attached to a catalog */
		if (!IsSystemRelation(relation))
			check_trusted(&trust, relation);
		relation_close(relation, NoLock);
	}
	list_free(trust.reached);
}

void
trust_check_statistics(Oid relid, Oid role)
{
	Relation relation = relation_open(relid, NoLock);

	check_statistics(role, relation);
	relation_close(relation, NoLock);
}
