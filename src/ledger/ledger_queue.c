/*
 * ledger_queue.c
 *	  The queue: days put into it, and canceled runs.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "base/day.h"
#include "base/json.h"
#include "base/settings.h"
#include "ledger/ledger_internal.h"
#include "ledger/ledger_queue.h"
#include "ledger/ledger_run.h"
#include "ledger/notify.h"

int
ledger_enqueue(const char *source, DateADT first, DateADT last, bool only_missing)
{
	LedgerArgs args = {0};
	int64 queued = 0;

	(void) ledger_lock_queue(source, true);
	ledger_text(&args, "source", source);
	ledger_arg(&args, "first", DATEOID, DateADTGetDatum(first), false);
	ledger_arg(&args, "last", DATEOID, DateADTGetDatum(last), false);
	ledger_arg(&args, "only_missing", BOOLOID, BoolGetDatum(only_missing), false);
	ledger_execute("contratos_runs",
				   "INSERT INTO %1$s.contratos_runs (source, day, cause, status, attempt) "
				   "SELECT $1, $2 + i, 'queue', 'queued', 0 FROM generate_series(0, $3 - $2) i "
				   "WHERE NOT $4 OR NOT EXISTS (SELECT 1 FROM %1$s.contratos_runs r "
				   "WHERE r.source = $1 AND r.day = $2 + i AND r.status = 'succeeded') ORDER BY i "
				   "ON CONFLICT (source, day) WHERE status IN ('queued', 'running', 'waiting') DO NOTHING",
				   &args, SPI_OK_INSERT, ledger_read_count, &queued);
	return (int) queued;
}

/* A run that was canceled, and what it was doing. */
typedef struct Canceled
{
	char *source; /* NULL: there was nothing to cancel */
	DateADT day;
	bool was_running;
} Canceled;

static void
read_canceled(void *result)
{
	Canceled *canceled = result;

	if (SPI_processed == 0)
		return;
	bool isnull;
	canceled->source = ledger_first_text(1);
	canceled->day = DatumGetDateADT(ledger_first(2, &isnull));
	canceled->was_running = DatumGetBool(ledger_first(3, &isnull));
}

bool
ledger_cancel(int64 run, bool *running)
{
	LedgerArgs args = {0};
	Canceled canceled = {0};

	ledger_arg(&args, "id", INT8OID, Int64GetDatum(run), false);
	ledger_time(&args, "finished_at", settings_now(), false);
	/* its old status is read under the row's lock; a failed run can be canceled only if no later one follows */
	ledger_execute("contratos_runs",
				   "UPDATE %1$s.contratos_runs r SET status = 'canceled', next_attempt_at = NULL, "
				   "finished_at = greatest($2, r.started_at) "
				   "FROM (SELECT id, status FROM %1$s.contratos_runs c WHERE id = $1 "
				   "AND (status IN ('queued', 'waiting', 'running') OR (status IN ('failed', 'interrupted') "
				   "AND next_attempt_at IS NOT NULL AND NOT EXISTS (SELECT 1 FROM %1$s.contratos_runs n "
				   "WHERE n.source = c.source AND n.day = c.day AND n.id > c.id))) FOR UPDATE) old WHERE r.id = old.id "
				   "RETURNING r.source, r.day, old.status = 'running'",
				   &args, SPI_OK_UPDATE_RETURNING, read_canceled, &canceled);
	*running = canceled.was_running;
	if (canceled.source == NULL)
		return false;
	LedgerRun end = ledger_new_run(canceled.source, canceled.day, RUN_CANCELED);
	ledger_notify(&end, run);
	return true;
}
