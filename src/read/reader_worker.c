/*
 * reader_worker.c
 *	  The reader worker: reads a job's rows for a load, and sends them.
 *
 * It has no database, no transaction and no memory that grows: only a batch and the
 * stream's buffers, from which a long row is sent without a copy.  It ends after its
 * last row, with a failure, or when the load no longer listens.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "postmaster/bgworker.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/proc.h"
#include "utils/memutils.h"
#include "utils/resowner.h"

#include "base/compat.h"
#include "base/failure.h"
#include "base/settings.h"
#include "bigquery/bigquery.h"
#include "bigquery/job.h"
#include "bigquery/message.h"
#include "read/reader_internal.h"
#include "read/rowhash.h"
#include "read/stream.h"
#include "rows/rows.h"

/* The approximate size of a message of rows: large enough to be worth a wake-up. */
#define BATCH_BYTES (64 * 1024)

/* A row of cells with more bytes is a message of its own, sent without a copy. */
#define LONG_ROW_BYTES (1024 * 1024)

typedef struct Sender
{
	ReaderQueue queue;
	BqJob *job;
	RowStream *stream;
	RowHash *row_hash; /* NULL: no hashes */
	TupleMaker *maker; /* NULL: no tuples */
	StringInfoData batch;
	int32 nrows;
} Sender;

/*
 * The load is over, perhaps in the middle of a page: raise an error, which is not
 * reported, at the next wait.
 */
static void
stop_sending(SIGNAL_ARGS)
{
	int saved = errno;

	(void) postgres_signal_arg;
	InterruptPending = true;
	QueryCancelPending = true;
	SetLatch(MyLatch);
	errno = saved;
}

static void
begin_batch(Sender *sender)
{
	resetStringInfo(&sender->batch);
	appendStringInfoSpaces(&sender->batch, sizeof(ReaderHead));
	sender->nrows = 0;
}

static ReaderHead
make_head(const Sender *sender, ReaderMessage message, int32 nrows)
{
	return (ReaderHead){
		.message = message,
		.nrows = nrows,
		.bytes = stream_bytes(sender->stream),
		.pages = stream_pages(sender->stream),
		.cache_hit = sender->job->cache_hit,
		.bytes_processed = sender->job->bytes_processed,
		.bytes_billed = sender->job->bytes_billed,
	};
}

/* Returns false when the load no longer listens. */
static bool
send_batch(Sender *sender, ReaderMessage message)
{
	ReaderHead head = make_head(sender, message, sender->nrows);
	shm_mq_result result;

	memcpy(sender->batch.data, &head, sizeof(head));
	result = shm_mq_send(sender->queue.handle, sender->batch.len, sender->batch.data, false, true);
	begin_batch(sender);
	return result == SHM_MQ_SUCCESS;
}

/* The padding before the tuple is sent to another process, too: it must be cleared. */
static void
append_tuple(StringInfo batch, HeapTuple tuple)
{
	size_t from = MAXALIGN(batch->len);

	enlargeStringInfo(batch, (int) (from - batch->len + tuple->t_len));
	memset(batch->data + batch->len, 0, from - batch->len);
	memcpy(batch->data + from, tuple->t_data, tuple->t_len);
	batch->len = (int) (from + tuple->t_len);
}

/* The length of a row as cells, in bytes. */
static size_t
cells_len(const Sender *sender, const RowsCell *cells)
{
	size_t len = 0;

	for (int i = 0; i < sender->job->nfields; i++)
		len += sizeof(uint32) + cells[i].len;
	return len;
}

static void
append_cells(Sender *sender, const RowsCell *cells)
{
	StringInfo batch = &sender->batch;
	char *at;

	enlargeStringInfo(batch, (int) cells_len(sender, cells));
	at = batch->data + batch->len;
	for (int i = 0; i < sender->job->nfields; i++)
	{
		uint32 packed = READER_PACK(cells[i].kind, cells[i].len);

		memcpy(at, &packed, sizeof(packed));
		at += sizeof(packed);
		if (cells[i].len > 0)
			memcpy(at, cells[i].data, cells[i].len);
		at += cells[i].len;
	}
	batch->len = (int) (at - batch->data);
}

/* Append the row's hash, if hashes are wanted, and the length of its tuple. */
static void
append_row_head(Sender *sender, const RowsCell *cells, uint32 len)
{
	uint8 hash[ROWHASH_BYTES];

	if (sender->row_hash != NULL)
	{
		rowhash_row(sender->row_hash, cells, hash);
		appendBinaryStringInfo(&sender->batch, (const char *) hash, sizeof(hash));
	}
	appendBinaryStringInfo(&sender->batch, (const char *) &len, sizeof(len));
	sender->nrows++;
}

/*
 * Send a message of one row, whose head is in the batch and whose cells are not.
 * Returns false when the load no longer listens.
 */
