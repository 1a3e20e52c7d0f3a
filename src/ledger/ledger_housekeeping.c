/*
 * ledger_housekeeping.c
 *	  Failed steps of the worker's housekeeping.
 *
 * These steps have no day, so the ledger has no row for them.  A step that has
 * failed is kept in a table of its own until it succeeds: a worker that is running
 * but makes no progress must not look healthy.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/table.h"
#include "catalog/pg_subscription_rel.h"
#include "executor/spi.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/timestamp.h"

#include "base/settings.h"
#include "ledger/extension.h"
#include "ledger/ledger_housekeeping.h"
#include "ledger/ledger_internal.h"

void
ledger_note_step(const char *step, int sqlerrcode, const char *error)
{
	LedgerArgs args = {0};

	ledger_text(&args, "step", step);
	if (error == NULL)
	{
		/* usually there is nothing to delete: then nothing is written */
		ledger_execute("_contratos_housekeeping", "DELETE FROM %s._contratos_housekeeping WHERE step = $1", &args,
					   SPI_OK_DELETE, NULL, NULL);
		return;
	}
	ledger_text(&args, "sqlstate", unpack_sql_state(sqlerrcode));
	ledger_text(&args, "error", error);
	ledger_time(&args, "failed_at", settings_now(), false);
	ledger_execute("_contratos_housekeeping",
				   "INSERT INTO %s._contratos_housekeeping (step, sqlstate, error, failed_at) VALUES ($1, $2, $3, $4) "
				   "ON CONFLICT (step) DO UPDATE SET sqlstate = excluded.sqlstate, error = excluded.error, "
				   "failed_at = excluded.failed_at",
				   &args, SPI_OK_INSERT, NULL, NULL);
}

char *
ledger_failed_steps(void)
{
	LedgerArgs args = {0};
	char *steps = NULL;

	ledger_execute(
		"_contratos_housekeeping",
		"SELECT string_agg(format('%%s failed at %%s: %%s', step, failed_at, translate(error, E'\\n', ' ')), '; ' "
		"ORDER BY failed_at) "
		"FROM %s._contratos_housekeeping",
		&args, SPI_OK_SELECT, ledger_read_text, &steps);
	return steps;
}

/* Whether rows of that table come from a subscription of this database. */
static bool
is_subscribed(Oid relid)
{
	Relation catalog = table_open(SubscriptionRelRelationId, AccessShareLock);
	ScanKeyData key;
	SysScanDesc scan;
	bool found;

	ScanKeyInit(&key, Anum_pg_subscription_rel_srrelid, BTEqualStrategyNumber, F_OIDEQ, ObjectIdGetDatum(relid));
	scan = systable_beginscan(catalog, InvalidOid, false, NULL, 1, &key);
	found = HeapTupleIsValid(systable_getnext(scan));
	systable_endscan(scan);
	table_close(catalog, AccessShareLock);
	return found;
}

bool
ledger_is_subscribed(void)
{
	return is_subscribed(extension_relation("contratos_sources")) ||
		   is_subscribed(extension_relation("contratos_runs")) ||
		   is_subscribed(extension_relation("contratos_rejects"));
}
