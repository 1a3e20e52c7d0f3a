/*
 * stream_window.h
 *	  Pages requested ahead of the one being read; used by stream.c only.
 *
 * This hides the latency of the network: answers arrive in any order into fixed
 * buffers, and are read in theirs.
 */
#ifndef CONTRATOS_STREAM_WINDOW_H
#define CONTRATOS_STREAM_WINDOW_H

#include "base/settings.h"
#include "bigquery/job.h"
#include "bigquery/message.h"
#include "http/http.h"
#include "read/stream.h"

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
extern void stream_window_fill(StreamWindow *window, BqJob *job, int64 next, int64 end, int rows,
							   MemoryContext context);

/* Take out the first page; if there is none, the exchange is NULL and the rows are 0 to 0. */
extern StreamPage stream_window_take(StreamWindow *window);

/* Drop all of them. */
extern void stream_window_clear(StreamWindow *window);

#endif /* CONTRATOS_STREAM_WINDOW_H */
