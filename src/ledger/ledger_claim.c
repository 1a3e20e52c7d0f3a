/*
 * ledger_claim.c
 *	  The locks on a source, for loading it and for changing its queue; and the queue.
 *
 * Both are advisory locks with tags of our own, so they need no shared memory and
 * show in pg_locks.  One lock per source and not one per day: a backfill of years
 * would fill the lock table.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "executor/spi.h"
#include "lib/ilist.h"
#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "storage/lock.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "base/day.h"
#include "base/json.h"
#include "base/settings.h"
#include "ledger/extension.h"
#include "ledger/ledger_claim.h"
#include "ledger/ledger_internal.h"
#include "ledger/ledger_run.h"
#include "ledger/notify.h"

/*
 * Fourth field of our advisory lock tags.  SQL's own functions use 1 and 2 in this
 * field, so that our locks never conflict with a user's key; the worker's own lock
 * uses 0x6303.
 */
#define LEDGER_CLAIM_SPACE 0x6301
#define LEDGER_QUEUE_SPACE 0x6302

/* A claim held at session level. */
typedef struct HeldClaim
{
	slist_node node;
	LOCKTAG tag; /* as it was taken: since then the extension may have been dropped or recreated */
	char source[FLEXIBLE_ARRAY_MEMBER];
} HeldClaim;

static slist_head held_claims = SLIST_STATIC_INIT(held_claims);

static void
source_tag(LOCKTAG *tag, const char *source, uint16 space)
{
	uint32 key = DatumGetUInt32(hash_any((const unsigned char *) source, strlen(source)));

	SET_LOCKTAG_ADVISORY(*tag, MyDatabaseId, extension_relation("contratos_sources"), key, space);
}

/* Into a char *: a sentence about what holds the lock. */
static void
ledger_read_holder(void *result)
{
	if (SPI_processed == 0)
		return;
	if (ledger_first_text(1) == NULL) /* no process has the locks of PREPARE TRANSACTION */
		*(char **) result = pstrdup("A prepared transaction holds it: see pg_prepared_xacts.");
	else
		*(char **) result = psprintf("Process %s of user \"%s\" (application \"%s\") holds it.", ledger_first_text(1),
									 ledger_first_text(2), ledger_first_text(3));
}

/* Report which session is waited for, unless it has ended by now. */
static void
ledger_report_holder(const LOCKTAG *tag, const char *source)
{
	LedgerArgs args = {0};
	char *holder = NULL;

	ledger_count(&args, "database", tag->locktag_field1);
	ledger_count(&args, "classid", tag->locktag_field2);
	ledger_count(&args, "objid", tag->locktag_field3);
	ledger_count(&args, "objsubid", tag->locktag_field4);
	ledger_execute("contratos_sources",
				   "SELECT l.pid, coalesce(a.usename, '?'), coalesce(a.application_name, '?') FROM pg_locks l LEFT "
				   "JOIN pg_stat_activity a ON a.pid = l.pid "
				   "WHERE l.locktype = 'advisory' AND l.granted AND l.database = $1 AND l.classid = $2 "
				   "AND l.objid = $3 AND l.objsubid = $4 LIMIT 1",
				   &args, SPI_OK_SELECT, ledger_read_holder, &holder);
	if (holder)
		ereport(NOTICE,
				(errmsg("waiting for another load of source \"%s\"", source), errdetail_internal("%s", holder)));
}

void
ledger_claim(const char *source)
{
	LOCKTAG tag;

	source_tag(&tag, source, LEDGER_CLAIM_SPACE);
	if (LockAcquire(&tag, ExclusiveLock, false, true) != LOCKACQUIRE_NOT_AVAIL)
		return;
	ledger_report_holder(&tag, source);
	(void) LockAcquire(&tag, ExclusiveLock, false, false);
}

bool
ledger_try_claim(const char *source)
{
	LOCKTAG tag;

	source_tag(&tag, source, LEDGER_CLAIM_SPACE);

	/* allocated first: a lock must not be lost when memory runs out */
	HeldClaim *held = MemoryContextAlloc(TopMemoryContext, offsetof(HeldClaim, source) + strlen(source) + 1);
	held->tag = tag;
	strcpy(held->source, source);
	if (LockAcquire(&tag, ExclusiveLock, true, true) == LOCKACQUIRE_NOT_AVAIL)
	{
		pfree(held);
		return false;
	}
	slist_push_head(&held_claims, &held->node);
	return true;
}

