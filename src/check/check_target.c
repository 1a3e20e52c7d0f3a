/*
 * check_target.c
 *	  The local table: whether its owner may load it, whether a day can be found in it
 *	  quickly, and which days are missing.
 */
#include "postgres.h"

#include "access/table.h"
#include "catalog/pg_class.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_partitioned_table.h"
#include "miscadmin.h"
#include "optimizer/plancat.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/rls.h"
#include "utils/syscache.h"

#include "base/day.h"
#include "base/settings.h"
#include "check/check_internal.h"
#include "ledger/ledger_history.h"
#include "ledger/schedule.h"
#include "load/setup.h"

/* In a table with fewer rows a day is found fast enough without an index. */
#define FEW_ROWS 10000

static bool
skip_without_plan(Check *check)
{
	if (check->plan == NULL)
		check_report(check, CHECK_SKIPPED,
					 check->builtin ? "nothing is set up yet" : "the foreign table or the target has a problem", NULL);
	return check->plan == NULL;
}

/* --------------------------------------------------------------------------
 * Columns that fit, but perhaps not as expected
 * -------------------------------------------------------------------------- */

static void
report_misfit(Check *check, const char *name, const char *fine)
{
	ListCell *cell;

	if (skip_without_plan(check))
		return;
	check_report(check, CHECK_OK, fine, NULL);
	foreach (cell, load_misfits(check->plan, false))
	{
		const LoadMisfit *misfit = lfirst(cell);

		if (strcmp(misfit->name, name) == 0)
			check_report(check, CHECK_WARNING, misfit->what, misfit->hint);
	}
}

void
check_narrow_columns(Check *check)
{
	report_misfit(check, LOAD_NARROW_COLUMNS,
				  "each column of the target can hold the values of the foreign table's column");
}

void
check_unfilled_columns(Check *check)
{
	report_misfit(check, LOAD_UNFILLED_COLUMNS, "each column of the target is filled by a load or a default");
}

/* --------------------------------------------------------------------------
 * Privileges
 * -------------------------------------------------------------------------- */

/* An owner may lack privileges that it has revoked from itself; returns NULL if it has them all. */
static const char *
missing_privilege(const LoadPlan *plan)
{
	const char *role = quote_identifier(GetUserNameFromId(plan->owner, false));
	const Oid relids[] = {plan->target, plan->table->relid};

	for (int i = 0; i < (int) lengthof(relids); i++)
	{
		Oid schema = get_rel_namespace(relids[i]);
		/* the C function beneath this SQL function has another name from PostgreSQL 16 on */
		Datum usable = DirectFunctionCall3(has_schema_privilege_id_id, ObjectIdGetDatum(plan->owner),
										   ObjectIdGetDatum(schema), CStringGetTextDatum("USAGE"));

		if (!DatumGetBool(usable))
			return psprintf("GRANT USAGE ON SCHEMA %s TO %s;", quote_identifier(get_namespace_name(schema)), role);
	}
	if (pg_class_aclmask(plan->target, plan->owner, ACL_SELECT | ACL_INSERT | ACL_DELETE, ACLMASK_ALL) !=
		(ACL_SELECT | ACL_INSERT | ACL_DELETE))
		return psprintf("GRANT SELECT, INSERT, DELETE ON %s TO %s;", plan->target_name, role);
	return NULL;
}

/*
 * Report a missing privilege that can be found before the statements are planned, with
 * a remedy; false if there is none.
 */
