/*
 * fdw.c
 *	  The foreign-data wrapper: planning, EXPLAIN, and the refusal to write.
 *
 * A foreign table is read by one BigQuery query that names only the columns used (they
 * determine the bill) and the conditions that may be pushed down.  All conditions are
 * checked locally as well.  There is one path: BigQuery returns rows in no order, and
 * each parameterized scan would be a job and a bill.  Some aggregates over all rows are
 * computed by BigQuery: then the query returns one row.
 */
#include "postgres.h"

#include "access/sysattr.h"
#include "foreign/fdwapi.h"
#include "nodes/makefuncs.h"
#include "nodes/plannodes.h"
#include "optimizer/cost.h"
#include "optimizer/optimizer.h"
#include "optimizer/pathnode.h"
#include "optimizer/planmain.h"
#include "optimizer/restrictinfo.h"
#include "optimizer/tlist.h"
#include "parser/parsetree.h"
#include "storage/lmgr.h"
#include "tcop/pquery.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/portal.h"
#include "utils/rel.h"

#include "base/compat.h"
#include "base/failure.h"
#include "bigquery/bqtype.h"
#include "bigquery/job.h"
#include "bigquery/message.h"
#include "fdw/fdw.h"
#include "fdw/fdw_internal.h"
#include "fdw/pushdown.h"
#include "fdw/scan.h"
#include "remote/options.h"

/* A job takes a second or two regardless of what it reads; a row costs a little more than one from a file. */
#define STARTUP_COST 10000.0
#define ROW_COST 0.02

/* The number of rows assumed for a foreign table without statistics. */
#define DEFAULT_ROWS 5000

/* The number of elements of a list that EXPLAIN shows. */
#define SHOWN_ELEMENTS 20

/* --------------------------------------------------------------------------
 * Planning
 * -------------------------------------------------------------------------- */

static void
get_rel_size(PlannerInfo *root, RelOptInfo *rel, Oid relid)
{
	rel->fdw_private = options_table(relid);
	if (rel->tuples <= 0)
		rel->tuples = DEFAULT_ROWS;
	set_baserel_size_estimates(root, rel);
}

static void
get_paths(PlannerInfo *root, RelOptInfo *rel, Oid relid pg_attribute_unused())
{
	Cost total = STARTUP_COST + rel->rows * ROW_COST + rel->baserestrictcost.per_tuple * rel->tuples;

	add_path(rel, (Path *) create_foreignscan_path_compat(root, rel, rel->rows, STARTUP_COST, total));
}

/* Attribute numbers that must come from BigQuery, ascending. */
static List *
used_columns(RelOptInfo *rel, const RemoteTable *table, List *clauses)
{
	Bitmapset *used = NULL;
	List *columns = NIL;
	bool whole_row;

	pull_varattnos((Node *) rel->reltarget->exprs, rel->relid, &used);
	pull_varattnos((Node *) clauses, rel->relid, &used);
	whole_row = bms_is_member(0 - FirstLowInvalidHeapAttributeNumber, used);
	for (int i = 0; i < table->ncolumns; i++)
	{
		AttrNumber attnum = table->columns[i].attnum;

		if (whole_row || bms_is_member(attnum - FirstLowInvalidHeapAttributeNumber, used))
			columns = lappend_int(columns, attnum);
	}
	return columns;
}

/* BigQuery returns one row instead of all that the local path would read, and the job takes no longer. */
static void
get_upper_paths(PlannerInfo *root, UpperRelationKind stage, RelOptInfo *input, RelOptInfo *output, void *extra)
{
	List *private;
	Path *local;

	if (stage != UPPERREL_GROUP_AGG)
		return;
	local = pushdown_aggregates(root, input, output, extra, &private);
	if (local != NULL)
		add_path(output, (Path *) create_foreign_upper_path_compat(root, output, output->reltarget, 1, STARTUP_COST,
																   STARTUP_COST + ROW_COST, local, private));
}

/* The aggregates are the columns of the scan; expressions around them are the executor's. */
static ForeignScan *
get_aggregate_plan(List *private, List *tlist, Plan *local)
{
	List *aggregates = add_to_flat_tlist(NIL, list_nth(private, PUSHDOWN_AGGREGATES));

	return make_foreignscan(tlist, list_nth(private, PUSHDOWN_HAVING), 0, NIL,
							list_make3(list_nth(private, PUSHDOWN_ITEMS), list_nth(private, PUSHDOWN_OUTPUTS),
									   list_nth(private, PUSHDOWN_GUARDED)),
							aggregates, NIL, local);
}

static ForeignScan *
get_plan(PlannerInfo *root, RelOptInfo *rel, Oid relid pg_attribute_unused(), ForeignPath *best_path, List *tlist,
		 List *scan_clauses, Plan *outer_plan)
{
	if (IS_UPPER_REL(rel))
		return get_aggregate_plan(best_path->fdw_private, tlist, outer_plan);

	RemoteTable *table = rel->fdw_private;
	List *clauses = extract_actual_clauses(scan_clauses, false);
	List *values;
	List *pushed = pushdown_find(root, rel, table, clauses, &values);

	return make_foreignscan(tlist, clauses, rel->relid, values, list_make2(used_columns(rel, table, clauses), pushed),
							NIL, NIL, outer_plan);
}

