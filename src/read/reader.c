/*
 * reader.c
 *	  The rows of a finished job, read here or beside.
 *
 * The first page is under way when the reading begins, and is read here: what
 * a row takes is then known, and a process is started once enough rows are
 * left to be worth it.  While that process starts, asks for a token and for its
 * first page, the rest of the first page gives us something to do.
 */
#include "postgres.h"

#include "utils/memutils.h"

#include "base/failure.h"
#include "bigquery/job.h"
#include "bigquery/message.h"
#include "read/reader.h"
#include "read/reader_internal.h"
#include "rows/rows.h"

/* Rows after which it is decided, by what they took. */
#define PROBE_ROWS 4000 /* or fewer, if a page has fewer */

struct RowReader
{
	MemoryContext context;
	BqJob *job;
	RowHash *row_hash; /* NULL: no fingerprint */
	ReaderShape shape; /* desc NULL: no tuples */
	int64 next; /* number of the row to give next, from 0 */
	ReaderRow given; /* the row given last */

	/* what is read here; NULL while another process reads */
	RowStream *stream;
	bool undecided; /* whether a process is to be started */
	int64 min_bytes; /* … as it is for no fewer */

	/* what another process reads, from row `beside_from` on; 0: nothing */
	int64 beside_from;
	ReaderQueue queue;
	const char *message;
	const char *at; /* in the message … */
	int32 rows_left; /* … with as many rows to come */
	const char *hash; /* of the row given last, in the message; NULL: none */
	RowsCell *cells;
	HeapTupleData tuple;
	ReaderHead progress; /* as the last message has it */

	/* of streams that are closed */
	int64 earlier_bytes;
	int earlier_pages;
};

RowReader *
reader_open(BqJob *job, RowHash *row_hash, const ReaderShape *shape, int64 beside, MemoryContext parent)
{
	MemoryContext context = AllocSetContextCreate(parent, "contratos row reader", ALLOCSET_SMALL_SIZES);
	RowReader *reader = MemoryContextAllocZero(context, sizeof(RowReader));

	reader->context = context;
	reader->job = job;
	reader->row_hash = row_hash;
	if (shape != NULL)
		reader->shape = *shape;
	reader->stream = stream_open(job, context);
	reader->min_bytes = beside;
	reader->undecided = beside >= 0 && job->total_rows > job->connection->page_rows;
	/* no pages ahead that another process would fetch again */
	if (reader->undecided)
		stream_end_at(reader->stream, job->connection->page_rows);
	return reader;
}

/* Read on here, from a stream that may have given rows; or no more. */
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

/* The process beside has nothing more to give. */
static void
end_beside(RowReader *reader)
{
	reader->earlier_bytes += reader->progress.bytes;
	reader->earlier_pages += reader->progress.pages;
	reader->progress = (ReaderHead){0};
	reader->beside_from = 0;
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
	if (reader->beside_from > 0)
		end_beside(reader);
	if (reader->stream != NULL)
		stream_rewind(reader->stream);
	else
		reader->stream = stream_open(reader->job, reader->context);
	reader->next = 0;
}

/* --------------------------------------------------------------------------
 * Whether to have a process beside
 * -------------------------------------------------------------------------- */

static bool
start_beside(RowReader *reader, int64 from, int64 row_bytes)
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
 * As much of the first page as can be sure to come with its one request is
 * read here, the rest beside.
 */
static void
decide(RowReader *reader)
{
	const BqJob *job = reader->job;
	MemoryContext old = MemoryContextSwitchTo(reader->context);
	int64 row_bytes = stream_bytes(reader->stream) / reader->next + 1;
	int64 from = Max(Min(STREAM_PAGE_BYTES / row_bytes, job->connection->page_rows), reader->next);

	reader->undecided = false;
	if ((job->total_rows - from) * row_bytes >= reader->min_bytes && start_beside(reader, from, row_bytes))
	{
		reader->beside_from = from;
		reader->cells = palloc(sizeof(RowsCell) * Max(job->nfields, 1));
		stream_end_at(reader->stream, from);
	}
	else
		stream_end_at(reader->stream, job->total_rows);
	MemoryContextSwitchTo(old);
}

/* --------------------------------------------------------------------------
 * Rows from beside
 * -------------------------------------------------------------------------- */

static void
note_reader_cost(BqJob *job, const ReaderHead *head)
{
	if (job->bytes_processed >= 0 || head->bytes_processed < 0)
		return;
	job->cache_hit = head->cache_hit;
	job->bytes_processed = head->bytes_processed;
	job->bytes_billed = head->bytes_billed;
}

/*
 * Wait for a message.  READER_END also when the process is gone before its last
 * row: what is missing is then read here.
 */
static ReaderMessage
receive(RowReader *reader)
{
	ReaderHead head;
	Failure f;
	Size len;
	void *data;

	if (shm_mq_receive(reader->queue.handle, &len, &data, false) != SHM_MQ_SUCCESS)
	{
		ereport(DEBUG1, (errmsg_internal("contratos: the process that read beside is gone")));
		return READER_END;
	}
	memcpy(&head, data, sizeof(head));
	if (head.message == READER_FAILURE)
	{
		memcpy(&f, (char *) data + sizeof(head), sizeof(f));
		failure_throw(&f);
	}
	note_reader_cost(reader->job, &head);
	reader->progress = head;
	reader->rows_left = head.nrows;
	reader->message = data;
	reader->at = reader->message + sizeof(head);
	return head.message;
}

static const char *
take_tuple(RowReader *reader, const char *at, uint32 len)
{
	const char *data = reader->message + MAXALIGN(at - reader->message);

	reader->tuple.t_len = len;
	reader->tuple.t_data = (HeapTupleHeader) unconstify(char *, data);
	ItemPointerSetInvalid(&reader->tuple.t_self);
	reader->given.tuple = &reader->tuple;
	return data + len;
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

/* The next row of the message, whose bytes stay where they are. */
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
	reader->at = len > 0 ? take_tuple(reader, at, len) : take_cells(reader, at);
	reader->rows_left--;
}

/* False: there are no more from there. */
static bool
next_beside(RowReader *reader)
{
	while (reader->rows_left == 0)
		if (receive(reader) == READER_END)
		{
			end_beside(reader);
			return false;
		}
	take_row(reader);
	return true;
}

/* --------------------------------------------------------------------------
 * Rows
 * -------------------------------------------------------------------------- */

static bool
next_here(RowReader *reader)
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
		if (next_here(reader))
			return true;
		if (reader->beside_from == 0)
			return false;
		change_stream(reader, NULL);
	}
	if (reader->beside_from > 0)
	{
		if (next_beside(reader))
			return true;
		if (reader->next == reader->job->total_rows)
			return false;
		/* it has left rows to us */
		change_stream(reader, stream_open_at(reader->job, reader->next, reader->context));
		return next_here(reader);
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
