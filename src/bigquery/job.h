/*
 * job.h
 *	  A query, its parameters, and its job.
 */
#ifndef CONTRATOS_JOB_H
#define CONTRATOS_JOB_H

#include "postgres.h"

#include "bigquery/bqtype.h"
#include "bigquery/connection.h"
#include "http/http.h"
#include "rows/rows.h"

/* A named parameter; values are UTF-8 text in BigQuery's format. */
typedef struct BqParam
{
	char *name;
	BqType type; /* for an array, that of its elements */
	char *value; /* NULL for NULL */
	bool is_array;
	int nvalues; /* for an array, whose elements are not NULL */
	char **values;
} BqParam;

typedef struct BqQuery
{
	char *text; /* GoogleSQL, UTF-8 */
	int nparams;
	BqParam *params;
} BqQuery;

/* A column of a result or a table, or a field of a STRUCT, as a schema describes it. */
typedef struct BqField
{
	char *name;
	BqType type;
	bool repeated; /* an ARRAY of it */
	bool required; /* only for a table's columns: never NULL */
	bool finer; /* a TIMESTAMP of picoseconds, which is read in microseconds */
	char *description; /* NULL: none */
	BqType range_element; /* for a RANGE: DATE, DATETIME or TIMESTAMP */
	char *unknown; /* BigQuery's name of the type, if it or the element's is unknown; else NULL */
	int nfields; /* for a STRUCT */
	struct BqField *fields;
} BqField;

/* A query job.  Made by bigquery_query(); read-only for others. */
typedef struct BqJob
{
	/* written when it is made */
	struct Bigquery *bq;
	const BqConnection *connection; /* of bq */
	MemoryContext context; /* the job's own; bigquery_free_job() deletes it */
	char job_id[128];
	char *project; /* the billed project */
	char *location; /* as configured, then as BigQuery reports it */
	BqQuery query;

	/* written when it is started */
	bool started; /* BigQuery has said so */
	bool found; /* an earlier request with this ID had already created it */

	/* written when it is done */
	int64 total_rows;
	int64 bytes_processed; /* -1: not reported */
	int64 bytes_billed; /* -1: unknown */
	bool cache_hit;
	int nfields;
	BqField *fields;

	/*
	 * the answer that reported completion, read up to its first row; stream.c takes it.
	 * NULL: none, or already taken
	 */
	HttpExchange *first_page;
	RowsDecoder *first_decoder;
	int64 first_bytes; /* of its body, read so far */
	bool first_row_ready; /* first_decoder holds the first row */
} BqJob;

#endif /* CONTRATOS_JOB_H */
