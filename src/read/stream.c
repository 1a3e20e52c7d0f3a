/*
 * stream.c
 *	  A finished job → its rows, in order, each exactly once.
 *
 * Pages are requested by startIndex and not by pageToken: the position is then known,
 * so pages can be requested ahead, a page whose connection is lost is
 * continued at the next row, and a page that the service cut short is followed by a
 * request for the rest of it.  A page whose connection is lost after its last row is
 * not complete, either: that row is then requested again.  In any case the number of
 * rows is checked against the announced total.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/memutils.h"

#include "base/clock.h"
#include "base/failure.h"
#include "base/json.h"
#include "base/settings.h"
#include "bigquery/job.h"
#include "bigquery/message.h"
#include "bigquery/request.h"
#include "http/http.h"
#include "read/stream.h"

/* --------------------------------------------------------------------------
 * Pages requested ahead of the one being read
 *
 * This hides the latency of the network: answers arrive in any order into fixed
 * buffers, and are read in theirs.  It uses HTTP/1.1 with a connection for each page:
 * in HTTP/2 a page that is not being read holds up the others of its connection.  The
 * failure of a page requested ahead does not matter before the page is read; it is then
 * requested again, alone.
 * -------------------------------------------------------------------------- */

/* Some rows of a result, and the request for them. */
typedef struct StreamPage
{
	HttpExchange *exchange; /* NULL: not requested */
	int64 first; /* number of its first row, from 0 */
	int64 end; /* number of the first row after it, as planned: the service
				* may cut a page short */
} StreamPage;

/* Pages ahead, ascending, without a gap. */
typedef struct StreamWindow
{
	bool stuck; /* the last request could not be started: none is tried before a page is taken */
	int npages;
	StreamPage pages[SETTINGS_MAX_PARALLEL_PAGES];
} StreamWindow;

/*
 * Request more pages of the job, up to its connection's parallel_pages, each of up to
 * `rows` rows.  The first begins at row `next`, or after the last page in the window;
 * none begins at row `end` or later.  Never waits for an answer; a page that cannot be
 * requested now is requested when it is read.
 */
static void
window_fill(StreamWindow *window, BqJob *job, int64 next, int64 end, int rows, MemoryContext context)
{
	int64 first = window->npages > 0 ? window->pages[window->npages - 1].end : next;
	Failure ignored;

	while (!window->stuck && window->npages < job->connection->parallel_pages && first < end)
	{
		StreamPage page = {.first = first, .end = first + rows};

		page.exchange = bigquery_page_start(job, first, (int) (page.end - first), context, &ignored);
		/*
		 * this runs for each piece of a page: do not retry each time if, for example,
		 * no token can be obtained
		 */
		window->stuck = page.exchange == NULL;
		if (window->stuck)
			break;
		window->pages[window->npages++] = page;
		first = page.end;
	}
}

/* Take out the first page; if there is none, the exchange is NULL and the rows are 0 to 0. */
static StreamPage
window_take(StreamWindow *window)
{
	StreamPage page = {0};

	window->stuck = false;
	if (window->npages == 0)
		return page;
	page = window->pages[0];
	window->npages--;
	memmove(&window->pages[0], &window->pages[1], sizeof(StreamPage) * window->npages);
	return page;
}

/* Drop all of them. */
static void
window_clear(StreamWindow *window)
{
	for (int i = 0; i < window->npages; i++)
		http_finish(window->pages[i].exchange);
	window->npages = 0;
	window->stuck = false;
}

/* --------------------------------------------------------------------------
 * The stream
 * -------------------------------------------------------------------------- */

struct RowStream
{
	MemoryContext context;
	BqJob *job;

	/* the page being read, and those that follow */
	StreamPage page;
	StreamWindow ahead;
	RowsDecoder *decoder;
	bool row_ready; /* the decoder already holds the next row */
	int64 request_rows; /* rows of the current request, so far */
	bool broke_off; /* the page's connection was lost: its rest is requested next */
	bool drops; /* the first row of the current request was returned before */
	int tries; /* failed ones at the current position */
	int spent_ms; /* of request_timeout, at the current position */

	int64 next; /* number of the next row, from 0 */
	int64 end; /* number of the first row that is not returned */
	int64 given; /* rows since it was opened */
	int64 bytes; /* bytes of bodies since it was opened */
	int pages;
};

