/*
 * load_register.c
 *	  A source that has just been registered: problems that its loads will meet
 *	  are reported at once, and the source is refused if it shares rows with
 *	  another one.
 *
 * Few of them may be errors: the tables can still be changed, or created, and it
 * must be possible to restore a dump whatever has become of them since.  During a
 * restore check_function_bodies is off, as every pg_dump sets it.
 */
#include "postgres.h"

#include "access/relation.h"
#include "access/table.h"
#include "access/tableam.h"
#include "catalog/pg_class.h"
#include "catalog/pg_inherits.h"
#include "miscadmin.h"
#include "parser/parsetree.h"
#include "rewrite/rewriteHandler.h"
#include "storage/lmgr.h"
#include "storage/proc.h"
#include "utils/acl.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/rls.h"
#include "utils/snapmgr.h"

#include "base/day.h"
#include "base/failure.h"
#include "base/settings.h"
#include "ledger/ledger_source.h"
#include "ledger/schedule.h"
#include "load/error_class.h"
#include "load/load.h"
#include "load/load_internal.h"

/* More rows are not counted. */
#define MAX_COUNTED 100000

/* Maximum depth of views on views. */
#define MAX_VIEWS 32

/* How long to wait for a lock on a table that the row names; a session that registers a source is not kept longer. */
#define LOCK_TIMEOUT "1s"
#define LOCK_TIMEOUT_MS 1000

/* --------------------------------------------------------------------------
 * Two sources with one target
 * -------------------------------------------------------------------------- */

static bool
is_below(Oid relid, Oid ancestor)
{
	return has_subclass(ancestor) && list_member_oid(find_all_inheritors(ancestor, NoLock, NULL), relid);
}

/*
 * The one table whose rows a view shows; InvalidOid: it shows those of none or of
 * several, or is not a view.  A view that is locked cannot be loaded either, and
 * its lock is not waited for.
 */
static Oid
shown_by(Oid relid, bool *filtered)
{
	Oid shown = InvalidOid;
	Relation view;

	if (get_rel_relkind(relid) != RELKIND_VIEW || !ConditionalLockRelationOid(relid, AccessShareLock))
		return InvalidOid;
	view = try_relation_open(relid, NoLock);
	if (view == NULL)
	{
		UnlockRelationOid(relid, AccessShareLock); /* dropped since */
		return InvalidOid;
	}
	if (view->rd_rel->relkind == RELKIND_VIEW)
	{
		Query *query = get_view_query(view);
		List *from = query->jointree->fromlist;

		if (list_length(from) == 1 && IsA(linitial(from), RangeTblRef))
		{
			RangeTblEntry *entry = rt_fetch(linitial_node(RangeTblRef, from)->rtindex, query->rtable);

			if (entry->rtekind == RTE_RELATION)
				shown = entry->relid;
			*filtered |= query->jointree->quals != NULL;
		}
	}
	relation_close(view, AccessShareLock);
	return shown;
}

/*
 * Whether the loads of one would delete rows of the other.  Two views of one table
 * that both have a WHERE clause may well show different rows.
 */
static bool
shares_rows(Oid one, Oid other)
{
	bool one_filtered = false;

	for (int i = 0; OidIsValid(one) && i < MAX_VIEWS; i++)
	{
		bool other_filtered = false;
		Oid shown = other;

		for (int j = 0; OidIsValid(shown) && j < MAX_VIEWS; j++)
		{
			bool overlap = one == shown || is_below(one, shown) || is_below(shown, one);

			if (overlap && !(one_filtered && other_filtered))
				return true;
			shown = shown_by(shown, &other_filtered);
		}
		one = shown_by(one, &one_filtered);
	}
	return false;
}

/* Another source with that target; before: only one that was registered earlier; NULL: there is none. */
static const LedgerTarget *
find_rival(const LedgerSource *source, List *targets, bool before)
{
	Oid mine = load_find_relation(source->target_table);
	ListCell *cell;

	foreach (cell, targets)
	{
		const LedgerTarget *other = lfirst(cell);
		bool is_before = other->registered_at < source->registered_at ||
						 (other->registered_at == source->registered_at && strcmp(other->source, source->name) < 0);

		if (strcmp(other->source, source->name) == 0 || (before && !is_before))
			continue;
		if (strcmp(other->target_table, source->target_table) == 0 ||
			shares_rows(mine, load_find_relation(other->target_table)))
			return other;
	}
	return NULL;
}

