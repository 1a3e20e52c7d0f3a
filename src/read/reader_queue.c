/*
 * reader_queue.c
 *	  The shared memory of a load and its reader worker: a task, and a queue of
 *	  messages.
 *
 * It holds no secret: the worker reads the credentials file itself.
 */
#include "postgres.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "postmaster/bgworker.h"
#include "storage/proc.h"
#include "storage/shm_toc.h"
#include "utils/memutils.h"

#include "base/failure.h"
#include "bigquery/connection.h"
#include "read/reader_internal.h"
#include "rows/rows.h"

/*
 * it depends on the layouts: if the library is replaced during a session, the new one
 * must not read the old messages
 */
#define MAGIC (UINT64CONST(0xc0274706) << 32 | sizeof(ReaderTask) << 16 | sizeof(ReaderHead) << 8 | sizeof(RowsCell))
#define KEY_TASK 1
#define KEY_QUEUE 2

/* Space for a few batches in transit. */
#define QUEUE_BYTES (1024 * 1024)

/* --------------------------------------------------------------------------
 * The task as bytes: numbers in binary, strings with their terminating NUL
 * -------------------------------------------------------------------------- */

static void
write_task(StringInfo buf, const ReaderTask *task)
{
	initStringInfo(buf);
	appendBinaryStringInfo(buf, (const char *) task, sizeof(ReaderTask));
	connection_put(buf, &task->connection);
	connection_put_string(buf, task->location);
	connection_put_string(buf, task->job_id);
	connection_put_string(buf, task->forms);
	if (task->shape.desc != NULL)
		reader_tuple_put_shape(buf, &task->shape);
}

static void
read_task(const char *at, ReaderTask *task)
{
	memcpy(task, at, sizeof(ReaderTask));
	at += sizeof(ReaderTask);
	connection_take(&at, &task->connection);
	task->location = connection_take_string(&at);
	task->job_id = connection_take_string(&at);
	task->forms = connection_take_string(&at);
	if (task->shape.desc != NULL)
		reader_tuple_take_shape(&at, &task->shape);
}

/* --------------------------------------------------------------------------
 * The load's end
 * -------------------------------------------------------------------------- */

static bool
start_process(dsm_segment *segment, BackgroundWorkerHandle **handle)
{
	BackgroundWorker worker = {0};

	/* no database: it holds up no DROP DATABASE */
	worker.bgw_flags = BGWORKER_SHMEM_ACCESS;
	worker.bgw_start_time = BgWorkerStart_ConsistentState;
	worker.bgw_restart_time = BGW_NEVER_RESTART;
	worker.bgw_notify_pid = MyProcPid;
	worker.bgw_main_arg = UInt32GetDatum(dsm_segment_handle(segment));
	strlcpy(worker.bgw_library_name, "contratos", sizeof(worker.bgw_library_name));
	strlcpy(worker.bgw_function_name, "contratos_reader_main", sizeof(worker.bgw_function_name));
	snprintf(worker.bgw_name, sizeof(worker.bgw_name), "contratos reader for process %d", MyProcPid);
	strlcpy(worker.bgw_type, "contratos reader", sizeof(worker.bgw_type));
	return RegisterDynamicBackgroundWorker(&worker, handle);
}

/* The worker ends together with the segment, for whatever reason that is detached. */
static void
end_process(dsm_segment *segment pg_attribute_unused(), Datum arg)
{
	BackgroundWorkerHandle *process = (BackgroundWorkerHandle *) DatumGetPointer(arg);

	TerminateBackgroundWorker(process);
	pfree(process);
}

