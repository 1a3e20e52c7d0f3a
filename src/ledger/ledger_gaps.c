/*
 * ledger_gaps.c
 *	  Days that have never been loaded.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"

#include "ledger/ledger.h"
#include "ledger/ledger_internal.h"

/* The first of them, and with each their number and the last. */
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
				   "AND r.status = 'succeeded') ORDER BY d.day LIMIT $4",
				   &args, SPI_OK_SELECT, read_gaps, gaps);
}
