/*
 * stream_window.c
 *	  Pages requested ahead of the one being read.
 *
 * It uses HTTP/1.1 with a connection for each page: in HTTP/2 a page that is not being
 * read holds up the others of its connection.  The failure of a page requested ahead
 * does not matter before the page is read; it is then requested again, alone.
 */
#include "postgres.h"

#include "base/failure.h"
#include "bigquery/bigquery.h"
#include "bigquery/job.h"
#include "bigquery/message.h"
#include "http/http.h"
#include "read/stream_window.h"

void
stream_window_fill(StreamWindow *window, BqJob *job, int64 next, int64 end, int rows, MemoryContext context)
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

StreamPage
stream_window_take(StreamWindow *window)
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

void
stream_window_clear(StreamWindow *window)
{
	for (int i = 0; i < window->npages; i++)
		http_finish(window->pages[i].exchange);
	window->npages = 0;
	window->stuck = false;
}