/* Lay out a segment; NULL when there is no shared memory left. */
static dsm_segment *
make_segment(const ReaderTask *task, shm_mq **queue)
{
	StringInfoData text;
	shm_toc_estimator estimate;
	dsm_segment *segment;
	shm_toc *toc;
	char *place;

	write_task(&text, task);
	shm_toc_initialize_estimator(&estimate);
	shm_toc_estimate_chunk(&estimate, text.len);
	shm_toc_estimate_chunk(&estimate, QUEUE_BYTES);
	shm_toc_estimate_keys(&estimate, 2);
	segment = dsm_create(shm_toc_estimate(&estimate), DSM_CREATE_NULL_IF_MAXSEGMENTS);
	if (segment == NULL)
		return NULL;
	toc = shm_toc_create(MAGIC, dsm_segment_address(segment), shm_toc_estimate(&estimate));
	place = shm_toc_allocate(toc, text.len);
	memcpy(place, text.data, text.len);
	shm_toc_insert(toc, KEY_TASK, place);
	*queue = shm_mq_create(shm_toc_allocate(toc, QUEUE_BYTES), QUEUE_BYTES);
	shm_toc_insert(toc, KEY_QUEUE, *queue);
	pfree(text.data);
	return segment;
}

typedef struct Segment
{
	const ReaderTask *task;
	dsm_segment *segment; /* NULL: there is no memory for it */
	shm_mq *queue;
} Segment;

static void
make_pinned_segment(void *arg)
{
	Segment *made = arg;

	made->segment = make_segment(made->task, &made->queue);
	/* the segment must outlive the subtransaction */
	if (made->segment != NULL)
		dsm_pin_mapping(made->segment);
}

/*
 * The same, or NULL if the system has no shared memory left: an error that a load can
 * survive.  Catching it takes a subtransaction.
 */
static dsm_segment *
try_segment(const ReaderTask *task, shm_mq **queue)
{
	Segment made = {.task = task};
	ErrorData *error = catch_in_subtransaction(make_pinned_segment, &made, true);

	if (error != NULL && ERRCODE_TO_CATEGORY(error->sqlerrcode) == ERRCODE_TO_CATEGORY(ERRCODE_QUERY_CANCELED))
		ReThrowError(error);
	if (error != NULL)
	{
		ereport(DEBUG1, (errmsg_internal("contratos: all rows are read by this process: %s", error->message)));
		return NULL;
	}
	if (made.segment != NULL)
		dsm_unpin_mapping(made.segment);
	*queue = made.queue;
	return made.segment;
}

bool
reader_queue_start(ReaderQueue *queue, const ReaderTask *task)
{
	BackgroundWorkerHandle *process;
	MemoryContext old;
	shm_mq *mq;

	queue->segment = try_segment(task, &mq);
	if (queue->segment == NULL)
		return false;
	/* attached before a worker exists: if none is started, the queue does not wait for this process */
	shm_mq_set_receiver(mq, MyProc);
	queue->handle = shm_mq_attach(mq, queue->segment, NULL);

	/* needed when the segment is detached, which may be later than the end of any context */
	old = MemoryContextSwitchTo(TopMemoryContext);
	if (!start_process(queue->segment, &process))
	{
		MemoryContextSwitchTo(old);
		reader_queue_close(queue);
		return false;
	}
	on_dsm_detach(queue->segment, end_process, PointerGetDatum(process));
	MemoryContextSwitchTo(old);
	shm_mq_set_handle(queue->handle, process);
	return true;
}

void
reader_queue_close(ReaderQueue *queue)
{
	if (queue->segment != NULL)
		dsm_detach(queue->segment);
	queue->segment = NULL;
	queue->handle = NULL;
}

/* --------------------------------------------------------------------------
 * The worker's end
 * -------------------------------------------------------------------------- */

bool
reader_queue_attach(ReaderQueue *queue, uint32 segment, ReaderTask *task)
{
	shm_toc *toc;
	shm_mq *mq;

	queue->segment = dsm_attach(segment);
	if (queue->segment == NULL)
		return false;
	toc = shm_toc_attach(MAGIC, dsm_segment_address(queue->segment));
	if (toc == NULL)
		return false;
	read_task(shm_toc_lookup(toc, KEY_TASK, false), task);
	mq = shm_toc_lookup(toc, KEY_QUEUE, false);
	shm_mq_set_sender(mq, MyProc);
	queue->handle = shm_mq_attach(mq, queue->segment, NULL);
	return true;
}
