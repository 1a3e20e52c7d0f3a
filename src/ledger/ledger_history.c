/*
 * ledger_history.c
 *	  The history of a source's days in contratos_runs: successes, gaps, cost.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "catalog/pg_subscription_rel.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "executor/tuptable.h"
#include "lib/stringinfo.h"
#include "nodes/pg_list.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "utils/varlena.h"

#include "base/day.h"
#include "base/settings.h"
#include "ledger/extension.h"
#include "ledger/ledger_bills.h"
#include "ledger/ledger_history.h"
#include "ledger/ledger_internal.h"
#include "ledger/trust.h"

/* --------------------------------------------------------------------------
 * The last success of a day
 * -------------------------------------------------------------------------- */

/* Columns that fill_success() expects to come first. */
#define SUCCESS_COLUMNS                                                                                                \
	"l.id, l.rows_loaded, l.source_max_timestamp, l.fingerprint, l.target_rows, l.target_max_timestamp, "              \
	"l.status = 'accepted'"

/* Rows and largest timestamp, from the columns with these numbers. */
static DayFigures
read_figures(uint64 row, int rows, int max)
{
	DayFigures figures = {.rows = ledger_value_int64(row, rows, -1), .max_timestamp = ledger_value_time(row, max)};
	bool isnull;

	(void) ledger_value(row, max, &isnull);
	figures.has_max = !isnull;
	return figures;
}

static void
fill_success(LedgerSuccess *success, uint64 row)
{
	char *fingerprint = ledger_value_text(row, 4);
	bool isnull;

	success->run = ledger_value_int64(row, 1, 0);
	success->loaded = read_figures(row, 2, 3);
	if (fingerprint != NULL)
		strlcpy(success->loaded.fingerprint, fingerprint, FINGERPRINT_SIZE);
	success->target = read_figures(row, 5, 6);
	success->accepted = DatumGetBool(ledger_value(row, 7, &isnull));
}

/* Into a LedgerSuccess; its run stays 0 when there is no row. */
static void
read_success(void *result)
{
	LedgerSuccess *success = result;

	if (SPI_processed == 0)
		return;
	fill_success(success, 0);
	success->reloads = (int) ledger_value_int64(0, 8, 0);
}

bool
ledger_last_success(const char *source, DateADT day, LedgerSuccess *success)
{
	LedgerArgs args = {0};

	ledger_text(&args, "source", source);
	ledger_arg(&args, "day", DATEOID, DateADTGetDatum(day), false);
	memset(success, 0, sizeof(LedgerSuccess));
	/* reloads: successes after the first one with the same rows, or the last one with another cause than reload */
	ledger_execute("contratos_runs",
				   "WITH success AS (SELECT * FROM %1$s.contratos_runs "
				   "WHERE source = $1 AND day = $2 AND status IN ('succeeded', 'accepted')), "
				   "last AS (SELECT * FROM success ORDER BY id DESC LIMIT 1), "
				   "other AS (SELECT max(s.id) AS id FROM success s, last l "
				   "WHERE s.rows_loaded <> l.rows_loaded OR s.fingerprint IS DISTINCT FROM l.fingerprint), "
				   "base AS (SELECT max(s.id) FILTER (WHERE s.cause <> 'reload') AS own, "
				   "min(s.id) FILTER (WHERE s.id > coalesce(o.id, 0)) AS first FROM success s, other o) "
				   "SELECT " SUCCESS_COLUMNS
				   ", (SELECT count(*) FROM success s, base b WHERE s.id > greatest(b.own, b.first)) "
				   "FROM last l",
				   &args, SPI_OK_SELECT, read_success, success);
	return success->run != 0;
}

/* Consecutive days, with a LedgerSuccess for each. */
typedef struct Successes
{
	DateADT first;
	LedgerSuccess *days;
} Successes;

static void
read_successes(void *result)
{
	Successes *successes = result;

	for (uint64 row = 0; row < SPI_processed; row++)
	{
		bool isnull;
		DateADT day = DatumGetDateADT(ledger_value(row, 8, &isnull));
		fill_success(&successes->days[day - successes->first], row);
	}
}

