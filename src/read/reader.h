/*
 * reader.h
 *	  The rows of a finished job, for whoever loads them: of a large result the
 *	  rows behind the first page come from a process beside.
 *
 * What a row costs before it is a row of a table (TLS, JSON, its share of the
 * fingerprint) is then paid on another core.  The process is a background
 * worker that is connected to no database.  It knows the job, the credentials
 * file and a queue; it reads on with pages of its own, decodes them, hashes the
 * rows, makes tuples of them where that needs no catalog, and sends them in
 * batches.  Where no such process can be had, or it is gone before its last
 * row, the rows are read here: nothing is lost but time.
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

/* A column of a tuple, and what is read into it. */
typedef struct ReaderColumn
{
	AttrNumber attnum;
	int position; /* among a row's cells */
	ValueSimple simple;
	bool not_null;
} ReaderColumn;

/* How a row becomes a tuple; attributes that no column fills are NULL. */
typedef struct ReaderShape
{
	TupleDesc desc;
	int ncolumns;
	ReaderColumn *columns;
} ReaderShape;

/* A row has come as one of these; the other is NULL. */
typedef struct ReaderRow
{
	const RowsCell *cells; /* job->nfields */
	HeapTuple tuple; /* of the shape */
} ReaderRow;

/*
 * In a child of `parent`, freed with it or by reader_close().  `row_hash`:
 * what the rows' hashes are for, or NULL; it must outlive the reader.  `shape`:
 * rows that have no value out of the ordinary may come as such tuples; NULL:
 * none may.  `beside`: bytes that must be left of the result for a process to
 * be started; -1: none is, as for who may not want all rows.
 */
extern RowReader *reader_open(BqJob *job, RowHash *row_hash, const ReaderShape *shape, int64 beside,
							  MemoryContext parent);

/* Tolerates NULL.  The process beside ends. */
extern void reader_close(RowReader *reader);

/*
 * The next row, valid until the next call; false at the end of all rows.
 * Failures are thrown, those of the process beside as if they were ours.
 */
extern bool reader_next(RowReader *reader, ReaderRow *row);

/* Add the row that reader_next() gave last to the fingerprint. */
extern void reader_note(RowReader *reader);

/* Start over: the next row is the first again.  Now all are read here. */
extern void reader_rewind(RowReader *reader);

/* What has come so far: rows since the start, bytes and pages since it opened. */
extern int64 reader_rows(const RowReader *reader);
extern int64 reader_bytes(const RowReader *reader);
extern int reader_pages(const RowReader *reader);

/* Entry point of the process beside, by name. */
extern PGDLLEXPORT void contratos_reader_main(Datum arg);

#endif /* CONTRATOS_READER_H */
