/*
 * reader_internal.h
 *	  Shared by reader.c (reads for a load), reader_queue.c (the shared memory of two
 *	  processes), reader_worker.c (the reader worker) and reader_tuple.c (makes tuples
 *	  in the worker) only.
 */
#ifndef CONTRATOS_READER_INTERNAL_H
#define CONTRATOS_READER_INTERNAL_H

#include "lib/stringinfo.h"
#include "storage/dsm.h"
#include "storage/shm_mq.h"

#include "bigquery/connection.h"
#include "bigquery/request.h"
#include "read/reader.h"
#include "rows/rows.h"

/*
 * The content of a message: a head, and then, for READER_ROWS, for each row
 *
 *	its hash            ROWHASH_BYTES; only with a fingerprint
 *	length of a tuple   uint32; 0: the row is sent as cells
 *	the tuple           aligned like any tuple, counting from the head
 * or
 *	the cells           for each its kind and length (READER_PACK) and its bytes,
 *	                    not aligned
 *
 * READER_END has no rows; READER_FAILURE has a Failure after its head.
 */
typedef enum ReaderMessage
{
	READER_ROWS,
	READER_END,
	READER_FAILURE
} ReaderMessage;

typedef struct ReaderHead
{
	ReaderMessage message;
	int32 nrows;
	int64 bytes; /* of bodies, since the worker started */
	int32 pages; /* … and pages */
	bool cache_hit; /* the cost of the query, once it is known; -1: not yet */
	int64 bytes_processed;
	int64 bytes_billed;
} ReaderHead;

/* A cell's kind and length in one number. */
#define READER_PACK(kind, len) (((uint32) (len) << 2) | (uint32) (kind))
#define READER_KIND(packed) ((RowsKind) ((packed) &3))
#define READER_LEN(packed) ((packed) >> 2)

StaticAssertDecl(ROWS_MAX_TEXT < (1u << 30), "a cell's length must leave two bits of a uint32");

/* The task of a reader worker.  Its strings are copies. */
typedef struct ReaderTask
{
	BqConnection connection; /* its project is the billed one */
	const char *location; /* of the job */
	const char *job_id;
	const char *forms; /* rowhash_forms(), or NULL: no hashes */
	int64 first; /* the first row to read, from 0 */
	int64 total_rows;
	int nfields;
	ReaderShape shape; /* desc NULL: rows are sent as cells */
} ReaderTask;

/* Append a shape to a task, and read it back in CurrentMemoryContext; moves *at past it. */
extern void reader_tuple_put_shape(StringInfo buf, const ReaderShape *shape);
extern void reader_tuple_take_shape(const char **at, ReaderShape *shape);

/* Makes tuples of a shape. */
typedef struct TupleMaker TupleMaker;

extern TupleMaker *reader_tuple_maker(const ReaderShape *shape);

/* A row as a tuple, valid until the next one; NULL if only the load can read it. */
extern HeapTuple reader_tuple_make(TupleMaker *maker, const RowsCell *cells);

/* The shared memory of a task and its queue, and the worker at its other end. */
typedef struct ReaderQueue
{
	dsm_segment *segment;
	shm_mq_handle *handle;
} ReaderQueue;

/*
 * Start a worker with that task; false when none can be started.  It ends when the
 * segment is detached, at the latest with the resource owner.
 */
extern bool reader_queue_start(ReaderQueue *queue, const ReaderTask *task);
extern void reader_queue_close(ReaderQueue *queue);

/* In the worker: attach to its task; false when that is gone. */
extern bool reader_queue_attach(ReaderQueue *queue, uint32 segment, ReaderTask *task);

#endif /* CONTRATOS_READER_INTERNAL_H */