static void
report_rival(const LedgerSource *source, const LedgerTarget *rival, int elevel, int sqlstate)
{
	bool same = strcmp(rival->target_table, source->target_table) == 0;

	ereport(elevel,
			(errcode(sqlstate),
			 same ? errmsg("table %s is the target of source \"%s\" already", source->target_table, rival->source)
				  : errmsg("table %s shares rows with %s, the target of source \"%s\"", source->target_table,
						   rival->target_table, rival->source),
			 errdetail("Two sources with one target would delete each other's rows."),
			 errhint("Give source \"%s\" a table of its own, or delete one of the sources.", source->name)));
}

void
load_check_rivals(const LoadPlan *plan)
{
	const LedgerTarget *rival = find_rival(plan->source, ledger_targets(false), true);

	if (rival != NULL)
		report_rival(plan->source, rival, ERROR, ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE);
}

/* --------------------------------------------------------------------------
 * Problems of its loads
 * -------------------------------------------------------------------------- */

/*
 * The source resolved.  Other registrations wait for this one, so its waits for
 * locks are bounded; the limit ends once all tables that are read later are
 * locked.
 */
static LoadPlan *
plan_soon(const LedgerSource *source, bool whole)
{
	int nest_level = NewGUCNestLevel();
	LoadPlan *plan;

	if (LockTimeout == 0 || LockTimeout > LOCK_TIMEOUT_MS)
		(void) set_config_option("lock_timeout", LOCK_TIMEOUT, PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, 0,
								 false);
	if (whole)
		plan = load_plan_tables(source);
	else
	{
		/* a source that cannot be loaded yet: its target, locked as in count_rows() */
		plan = palloc0(sizeof(LoadPlan));
		plan->source = source;
		load_find_target(plan, true);
		list_free(find_all_inheritors(plan->target, AccessShareLock, NULL));
	}
	AtEOXact_GUC(false, nest_level);
	return plan;
}

typedef struct Planning
{
	const LedgerSource *source;
	bool whole;
	LoadPlan *plan;
} Planning;

static void
plan_for(void *arg)
{
	Planning *planning = arg;

	planning->plan = plan_soon(planning->source, planning->whole);
}

/*
 * The source resolved, or only its target; NULL, with the error as a WARNING, when
 * that fails; *locked when another session has locked a table.
 */
static LoadPlan *
try_plan(const LedgerSource *source, bool whole, bool *locked)
{
	Planning planning = {.source = source, .whole = whole};
	ErrorData *edata = catch_in_subtransaction(plan_for, &planning, true);

	if (edata == NULL)
		return planning.plan;
	if (error_must_rethrow(edata))
		ReThrowError(edata);
	if (edata->sqlerrcode == ERRCODE_LOCK_NOT_AVAILABLE)
	{
		*locked = true;
		ereport(WARNING,
				(errcode(ERRCODE_LOCK_NOT_AVAILABLE), errmsg("source \"%s\" could not be checked now", source->name),
				 errdetail("Another session has locked one of its tables."),
				 errhint("Check it later: SELECT * FROM contratos_check('%s');", source->name)));
		return NULL;
	}
	ereport(WARNING,
			(errcode(edata->sqlerrcode), errmsg("source \"%s\" cannot be loaded: %s", source->name, edata->message),
			 edata->detail ? errdetail_internal("%s", edata->detail) : 0,
			 edata->hint ? errhint("%s", edata->hint) : 0));
	return NULL;
}

