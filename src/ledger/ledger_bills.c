/*
 * ledger_bills.c
 *	  What BigQuery bills for the jobs of this session, until the ledger has it.
 */
#include "postgres.h"

#include "access/transam.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "lib/ilist.h"
#include "storage/ipc.h"
#include "storage/procarray.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "base/bill.h"
#include "base/clock.h"
#include "base/settings.h"
#include "ledger/extension.h"
#include "ledger/ledger_bills.h"
#include "ledger/ledger_bills_internal.h"
#include "ledger/ledger_internal.h"
#include "ledger/ledger_run.h"

/* How long a session that ends waits for a worker, as a server that shuts down then does, too. */
#define EXIT_TIMEOUT_MS 2000

typedef struct SessionBill
{
	dlist_node node;
	BillRow row;
	int64 began; /* clock_ms() */
	SubTransactionId recorded; /* by which its row was written; InvalidSubTransactionId: by none */
	TransactionId prepared; /* its row is of this prepared transaction; InvalidTransactionId: of none */
	bool kept; /* its transaction has ended, and no worker could be started */
} SessionBill;

static dlist_head bills = DLIST_STATIC_INIT(bills);

static void
drop_bill(SessionBill *each)
{
	dlist_delete(&each->node);
	pfree(each);
}

/* Give the bills without a row to a worker, or keep them; deadline: see ledger_bills_start_worker(). */
static void
hand_over(int64 deadline)
{
	const BillRow **rows;
	int nrows = 0;
	bool started;
	dlist_mutable_iter iter;

	dlist_foreach_modify(iter, &bills) nrows++;
	rows = MemoryContextAllocExtended(TopMemoryContext, nrows * sizeof(BillRow *), MCXT_ALLOC_NO_OOM);
	nrows = 0;
	dlist_foreach_modify(iter, &bills)
	{
		const SessionBill *each = dlist_container(SessionBill, node, iter.cur);

		if (rows != NULL && !TransactionIdIsValid(each->prepared))
			rows[nrows++] = &each->row;
	}
	started = rows != NULL && ledger_bills_start_worker(rows, nrows, deadline);
	dlist_foreach_modify(iter, &bills)
	{
		SessionBill *each = dlist_container(SessionBill, node, iter.cur);

		if (TransactionIdIsValid(each->prepared))
			continue;
		each->kept = true;
		if (started)
			drop_bill(each);
	}
	if (rows != NULL)
		pfree(rows);
}

/* The rows that this transaction has written are prepared: whether they will be there is not known yet. */
static void
leave_prepared(TransactionId id)
{
	dlist_iter iter;

	dlist_foreach (iter, &bills)
	{
		SessionBill *each = dlist_container(SessionBill, node, iter.cur);

		if (each->recorded != InvalidSubTransactionId)
			each->prepared = id;
	}
}

/* Drop the bills of prepared transactions that were committed; those that were rolled back have no row. */
static void
resolve_prepared(void)
{
	dlist_mutable_iter iter;

	dlist_foreach_modify(iter, &bills)
	{
		SessionBill *each = dlist_container(SessionBill, node, iter.cur);

		if (!TransactionIdIsValid(each->prepared) || TransactionIdIsInProgress(each->prepared))
			continue;
		if (TransactionIdDidCommit(each->prepared))
			drop_bill(each);
		else
			each->prepared = InvalidTransactionId;
	}
}

/*
 * The transaction has ended, or with a deadline the session.  Raises nothing.  A bill that
 * is kept is given to a worker again only after a transaction that has tried to write it.
 */
static void
settle_bills(bool committed, int64 deadline)
{
	bool again = deadline > 0;
	dlist_mutable_iter iter;

	resolve_prepared();
	dlist_foreach_modify(iter, &bills)
	{
		SessionBill *each = dlist_container(SessionBill, node, iter.cur);
		bool tried = each->recorded != InvalidSubTransactionId;
		/* none was requested, or it is known to cost nothing */
		bool nothing = each->row.bill.job_id[0] == '\0' || each->row.bill.bytes_billed == 0;

		each->recorded = InvalidSubTransactionId;
		if (TransactionIdIsValid(each->prepared))
			continue;
		if ((tried && committed) || nothing)
		{
			drop_bill(each);
			continue;
		}
		again |= !each->kept || tried;
		if (!each->kept)
			each->row.finished_at = each->row.started_at + (clock_ms() - each->began) * 1000;
	}
	if (again && !dlist_is_empty(&bills))
		hand_over(deadline);
}

static void
bills_at_transaction(XactEvent event, void *arg pg_attribute_unused())
{
	static TransactionId id;

	if (event == XACT_EVENT_PRE_PREPARE)
		id = GetTopTransactionIdIfAny();
	else if (event == XACT_EVENT_PREPARE)
		leave_prepared(id);
	if (event == XACT_EVENT_COMMIT || event == XACT_EVENT_PREPARE)
		settle_bills(true, 0);
	else if (event == XACT_EVENT_ABORT)
		settle_bills(false, 0);
}

