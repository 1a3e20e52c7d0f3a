/*
 * stream_window.h
 *	  Pages asked for ahead of the one being read; no door for others.
 *
 * So that the network's latency is not waited for page after page: answers
 * arrive in any order into fixed buffers, and are read in theirs.
 */
#ifndef CONTRATOS_STREAM_WINDOW_H
#define CONTRATOS_STREAM_WINDOW_H

#include "base/settings.h"
#include "bigquery/job.h"
#include "bigquery/message.h"
#include "http/http.h"
#include "read/stream.h"

/* Some rows of a result, and the request that is under way for them. */
typedef struct StreamPage
{
	HttpExchange *exchange; /* NULL: not under way */
	int64 first; /* number of its first row, from 0 */
	int64 end; /* of the first row behind it, as planned: the service may
				* cut a page short */
} StreamPage;

/* Pages ahead, ascending, without a gap. */
typedef struct StreamWindow
{
	bool stuck; /* the last could not begin: no other is tried before a page is taken */
	int npages;
	StreamPage pages[SETTINGS_MAX_PARALLEL_PAGES];
} StreamWindow;

/*
 * Ask for more pages of the job, up to its connection's parallel_pages, each of
 * up to `rows` rows.  The first begins at row `next`, or behind the last one
 * that is there; none begins at row `end` or later.  Never waits for an answer; what cannot be asked for now is
 * left to be asked for when it is read.
 */
extern void stream_window_fill(StreamWindow *window, BqJob *job, int64 next, int64 end, int rows,
							   MemoryContext context);

/* Take the first page out; an exchange of NULL, and rows 0 to 0, if there is none. */
extern StreamPage stream_window_take(StreamWindow *window);

/* Drop all of them. */
extern void stream_window_clear(StreamWindow *window);

#endif /* CONTRATOS_STREAM_WINDOW_H */
