/*
 * reader.c
 *	  The rows of a finished job, read by this process or by a reader worker.
 *
 * The first page is already requested when reading begins, and this process reads it:
 * the size of a row is then known, and a worker is started if enough rows are left to
 * be worth it.  While the worker starts, requests a token and its first page, this
 * process works on the rest of the first page.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "storage/latch.h"
#include "utils/memutils.h"
#include "utils/wait_event.h"

#include "base/failure.h"
#include "bigquery/connection.h"
#include "bigquery/job.h"
#include "bigquery/message.h"
#include "read/reader.h"
#include "read/reader_internal.h"
#include "rows/rows.h"

/* The number of rows after which to decide, by their size, whether to start a worker. */
#define PROBE_ROWS 4000 /* or fewer, if a page has fewer */

/* After this time without a message the user is told what is waited for. */
#define REPORT_MS 5000

struct RowReader
{
	MemoryContext context;
	BqJob *job;
	RowHash *row_hash; /* NULL: no fingerprint */
	ReaderShape shape; /* desc NULL: no tuples */
	int64 next; /* number of the next row, from 0 */
	ReaderRow given; /* the row returned last */

	/* the rows that this process reads; NULL while a worker reads */
	RowStream *stream;
	bool undecided; /* whether to start a worker is not decided yet */
	int64 min_bytes; /* the least number of bytes that is worth a worker */

	/* the rows that a worker reads, from row `worker_from` on; 0: none */
	int64 worker_from;
	ReaderQueue queue;
	const char *message;
	const char *at; /* the current position in the message */
	int32 rows_left; /* the rows that follow it */
	const char *hash; /* of the row returned last, in the message; NULL: none */
	RowsCell *cells;
	HeapTupleData tuple;
	ReaderHead progress; /* as reported by the last message */
	bool reported_silence; /* since then */

	/* from streams that are closed */
	int64 earlier_bytes;
	int earlier_pages;
};

RowReader *
reader_open(BqJob *job, RowHash *row_hash, const ReaderShape *shape, int64 min_bytes, MemoryContext parent)
{
	MemoryContext context = AllocSetContextCreate(parent, "contratos row reader", ALLOCSET_SMALL_SIZES);
	RowReader *reader = MemoryContextAllocZero(context, sizeof(RowReader));

	reader->context = context;
	reader->job = job;
	reader->row_hash = row_hash;
	if (shape != NULL)
		reader->shape = *shape;
	reader->stream = stream_open(job, context);
	reader->min_bytes = min_bytes;
	reader->undecided = min_bytes >= 0 && job->total_rows > job->connection->page_rows;
	/* no pages ahead that a worker would fetch again */
	if (reader->undecided)
		stream_end_at(reader->stream, job->connection->page_rows);
	return reader;
}

/* Continue reading in this process, from a stream that may have returned rows; or, with NULL, stop doing so. */
static void
change_stream(RowReader *reader, RowStream *stream)
{
	if (reader->stream != NULL)
	{
		reader->earlier_bytes += stream_bytes(reader->stream);
		reader->earlier_pages += stream_pages(reader->stream);
		stream_close(reader->stream);
	}
	reader->stream = stream;
}

/* The worker has no more rows to send. */
static void
end_worker(RowReader *reader)
{
	reader->earlier_bytes += reader->progress.bytes;
	reader->earlier_pages += reader->progress.pages;
	reader->progress = (ReaderHead){0};
	reader->worker_from = 0;
	reader->rows_left = 0;
	reader_queue_close(&reader->queue);
}

void
reader_close(RowReader *reader)
{
	if (reader == NULL)
		return;
	reader_queue_close(&reader->queue);
	stream_close(reader->stream);
	MemoryContextDelete(reader->context);
}

void
reader_rewind(RowReader *reader)
{
	reader->undecided = false;
	if (reader->worker_from > 0)
		end_worker(reader);
	if (reader->stream != NULL)
		stream_rewind(reader->stream);
	else
		reader->stream = stream_open(reader->job, reader->context);
	reader->next = 0;
}