static RowStream *
make_stream(BqJob *job, MemoryContext parent)
{
	MemoryContext context = AllocSetContextCreate(parent, "contratos row stream", ALLOCSET_DEFAULT_SIZES);
	RowStream *stream = MemoryContextAllocZero(context, sizeof(RowStream));

	stream->context = context;
	stream->job = job;
	stream->end = job->total_rows;
	return stream;
}

RowStream *
stream_open(BqJob *job, MemoryContext parent)
{
	RowStream *stream = make_stream(job, parent);

	if (job->first_page != NULL)
	{
		/* taken: a second stream over this job requests the page again */
		stream->page.exchange = job->first_page;
		stream->page.end = job->connection->page_rows;
		stream->decoder = job->first_decoder;
		stream->row_ready = job->first_row_ready;
		stream->bytes = job->first_bytes;
		stream->pages = 1;
		job->first_page = NULL;
		job->first_decoder = NULL;
	}
	else
		stream->decoder = bigquery_decoder(stream->context);
	return stream;
}

RowStream *
stream_open_at(BqJob *job, int64 first, MemoryContext parent)
{
	RowStream *stream = make_stream(job, parent);

	stream->next = stream->page.end = first;
	stream->decoder = bigquery_decoder(stream->context);
	return stream;
}

void
stream_end_at(RowStream *stream, int64 end)
{
	Assert(end >= stream->next);
	stream->end = Min(end, stream->job->total_rows);
}

static void
drop_page(RowStream *stream)
{
	http_finish(stream->page.exchange);
	stream->page.exchange = NULL;
	stream->row_ready = false;
	rows_reset(stream->decoder);
}

void
stream_close(RowStream *stream)
{
	if (stream == NULL)
		return;
	drop_page(stream);
	window_clear(&stream->ahead);
	MemoryContextDelete(stream->context);
}

void
stream_rewind(RowStream *stream)
{
	stream->end = stream->job->total_rows;
	/* a first page of which no row was read can be used instead of a new one */
	if (stream->next == 0)
		return;
	drop_page(stream);
	window_clear(&stream->ahead);
	stream->page = (StreamPage){0};
	stream->broke_off = false;
	stream->next = 0;
	stream->tries = stream->spent_ms = 0;
}

/* Throw *f, with the position in the result. */
static void
give_up_page(RowStream *stream, Failure *f)
{
	char text[sizeof(f->detail)];

	strlcpy(text, f->detail, sizeof(text));
	failure_detail(f, "%s%sIt came after row " INT64_FORMAT " of " INT64_FORMAT " of job %s.", text,
				   text[0] ? "  " : "", stream->next, stream->job->total_rows, stream->job->job_id);
	failure_throw(f);
}

/*
 * The page's connection was lost.  Rows already returned stay valid: the next request
 * begins with the row after them.
 */
static void
take_up_again(RowStream *stream, Failure *f)
{
	int pause = request_backoff_ms(stream->tries++, f->retry_after_ms);

	CHECK_FOR_INTERRUPTS();
	if (f->retry != FAILURE_ASK_AGAIN ||
		stream->spent_ms + pause + REQUEST_MIN_TRY_MS > stream->job->connection->request_timeout_ms)
		give_up_page(stream, f);
	ereport(DEBUG1, (errmsg_internal("contratos: page broke off at row " INT64_FORMAT " (%s), next try in %d ms",
									 stream->next, f->message, pause)));
	drop_page(stream);
	stream->broke_off = true;
	http_pause(pause);
	stream->spent_ms += pause;
}

/* The number of rows of a page. */
static int
rows_of_page(const RowStream *stream)
{
	int64 most = stream->given > 0 ? STREAM_PAGE_BYTES / (stream->bytes / stream->given + 1) : PG_INT32_MAX;

	return (int) Min(Max(most, 1), stream->job->connection->page_rows);
}

/*
 * Have pages fetched while this one is read.  A caller that stops after the first rows
 * does not get that far.
 */
static void
look_ahead(RowStream *stream)
{
	if (stream->given == 0)
		return;
	window_fill(&stream->ahead, stream->job, stream->page.end, stream->end, rows_of_page(stream), stream->context);
}