void
ledger_last_successes(const char *source, DateADT first, DateADT last, bool accepted, LedgerSuccess *days)
{
	LedgerArgs args = {0};
	Successes successes = {first, days};

	ledger_text(&args, "source", source);
	ledger_arg(&args, "first", DATEOID, DateADTGetDatum(first), false);
	ledger_arg(&args, "last", DATEOID, DateADTGetDatum(last), false);
	ledger_arg(&args, "accepted", BOOLOID, BoolGetDatum(accepted), false);
	memset(days, 0, sizeof(LedgerSuccess) * (last - first + 1));
	ledger_execute("contratos_runs",
				   "SELECT DISTINCT ON (l.day) " SUCCESS_COLUMNS ", l.day FROM %s.contratos_runs l "
				   "WHERE l.source = $1 AND l.day BETWEEN $2 AND $3 "
				   "AND (l.status = 'succeeded' OR ($4 AND l.status = 'accepted')) "
				   "ORDER BY l.day, l.id DESC",
				   &args, SPI_OK_SELECT, read_successes, &successes);
}

bool
ledger_newest_success(const char *source, LedgerSuccess *success)
{
	LedgerArgs args = {0};

	ledger_text(&args, "source", source);
	memset(success, 0, sizeof(LedgerSuccess));
	ledger_execute("contratos_runs",
				   "SELECT " SUCCESS_COLUMNS ", 0::bigint FROM %s.contratos_runs l "
				   "WHERE l.source = $1 AND l.status = 'succeeded' ORDER BY l.day DESC, l.id DESC LIMIT 1",
				   &args, SPI_OK_SELECT, read_success, success);
	return success->run != 0;
}

int64
ledger_last_rows(const char *source, DateADT day)
{
	LedgerArgs args = {0};
	int64 rows = -1;

	ledger_text(&args, "source", source);
	ledger_arg(&args, "day", DATEOID, DateADTGetDatum(day), false);
	ledger_execute("contratos_runs",
				   "SELECT rows_loaded FROM %s.contratos_runs "
				   "WHERE source = $1 AND day = $2 AND status = 'succeeded' ORDER BY id DESC LIMIT 1",
				   &args, SPI_OK_SELECT, ledger_read_int64, &rows);
	return rows;
}

/* --------------------------------------------------------------------------
 * Gaps
 * -------------------------------------------------------------------------- */

/* The first gaps; each row also has the number of all gaps, and the last one. */
static void
read_gaps(void *result)
{
	LedgerGaps *gaps = result;
	bool isnull;

	for (uint64 row = 0; row < SPI_processed && row < LEDGER_GAPS_NAMED; row++)
	{
		gaps->named[gaps->nnamed++] = DatumGetDateADT(ledger_value(row, 1, &isnull));
		gaps->count = ledger_value_int64(row, 2, 0);
		gaps->last = DatumGetDateADT(ledger_value(row, 3, &isnull));
	}
}

bool
ledger_is_missing(const char *source, DateADT day)
{
	LedgerGaps gaps;

	ledger_gaps(source, day, day, &gaps);
	return gaps.count > 0;
}

void
ledger_gaps(const char *source, DateADT first, DateADT last, LedgerGaps *gaps)
{
	LedgerArgs args = {0};

	memset(gaps, 0, sizeof(*gaps));
	ledger_text(&args, "source", source);
	ledger_arg(&args, "first", DATEOID, DateADTGetDatum(first), false);
	ledger_arg(&args, "last", DATEOID, DateADTGetDatum(last), false);
	ledger_arg(&args, "named", INT4OID, Int32GetDatum(LEDGER_GAPS_NAMED), false);
	ledger_execute("contratos_runs",
				   "SELECT d.day, count(*) OVER (), max(d.day) OVER () "
				   "FROM (SELECT $2 + i AS day FROM generate_series(0, $3 - $2) i) d "
				   "WHERE NOT EXISTS (SELECT 1 FROM %1$s.contratos_runs r WHERE r.source = $1 AND r.day = d.day "
				   "AND r.status IN ('succeeded', 'accepted')) ORDER BY d.day LIMIT $4",
				   &args, SPI_OK_SELECT, read_gaps, gaps);
}

/* --------------------------------------------------------------------------
 * Rechecks, cost, pruning
 * -------------------------------------------------------------------------- */

