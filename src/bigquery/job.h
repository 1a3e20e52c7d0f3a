/*
 * job.h
 *	  A query, its parameters, and the job that it becomes.
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
	BqType type; /* of an array: of its elements */
	char *value; /* NULL for NULL */
	bool is_array;
	int nvalues; /* of an array, with no NULL among them */
	char **values;
} BqParam;

typedef struct BqQuery
{
	char *text; /* GoogleSQL, UTF-8 */
	int nparams;
	BqParam *params;
} BqQuery;

/* A column of a result or a table, or a field of a STRUCT, as a schema says it. */
typedef struct BqField
{
	char *name;
	BqType type;
	bool repeated; /* an ARRAY of it */
	bool required; /* of a table's columns: never NULL */
	char *description; /* NULL: none */
	BqType range_element; /* of a RANGE: DATE, DATETIME or TIMESTAMP */
	char *unknown; /* as BigQuery says it, when one of the two is a type nobody knows; else NULL */
	int nfields; /* of a STRUCT */
	struct BqField *fields;
} BqField;

/* A query job.  Made by bigquery_query(); read-only for others. */
typedef struct BqJob
{
	/* written when it is made */
	struct Bigquery *bq;
	const BqConnection *connection; /* of bq */
	MemoryContext context; /* the job's own; bigquery_forget() deletes it */
	char job_id[128];
	char *project; /* that is billed */
	char *location; /* as configured, then as BigQuery says */
	BqQuery query;

	/* written when it is begun: it was there already, asked for earlier under this id */
	bool found;

	/* written when it is done */
	int64 total_rows;
	int64 bytes_processed; /* -1: not said */
	int64 bytes_billed; /* -1: not known */
	bool cache_hit;
	int nfields;
	BqField *fields;

	/* the answer that brought "done", read up to its first row; stream.c takes
	 * it.  NULL: there is none (any more) */
	HttpExchange *first_page;
	RowsDecoder *first_decoder;
	int64 first_bytes; /* of its body, read so far */
	bool first_row_ready; /* first_decoder holds the first row */
} BqJob;

#endif /* CONTRATOS_JOB_H */