/* Rows of one table, without the executor, so that no user's code is run. */
static int64
count_table(Oid relid, int64 limit)
{
	Relation relation = table_open(relid, NoLock);
	int64 rows = 0;

	if (RELKIND_HAS_TABLE_AM(relation->rd_rel->relkind))
	{
		Snapshot snapshot = RegisterSnapshot(GetTransactionSnapshot());
		TableScanDesc scan = table_beginscan(relation, snapshot, 0, NULL);
		TupleTableSlot *slot = table_slot_create(relation, NULL);

		while (rows < limit && table_scan_getnextslot(scan, ForwardScanDirection, slot))
		{
			CHECK_FOR_INTERRUPTS();
			rows++;
		}
		ExecDropSingleTupleTableSlot(slot);
		table_endscan(scan);
		UnregisterSnapshot(snapshot);
	}
	table_close(relation, NoLock);
	return rows;
}

/* Rows of the target and its descendants, at most one more than MAX_COUNTED; -1: not known. */
static int64
count_rows(Oid target)
{
	int64 rows = 0;
	List *tables = find_all_inheritors(target, AccessShareLock, NULL);
	ListCell *cell;

	/* to count their rows would run users' code, or wait for another server */
	foreach (cell, tables)
	{
		char kind = get_rel_relkind(lfirst_oid(cell));

		if (kind == RELKIND_VIEW || kind == RELKIND_FOREIGN_TABLE)
			return -1;
	}
	foreach (cell, tables)
		rows += count_table(lfirst_oid(cell), MAX_COUNTED + 1 - rows);
	return rows;
}

/* Report what a load does to the existing rows. */
static void
report_rows(const LoadPlan *plan)
{
	const LedgerSource *source = plan->source;
	bool may_see_rows = pg_class_aclcheck(plan->target, GetUserId(), ACL_SELECT) == ACLCHECK_OK &&
						check_enable_rls(plan->target, InvalidOid, true) != RLS_ENABLED;
	int64 rows = may_see_rows ? count_rows(plan->target) : 0;
	char *number = rows > MAX_COUNTED ? psprintf("more than %d", MAX_COUNTED) : psprintf(INT64_FORMAT, rows);
	DateADT yesterday = day_yesterday(settings_now());

	if (rows == 0)
		return;
	ereport(
		NOTICE,
		(rows < 0 ? errmsg("%s may have rows: those of views and foreign tables are not counted", plan->target_name)
				  : errmsg_plural("table %s has %s row", "table %s has %s rows", (unsigned long) rows,
								  plan->target_name, number),
		 source->snapshot
			 ? errdetail("Each load of source \"%s\" deletes all of them and inserts those of BigQuery.", source->name)
			 : errdetail("A load of a day deletes the rows of that day and inserts those of BigQuery."),
		 errhint("Compare first: SELECT * FROM contratos_verify('%s', '%s', '%s'); a load that would lose more of "
				 "the rows than max_shrink allows is refused.",
				 day_text(source->snapshot ? yesterday : yesterday - 6), day_text(yesterday), source->name)));
}

/* Missing tables have already been reported when the row's names were normalized. */
void
load_report(const LedgerSource *source)
{
	LoadPlan *plan = NULL;
	bool locked = false;
	ListCell *cell;

	load_report_undecided(source, WARNING);
	if ((source->timestamp_column == NULL && !source->snapshot) ||
		!OidIsValid(load_find_relation(source->target_table)))
		return;
	if (OidIsValid(load_find_relation(source->remote_table)))
		plan = try_plan(source, true, &locked);
	if (plan != NULL)
	{
		foreach (cell, load_misfits(plan, true))
		{
			const LoadMisfit *misfit = lfirst(cell);

			ereport(NOTICE, (errmsg_internal("%s", misfit->what), errhint("%s", misfit->hint)));
		}
	}
	else if (!locked)
		plan = try_plan(source, false, &locked);
	if (plan != NULL)
		report_rows(plan);
}

void
load_registered(const LedgerSource *source)
{
	bool restoring = !check_function_bodies;
	const LedgerTarget *rival = find_rival(source, ledger_targets(!restoring), false);

	if (rival != NULL)
		report_rival(source, rival, restoring ? WARNING : ERROR, ERRCODE_UNIQUE_VIOLATION);
	if (restoring)
		load_report_undecided(source, WARNING);
	else
		load_report(source);
}