/* --------------------------------------------------------------------------
 * Whether to start a worker
 * -------------------------------------------------------------------------- */

static bool
start_worker(RowReader *reader, int64 from, int64 row_bytes)
{
	const BqJob *job = reader->job;
	ReaderTask task = {
		.connection = *job->connection,
		.location = job->location,
		.job_id = job->job_id,
		.forms = reader->row_hash ? rowhash_forms(reader->row_hash) : NULL,
		.first = from,
		.total_rows = job->total_rows,
		.nfields = job->nfields,
		.shape = reader->shape,
	};

	task.connection.project = job->project;
	task.connection.page_rows = (int) Min(task.connection.page_rows, Max(STREAM_PAGE_BYTES / row_bytes, 1));
	if (!reader_queue_start(&reader->queue, &task))
		return false;
	ereport(DEBUG1, (errmsg_internal("contratos: rows from " INT64_FORMAT " on of job %s are read by another process%s",
									 from, job->job_id, reader->shape.desc ? ", and made tuples" : "")));
	return true;
}

/*
 * This process reads the part of the first page that one request is sure to return, the
 * worker reads the rest.
 */
static void
decide(RowReader *reader)
{
	const BqJob *job = reader->job;
	MemoryContext old = MemoryContextSwitchTo(reader->context);
	int64 row_bytes = stream_bytes(reader->stream) / reader->next + 1;
	int64 from = Max(Min(STREAM_PAGE_BYTES / row_bytes, job->connection->page_rows), reader->next);

	reader->undecided = false;
	if ((job->total_rows - from) * row_bytes >= reader->min_bytes && start_worker(reader, from, row_bytes))
	{
		reader->worker_from = from;
		reader->cells = palloc(sizeof(RowsCell) * Max(job->nfields, 1));
		stream_end_at(reader->stream, from);
	}
	else
		stream_end_at(reader->stream, job->total_rows);
	MemoryContextSwitchTo(old);
}

/* --------------------------------------------------------------------------
 * Rows from the worker
 * -------------------------------------------------------------------------- */

/* The next message; a wait of 5 s is reported, as by http, once until something arrives. */
static shm_mq_result
wait_for_message(RowReader *reader, Size *len, void **data)
{
	shm_mq_result result;

	while ((result = shm_mq_receive(reader->queue.handle, len, data, true)) == SHM_MQ_WOULD_BLOCK)
	{
		int events =
			WaitLatch(MyLatch, WL_LATCH_SET | WL_EXIT_ON_PM_DEATH | (reader->reported_silence ? 0 : WL_TIMEOUT),
					  REPORT_MS, PG_WAIT_EXTENSION);

		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
		if (!(events & WL_TIMEOUT))
			continue;
		reader->reported_silence = true;
		ereport(
			NOTICE,
			(errmsg("no answer from %s yet", reader->job->connection->endpoint),
			 errdetail("The reader worker has received nothing for %d s.", REPORT_MS / 1000),
			 errhint("Cancel the query to stop waiting. A firewall may be dropping packets, or a proxy be needed: see "
					 "contratos.proxy.")));
	}
	reader->reported_silence = false;
	return result;
}

/*
 * Wait for a message.  Returns READER_END also when the worker ended before its last
 * row: this process then reads the missing rows.
 */
