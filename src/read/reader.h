/*
 * reader.h
 *	  The rows of a finished job, for a load or a scan: a reader worker reads the rows
 *	  of a large result after its first page.
 *
 * The cost of a row before it is a row of a table (TLS, JSON, its share of the
 * fingerprint) is then paid on another core.  The worker is a background worker that is
 * connected to no database.  It knows the job, the credentials file and a queue; it
 * continues with pages of its own, decodes them, hashes the rows, makes tuples of them
 * if that needs no catalog, and sends them in batches.  If no worker can be started, or
 * it ends before its last row, the calling process reads the rows itself: only time is
 * lost.
 */
#ifndef CONTRATOS_READER_H
#define CONTRATOS_READER_H

#include "access/htup.h"
#include "access/tupdesc.h"

#include "bigquery/job.h"
#include "bigquery/message.h"
#include "read/rowhash.h"
#include "read/stream.h"
#include "rows/rows.h"
#include "values/values.h"

typedef struct RowReader RowReader;

/* A column of a tuple, and the value that is read into it. */
typedef struct ReaderColumn
{
	AttrNumber attnum;
	int position; /* among a row's cells */
	ValueSimple simple;
	bool not_null;
} ReaderColumn;

/* How a row becomes a tuple; attributes without a column are NULL. */
typedef struct ReaderShape
{
	TupleDesc desc;
	int ncolumns;
	ReaderColumn *columns;
} ReaderShape;

/* A row is returned as one of these; the other is NULL. */
typedef struct ReaderRow
{
	const RowsCell *cells; /* job->nfields */
	HeapTuple tuple; /* of the shape */
} ReaderRow;

/*
 * In a child of `parent`, freed with it or by reader_close().  `row_hash` is the
 * purpose of the rows' hashes, or NULL; it must outlive the reader.  `shape`: rows that
 * have only ordinary values may be returned as such tuples; NULL: none may.
 * `min_bytes` is the number of bytes that must be left of the result for a worker to be
 * started; -1: never, for callers that may not want all rows.
 */
extern RowReader *reader_open(BqJob *job, RowHash *row_hash, const ReaderShape *shape, int64 min_bytes,
							  MemoryContext parent);

/* Tolerates NULL.  The worker ends. */
extern void reader_close(RowReader *reader);

/*
 * The next row, valid until the next call; false at the end of all rows. Failures are
 * thrown, those of the worker like our own.
 */
extern bool reader_next(RowReader *reader, ReaderRow *row);

/* Add the row that reader_next() returned last to the fingerprint. */
extern void reader_note(RowReader *reader);

/* Start over: the next row is the first again.  From now on this process reads all rows. */
extern void reader_rewind(RowReader *reader);

/* The progress so far: rows since the start, bytes and pages since the reader was opened. */
extern int64 reader_rows(const RowReader *reader);
extern int64 reader_bytes(const RowReader *reader);
extern int reader_pages(const RowReader *reader);

/* Entry point of the worker, looked up by name. */
extern PGDLLEXPORT void contratos_reader_main(Datum arg);

#endif /* CONTRATOS_READER_H */