void
ledger_set_baseline(int64 run, const DayFigures *remote)
{
	LedgerArgs args = {0};

	ledger_count(&args, "id", run);
	ledger_count(&args, "rows_loaded", remote->rows);
	ledger_time(&args, "source_max_timestamp", remote->max_timestamp, !remote->has_max);
	ledger_text(&args, "fingerprint", remote->fingerprint);
	ledger_execute("contratos_runs",
				   "UPDATE %s.contratos_runs SET rows_loaded = $2, source_max_timestamp = $3, fingerprint = $4 "
				   "WHERE id = $1",
				   &args, SPI_OK_UPDATE, NULL, NULL);
}

void
ledger_confirm(const char *source, DateADT day)
{
	LedgerArgs args = {0};

	ledger_text(&args, "source", source);
	ledger_arg(&args, "day", DATEOID, DateADTGetDatum(day), false);
	ledger_time(&args, "confirmed_at", settings_now(), false);
	ledger_execute("contratos_runs",
				   "UPDATE %1$s.contratos_runs SET confirmed_at = $3 WHERE id = (SELECT id FROM %1$s.contratos_runs "
				   "WHERE source = $1 AND day = $2 AND status = 'succeeded' ORDER BY id DESC LIMIT 1)",
				   &args, SPI_OK_UPDATE, NULL, NULL);
}

bool
ledger_day_has_failed(int64 run, bool unreported)
{
	LedgerArgs args = {0};
	bool found = false;

	ledger_count(&args, "id", run);
	ledger_arg(&args, "unreported", BOOLOID, BoolGetDatum(unreported), false);
	ledger_execute(
		"contratos_runs",
		"UPDATE %1$s.contratos_runs r SET unreported = $2 WHERE id = $1 "
		/* as in the view _contratos_days: no rows stand, or a check has found them wrong */
		"AND (r.status = 'refused' OR (r.status IN ('failed', 'interrupted') "
		"AND NOT EXISTS (SELECT 1 FROM %1$s.contratos_runs g WHERE g.source = r.source AND g.day = r.day "
		"AND NOT g.only_cost AND g.status IN ('succeeded', 'accepted', 'unchanged') AND NOT EXISTS (SELECT 1 "
		"FROM %1$s.contratos_runs d WHERE d.source = r.source AND d.day = r.day AND d.id > g.id "
		"AND NOT d.only_cost AND d.status = 'differs')))) "
		"AND NOT EXISTS (SELECT 1 FROM %1$s.contratos_runs p WHERE p.source = r.source AND p.day = r.day "
		"AND p.id < r.id AND p.status IN ('failed', 'refused', 'interrupted') AND p.next_attempt_at IS NULL "
		"AND p.cause NOT IN ('recheck', 'manual', 'backfill') AND NOT p.only_cost "
		/* an outage is one, whatever the connection's last error was */
		"AND (p.sqlstate = r.sqlstate OR (p.sqlstate LIKE '08%%' AND r.sqlstate LIKE '08%%')) "
		"AND NOT EXISTS (SELECT 1 FROM %1$s.contratos_runs s WHERE s.source = r.source AND s.day = r.day "
		"AND s.id > p.id AND s.status IN ('succeeded', 'accepted'))) RETURNING true",
		&args, SPI_OK_UPDATE_RETURNING, ledger_read_found, &found);
	return found;
}

bool
ledger_rechecked_today(const char *source, TimestampTz now)
{
	LedgerArgs args = {0};
	DateADT today = day_of(now);
	bool found = false;

	ledger_text(&args, "source", source);
	ledger_time(&args, "from", day_start(today), false);
	ledger_time(&args, "to", day_start(today + 1), false);
	ledger_execute("contratos_runs",
				   "SELECT FROM %s.contratos_runs WHERE source = $1 AND cause = 'recheck' "
				   "AND status IN ('unchanged', 'differs') AND finished_at >= $2 AND finished_at < $3 LIMIT 1",
				   &args, SPI_OK_SELECT, ledger_read_found, &found);
	return found;
}

char *
ledger_last_error(const char *source, const char *reason)
{
	LedgerArgs args = {0};
	char *error = NULL;

	ledger_text(&args, "source", source);
	ledger_text(&args, "reason", reason);
	ledger_execute("contratos_runs",
				   "SELECT error FROM %s.contratos_runs WHERE source = $1 AND reason = $2 ORDER BY id DESC LIMIT 1",
				   &args, SPI_OK_SELECT, ledger_read_text, &error);
	return error;
}

