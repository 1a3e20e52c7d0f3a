/*
 * scan.h
 *	  A foreign scan's life: conditions evaluated, job asked for or adopted, its
 *	  rows converted and given to the executor.
 */
#ifndef CONTRATOS_SCAN_H
#define CONTRATOS_SCAN_H

#include "postgres.h"
#include "datatype/timestamp.h"
#include "nodes/execnodes.h"

#include "base/day.h"
#include "base/failure.h"
#include "bigquery/job.h"
#include "bigquery/message.h"
#include "read/rowhash.h"
#include "remote/fingerprint.h"
#include "remote/options.h"
#include "rows/rows.h"

/*
 * A finished job that the scans of one statement must adopt.  Offered for
 * exactly one SPI statement, withdrawn in PG_FINALLY; while it is offered a scan
 * of that foreign table that does not match is an ERROR, never a second bill.
 */
typedef struct ScanAdoption
{
	/* written by the load */
	Oid relid; /* the foreign table */
	char *rows_key; /* deparse_rows_key() of what the job read */
	int ncolumns;
	AttrNumber *columns; /* what the job's result holds, ascending */
	AttrNumber timestamp_column; /* whose maximum is wanted, or 0 */
	BqJob *job;
	void (*progress)(void *arg, int64 rows, int64 bytes, int pages); /* every now and then, and at the end */

	/* called for each value that could not be kept as it was */
	void (*reject)(void *arg, int64 row_number, const char *column, const RowsCell *raw, const char *reason);
	void *arg; /* for both */

	/* written by the scans: of the load's own, the first begun, for the ledger */
	bool begun; /* there is such a scan */
	DayFigures figures; /* of the rows received, each counted once; the fingerprint once complete */
	int64 at_row; /* number of the one that the executor has in hand; 0: none */
	int64 bytes;
	int pages;
	int64 values_altered;
	bool complete; /* it was read to its end */
} ScanAdoption;

extern void scan_offer(ScanAdoption *adoption);

/* Safe in PG_FINALLY; scans still open (a trigger's cursor) give an error from now on. */
extern void scan_withdraw(void);

/*
 * What the plan of a scan carries from fdw.c to here, as
 * ForeignScan.fdw_private, a List by position (it must survive copyObject).
 */
typedef enum ScanPrivate
{
	SCAN_COLUMNS, /* IntList: attribute numbers read, ascending */
	SCAN_PUSHED, /* pushdown_find()'s conditions; values are fdw_exprs */
} ScanPrivate;

/*
 * Executor callbacks' work.  Nothing reaches the network before the first
 * row is asked for, so EXPLAIN never does.  Errors: of options_connection()
 * and bigquery_query(); 42804 when a column's type there is not the one its
 * option says; 22P02 and 23502 for values that cannot be held.
 */
extern void scan_begin(ForeignScanState *node, int eflags);
extern TupleTableSlot *scan_next(ForeignScanState *node);
extern void scan_again(ForeignScanState *node);
extern void scan_end(ForeignScanState *node);

/* For EXPLAIN: the query, with the values known so far (in CurrentMemoryContext). */
extern BqQuery *scan_query(ForeignScanState *node);

/* For EXPLAIN ANALYZE: the job, or NULL if none was needed; pages and bytes. */
extern const BqJob *scan_job(ForeignScanState *node, int *pages, int64 *bytes);

#endif /* CONTRATOS_SCAN_H */
