/*
 * attempt_log.c
 *	  A day's line in the log.
 *
 * Each attempt has one when it ends, always of the same form, so that it can be
 * searched for and counted.  What went wrong stands in a report of its own, of
 * the level it deserves.
 */
#include "postgres.h"

#include "utils/timestamp.h"

#include "base/clock.h"
#include "base/day.h"
#include "bigquery/request.h"
#include "ledger/ledger_run.h"
#include "ledger/schedule.h"
#include "worker/attempt_internal.h"

void
attempt_log_end(const Attempt *attempt, RunStatus status, TimestampTz next, const char *why)
{
	const LoadDay *load = &attempt->load;
	int64 rows = status == RUN_SUCCEEDED ? load->run.loaded.rows : 0;
	int64 billed = attempt->bytes_compared + Max(load->run.bytes_billed, 0);
	double seconds = (clock_ms() - attempt->began) / 1000.0;
	const char *again = next != 0 ? psprintf("The next attempt is at %s.", timestamptz_to_str(next)) : "";

	ereport(LOG, (errmsg("source \"%s\": %s %s (%s, attempt %d), " INT64_FORMAT " rows, " INT64_FORMAT
						 " bytes received, " INT64_FORMAT " billed, %.3f s",
						 attempt->schedule->source.name, day_text(load->day), ledger_status_name(status),
						 attempt->load.run.cause, attempt->number, rows, load->bytes_received, billed, seconds),
				  why != NULL ? errdetail("%s.%s%s", why, again[0] ? " " : "", again)
							  : (again[0] ? errdetail("%s", again) : 0)));
}