void
ledger_unclaim(const char *source)
{
	slist_mutable_iter iter;

	slist_foreach_modify(iter, &held_claims)
	{
		HeldClaim *held = slist_container(HeldClaim, node, iter.cur);
		if (strcmp(held->source, source) != 0)
			continue;
		slist_delete_current(&iter);
		(void) LockRelease(&held->tag, ExclusiveLock, true);
		pfree(held);
		return;
	}
}

bool
ledger_claim_is_free(const char *source)
{
	LOCKTAG tag;

	source_tag(&tag, source, LEDGER_CLAIM_SPACE);
	switch (LockAcquire(&tag, ExclusiveLock, false, true))
	{
		case LOCKACQUIRE_OK:
			return true;
		case LOCKACQUIRE_NOT_AVAIL:
			return false;
		default: /* this session held it before: release only what has just been added */
			(void) LockRelease(&tag, ExclusiveLock, false);
			return false;
	}
}

bool
ledger_lock_queue(const char *source, bool wait)
{
	LOCKTAG tag;

	source_tag(&tag, source, LEDGER_QUEUE_SPACE);
	return LockAcquire(&tag, ExclusiveLock, false, !wait) != LOCKACQUIRE_NOT_AVAIL;
}

/* --------------------------------------------------------------------------
 * The queue: days put into it, and canceled runs
 * -------------------------------------------------------------------------- */

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
				   "WHERE r.source = $1 AND r.day = $2 + i AND r.status IN ('succeeded', 'accepted')) ORDER BY i "
				   "ON CONFLICT (source, day) WHERE status IN ('queued', 'running', 'waiting') "
				   /* the load takes the place of a recheck that waits for a lock */
				   "DO UPDATE SET cause = 'queue', status = 'queued', attempt = 0, job_id = NULL, started_at = NULL, "
				   "next_attempt_at = NULL, sqlstate = NULL, reason = NULL, error = NULL "
				   "WHERE contratos_runs.cause = 'recheck' AND contratos_runs.status = 'waiting'",
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
				   "WHERE n.source = c.source AND n.day = c.day AND n.id > c.id AND NOT n.only_cost "
				   "AND (n.cause = 'recheck') = (c.cause = 'recheck')))) FOR UPDATE) old WHERE r.id = old.id "
				   "RETURNING r.source, r.day, old.status = 'running'",
				   &args, SPI_OK_UPDATE_RETURNING, read_canceled, &canceled);
	*running = canceled.was_running;
	if (canceled.source == NULL)
		return false;
	LedgerRun end = ledger_new_run(canceled.source, canceled.day, RUN_CANCELED);
	ledger_notify(&end, run);
	return true;
}

int64
ledger_accept(const char *source, DateADT day, const char *why, const DayFigures *target)
{
	LedgerArgs args = {0};
	LedgerRun accepted = ledger_new_run(source, day, RUN_ACCEPTED);
	int64 id = 0;

	(void) ledger_lock_queue(source, true);
	ledger_text(&args, "source", source);
	ledger_arg(&args, "day", DATEOID, DateADTGetDatum(day), false);
	ledger_time(&args, "now", settings_now(), false);
	ledger_text(&args, "accepted_by", GetUserNameFromId(GetSessionUserId(), false));
	ledger_text(&args, "why", why);
	ledger_count(&args, "target_rows", target->rows);
	ledger_time(&args, "target_max_timestamp", target->max_timestamp, !target->has_max);
	ledger_execute(
		"contratos_runs",
		"WITH canceled AS (UPDATE %1$s.contratos_runs SET status = 'canceled', next_attempt_at = NULL, "
		"finished_at = greatest($3, started_at) "
		"WHERE source = $1 AND day = $2 AND status IN ('queued', 'waiting')) "
		"INSERT INTO %1$s.contratos_runs (source, day, cause, status, started_at, finished_at, accepted_by, "
		"why, target_rows, target_max_timestamp) SELECT $1, $2, 'manual', 'accepted', $3, $3, $4, $5, $6, $7 "
		"WHERE NOT EXISTS (SELECT 1 FROM %1$s.contratos_runs s WHERE s.source = $1 AND s.day = $2 "
		"AND s.status = 'succeeded' AND NOT EXISTS (SELECT 1 FROM %1$s.contratos_runs n WHERE n.source = $1 "
		"AND n.day = $2 AND n.id > s.id AND NOT n.only_cost AND n.status IN ('succeeded', 'accepted', 'differs', "
		"'refused'))) "
		"RETURNING id",
		&args, SPI_OK_INSERT_RETURNING, ledger_read_int64, &id);
	if (id != 0)
		ledger_notify(&accepted, id);
	return id;
}