int64
ledger_billed_today(const char *source, TimestampTz now)
{
	LedgerArgs args = {0};
	DateADT today = day_of(now);
	int64 bytes = 0;

	ledger_bills_wait();
	ledger_text(&args, "source", source);
	ledger_time(&args, "from", day_start(today), false);
	ledger_time(&args, "to", day_start(today + 1), false);
	ledger_execute("contratos_runs",
				   "SELECT sum(bytes_billed)::bigint FROM %s.contratos_runs WHERE ($1 IS NULL OR source = $1) "
				   "AND coalesce(finished_at, started_at) >= $2 AND coalesce(finished_at, started_at) < $3",
				   &args, SPI_OK_SELECT, ledger_read_int64, &bytes);
	return bytes + ledger_bills_unwritten_bytes(source);
}

bool
ledger_budget_left(const char *source, TimestampTz now, LedgerBudget *budget)
{
	LedgerBudget total = {"contratos.max_bytes_per_day_total", true, settings_bytes_per_day_total(), 0};

	*budget = (LedgerBudget){"contratos.max_bytes_per_day", false, settings_bytes_per_day(), 0};
	if (budget->cap > 0)
		budget->billed = ledger_billed_today(source, now);
	if (total.cap > 0)
		total.billed = ledger_billed_today(NULL, now);
	if (total.cap > 0 && (budget->cap == 0 || total.cap - total.billed < budget->cap - budget->billed))
		*budget = total;
	return budget->cap == 0 || budget->billed < budget->cap;
}

bool
ledger_ran_out(const char *source, TimestampTz now)
{
	LedgerArgs args = {0};
	LedgerBudget budget;
	int64 failures = 0;

	if (ledger_budget_left(source, now, &budget))
		return false;
	ledger_text(&args, "source", source);
	ledger_text(&args, "sqlstate", unpack_sql_state(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED));
	ledger_time(&args, "from", day_start(day_of(now)), false);
	ledger_execute("contratos_runs",
				   "SELECT count(*) FROM %1$s.contratos_runs WHERE source = $1 AND sqlstate = $2 "
				   "AND finished_at >= $3 AND finished_at >= ALL (SELECT finished_at FROM %1$s.contratos_runs "
				   "WHERE source = $1 AND bytes_billed > 0 AND finished_at >= $3)",
				   &args, SPI_OK_SELECT, ledger_read_int64, &failures);
	return failures > 0;
}

int64
ledger_prune(int days, TimestampTz now)
{
	LedgerArgs args = {0};
	int64 removed = 0;

	ledger_arg(&args, "days", INT4OID, Int32GetDatum(days), false);
	ledger_time(&args, "now", now, false);
	trust_check(extension_relation("contratos_rejects"), extension_relation_owner(extension_relation("contratos_runs")),
				RowExclusiveLock, NULL);
	ledger_execute(
		"contratos_runs",
		"WITH gone AS (SELECT id FROM %1$s.contratos_runs r WHERE finished_at < $2 - $1 * interval '24 hours' "
		"AND status NOT IN ('queued', 'running', 'waiting') "
		/* what makes a day's state stays; `unchanged` and `accepted` end a difference */
		"AND (only_cost OR status NOT IN ('succeeded', 'accepted', 'differs') OR EXISTS "
		"(SELECT 1 FROM %1$s.contratos_runs n WHERE n.source = r.source AND n.day = r.day AND n.id > r.id "
		"AND NOT n.only_cost AND (n.status IN (r.status, 'succeeded') "
		"OR (r.status = 'differs' AND n.status IN ('unchanged', 'accepted'))))) FOR UPDATE), "
		"rejects AS (DELETE FROM %1$s.contratos_rejects USING gone WHERE run = gone.id) "
		"DELETE FROM %1$s.contratos_runs r USING gone WHERE r.id = gone.id",
		&args, SPI_OK_DELETE, ledger_read_count, &removed);
	return removed;
}

/* --------------------------------------------------------------------------
 * Failed steps of the worker's housekeeping
 *
 * These steps have no day, so the ledger has no row for them.  A step that has
 * failed is kept in a table of its own until it succeeds: a worker that is running
 * but makes no progress must not look healthy.
 * -------------------------------------------------------------------------- */

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