static bool
report_missing_privilege(Check *check, const char *role)
{
	const LoadPlan *plan = check->plan;
	const char *cure = missing_privilege(plan);
	const char *grant = cure == NULL ? check_missing_grant(check) : NULL;

	if (cure != NULL)
		check_report(
			check, CHECK_FAILED,
			psprintf("role %s, which owns %s and loads it, lacks privileges to do so", role, plan->target_name), cure);
	else if (grant != NULL)
		check_report(check, CHECK_FAILED, psprintf("its owner, %s, lacks %s", role, grant),
					 psprintf("GRANT %s TO %s;", grant, quote_identifier(role)));
	/* a load fails in this case, rather than delete only part of a day */
	else if (check_enable_rls(plan->target, plan->owner, true) == RLS_ENABLED)
		check_report(check, CHECK_FAILED,
					 psprintf("row-level security may hide rows of %s from its owner, %s", plan->target_name, role),
					 psprintf("ALTER TABLE %s NO FORCE ROW LEVEL SECURITY;", plan->target_name));
	else
		return false;
	return true;
}

void
check_writable(Check *check)
{
	const char *role;

	if (skip_without_plan(check))
		return;
	role = GetUserNameFromId(check->plan->owner, false);
	if (report_missing_privilege(check, role))
		return;
	check->hint = psprintf("Loads run as role %s, the owner of %s: grant it the missing privileges.", role,
						   check->plan->target_name);
	load_check_statements(check->plan, day_yesterday(settings_now()));
	check_report(check, CHECK_OK, psprintf("by its owner, %s", role), NULL);
}

void
check_after_load(Check *check)
{
	char *name;

	if (skip_without_plan(check))
		return;
	name = load_find_after_load(check->plan);
	check_report(check, CHECK_OK, name != NULL ? psprintf("%s can be called", name) : "none", NULL);
}

/* It is called also when the foreign table cannot be used: only the target's owner must be known. */
void
check_on_failure(Check *check)
{
	if (check->schedule == NULL || !OidIsValid(check->owner))
	{
		check_report(check, CHECK_SKIPPED, check->builtin ? "nothing is set up yet" : "there is no target", NULL);
		return;
	}
	/* days are loaded without it */
	check->error_status = CHECK_WARNING;
	load_check_on_failure(&check->schedule->source, check->schedule->on_failure);
	check_report(check, CHECK_OK,
				 check->schedule->on_failure != NULL ? psprintf("%s can be called", check->schedule->on_failure)
													 : "none: nobody is told of a day that has failed",
				 NULL);
}

/* --------------------------------------------------------------------------
 * Finding a day
 * -------------------------------------------------------------------------- */

/*
 * Whether the table is partitioned by the column: then only a day's partition is read.
 * This uses the catalog: RelationGetPartitionKey() evaluates constant parts of the
 * key's expressions, and so runs functions of the table's owner as the current user.
 */
static bool
is_parted_by(Relation table, const char *column)
{
	HeapTuple tuple = SearchSysCache1(PARTRELID, ObjectIdGetDatum(RelationGetRelid(table)));
	bool found;

	if (!HeapTupleIsValid(tuple)) /* not a partitioned table */
		return false;
	found = ((Form_pg_partitioned_table) GETSTRUCT(tuple))->partattrs.values[0] ==
			get_attnum(RelationGetRelid(table), column);
	ReleaseSysCache(tuple);
	return found;
}

/* The number of rows, as estimated by the planner, of the table and its children that have no such index. */
static double
unindexed_rows(Oid relid, const char *column)
{
	double rows = 0;
	ListCell *cell;

	foreach (cell, find_all_inheritors(relid, AccessShareLock, NULL))
	{
		Relation table = table_open(lfirst_oid(cell), NoLock);

		if (RELKIND_HAS_TABLE_AM(table->rd_rel->relkind) && !setup_has_index(table, column))
		{
			BlockNumber pages;
			double tuples;
			double visible;

			estimate_rel_size(table, NULL, &pages, &tuples, &visible);
			rows += tuples;
		}
		table_close(table, NoLock);
	}
	return rows;
}

