/*
 * fdw_modify.c
 *	  Reports that foreign tables of BigQuery are read-only.
 *
 * PostgreSQL itself rejects writing to a foreign table without callbacks for it, but
 * only at execution, and without a hint.  These callbacks reject it while the statement
 * is planned.
 */
#include "postgres.h"

#include "access/table.h"
#include "nodes/plannodes.h"
#include "parser/parsetree.h"
#include "storage/lmgr.h"
#include "tcop/pquery.h"
#include "utils/lsyscache.h"
#include "utils/portal.h"
#include "utils/rel.h"

#include "fdw/fdw_internal.h"

static void
refuse_modify(Oid relid, const char *what)
{
	ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
					errmsg("cannot %s foreign table \"%s\": BigQuery tables are read-only", what, get_rel_name(relid)),
					errhint("Change the rows in BigQuery itself, or copy them into a local table: "
							"INSERT INTO ... SELECT ... FROM the foreign table.")));
}

static const char *
verb(CmdType command)
{
	switch (command)
	{
		case CMD_INSERT:
			return "insert into";
		case CMD_DELETE:
			return "delete from";
		default:
			return "update";
	}
}

/* The statement is being planned, possibly for EXPLAIN. */
static List *
plan_modify(PlannerInfo *root, ModifyTable *plan, Index relation, int subplan pg_attribute_unused())
{
	refuse_modify(planner_rt_fetch(relation, root)->relid, verb(plan->operation));
	return NIL;
}

/*
 * Whether the executor is about to write to the table: then it has locked the table for
 * writing, while the views of the information schema only read.
 */
static bool
is_to_be_written(Relation rel)
{
	if (ActivePortal == NULL || !CheckRelationLockedByMe(rel, RowExclusiveLock, false))
		return false;
	return ActivePortal->commandTag == CMDTAG_COPY || ActivePortal->commandTag == CMDTAG_INSERT ||
		   ActivePortal->commandTag == CMDTAG_UPDATE;
}

/*
 * Nothing is updatable.  COPY FROM and rows routed to a partition are not planned; for
 * them this is the first of our callbacks that is called.
 */
static int
updatable(Relation rel)
{
	if (is_to_be_written(rel))
		refuse_modify(RelationGetRelid(rel), verb(CMD_INSERT));
	return 0;
}

/* Never called, since nothing is updatable; without it updatable() would not be called. */
static TupleTableSlot *
insert_row(EState *estate pg_attribute_unused(), ResultRelInfo *target, TupleTableSlot *slot,
		   TupleTableSlot *plan_slot pg_attribute_unused())
{
	refuse_modify(RelationGetRelid(target->ri_RelationDesc), verb(CMD_INSERT));
	return slot;
}

static void
truncate_tables(List *relations, DropBehavior behavior pg_attribute_unused(),
				bool restart_sequences pg_attribute_unused())
{
	refuse_modify(RelationGetRelid((Relation) linitial(relations)), "truncate");
}

void
fdw_refuse_writing(FdwRoutine *routine)
{
	routine->PlanForeignModify = plan_modify;
	routine->IsForeignRelUpdatable = updatable;
	routine->ExecForeignInsert = insert_row;
	routine->ExecForeignTruncate = truncate_tables;
}