/*
 * Open the next page: the rest of a page whose connection was lost or that was cut
 * short, or else the page that follows.
 */
static void
open_page(RowStream *stream)
{
	RequestOpening opening = {.parent = stream->context, .spent_ms = &stream->spent_ms};
	int64 first = stream->next;
	Failure f;

	/* if only the end of a page is missing, it is read with the last row */
	stream->drops = stream->broke_off && first > 0 && first == Min(stream->page.end, stream->job->total_rows);
	if (stream->drops)
		first--;
	else if (stream->next == stream->page.end)
	{
		look_ahead(stream);
		stream->page = window_take(&stream->ahead);
		if (stream->page.exchange == NULL)
			stream->page = (StreamPage){.first = stream->next, .end = stream->next + rows_of_page(stream)};
	}
	look_ahead(stream);
	stream->broke_off = false;
	stream->request_rows = 0;
	opening.begun = stream->page.exchange;
	/*
	 * It is now the request's, which finishes one that is refused and may then be
	 * canceled in the pause before the next try: it must not be finished again.
	 */
	stream->page.exchange = NULL;
	stream->page.exchange = bigquery_page(stream->job, first, (int) (stream->page.end - first), &opening, &f);
	if (stream->page.exchange == NULL)
		give_up_page(stream, &f);
	stream->pages++;
}

/* Read the cost of the query, which follows the rows. */
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

/* The document is complete: only the end of the body may follow. */
static void
end_page(RowStream *stream)
{
	const char *piece;
	ssize_t n;
	Failure f;

	note_cost(stream);

	while ((n = http_read(stream->page.exchange, &piece, &f)) > 0)
	{
		stream->bytes += n;
		rows_feed(stream->decoder, piece, n);
		if (rows_next(stream->decoder) == ROWS_ERROR)
		{
			bigquery_bad_page(&f, stream->job, stream->decoder, stream->next);
			give_up_page(stream, &f);
		}
	}
	if (n < 0)
	{
		take_up_again(stream, &f);
		return;
	}
	if (stream->request_rows == 0 && (stream->drops || stream->next < stream->job->total_rows))
	{
		failure_set(&f, ERRCODE_FDW_ERROR, "BigQuery's result ended early");
		failure_hint(&f, "Nothing was kept of it; try again later.");
		give_up_page(stream, &f);
	}
	drop_page(stream);
	stream->tries = stream->spent_ms = 0;
}

/* Give the decoder more of the page. */
static void
feed(RowStream *stream)
{
	int64 asked = clock_ms();
	const char *piece;
	Failure f;
	ssize_t n;

	look_ahead(stream);
	n = http_read(stream->page.exchange, &piece, &f);

	stream->spent_ms += (int) (clock_ms() - asked);
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

/* Check that the row is among the announced ones. */
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
		give_up_page(stream, &f);
	}
	if (stream->next >= stream->job->total_rows)
	{
		failure_set(&f, ERRCODE_FDW_ERROR, "BigQuery sent more rows than it promised");
		give_up_page(stream, &f);
	}
	/* an extra row would be taken for the first of the next page */
	if (stream->next >= stream->page.end)
	{
		failure_set(&f, ERRCODE_FDW_ERROR, "BigQuery sent more rows than were asked for");
		give_up_page(stream, &f);
	}
	stream->request_rows++;
	stream->next++;
	stream->given++;
	return cells;
}

const RowsCell *
stream_next(RowStream *stream)
{
	Failure f;

	/* in the middle of a page; otherwise the end of the answer is checked, too */
	if (stream->next == stream->end && stream->end < stream->page.end && stream->end < stream->job->total_rows)
		return NULL;
	for (;;)
	{
		if (stream->page.exchange == NULL)
		{
			if (stream->next == stream->end && !stream->broke_off)
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
				if (!stream->drops)
					return accept_row(stream);
				stream->drops = false;
				stream->request_rows++;
				break;
			case ROWS_MORE:
				feed(stream);
				break;
			case ROWS_END:
				end_page(stream);
				break;
			case ROWS_ERROR:
				bigquery_bad_page(&f, stream->job, stream->decoder, stream->next);
				give_up_page(stream, &f);
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
