/*
 * drift.h
 *	  Columns of BigQuery's table that are not as the foreign table has them.
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
	char *what; /* which columns are new, or changed; the same for the same */
	char *remedy; /* statements that follow; may be empty */
} Drift;

/* contratos_runs.reason of a run whose `error` tells of it. */
#define DRIFT_REASON "schemaDrift"

/*
 * Ask what columns there are, by one free call.  Needs no transaction.  False
 * when BigQuery would not tell, which is logged and harms nobody.
 */
extern bool drift_ask(const LoadPlan *plan, Bigquery *bq, BqTable *there);

/* How they differ from the foreign table's; NULL: they are alike.  In the current transaction. */
extern Drift *drift_differences(const LoadPlan *plan, const BqTable *there);

/*
 * Compare them with the foreign table's.  NULL: they are alike, or differ as the
 * ledger has last said of the source.  In the current transaction.
 */
extern Drift *drift_news(const LoadPlan *plan, const BqTable *there);

/*
 * Whether a field of BigQuery's table is of the type that the foreign table's
 * column number i says.  False with *f set (42804), its hint the statements that
 * have both tables follow.  In a transaction.
 */
extern bool drift_check_type(const LoadPlan *plan, int i, const BqField *field, Failure *f);

/*
 * Fill *f (42703) for the foreign table's column number i that BigQuery's table
 * has not; its hint is what both tables need.
 */
extern void drift_column_gone(const LoadPlan *plan, int i, Failure *f);

/*
 * What a failed query of the source's columns means for its tables, if that is
 * known: a column that is gone becomes 42703 with the ALTER FOREIGN TABLE to
 * run, and the ALTER TABLE if the target needs one; one that its function in
 * the query, `text`, does not take becomes 42804.  Needs no transaction.
 */
extern void drift_explain(const LoadPlan *plan, const char *text, Failure *f);

/* 42804 when a column of the job's result is of another type than it is declared. */
extern void drift_check_types(const LoadPlan *plan, const BqJob *job);

#endif /* CONTRATOS_DRIFT_H */