static void
bills_at_subtransaction(SubXactEvent event, SubTransactionId id, SubTransactionId parent,
						void *arg pg_attribute_unused())
{
	dlist_iter iter;

	if (event != SUBXACT_EVENT_COMMIT_SUB && event != SUBXACT_EVENT_ABORT_SUB)
		return;
	dlist_foreach (iter, &bills)
	{
		SessionBill *each = dlist_container(SessionBill, node, iter.cur);

		if (each->recorded == id)
			each->recorded = event == SUBXACT_EVENT_COMMIT_SUB ? parent : InvalidSubTransactionId;
	}
}

/* The session ends: try once more, and wait a moment for a worker. */
static void
bills_at_exit(int code pg_attribute_unused(), Datum arg pg_attribute_unused())
{
	dlist_iter iter;

	settle_bills(false, clock_ms() + EXIT_TIMEOUT_MS);
	dlist_foreach (iter, &bills)
	{
		const SessionBill *each = dlist_container(SessionBill, node, iter.cur);
		const BillRow *row = &each->row;

		if (TransactionIdIsValid(each->prepared))
			continue;
		ereport(LOG,
				(errmsg(INT64_FORMAT " bytes that were billed for source \"%s\" are not in the ledger",
						row->bill.bytes_billed, row->source),
				 errdetail("The session of BigQuery job %s has ended, and no background worker could be started to "
						   "record them.",
						   row->bill.job_id)));
	}
}

Bill *
ledger_bills_begin(const char *source, DateADT first, DateADT last, const char *cause)
{
	static bool registered = false;
	SessionBill *each = MemoryContextAllocZero(TopMemoryContext, sizeof(SessionBill));

	if (!registered)
	{
		RegisterXactCallback(bills_at_transaction, NULL);
		RegisterSubXactCallback(bills_at_subtransaction, NULL);
		before_shmem_exit(bills_at_exit, (Datum) 0);
		registered = true;
	}
	each->row = (BillRow){
		.extension = extension_lock(),
		.first = first,
		.last = last,
		.started_at = settings_now(),
		.bill = BILL_NOTHING,
	};
	strlcpy(each->row.source, source, sizeof(each->row.source));
	strlcpy(each->row.cause, cause, sizeof(each->row.cause));
	each->began = clock_ms();
	each->recorded = InvalidSubTransactionId;
	dlist_push_tail(&bills, &each->node);
	return &each->row.bill;
}

void
ledger_bills_recorded(const char *job_id)
{
	dlist_iter iter;

	dlist_foreach (iter, &bills)
	{
		SessionBill *each = dlist_container(SessionBill, node, iter.cur);

		if (strcmp(each->row.bill.job_id, job_id) == 0)
			each->recorded = GetCurrentSubTransactionId();
	}
}

void
ledger_bills_insert(const BillRow *row, RunStatus status)
{
	LedgerArgs args = {0};

	ledger_text(&args, "source", row->source);
	ledger_arg(&args, "day", DATEOID, DateADTGetDatum(row->last), false);
	ledger_text(&args, "job_id", row->bill.job_id);
	ledger_arg(&args, "first_day", DATEOID, DateADTGetDatum(row->first), row->first == row->last);
	ledger_text(&args, "cause", row->cause);
	ledger_text(&args, "status", ledger_status_name(status));
	ledger_time(&args, "started_at", row->started_at, false);
	ledger_time(&args, "finished_at", Max(row->started_at, row->finished_at), false);
	ledger_count(&args, "bytes_processed", row->bill.bytes_processed);
	ledger_count(&args, "bytes_billed", row->bill.bytes_billed);
	ledger_execute("contratos_runs",
				   "INSERT INTO %1$s.contratos_runs (source, day, job_id, first_day, cause, status, started_at, "
				   "finished_at, bytes_processed, bytes_billed, attempt, only_cost) "
				   "SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, 0, true WHERE NOT EXISTS "
				   "(SELECT 1 FROM %1$s.contratos_runs WHERE source = $1 AND day = $2 AND job_id = $3)",
				   &args, SPI_OK_INSERT, NULL, NULL);
}

void
ledger_bills_write_comparison(const Bill *bill, RunStatus status)
{
	dlist_iter iter;

	dlist_foreach (iter, &bills)
	{
		SessionBill *each = dlist_container(SessionBill, node, iter.cur);

		if (&each->row.bill != bill)
			continue;
		each->row.finished_at = settings_now();
		ledger_bills_insert(&each->row, status);
		each->recorded = GetCurrentSubTransactionId();
	}
}

void
ledger_bills_write_kept(void)
{
	Oid extension = extension_lock();
	dlist_iter iter;

	dlist_foreach (iter, &bills)
	{
		SessionBill *each = dlist_container(SessionBill, node, iter.cur);

		if (!each->kept || each->recorded != InvalidSubTransactionId)
			continue;
		if (each->row.extension == extension)
			ledger_bills_insert(&each->row, RUN_CANCELED);
		each->recorded = GetCurrentSubTransactionId();
	}
}

int64
ledger_bills_unwritten_bytes(const char *source)
{
	int64 bytes = 0;
	dlist_iter iter;

	resolve_prepared();

	dlist_foreach (iter, &bills)
	{
		const SessionBill *each = dlist_container(SessionBill, node, iter.cur);

		if (each->recorded == InvalidSubTransactionId && (source == NULL || strcmp(each->row.source, source) == 0))
			bytes += Max(each->row.bill.bytes_billed, 0);
	}
	return bytes;
}
