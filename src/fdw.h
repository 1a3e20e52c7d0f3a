/*
 * fdw.h
 *	  The foreign-data wrapper, and how a load hands a finished job to its scan.
 */
#ifndef CONTRATOS_FDW_H
#define CONTRATOS_FDW_H

#include "datatype/timestamp.h"
#include "foreign/fdwapi.h"

#include "deparse.h"
#include "rows.h"

/*
 * A finished job that the scans of one statement must adopt.  Armed for
 * exactly one SPI statement, disarmed in PG_FINALLY; while it is armed a scan
 * of that foreign table that does not match is an ERROR, never a second bill.
 */
typedef struct FdwAdoption
{
	/* written by the load */
	Oid relid; /* the foreign table */
	char *rows_key; /* deparse_rows_key() of what the job read */
	int ncolumns;
	AttrNumber *columns; /* what the job's result holds, ascending */
	AttrNumber timestamp_column; /* whose maximum is wanted, or 0 */
	BqJob *job;
	void (*progress)(void *arg, int64 rows, int64 bytes); /* every now and then */

	/* called for each value that could not be kept as it was */
	void (*reject)(void *arg, int64 row_number, const char *column, const RowsCell *raw, const char *reason);
	void *arg; /* for both */

	/* written by the scans: of the first one, for the ledger */
	int scans; /* begun */
	int64 rows; /* received */
	int64 bytes;
	int pages;
	int64 values_altered;
	bool complete; /* it was read to its end */
	TimestampTz max_timestamp;
	bool has_max_timestamp;
} FdwAdoption;

extern void fdw_arm(FdwAdoption *adoption);
extern void fdw_disarm(void);

/* The wrapper's callbacks, for contratos_fdw_handler(). */
extern FdwRoutine *fdw_routine(void);

#endif /* CONTRATOS_FDW_H */
