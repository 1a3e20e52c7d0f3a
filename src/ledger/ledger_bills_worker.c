/*
 * ledger_bills_worker.c
 *	  The background worker that writes bills to the ledger, and ends.
 *
 * It is started when a transaction ends, where no error may be raised and nothing may be
 * waited for; so its rows are in shared memory that nobody is attached to until it is.
 * They hold no secret.  The worker is connected to the database for a moment, which
 * BILLS_TIMEOUT_MS bounds.
 */
#include "postgres.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "storage/dsm.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "tcop/tcopprot.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/resowner.h"
#include "utils/snapmgr.h"
#include "utils/timeout.h"

#include "base/clock.h"
#include "base/settings.h"
#include "ledger/extension.h"
#include "ledger/ledger_bills.h"
#include "ledger/ledger_bills_internal.h"

/* Less than the 5 s for which DROP DATABASE waits for others to leave. */
#define BILLS_TIMEOUT_MS 4000

/* It depends on the layout: the library may be replaced during a session. */
#define MAGIC (UINT64CONST(0xc0274707) << 32 | sizeof(BillRow))

/* The contents of the shared memory. */
typedef struct BillRows
{
	uint64 magic;
	bool taken; /* by the worker */
	int nrows;
	BillRow rows[FLEXIBLE_ARRAY_MEMBER];
} BillRows;

/* In bgw_extra. */
typedef struct BillsOrder
{
	Oid database;
	dsm_handle segment;
} BillsOrder;

StaticAssertDecl(sizeof(BillsOrder) <= BGW_EXTRALEN, "an order fits into bgw_extra");

/* The pause between two tries to start a worker. */
#define START_PAUSE_MS 20

/* The last worker that this session has started; NULL: none, or it has ended. */
static BackgroundWorkerHandle *last_worker = NULL;

/* A segment with the rows that stays when nobody is attached to it; NULL: there is no memory for it. */
static dsm_segment *
make_bill_segment(const BillRow *const *rows, int nrows)
{
	Size size = offsetof(BillRows, rows) + nrows * sizeof(BillRow);
	dsm_segment *segment = dsm_create(size, DSM_CREATE_NULL_IF_MAXSEGMENTS);
	BillRows *copy;

	if (segment == NULL)
		return NULL;
	copy = dsm_segment_address(segment);
	memset(copy, 0, offsetof(BillRows, rows));
	copy->magic = MAGIC;
	copy->nrows = nrows;
	for (int i = 0; i < nrows; i++)
		copy->rows[i] = *rows[i];
	dsm_pin_segment(segment);
	return segment;
}

/* The worker's handle is the last one's. */
static bool
register_worker(dsm_handle segment)
{
	BackgroundWorker worker = {0};
	BillsOrder order = {.database = MyDatabaseId, .segment = segment};

	worker.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
	worker.bgw_start_time = BgWorkerStart_RecoveryFinished;
	worker.bgw_restart_time = BGW_NEVER_RESTART;
	worker.bgw_notify_pid = MyProcPid;
	strlcpy(worker.bgw_library_name, "contratos", sizeof(worker.bgw_library_name));
	strlcpy(worker.bgw_function_name, "contratos_ledger_bills_main", sizeof(worker.bgw_function_name));
	strlcpy(worker.bgw_name, "contratos ledger writer", sizeof(worker.bgw_name));
	strlcpy(worker.bgw_type, "contratos ledger writer", sizeof(worker.bgw_type));
	memcpy(worker.bgw_extra, &order, sizeof(order));
	if (last_worker != NULL)
		pfree(last_worker);
	last_worker = NULL;
	return RegisterDynamicBackgroundWorker(&worker, &last_worker);
}

static void
pause_before_retry(void)
{
	(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_POSTMASTER_DEATH, START_PAUSE_MS, PG_WAIT_EXTENSION);
	ResetLatch(MyLatch);
}

/* Whether the worker has the rows: while the server shuts down, a worker is registered and never started. */
static bool
wait_until_taken(const volatile BillRows *rows, int64 deadline)
{
	pid_t pid;

	while (!rows->taken && clock_ms() < deadline && GetBackgroundWorkerPid(last_worker, &pid) != BGWH_STOPPED)
		pause_before_retry();
	return rows->taken;
}

