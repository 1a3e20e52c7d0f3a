/*
 * stream.h
 *	  A finished job → its rows, in order, each exactly once.
 *
 * Pages are decoded as they arrive.  A page that breaks off is asked for again
 * from the row after the last one given.  The number of rows given equals the
 * job's total_rows, or it is an error.  Opened again, or rewound, a stream
 * gives the same rows from the start: a finished job can be paged any number
 * of times.
 */
#ifndef CONTRATOS_STREAM_H
#define CONTRATOS_STREAM_H

#include "bigquery/bigquery.h"
#include "bigquery/job.h"
#include "bigquery/message.h"
#include "rows/rows.h"

typedef struct RowStream RowStream;

/* In a child of `parent`, freed with it or by stream_close(). */
extern RowStream *stream_open(BqJob *job, MemoryContext parent);

/* The same from row `first` (from 0) on. */
extern RowStream *stream_open_at(BqJob *job, int64 first, MemoryContext parent);

/*
 * Give the rows before number `end` only, which has not come yet: whoever reads
 * on from there does not want pages beyond it fetched here.  At first it is the
 * job's total_rows.
 */
extern void stream_end_at(RowStream *stream, int64 end);
extern void stream_close(RowStream *stream);

/*
 * The next row: job->nfields cells, valid until the next call.  NULL at the
 * end.  Failures are thrown.
 */
extern const RowsCell *stream_next(RowStream *stream);

/* Start over: the next row is the first of all again, the end the last. */
extern void stream_rewind(RowStream *stream);

/* A page should have about as many bytes at most: the service cuts larger ones short. */
#define STREAM_PAGE_BYTES (8 * 1024 * 1024)

/* What has come so far: number of the last row, bytes and pages since it opened. */
extern int64 stream_rows(const RowStream *stream);
extern int64 stream_bytes(const RowStream *stream);
extern int stream_pages(const RowStream *stream);

#endif /* CONTRATOS_STREAM_H */
