/*
 * verify.h
 *	  There against here: what BigQuery has of a day now, and whether that is
 *	  what was loaded and what still stands in the target.
 */
#ifndef CONTRATOS_VERIFY_H
#define CONTRATOS_VERIFY_H

#include "load.h"

/* What BigQuery says of a day, in one row of one query. */
typedef struct VerifyAnswer
{
	int64 rows;
	bool has_max;
	TimestampTz max_timestamp;
	char *fingerprint;
	char job_id[128];
	int64 bytes_processed; /* -1: not known */
	int64 bytes_billed; /* -1: not known */
} VerifyAnswer;

/*
 * Ask under the id in answer->job_id.  Needs no transaction; strings live in
 * CurrentMemoryContext; throws what BigQuery fails with.
 */
extern void verify_ask(const LoadPlan *plan, Bigquery *bq, DateADT day, VerifyAnswer *answer);

/* In words what differs there from the last success of the day; NULL: nothing. */
extern char *verify_source(const VerifyAnswer *answer, const LedgerSuccess *success);

/*
 * In words what differs in the target from what was measured at the end of the
 * load; NULL: nothing.  In the current transaction.
 */
extern char *verify_target(const LoadPlan *plan, DateADT day, const LedgerSuccess *success);

/* How BigQuery's table differs from the foreign table, in words. */
typedef struct VerifyDrift
{
	char *what; /* which columns are new, or changed; the same for the same */
	char *remedy; /* statements that follow; may be empty */
} VerifyDrift;

/* contratos_runs.reason of a run whose `error` tells of it. */
#define VERIFY_DRIFT_REASON "schemaDrift"

/*
 * Ask what columns there are, by one free call.  Needs no transaction.  False
 * when BigQuery would not tell, which is logged and harms nobody.
 */
extern bool verify_ask_columns(const LoadPlan *plan, Bigquery *bq, BqTable *there);

/*
 * Compare them with the foreign table's.  NULL: they are alike, or differ as the
 * ledger has last said of the source.  In the current transaction.
 */
extern VerifyDrift *verify_columns(const LoadPlan *plan, const BqTable *there);

#endif /* CONTRATOS_VERIFY_H */
