/*
 * stream.c
 *	  A finished job → its rows, in order, each exactly once.
 *
 * Pages are asked for by startIndex and not by pageToken: the position is then
 * ours, so a page that breaks off is taken up at the very next row, and a page
 * that the service cut short is simply followed by a request for the rest.
 * That the rows add up to the promised number is checked in any case.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/memutils.h"

#include "stream.h"

struct RowStream
{
	MemoryContext context;
	BqJob *job;

	/* the page being read */
	HttpExchange *page; /* NULL: none is open */
	RowsDecoder *decoder;
	bool row_ready; /* the decoder already holds the next row */
	int64 page_first; /* number of its first row, from 0 */
	int tries; /* failed ones at the present position */
	int spent_ms; /* of request_timeout, at the present position */

	int64 next; /* number of the row to give next, from 0 */
	int64 bytes; /* of bodies */
	int pages;
};

RowStream *
stream_open(BqJob *job, MemoryContext parent)
{
	MemoryContext context = AllocSetContextCreate(parent, "contratos row stream", ALLOCSET_DEFAULT_SIZES);
	RowStream *stream = MemoryContextAllocZero(context, sizeof(RowStream));

	stream->context = context;
	stream->job = job;
	if (job->first_page != NULL)
	{
		/* taken: a second stream over this job asks for the page again */
		stream->page = job->first_page;
		stream->decoder = job->first_decoder;
		stream->row_ready = job->first_row_ready;
		stream->bytes = job->first_bytes;
		stream->pages = 1;
		job->first_page = NULL;
		job->first_decoder = NULL;
	}
	else
		stream->decoder = bigquery_decoder(context);
	return stream;
}

static void
drop_page(RowStream *stream)
{
	http_finish(stream->page);
	stream->page = NULL;
	stream->row_ready = false;
	rows_reset(stream->decoder);
}

void
stream_close(RowStream *stream)
{
	if (stream == NULL)
		return;
	drop_page(stream);
	MemoryContextDelete(stream->context);
}

void
stream_rewind(RowStream *stream)
{
	/* an untouched first page is as good as a new one */
	if (stream->next == 0)
		return;
	drop_page(stream);
	stream->next = stream->page_first = 0;
	stream->tries = stream->spent_ms = 0;
}

/* Throw *f, saying how far the result had come. */
static void
give_up(RowStream *stream, Failure *f)
{
	char said[sizeof(f->detail)];

	strlcpy(said, f->detail, sizeof(said));
	failure_detail(f, "%s%sIt came after row " INT64_FORMAT " of " INT64_FORMAT " of job %s.", said,
				   said[0] ? "  " : "", stream->next, stream->job->total_rows, stream->job->job_id);
	failure_throw(f);
}

static void
open_page(RowStream *stream)
{
	Failure f;

	stream->page = bigquery_page(stream->job, stream->next, stream->job->connection->page_rows, stream->context,
								 &stream->spent_ms, &f);
	if (stream->page == NULL)
		give_up(stream, &f);
	stream->page_first = stream->next;
	stream->pages++;
}

/*
 * The page broke off.  Rows already given stay given: what is asked for again
 * begins with the next one.
 */
static void
take_up_again(RowStream *stream, Failure *f)
{
	int pause = request_backoff_ms(stream->tries++, f->retry_after_ms);

	CHECK_FOR_INTERRUPTS();
	if (f->retry != FAILURE_ASK_AGAIN || stream->spent_ms + pause >= stream->job->connection->request_timeout_ms)
		give_up(stream, f);
	ereport(DEBUG1, (errmsg_internal("contratos: page broke off at row " INT64_FORMAT " (%s), next try in %d ms",
									 stream->next, f->message, pause)));
	drop_page(stream);
	http_pause(pause);
	stream->spent_ms += pause;
}

/* What stood behind the rows: what the query has cost. */
static void
note_cost(RowStream *stream)
{
	size_t len;
	const char *envelope;
	JsonDoc *doc;

	if (stream->job->bytes_processed >= 0)
		return;
	envelope = rows_envelope(stream->decoder, &len);
	doc = json_parse_document(envelope, len, NULL);
	if (doc != NULL)
		message_read_cost(stream->job, doc);
	json_free_document(doc);
}

/* The document is complete: what follows must be the body's end. */
static void
end_page(RowStream *stream)
{
	const char *piece;
	ssize_t n;
	Failure f;

	note_cost(stream);

	while ((n = http_read(stream->page, &piece, &f)) > 0)
	{
		stream->bytes += n;
		rows_feed(stream->decoder, piece, n);
		if (rows_next(stream->decoder) == ROWS_ERROR)
		{
			bigquery_bad_page(&f, stream->decoder);
			give_up(stream, &f);
		}
	}
	if (stream->next == stream->page_first && stream->next < stream->job->total_rows)
	{
		failure_set(&f, ERRCODE_FDW_ERROR, "BigQuery's result ended early");
		failure_hint(&f, "Nothing was kept of it; try again later.");
		give_up(stream, &f);
	}
	drop_page(stream);
	stream->tries = stream->spent_ms = 0;
}

/* Give the decoder more of the page. */
static void
feed(RowStream *stream)
{
	int64 asked = request_clock_ms();
	const char *piece;
	Failure f;
	ssize_t n = http_read(stream->page, &piece, &f);

	stream->spent_ms += (int) (request_clock_ms() - asked);
	if (n > 0)
	{
		stream->bytes += n;
		rows_feed(stream->decoder, piece, n);
		return;
	}
	if (n == 0)
	{
		failure_set(&f, ERRCODE_CONNECTION_FAILURE, "BigQuery's answer ended in the middle");
		f.retry = FAILURE_ASK_AGAIN;
	}
	take_up_again(stream, &f);
}

/* A row has come: it must be one that was promised. */
static const RowsCell *
accept_row(RowStream *stream)
{
	int ncells;
	const RowsCell *cells = rows_cells(stream->decoder, &ncells);
	Failure f;

	if (ncells != stream->job->nfields)
	{
		failure_set(&f, ERRCODE_FDW_ERROR, "BigQuery sent a row of %d values for %d columns", ncells,
					stream->job->nfields);
		give_up(stream, &f);
	}
	if (stream->next >= stream->job->total_rows)
	{
		failure_set(&f, ERRCODE_FDW_ERROR, "BigQuery sent more rows than it promised");
		give_up(stream, &f);
	}
	/* a row too many here would take the place of the next page's first */
	if (stream->next - stream->page_first >= stream->job->connection->page_rows)
	{
		failure_set(&f, ERRCODE_FDW_ERROR, "BigQuery sent more rows than were asked for");
		give_up(stream, &f);
	}
	stream->next++;
	return cells;
}

const RowsCell *
stream_next(RowStream *stream)
{
	Failure f;

	for (;;)
	{
		if (stream->page == NULL)
		{
			if (stream->next == stream->job->total_rows)
				return NULL;
			open_page(stream);
		}
		if (stream->row_ready)
		{
			stream->row_ready = false;
			return accept_row(stream);
		}
		switch (rows_next(stream->decoder))
		{
			case ROWS_ROW:
				return accept_row(stream);
			case ROWS_MORE:
				feed(stream);
				break;
			case ROWS_END:
				end_page(stream);
				break;
			case ROWS_ERROR:
				bigquery_bad_page(&f, stream->decoder);
				give_up(stream, &f);
		}
	}
}

int64
stream_rows(const RowStream *stream)
{
	return stream->next;
}

int64
stream_bytes(const RowStream *stream)
{
	return stream->bytes;
}

int
stream_pages(const RowStream *stream)
{
	return stream->pages;
}
