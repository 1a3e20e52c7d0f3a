/*
 * drift.h
 *	  Differences between the columns of BigQuery's table and those of the foreign
 *	  table.
 */
#ifndef CONTRATOS_DRIFT_H
#define CONTRATOS_DRIFT_H

#include "postgres.h"

#include "base/failure.h"
#include "bigquery/bigquery.h"
#include "bigquery/job.h"
#include "bigquery/message.h"
#include "load/load.h"

/* How BigQuery's table differs from the foreign table, in words. */
typedef struct Drift
{
	char *what; /* which columns are new or changed; the same text for the same differences */
	char *remedy; /* statements that make both tables follow; may be empty */
} Drift;

/* contratos_runs.reason of a run whose `error` reports it. */
#define DRIFT_REASON "schemaDrift"

/*
 * Request the columns of BigQuery's table, by one free call.  Needs no
 * transaction.  False when the call failed, which is logged and otherwise ignored.
 */
extern bool drift_ask(const LoadPlan *plan, Bigquery *bq, BqTable *remote);

/* How they differ from the foreign table's; NULL: not at all.  In the current transaction. */
extern Drift *drift_differences(const LoadPlan *plan, const BqTable *remote);

/*
 * Compare them with the foreign table's.  NULL: they are alike, or the ledger's
 * last report of the source has the same differences.  In the current transaction.
 */
extern Drift *drift_news(const LoadPlan *plan, const BqTable *remote);

/*
 * Whether a field of BigQuery's table has the type that the foreign table declares
 * for its column number i.  False with *f set (42804), whose hint has the
 * statements that adapt both tables.  In a transaction.
 */
extern bool drift_check_type(const LoadPlan *plan, int i, const BqField *field, Failure *f);

/*
 * Fill *f (42703) for the foreign table's column number i, which BigQuery's table
 * does not have; the hint has the statements for both tables.
 */
extern void drift_column_gone(const LoadPlan *plan, int i, Failure *f);

/*
 * Explain the error of a failed query of the source's columns, if its cause is
 * known: a column that no longer exists becomes 42703 with the ALTER FOREIGN TABLE
 * to run, and the ALTER TABLE if the target needs one; a column whose type its
 * function in the query, `text`, does not accept becomes 42804.  Needs no
 * transaction.
 */
extern void drift_explain(const LoadPlan *plan, const char *text, Failure *f);

/* 42804 when a column of the job's result has another type than declared. */
extern void drift_check_types(const LoadPlan *plan, const BqJob *job);

#endif /* CONTRATOS_DRIFT_H */