/* A plain or partitioned table, whose days are found by `column`. */
static void
judge_index(Check *check, Relation table, const char *column)
{
	const char *name = check->plan->target_name;
	bool parted = table->rd_rel->relkind == RELKIND_PARTITIONED_TABLE;
	double rows;

	if (is_parted_by(table, column))
	{
		check_report(check, CHECK_OK, psprintf("%s is partitioned by %s", name, column), NULL);
		return;
	}
	rows = unindexed_rows(RelationGetRelid(table), column);
	if (setup_has_index(table, column) || (parted && rows == 0))
		check_report(check, CHECK_OK, psprintf("there is one on %s", column), NULL);
	else if (rows < FEW_ROWS)
		check_report(check, CHECK_OK, psprintf("none on %s, but there are few rows (about %.0f)", column, rows), NULL);
	else
		check_report(
			check, CHECK_WARNING, psprintf("none on %s: each load reads about %.0f rows to find a day's", column, rows),
			psprintf("CREATE INDEX %sON %s (%s);", parted ? "" : "CONCURRENTLY ", name, quote_identifier(column)));
}

void
check_index(Check *check)
{
	Relation table;
	char kind;

	if (skip_without_plan(check))
		return;
	if (check->plan->timestamp == NULL)
	{
		check_report(check, CHECK_SKIPPED, "the source is loaded as a whole", NULL);
		return;
	}
	table = table_open(check->plan->target, AccessShareLock);
	kind = table->rd_rel->relkind;
	if (kind == RELKIND_RELATION || kind == RELKIND_PARTITIONED_TABLE)
		judge_index(check, table, check->plan->timestamp->name);
	else
		check_report(check, CHECK_SKIPPED,
					 psprintf("%s is a %s", check->plan->target_name, kind == RELKIND_VIEW ? "view" : "foreign table"),
					 NULL);
	table_close(table, AccessShareLock);
}

/* --------------------------------------------------------------------------
 * Missing days
 * -------------------------------------------------------------------------- */

static char *
name_days(const LedgerGaps *gaps)
{
	StringInfoData days;

	initStringInfo(&days);
	for (int i = 0; i < gaps->nnamed; i++)
		appendStringInfo(&days, "%s%s", i > 0 ? ", " : "", day_text(gaps->named[i]));
	if (gaps->count > gaps->nnamed)
		appendStringInfoString(&days, ", ...");
	return days.data;
}

static char *
load_them(const Check *check, const LedgerGaps *gaps)
{
	const char *source = quote_literal_cstr(check->source);
	const char *first = day_text(gaps->named[0]);
	const char *last = day_text(gaps->last);

	/* the queue of a disabled source is not processed */
	if (check->worker != 0 && check->schedule->rules.enabled)
		return psprintf("SELECT %scontratos_enqueue('%s', '%s', %s);", check->schema, first, last, source);
	return psprintf("SELECT * FROM %scontratos_backfill_range('%s', '%s', %s, only_missing => true);", check->schema,
					first, last, source);
}

void
check_missing_days(Check *check)
{
	TimestampTz now = settings_now();
	DateADT yesterday = day_yesterday(now);
	const ScheduleRules *rules;
	DateADT first;
	DateADT last;
	LedgerGaps gaps;

	if (check->builtin)
	{
		check_report(check, CHECK_SKIPPED, "nothing is set up yet", NULL);
		return;
	}
	rules = &check->schedule->rules;
	first = check->schedule->source.start_date;
	last = yesterday;
	/* a day that the worker will load when it is due is not missing before */
	if (check->worker != 0 && rules->enabled && schedule_due_at(rules, yesterday) > now)
		last = yesterday - 1;
	/* a full-table source has no day but yesterday */
	if (rules->snapshot)
		first = Max(first, yesterday);
	ledger_gaps(check->source, first, last, &gaps);
	if (first > last)
		check_report(check, CHECK_OK, psprintf("no day is due before %s", day_text(first + 1)), NULL);
	else if (gaps.count == 0)
		check_report(check, CHECK_OK, psprintf("none from %s to %s", day_text(first), day_text(last)), NULL);
	else
		check_report(check, CHECK_WARNING,
					 psprintf(INT64_FORMAT " of %d days from %s to %s: %s", gaps.count, last - first + 1,
							  day_text(first), day_text(last), name_days(&gaps)),
					 load_them(check, &gaps));
}
