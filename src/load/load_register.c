/*
 * load_register.c
 *	  A source that has just been registered: told at once what its loads will
 *	  meet, and refused if they would meet another source's.
 *
 * Little of it may be an error: the tables can still be changed, or be made, and
 * a dump must be restored whatever has become of them since.  A dump says that it
 * is one by setting check_function_bodies off, as every pg_dump does.
 */
#include "postgres.h"

#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/pg_class.h"
#include "catalog/pg_inherits.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/resowner.h"
#include "utils/rls.h"
#include "utils/snapmgr.h"

#include "base/day.h"
#include "base/settings.h"
#include "ledger/schedule.h"
#include "load/load.h"
#include "load/load_internal.h"
#include "load/error_class.h"

/* More rows are not counted. */
#define MAX_COUNTED 100000

/* --------------------------------------------------------------------------
 * Two sources with one target
 * -------------------------------------------------------------------------- */

static bool
is_below(Oid relid, Oid ancestor)
{
	return has_subclass(ancestor) && list_member_oid(find_all_inheritors(ancestor, NoLock, NULL), relid);
}

/* Whether the one's loads would delete the other's rows. */
static bool
shares_rows(Oid one, Oid other)
{
	return OidIsValid(one) && OidIsValid(other) && (one == other || is_below(one, other) || is_below(other, one));
}

/* Another source with that target; before: one that was there earlier; NULL: there is none. */
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

static void
refuse_rival(const LedgerSource *source, bool restoring)
{
	const LedgerTarget *rival = find_rival(source, ledger_targets(!restoring), false);

	if (rival != NULL)
		report_rival(source, rival, restoring ? WARNING : ERROR, ERRCODE_UNIQUE_VIOLATION);
}

void
load_check_rivals(const LoadPlan *plan)
{
	const LedgerTarget *rival = find_rival(plan->source, ledger_targets(false), true);

	if (rival != NULL)
		report_rival(plan->source, rival, ERROR, ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE);
}

/* --------------------------------------------------------------------------
 * What its loads will meet
 * -------------------------------------------------------------------------- */

/* The source resolved; NULL, with its error as a WARNING, when it cannot be loaded. */
static LoadPlan *
try_plan(const LedgerSource *source)
{
	MemoryContext context = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	LoadPlan *volatile plan = NULL;
	ErrorData *volatile edata = NULL;

	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(context);
	PG_TRY();
	{
		plan = load_plan_tables(source);
		ReleaseCurrentSubTransaction();
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(context);
		edata = CopyErrorData();
		FlushErrorState();
		RollbackAndReleaseCurrentSubTransaction();
	}
	PG_END_TRY();
	MemoryContextSwitchTo(context);
	CurrentResourceOwner = owner;
	if (edata == NULL)
		return plan;
	if (error_must_rethrow(edata))
		ReThrowError(edata);
	ereport(WARNING,
			(errcode(edata->sqlerrcode), errmsg("source \"%s\" cannot be loaded: %s", source->name, edata->message),
			 edata->detail ? errdetail_internal("%s", edata->detail) : 0,
			 edata->hint ? errhint("%s", edata->hint) : 0));
	return NULL;
}

/* Rows of one table, without asking the executor: no code of anybody's is run. */
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

/* Of the target and what is below it, up to one more than are counted. */
static int64
count_rows(Oid target)
{
	int64 rows = 0;
	ListCell *cell;

	foreach (cell, find_all_inheritors(target, AccessShareLock, NULL))
		rows += count_table(lfirst_oid(cell), MAX_COUNTED + 1 - rows);
	return rows;
}

static bool
may_see_rows(Oid target)
{
	return pg_class_aclcheck(target, GetUserId(), ACL_SELECT) == ACLCHECK_OK &&
		   check_enable_rls(target, InvalidOid, true) != RLS_ENABLED;
}

/* What a load does to what is there. */
static void
report_rows(const LoadPlan *plan)
{
	const LedgerSource *source = plan->source;
	int64 rows = may_see_rows(plan->target) ? count_rows(plan->target) : 0;
	char *number = rows > MAX_COUNTED ? psprintf("more than %d", MAX_COUNTED) : psprintf(INT64_FORMAT, rows);
	DateADT yesterday = day_yesterday(settings_now());

	if (rows == 0)
		return;
	ereport(
		NOTICE,
		(errmsg_plural("table %s has %s row", "table %s has %s rows", (unsigned long) rows, plan->target_name, number),
		 source->snapshot
			 ? errdetail("Each load of source \"%s\" deletes all of them and inserts those of BigQuery.", source->name)
			 : errdetail("A load of a day deletes the rows of that day and inserts those of BigQuery."),
		 errhint("Compare first: SELECT * FROM contratos_verify('%s', '%s', '%s'); a load that would lose more of "
				 "the rows than max_shrink allows is refused.",
				 day_text(source->snapshot ? yesterday : yesterday - 6), day_text(yesterday), source->name)));
}

void
load_registered(const LedgerSource *source)
{
	bool restoring = !check_function_bodies;
	LoadPlan *plan;
	ListCell *cell;

	refuse_rival(source, restoring);
	load_report_undecided(source, WARNING);
	/* what is not there yet has been told of when the row was normalised */
	if (restoring || (source->timestamp_column == NULL && !source->snapshot) ||
		!OidIsValid(load_find_relation(source->remote_table)) || !OidIsValid(load_find_relation(source->target_table)))
		return;
	plan = try_plan(source);
	if (plan == NULL)
		return;
	foreach (cell, load_misfits(plan))
	{
		const LoadMisfit *misfit = lfirst(cell);

		ereport(NOTICE, (errmsg_internal("%s", misfit->what), errhint("%s", misfit->hint)));
	}
	report_rows(plan);
}