/* --------------------------------------------------------------------------
 * EXPLAIN
 * -------------------------------------------------------------------------- */

/* The text, which is UTF-8 for BigQuery, in the server's encoding. */
static char *
shown(const char *text)
{
	return failure_to_server(text);
}

/* Quotes distinguish a string from the text around it, and the string 'NULL' from NULL. */
static void
append_explain_value(StringInfo buf, const BqParam *param, const char *value)
{
	if (param->type == BQ_STRING)
		appendStringInfoString(buf, quote_literal_cstr(shown(value)));
	else
		appendStringInfoString(buf, value);
}

/* [1, 2, 3]; only the first elements of a long list. */
static void
append_list(StringInfo buf, const BqParam *param)
{
	appendStringInfoChar(buf, '[');
	for (int i = 0; param->values != NULL && i < Min(param->nvalues, SHOWN_ELEMENTS); i++)
	{
		appendStringInfoString(buf, i > 0 ? ", " : "");
		append_explain_value(buf, param, param->values[i]);
	}
	if (param->nvalues > SHOWN_ELEMENTS)
		appendStringInfo(buf, ", ... %d in all", param->nvalues);
	appendStringInfoChar(buf, ']');
}

/* "DATE 2026-11-20", "ARRAY<INT64> [1, 2, 3]" */
static char *
explain_parameter(const BqParam *param)
{
	StringInfoData buf;

	initStringInfo(&buf);
	appendStringInfo(&buf, param->is_array ? "ARRAY<%s> " : "%s ", bqtypes[param->type].name);
	if (param->value != NULL)
		append_explain_value(&buf, param, param->value);
	else if (param->values != NULL)
		append_list(&buf, param);
	else
		appendStringInfoString(&buf, "(known at execution)");
	return buf.data;
}

/* The name of the foreign table: the executor knows none for a scan of aggregates. */
static void
explain_relation(const ForeignScanState *node, ExplainState *es)
{
	Oid relid = scan_aggregates_relid(node);
	const char *schema = es->verbose ? get_namespace_name(get_rel_namespace(relid)) : NULL;

	ExplainPropertyText("Relations",
						psprintf("Aggregate on (%s)", quote_qualified_identifier(schema, get_rel_name(relid))), es);
}

static void
explain_scan(ForeignScanState *node, ExplainState *es)
{
	int pages;
	int64 bytes;
	const BqJob *job;

	if (scan_is_of_aggregates(node))
	{
		explain_relation(node, es);
		/* the scan in the local plan has made the query */
		if (scan_aggregates_locally(node))
			return;
	}
	if (es->verbose)
	{
		BqQuery *query = scan_query(node);

		ExplainPropertyText("GoogleSQL", shown(query->text), es);
		for (int i = 0; i < query->nparams; i++)
			ExplainPropertyText(psprintf("Parameter @%s", query->params[i].name), explain_parameter(&query->params[i]),
								es);
	}
	if (!es->analyze)
		return;
	job = scan_job(node, &pages, &bytes);
	if (job == NULL)
		return;
	ExplainPropertyText("BigQuery Job", job->job_id, es);
	/* unknown if the scan was stopped before the first page's end */
	if (job->bytes_processed >= 0)
	{
		ExplainPropertyInteger("Bytes Processed", "B", job->bytes_processed, es);
		ExplainPropertyInteger("Bytes Billed", "B", job->bytes_billed, es);
	}
	ExplainPropertyInteger("Pages", NULL, pages, es);
	ExplainPropertyInteger("Bytes Received", "B", bytes, es);
}

/* --------------------------------------------------------------------------
 * Writing: BigQuery's tables are read-only.  PostgreSQL itself rejects writing to a
 * foreign table without callbacks for it, but only at execution, and without a hint.
 * These callbacks reject it while the statement is planned.
 * -------------------------------------------------------------------------- */

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
 * Nothing is updatable.  COPY FROM and rows routed to a partition are not planned; for
 * them this is the first of our callbacks that is called.
 */
static int
updatable(Relation rel)
{
	/* the executor has locked a table that it is about to write; the views of the information schema only read */
	if (ActivePortal != NULL && CheckRelationLockedByMe(rel, RowExclusiveLock, false) &&
		(ActivePortal->commandTag == CMDTAG_COPY || ActivePortal->commandTag == CMDTAG_INSERT ||
		 ActivePortal->commandTag == CMDTAG_UPDATE))
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

/* --------------------------------------------------------------------------
 * The callbacks
 * -------------------------------------------------------------------------- */

FdwRoutine *
fdw_routine(void)
{
	FdwRoutine *routine = makeNode(FdwRoutine);

	routine->GetForeignRelSize = get_rel_size;
	routine->GetForeignPaths = get_paths;
	routine->GetForeignPlan = get_plan;
	routine->GetForeignUpperPaths = get_upper_paths;
	routine->BeginForeignScan = scan_begin;
	routine->IterateForeignScan = scan_next;
	routine->ReScanForeignScan = scan_again;
	routine->EndForeignScan = scan_end;
	routine->ExplainForeignScan = explain_scan;
	routine->PlanForeignModify = plan_modify;
	routine->IsForeignRelUpdatable = updatable;
	routine->ExecForeignInsert = insert_row;
	routine->ExecForeignTruncate = truncate_tables;
	routine->ImportForeignSchema = fdw_import;
	return routine;
}