static bool
send_long_row(Sender *sender, const RowsCell *cells)
{
	int nfields = sender->job->nfields;
	uint32 *packed = palloc(sizeof(uint32) * nfields);
	shm_mq_iovec *parts = palloc(sizeof(shm_mq_iovec) * (2 * nfields + 1));
	ReaderHead head = make_head(sender, READER_ROWS, 1);
	shm_mq_result result;

	append_row_head(sender, cells, 0);
	memcpy(sender->batch.data, &head, sizeof(head));
	parts[0] = (shm_mq_iovec){sender->batch.data, sender->batch.len};
	for (int i = 0; i < nfields; i++)
	{
		packed[i] = READER_PACK(cells[i].kind, cells[i].len);
		parts[2 * i + 1] = (shm_mq_iovec){(const char *) &packed[i], sizeof(uint32)};
		parts[2 * i + 2] = (shm_mq_iovec){cells[i].data, cells[i].len};
	}
	result = shm_mq_sendv(sender->queue.handle, parts, 2 * nfields + 1, false, true);
	pfree(parts);
	pfree(packed);
	begin_batch(sender);
	return result == SHM_MQ_SUCCESS;
}

/* Send the row, or add it to the batch; returns false when the load no longer listens. */
static bool
send_row(Sender *sender, const RowsCell *cells)
{
	HeapTuple tuple = sender->maker ? reader_tuple_make(sender->maker, cells) : NULL;

	if (tuple == NULL && cells_len(sender, cells) > LONG_ROW_BYTES)
		return (sender->nrows == 0 || send_batch(sender, READER_ROWS)) && send_long_row(sender, cells);
	append_row_head(sender, cells, tuple ? tuple->t_len : 0);
	if (tuple != NULL)
		append_tuple(&sender->batch, tuple);
	else
		append_cells(sender, cells);
	return sender->batch.len < BATCH_BYTES || send_batch(sender, READER_ROWS);
}

static void
send_rows(Sender *sender)
{
	const RowsCell *cells;

	while ((cells = stream_next(sender->stream)) != NULL)
		if (!send_row(sender, cells))
			return;
	if (sender->nrows == 0 || send_batch(sender, READER_ROWS))
		(void) send_batch(sender, READER_END);
}

/* Returns false when no token can be obtained: the load may still have a valid one. */
static bool
prepare(Sender *sender, const ReaderTask *task)
{
	Bigquery *bq = bigquery_open(&task->connection, CurrentMemoryContext);
	Failure f;

	if (!bigquery_token(bq, &f))
	{
		ereport(DEBUG1, (errmsg_internal("contratos: the load must read the rows itself: %s", f.message)));
		return false;
	}
	sender->job =
		bigquery_finished_job(bq, task->job_id, task->location, task->total_rows, task->nfields, CurrentMemoryContext);
	if (task->forms != NULL)
		sender->row_hash = rowhash_create(task->forms);
	sender->stream = stream_open_at(sender->job, task->first, CurrentMemoryContext);
	if (task->shape.desc != NULL)
		sender->maker = reader_tuple_maker(&task->shape);
	initStringInfo(&sender->batch);
	begin_batch(sender);
	return true;
}

/* Fill *f from the error, for the load to throw; a Failure of ours is kept with all its fields. */
static void
take_failure(Failure *f, const ErrorData *edata)
{
	const Failure *thrown = failure_of(edata);

	if (thrown != NULL)
	{
		*f = *thrown;
		return;
	}
	failure_set(f, edata->sqlerrcode, "%s", edata->message);
	if (edata->detail != NULL)
		failure_detail(f, "%s", edata->detail);
	if (edata->hint != NULL)
		failure_hint(f, "%s", edata->hint);
}

/* The load may end while the worker waits for space in its queue: then the error is dropped. */
static void
report(const ReaderQueue *queue, const ErrorData *edata)
{
	ReaderHead head = {.message = READER_FAILURE, .bytes_processed = -1, .bytes_billed = -1};
	Failure f;
	shm_mq_iovec parts[2] = {{(const char *) &head, sizeof(head)}, {(const char *) &f, sizeof(f)}};

	PG_TRY();
	{
		/* the padding and the unused parts of its texts are sent to another process, too */
		memset(&f, 0, sizeof(f));
		take_failure(&f, edata);
		(void) shm_mq_sendv(queue->handle, parts, lengthof(parts), false, true);
	}
	PG_CATCH();
	{
		FlushErrorState();
	}
	PG_END_TRY();
}

static void
serve_reader(Sender *sender, const ReaderTask *task)
{
	MemoryContext old = CurrentMemoryContext;

	ErrorData *volatile edata = NULL;

	PG_TRY();
	{
		if (prepare(sender, task))
			send_rows(sender);
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(old);
		edata = CopyErrorData();
		FlushErrorState();
	}
	PG_END_TRY();
	if (edata != NULL && edata->sqlerrcode != ERRCODE_QUERY_CANCELED)
		report(&sender->queue, edata);
}

void
contratos_reader_main(Datum arg)
{
	Sender sender = {0};
	ReaderTask task;

	pqsignal(SIGTERM, stop_sending);
	BackgroundWorkerUnblockSignals();
	settings_pin();
	CurrentResourceOwner = ResourceOwnerCreate(NULL, "contratos reader");
	MemoryContextSwitchTo(AllocSetContextCreate(TopMemoryContext, "contratos reader", ALLOCSET_DEFAULT_SIZES));
	if (reader_queue_attach(&sender.queue, DatumGetUInt32(arg), &task))
		serve_reader(&sender, &task);
	reader_queue_close(&sender.queue);
	proc_exit(0);
}
