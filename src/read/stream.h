/*
 * stream.h
 *	  A finished job → its rows, in order, each exactly once.
 *
 * Pages are decoded as they arrive.  A page whose connection is lost is requested again
 * from the row after the last one returned.  The number of rows returned must equal the
 * job's total_rows, or an error is thrown.  Opened again, or rewound, a stream returns
 * the same rows from the start: a finished job can be paged any number of times.
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
 * Return only the rows before number `end`, which must not have been reached: another
 * process reads the rows after it, so that pages beyond it need not be fetched.  The
 * initial value is the job's total_rows.
 */
extern void stream_end_at(RowStream *stream, int64 end);
extern void stream_close(RowStream *stream);

/*
 * The next row: job->nfields cells, valid until the next call.  NULL at the
 * end.  Failures are thrown.
 */
extern const RowsCell *stream_next(RowStream *stream);

/* Start over: the next row is the first again, and all rows are returned. */
extern void stream_rewind(RowStream *stream);

/* The approximate largest size of a page in bytes: the service cuts larger ones short. */
#define STREAM_PAGE_BYTES (8 * 1024 * 1024)

/* The progress so far: number of the last row, bytes and pages since it was opened. */
extern int64 stream_rows(const RowStream *stream);
extern int64 stream_bytes(const RowStream *stream);
extern int stream_pages(const RowStream *stream);

#endif /* CONTRATOS_STREAM_H */
