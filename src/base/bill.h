/*
 * bill.h
 *	  What a job of BigQuery costs.
 */
#ifndef CONTRATOS_BILL_H
#define CONTRATOS_BILL_H

#include "postgres.h"

/*
 * The cost of a job, as far as it is known.  It is right at any time, also after an
 * error: from the moment the job is requested until its cost is known, bytes_billed is
 * the most that it may be.
 */
typedef struct Bill
{
	char job_id[128]; /* "": no job was requested */
	int64 bytes_processed; /* -1: not known */
	int64 bytes_billed; /* known, if bytes_processed is; otherwise the most that it may be; -1: without a limit */
} Bill;

#define BILL_NOTHING ((Bill){.bytes_processed = -1})

#endif /* CONTRATOS_BILL_H */
