/*
 * bigquery.h
 *	  The REST dialogue: start a query job, wait for it, page its result,
 *	  cancel it.
 *
 * Requests are repeated here, with jittered exponential back-off on the latch
 * and within request_timeout, for what can pass; everything else comes back as
 * a Failure with BigQuery's reason.  Facts about the API: its discovery
 * document and googleapis' google/cloud/bigquery/v2 protos.
 */
#ifndef CONTRATOS_BIGQUERY_H
#define CONTRATOS_BIGQUERY_H

#include "failure.h"
#include "http.h"

/* Where to ask, as whom, and at what cost at most: plain data. */
typedef struct BqConnection
{
	char *endpoint; /* "https://bigquery.googleapis.com" */
	char *project; /* billed; NULL: the key's project_id */
	char *location; /* "US" */
	char *credentials_file; /* NULL: none, no token is sent */
	char *ca_file; /* NULL: the system's roots */
	char *proxy; /* NULL: none */
	int64 max_bytes_billed; /* bytes; 0: no cap */
	const char *cap_name; /* what sets that cap, for the message */
	int connect_timeout_ms;
	int request_timeout_ms; /* one request with its repetitions */
	int job_timeout_ms; /* from asking for a job to its result */
	int page_rows; /* rows asked for at a time; > 0 */
} BqConnection;

/* A named parameter; value is UTF-8 text in BigQuery's format, NULL for NULL. */
typedef struct BqParam
{
	char *name;
	const char *type; /* "TIMESTAMP", … */
	char *value;
} BqParam;

typedef struct BqQuery
{
	char *text; /* GoogleSQL, UTF-8 */
	int nparams;
	BqParam *params;
} BqQuery;

/* A column of a result, as its schema says it. */
typedef struct BqField
{
	char *name;
	char *type; /* GoogleSQL name: INT64, FLOAT64, BOOL, STRUCT, … */
	bool repeated;
} BqField;

/* One server and key with its connections, for a call, a scan or a worker. */
typedef struct Bigquery Bigquery;

typedef struct BqPage BqPage; /* a page's answer, still arriving; stream.h */

/* A query job.  Filled by bigquery_query(); read-only for others. */
typedef struct BqJob
{
	Bigquery *bq;
	MemoryContext context; /* the job's own; bigquery_forget() deletes it */
	char job_id[128];
	char *project;
	char *location;
	BqQuery query;
	int64 total_rows;
	int64 bytes_processed; /* -1: not said */
	int64 bytes_billed; /* -1: not known */
	bool cache_hit;
	int nfields;
	BqField *fields;
	HttpExchange *first_page; /* the answer that brought "done", its body read
								 * up to the first row; taken by stream.c */
	struct RowsDecoder *first_decoder;
} BqJob;

/*
 * Connect nothing yet, only remember: the connection's strings are copied.
 * Lives in a child of `parent`.
 */
extern Bigquery *bigquery_open(const BqConnection *connection, MemoryContext parent);
extern void bigquery_close(Bigquery *bq);
extern const BqConnection *bigquery_connection(const Bigquery *bq);

/*
 * Make a job id: "contratos_" and 32 random hex digits, the part after which
 * nobody can guess.
 */
extern void bigquery_make_job_id(char *job_id, size_t size);

/*
 * Start a query job under `job_id` (NULL: makes one), wait until it is done
 * and read its first answer up to the first row.  `label` names the source in
 * the job's labels, or NULL.  The job lives in a child of `parent`.
 *
 * When the wait ends early, by an error or because it takes longer than
 * job_timeout, the job is cancelled: one request of 2 s at most.  NULL with *f
 * set on failure; throws only for interrupts and out of memory.
 */
extern BqJob *bigquery_query(Bigquery *bq, const BqQuery *query, const char *job_id, const char *label,
							 MemoryContext parent, Failure *f);

/*
 * Ask for `max_rows` rows of a finished job from row `start` (0-based) on and
 * wait for the headers of a 200 answer.  The exchange lives under `parent`.
 * NULL with *f set once the repetitions are used up.  `*spent_ms` is the time
 * that the page has cost in earlier tries, and is added to.
 */
extern HttpExchange *bigquery_page(BqJob *job, int64 start, int max_rows, MemoryContext parent, int *spent_ms,
								   Failure *f);

/* Ask BigQuery to cancel a job; 2 s at most, failures are nobody's business. */
extern void bigquery_cancel(Bigquery *bq, const char *project, const char *location, const char *job_id);

/* Free the job and what is still open of it; the job itself stays there. */
extern void bigquery_forget(BqJob *job);

/* The GoogleSQL name of a type that may come under its legacy name. */
extern const char *bigquery_type_name(const char *type);

/* How long to wait before try number `tries` + 1: jittered, at most 32 s. */
extern int bigquery_backoff_ms(int tries, int retry_after_ms);

#endif /* CONTRATOS_BIGQUERY_H */
