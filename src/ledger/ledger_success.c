/*
 * ledger_success.c
 *	  What the last success of a day looked like: for who compares it with what
 *	  BigQuery, or the target, has of the day now.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "base/day.h"
#include "ledger/ledger.h"
#include "ledger/ledger_internal.h"

/* Columns that fill_success() expects to come first. */
#define SUCCESS_COLUMNS                                                                                                \
	"l.id, l.rows_loaded, l.source_max_timestamp, l.fingerprint, l.target_rows, l.target_max_timestamp"

/* Rows and largest timestamp, from columns of these numbers. */
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
	success->run = ledger_value_int64(row, 1, 0);
	success->loaded = read_figures(row, 2, 3);
	if (fingerprint != NULL)
		strlcpy(success->loaded.fingerprint, fingerprint, FINGERPRINT_SIZE);
	success->target = read_figures(row, 5, 6);
}

/* Into a LedgerSuccess; its run stays 0 when there is no row. */
static void
read_success(void *result)
{
	LedgerSuccess *success = result;
	if (SPI_processed == 0)
		return;
	fill_success(success, 0);
	success->reloads = (int) ledger_value_int64(0, 7, 0);
}

bool
ledger_last_success(const char *source, DateADT day, LedgerSuccess *success)
{
	LedgerArgs args = {0};
	ledger_text(&args, "source", source);
	ledger_arg(&args, "day", DATEOID, DateADTGetDatum(day), false);
	memset(success, 0, sizeof(LedgerSuccess));
	/* reloads: of the same rows as last, behind the first load of these, or the last by other causes */
	ledger_execute("contratos_runs",
				   "WITH success AS (SELECT * FROM %1$s.contratos_runs "
				   "WHERE source = $1 AND day = $2 AND status = 'succeeded'), "
				   "last AS (SELECT * FROM success ORDER BY id DESC LIMIT 1), "
				   "other AS (SELECT max(s.id) AS id FROM success s, last l "
				   "WHERE s.rows_loaded <> l.rows_loaded OR s.fingerprint IS DISTINCT FROM l.fingerprint), "
				   "base AS (SELECT max(s.id) FILTER (WHERE s.cause <> 'recheck') AS own, "
				   "min(s.id) FILTER (WHERE s.id > coalesce(o.id, 0)) AS first FROM success s, other o) "
				   "SELECT " SUCCESS_COLUMNS
				   ", (SELECT count(*) FROM success s, base b WHERE s.id > greatest(b.own, b.first)) "
				   "FROM last l",
				   &args, SPI_OK_SELECT, read_success, success);
	return success->run != 0;
}

/* Days in a row, a LedgerSuccess for each. */
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
		DateADT day = DatumGetDateADT(ledger_value(row, 7, &isnull));
		fill_success(&successes->days[day - successes->first], row);
	}
}

void
ledger_last_successes(const char *source, DateADT first, DateADT last, LedgerSuccess *days)
{
	LedgerArgs args = {0};
	Successes successes = {first, days};
	ledger_text(&args, "source", source);
	ledger_arg(&args, "first", DATEOID, DateADTGetDatum(first), false);
	ledger_arg(&args, "last", DATEOID, DateADTGetDatum(last), false);
	memset(days, 0, sizeof(LedgerSuccess) * (last - first + 1));
	ledger_execute("contratos_runs",
				   "SELECT DISTINCT ON (l.day) " SUCCESS_COLUMNS ", l.day FROM %s.contratos_runs l "
				   "WHERE l.source = $1 AND l.day BETWEEN $2 AND $3 AND l.status = 'succeeded' "
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