static ReaderMessage
receive(RowReader *reader)
{
	BqJob *job = reader->job;
	ReaderHead head;
	Failure f;
	Size len;
	void *data;

	if (wait_for_message(reader, &len, &data) != SHM_MQ_SUCCESS)
	{
		ereport(DEBUG1, (errmsg_internal("contratos: the reader worker ended before its last row")));
		return READER_END;
	}
	memcpy(&head, data, sizeof(head));
	if (head.message == READER_FAILURE)
	{
		memcpy(&f, (char *) data + sizeof(head), sizeof(f));
		failure_throw(&f);
	}
	if (job->bytes_processed < 0 && head.bytes_processed >= 0)
	{
		job->cache_hit = head.cache_hit;
		job->bytes_processed = head.bytes_processed;
		job->bytes_billed = head.bytes_billed;
	}
	reader->progress = head;
	reader->rows_left = head.nrows;
	reader->message = data;
	reader->at = reader->message + sizeof(head);
	return head.message;
}

static const char *
take_cells(RowReader *reader, const char *at)
{
	for (int i = 0; i < reader->job->nfields; i++)
	{
		uint32 packed;

		memcpy(&packed, at, sizeof(packed));
		at += sizeof(packed);
		reader->cells[i] = (RowsCell){.data = at, .len = READER_LEN(packed), .kind = READER_KIND(packed)};
		at += READER_LEN(packed);
	}
	reader->given.cells = reader->cells;
	return at;
}

/* The next row of the message; its bytes are not copied. */
static void
take_row(RowReader *reader)
{
	const char *at = reader->at;
	uint32 len;

	if (reader->row_hash != NULL)
	{
		reader->hash = at;
		at += ROWHASH_BYTES;
	}
	memcpy(&len, at, sizeof(len));
	at += sizeof(len);
	if (len > 0)
	{
		at = reader->message + MAXALIGN(at - reader->message);
		reader->tuple.t_len = len;
		reader->tuple.t_data = (HeapTupleHeader) unconstify(char *, at);
		ItemPointerSetInvalid(&reader->tuple.t_self);
		reader->given.tuple = &reader->tuple;
		reader->at = at + len;
	}
	else
		reader->at = take_cells(reader, at);
	reader->rows_left--;
}

/* The next row from the worker; false when it sends no more. */
static bool
next_from_worker(RowReader *reader)
{
	while (reader->rows_left == 0)
		if (receive(reader) == READER_END)
		{
			end_worker(reader);
			return false;
		}
	take_row(reader);
	return true;
}

/* --------------------------------------------------------------------------
 * Rows
 * -------------------------------------------------------------------------- */

static bool
next_from_stream(RowReader *reader)
{
	if (reader->undecided && reader->next == Min(PROBE_ROWS, reader->job->connection->page_rows))
		decide(reader);
	reader->given.cells = stream_next(reader->stream);
	return reader->given.cells != NULL;
}

static bool
next_row(RowReader *reader)
{
	if (reader->stream != NULL)
	{
		if (next_from_stream(reader))
			return true;
		if (reader->worker_from == 0)
			return false;
		change_stream(reader, NULL);
	}
	if (reader->worker_from > 0)
	{
		if (next_from_worker(reader))
			return true;
		if (reader->next == reader->job->total_rows)
			return false;
		/* the worker left rows to this process */
		change_stream(reader, stream_open_at(reader->job, reader->next, reader->context));
		return next_from_stream(reader);
	}
	return false;
}

bool
reader_next(RowReader *reader, ReaderRow *row)
{
	reader->given = (ReaderRow){0};
	reader->hash = NULL;

	bool found = next_row(reader);

	if (found)
		reader->next++;
	*row = reader->given;
	return found;
}

void
reader_note(RowReader *reader)
{
	if (reader->hash != NULL)
		rowhash_add_row(reader->row_hash, (const uint8 *) reader->hash);
	else
		rowhash_add(reader->row_hash, reader->given.cells);
}

int64
reader_rows(const RowReader *reader)
{
	return reader->next;
}

int64
reader_bytes(const RowReader *reader)
{
	return reader->earlier_bytes + (reader->stream ? stream_bytes(reader->stream) : 0) + reader->progress.bytes;
}

int
reader_pages(const RowReader *reader)
{
	return reader->earlier_pages + (reader->stream ? stream_pages(reader->stream) : 0) + reader->progress.pages;
}
