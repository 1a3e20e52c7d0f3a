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

#endif /* CONTRATOS_VERIFY_H */
