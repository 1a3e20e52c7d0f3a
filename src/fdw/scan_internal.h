/*
 * scan_internal.h
 *	  Between scan.c, which reads, scan_conditions.c, which knows what it asks
 *	  for, and scan_adopt.c, which knows of loads.
 */
#ifndef CONTRATOS_SCAN_INTERNAL_H
#define CONTRATOS_SCAN_INTERNAL_H

#include "postgres.h"
#include "lib/ilist.h"

#include "bigquery/bigquery.h"
#include "bigquery/connection.h"
#include "bigquery/job.h"
#include "bigquery/message.h"
#include "bigquery/request.h"
#include "fdw/scan.h"
#include "read/reader.h"
#include "read/rowhash.h"
#include "remote/deparse.h"
#include "remote/options.h"
#include "values/values.h"

typedef struct ScanColumn
{
	const RemoteColumn *column;
	int position; /* among the cells of a row */
	ValueReader *reader;
} ScanColumn;

/* What a scan is to a load. */
typedef enum ScanRole
{
	SCAN_ALONE = 0, /* nothing: it asks BigQuery itself */
	SCAN_OF_LOAD, /* the load's own, the first begun, which has not adopted its job yet */
	SCAN_REPORTING, /* the load's own, which reads its job and reports what it reads */
	SCAN_ADOPTING, /* another, of a trigger for one, which reads the load's job */
	SCAN_ORPHANED /* the load is over, and its job gone */
} ScanRole;

typedef struct BqScan
{
	/* set by scan_begin() */
	MemoryContext context;
	RemoteTable *table;
	Oid userid; /* whose mapping counts */
	List *pushed; /* conditions that may be pushed … */
	List *values; /* … and the ExprStates of what they compare with */
	int ncolumns;
	AttrNumber *attnums;

	ScanRole role; /* not told by its address: that may be another scan's after its end */

	/* set by start() at the first row */
	bool started;
	bool no_rows; /* nothing satisfies the conditions */
	MemoryContext conditions_context; /* of these three */
	RemoteCondition *conditions;
	int nconditions;
	char *rows_key;
	ScanAdoption *adoption; /* the load's, or NULL */
	bool is_new_row; /* of the load's own scan: it gives this row for the first time */
	dlist_node link; /* among the adopters, while it is one */
	MemoryContextCallback unlink;
	RowHash *row_hash; /* of the rows it has given, or NULL */
	Bigquery *bq; /* own; NULL when adopted */
	BqJob *job;
	RowReader *reader;
	ScanColumn *columns;
	Oid timestamp_type; /* of the column whose maximum the load wants */
} BqScan;

/*
 * Evaluate what the pushed conditions compare with, and write what follows;
 * true when the rows asked for are those of the last time.
 */
extern bool scan_evaluate(ForeignScanState *node, BqScan *scan);

/*
 * 42804 if a condition has been sent for a column of another type than `field`,
 * which is what the column is there.
 */
extern void scan_check_pushed(const BqScan *scan, const RemoteColumn *column, const BqField *field);

/*
 * 55000, with BigQuery's estimate, unless `query`, of conditions evaluated, has
 * the condition on the partition column that require_filter wants.
 */
extern void scan_check_filter(const BqScan *scan, const BqConnection *connection, const BqQuery *query);

/* Scan begins: the first one of a load is the load's own. */
extern void scan_adopt_begin(BqScan *scan);

/* Adopt the load's job, if one is armed for this table; false if none is. */
extern bool scan_adopt(BqScan *scan);

/* Where a column stands among the cells of the load's job; -1: nowhere. */
extern int scan_adopt_position(const ScanAdoption *adoption, AttrNumber attnum);

/* A row has come, or the end: tell the load, of each row once. */
extern void scan_adopt_report(BqScan *scan, bool at_end);

/* A value of the timestamp column: timestamptz, timestamp or date, in UTC. */
extern void scan_adopt_note_timestamp(ScanAdoption *adoption, Oid type, Datum value);

/* The scan ends before the load does; harmless for one that has adopted nothing. */
extern void scan_adopt_leave(BqScan *scan);

/* 55000: the load has ended before the scan. */
extern void scan_adopt_refuse_orphan(const BqScan *scan);

#endif /* CONTRATOS_SCAN_INTERNAL_H */
