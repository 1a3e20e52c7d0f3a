/*
 * scan.h
 *	  The life cycle of a foreign scan: conditions are evaluated, a job is started or
 *	  adopted, its rows are converted and returned to the executor.
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
 * A finished job that the scans of one statement must adopt.  It is offered for exactly
 * one SPI statement and withdrawn in PG_FINALLY; while it is offered, a scan of that
 * foreign table that does not match is an ERROR, never a second bill.
 */
typedef struct ScanAdoption
{
	/* written by the load */
	Oid relid; /* the foreign table */
	char *rows_key; /* deparse_rows_key() of the job's query */
	int ncolumns;
	AttrNumber *columns; /* the columns of the job's result, ascending */
	AttrNumber timestamp_column; /* the column whose maximum is wanted, or 0 */
	BqJob *job;
	void (*progress)(void *arg, int64 rows, int64 bytes, int pages); /* from time to time, and at the end */

	/* called for each value that could not be stored unchanged */
	void (*reject)(void *arg, int64 row_number, const char *column, const RowsCell *raw, const char *reason);
	void *arg; /* for both */

	/* written by the load's own scan, which is the first, for the ledger */
	bool begun; /* whether there is such a scan */
	DayFigures figures; /* of the rows received, each counted once; the fingerprint once complete */
	int64 at_row; /* number of the row that the executor is processing; 0: none */
	int64 bytes;
	int pages;
	int64 values_altered;
	bool complete; /* whether the result was read to its end */
} ScanAdoption;

extern void scan_offer(ScanAdoption *adoption);

/* Safe in PG_FINALLY; scans that are still open (a trigger's cursor) raise an error from now on. */
extern void scan_withdraw(void);

/*
 * The information that a scan's plan carries from fdw.c to scan.c, as
 * ForeignScan.fdw_private, a List by position (it must survive copyObject).
 */
typedef enum ScanPrivate
{
	SCAN_COLUMNS, /* IntList: attribute numbers read, ascending */
	SCAN_PUSHED, /* pushdown_find()'s conditions; values are fdw_exprs */
} ScanPrivate;

/*
 * A scan of aggregates (pushdown_aggregates()) has no table of its own: the plan below
 * it computes the same aggregates locally.  ForeignScan.fdw_private are the first parts
 * of that function's *private, ForeignScan.fdw_scan_tlist the aggregates.
 */
extern bool scan_is_of_aggregates(const ForeignScanState *node);

/*
 * For EXPLAIN of a scan of aggregates: the foreign table, and whether the local plan was
 * used.  If it was not, it is hidden from EXPLAIN.
 */
extern Oid scan_aggregates_relid(const ForeignScanState *node);
extern bool scan_aggregates_locally(ForeignScanState *node);

/*
 * The executor callbacks.  No request is sent before the first row is needed, so
 * EXPLAIN never sends one.  Errors: those of options_connection() and bigquery_query();
 * 42804 when a column's type in BigQuery is not the one its option says; 22P02 and
 * 23502 for values that cannot be stored.
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