static bool
hand_to_worker(const BillRow *const *rows, int nrows, int64 deadline)
{
	dsm_segment *segment = make_bill_segment(rows, nrows);
	dsm_handle handle;
	bool started;

	if (segment == NULL)
		return false;
	handle = dsm_segment_handle(segment);
	started = register_worker(handle);
	while (!started && clock_ms() < deadline)
	{
		pause_before_retry();
		started = register_worker(handle);
	}
	if (started && deadline > 0)
		started = wait_until_taken(dsm_segment_address(segment), deadline);
	dsm_detach(segment);
	if (!started)
		dsm_unpin_segment(handle);
	return started;
}

bool
ledger_bills_start_worker(const BillRow *const *rows, int nrows, int64 deadline)
{
	MemoryContext context = MemoryContextSwitchTo(TopMemoryContext);
	ResourceOwner owner = CurrentResourceOwner;
	/* an error would allow interrupts, which the end of a transaction does not */
	uint32 interrupts = InterruptHoldoffCount;

	volatile bool started = false;

	/* the segment must outlive the transaction */
	CurrentResourceOwner = NULL;
	PG_TRY();
	{
		started = hand_to_worker(rows, nrows, deadline);
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(TopMemoryContext);
		FlushErrorState();
		InterruptHoldoffCount = interrupts;
	}
	PG_END_TRY();
	CurrentResourceOwner = owner;
	MemoryContextSwitchTo(context);
	return started;
}

void
ledger_bills_wait(void)
{
	if (last_worker == NULL)
		return;
	(void) WaitForBackgroundWorkerShutdown(last_worker);
	pfree(last_worker);
	last_worker = NULL;
}

/* --------------------------------------------------------------------------
 * The worker
 * -------------------------------------------------------------------------- */

/* Its own copy of the rows, whose memory is released.  NULL: they are not of this library. */
static BillRows *
take_rows(dsm_handle handle)
{
	dsm_segment *segment = dsm_attach(handle);
	BillRows *shared;
	BillRows *copy = NULL;

	if (segment == NULL)
		return NULL;
	dsm_unpin_segment(handle);
	shared = dsm_segment_address(segment);
	if (shared->magic == MAGIC)
	{
		Size size = offsetof(BillRows, rows) + shared->nrows * sizeof(BillRow);

		copy = MemoryContextAllocHuge(TopMemoryContext, size);
		memcpy(copy, shared, size);
		shared->taken = true;
	}
	dsm_detach(segment);
	return copy;
}

/* In an error's CONTEXT: all of them, as they are written in one transaction. */
static void
name_the_bills(void *arg)
{
	const BillRows *all = arg;

	for (int i = 0; i < all->nrows; i++)
		errcontext("recording that " INT64_FORMAT " bytes were billed for source \"%s\" (job %s)",
				   all->rows[i].bill.bytes_billed, all->rows[i].source, all->rows[i].bill.job_id);
}

/* Nothing is written if the extension was dropped meanwhile, even if it was created again. */
static void
write_rows(const BillRows *all)
{
	Oid extension;

	SetCurrentStatementStartTimestamp();
	enable_timeout_after(STATEMENT_TIMEOUT, BILLS_TIMEOUT_MS);
	StartTransactionCommand();
	PushActiveSnapshot(GetTransactionSnapshot());
	pgstat_report_activity(STATE_RUNNING, "contratos: recording what was billed");
	extension = extension_try_lock();
	for (int i = 0; i < all->nrows && OidIsValid(extension); i++)
		if (all->rows[i].extension == extension)
			ledger_bills_insert(&all->rows[i], RUN_CANCELED);
	PopActiveSnapshot();
	CommitTransactionCommand();
	disable_timeout(STATEMENT_TIMEOUT, false);
}

void
contratos_ledger_bills_main(Datum arg pg_attribute_unused())
{
	BillsOrder order;
	BillRows *rows;
	ErrorContextCallback context = {.previous = error_context_stack, .callback = name_the_bills};

	memcpy(&order, MyBgworkerEntry->bgw_extra, sizeof(order));
	pqsignal(SIGTERM, die);
	BackgroundWorkerUnblockSignals();
	settings_pin();
	rows = take_rows(order.segment);
	if (rows == NULL)
		proc_exit(0);
	context.arg = rows;
	error_context_stack = &context;
	/* the sessions of a database that allows no more connections go on */
	BackgroundWorkerInitializeConnectionByOid(order.database, InvalidOid, BGWORKER_BYPASS_ALLOWCONN);
	pgstat_report_appname("contratos ledger writer");
	settings_pin_session();
	/* a standby that does not answer must not delay its end */
	SetConfigOption("synchronous_commit", "local", PGC_USERSET, PGC_S_OVERRIDE);
	write_rows(rows);
	error_context_stack = context.previous;
	proc_exit(0);
}
