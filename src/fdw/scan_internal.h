/*
 * scan_internal.h
 *	  Shared by scan.c (reading), scan_conditions.c (the scan's query), scan_aggregate.c
 *	  (aggregates that BigQuery computes) and scan_adopt.c (loads) only.
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

/* The role of a scan in a load. */
typedef enum ScanRole
{
	SCAN_ALONE = 0, /* none: it sends its own query */
	SCAN_OF_LOAD, /* the load's own scan, which is the first and has not adopted the job yet */
	SCAN_REPORTING, /* the load's own, which reads the job and reports its progress */
	SCAN_ADOPTING, /* another one, for example of a trigger, which reads the load's job */
	SCAN_ORPHANED /* the load is over, and its job gone */
} ScanRole;

typedef struct BqScan
{
	/* set by scan_begin() */
	MemoryContext context;
	RemoteTable *table;
	Oid userid; /* the role whose user mapping is used */
	List *pushed; /* conditions that may be pushed … */
	List *values; /* … and the ExprStates of their values */
	int ncolumns;
	AttrNumber *attnums;

	ScanRole role; /* a scan cannot be identified by its address, which another one may reuse */

	/* set by start() at the first row */
	bool started;
	bool no_rows; /* no row satisfies the conditions */
	MemoryContext conditions_context; /* the context of the next three */
	RemoteCondition *conditions;
	int nconditions;
	char *rows_key;
	ScanAdoption *adoption; /* the load's, or NULL */
	bool is_new_row; /* for the load's own scan: it returns this row for the first time */
	dlist_node link; /* among the adopters, while it is one of them */
	MemoryContextCallback unlink;
	RowHash *row_hash; /* of the rows it has returned, or NULL */
	Bigquery *bq; /* its own; NULL when adopted */
	BqJob *job;
	RowReader *reader;
	ScanColumn *columns;
	Oid timestamp_type; /* of the column whose maximum the load needs */
} BqScan;

/*
 * Evaluate the values of the pushed conditions, and set the fields after them; true
 * when the conditions select the same rows as the last time.
 */
extern bool scan_evaluate(ForeignScanState *node, BqScan *scan);

/*
 * 42804 if a condition was sent for a column of another type than `field`, the column
 * in BigQuery.
 */
extern void scan_check_pushed(const BqScan *scan, const RemoteColumn *column, const BqField *field);

/*
 * 55000, with BigQuery's estimate, unless `query`, with its conditions evaluated, has
 * the condition on the partition column that require_filter demands.
 */
extern void scan_check_filter(const BqScan *scan, const BqConnection *connection, const BqQuery *query);

/*
 * Start a query with the conditions of a scan, and wait for its job, which lives in
 * `context` like the connection *bq.
 */
extern BqJob *scan_ask(const BqScan *scan, const BqQuery *query, MemoryContext context, Bigquery **bq);

/* HV000 unless the answer has that many columns. */
extern void scan_check_answer(const BqJob *job, int expected);

/* The table's name, qualified and quoted. */
extern char *scan_table_name(const RemoteTable *table);

/*
 * The conditions as far as they are known: those sent, or, before the scan has evaluated
 * them, those that may be; in *n their number.
 */
extern RemoteCondition *scan_known_conditions(const BqScan *scan, int *n);

/* The callbacks for a scan of aggregates. */
extern void scan_aggregate_begin(ForeignScanState *node);
extern TupleTableSlot *scan_aggregate_next(ForeignScanState *node);
extern void scan_aggregate_again(ForeignScanState *node);
extern void scan_aggregate_end(ForeignScanState *node);
extern BqQuery *scan_aggregate_query(ForeignScanState *node);
extern const BqJob *scan_aggregate_job(ForeignScanState *node, int *pages, int64 *bytes);

/* Scan begins: the first one of a load is the load's own. */
extern void scan_adopt_begin(BqScan *scan);

/* Whether a load offers its job to scans of this table. */
extern bool scan_adopt_is_offered(const BqScan *scan);

/* Adopt the load's job, if one is offered for this table; false if none is. */
extern bool scan_adopt(BqScan *scan);

/* The position of a column among the cells of the load's job; -1: none. */
extern int scan_adopt_position(const ScanAdoption *adoption, AttrNumber attnum);

/* A row was read, or the end was reached: report to the load, counting each row once. */
extern void scan_adopt_report(BqScan *scan, bool at_end);

/* A value of the timestamp column: timestamptz, timestamp or date, in UTC. */
extern void scan_adopt_note_timestamp(ScanAdoption *adoption, Oid type, Datum value);

/* The scan ends before the load does; harmless for one that has adopted nothing. */
extern void scan_adopt_leave(BqScan *scan);

/* 55000: the load ended before the scan. */
extern void scan_adopt_refuse_orphan(const BqScan *scan);

#endif /* CONTRATOS_SCAN_INTERNAL_H */
