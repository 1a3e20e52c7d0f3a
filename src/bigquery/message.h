/*
 * message.h
 *	  The content of requests to BigQuery and of its answers: paths, bodies, jobs,
 *	  schemas.  No network.
 */
#ifndef CONTRATOS_MESSAGE_H
#define CONTRATOS_MESSAGE_H

#include "nodes/pg_list.h"

#include "base/failure.h"
#include "base/json.h"
#include "bigquery/bqtype.h"
#include "bigquery/job.h"
#include "bigquery/request.h"
#include "http/http.h"
#include "rows/rows.h"

/* A table or view, as tables.get describes it. */
typedef struct BqTable
{
	char *type; /* TABLE, VIEW, MATERIALIZED_VIEW, EXTERNAL, SNAPSHOT, … */
	char *location; /* of its dataset; NULL: not reported */
	int nfields;
	BqField *fields;
	bool ingestion_time; /* partitioned by _PARTITIONTIME */
	char *partition_field; /* or by this column; NULL: by none */
	bool require_filter; /* queries must have a condition on it */
	int64 modified_ms; /* last change of rows or definition, since 1970; 0: not reported */
} BqTable;

/* A table as tables.list names it. */
typedef struct BqListed
{
	char *name; /* without project and dataset */
	char *type; /* as in BqTable */
} BqListed;

/* BigQuery allows 15 levels of STRUCT, and 10,000 columns, including nested ones; a larger schema is invalid. */
#define MESSAGE_MAX_NESTING 15
#define MESSAGE_MAX_FIELDS 10000

/* Bytes as pg_size_pretty() writes them ("8192 kB"), in CurrentMemoryContext. */
extern char *message_size_text(int64 bytes);

/* jobs.insert */
extern char *message_insert_path(const char *project);
extern char *message_insert_body(const BqJob *job, const char *label);

/*
 * The path for any request about one job: `kind` is "jobs" or "queries", `suffix` "" or
 * "/cancel".  It includes the location: without it a job outside US and EU is not
 * found.
 */
extern char *message_job_path(const char *project, const char *kind, const char *job_id, const char *suffix,
							  const char *location);

/* jobs.getQueryResults: `max_rows` from row `start` on, waiting `wait_ms`. */
extern char *message_results_path(const BqJob *job, int64 start, int max_rows, int wait_ms);

/*
 * Read a Job (the answer of jobs.insert and jobs.get).  False with *f set when the job
 * has failed.
 */
extern bool message_read_job(BqJob *job, const JsonDoc *doc, Failure *f);

/*
 * Read the cost from a Job, which contains it once the job is done, unless it is hidden
 * from the account.  `prefix` is that of its paths: "" for the answer of jobs.get,
 * "job." for that of jobs.cancel.  Returns whether the job is done.
 */
extern bool message_read_job_cost(BqJob *job, const JsonDoc *doc, const char *prefix);

/*
 * Read the head of a finished job's answer, which describes the whole result. False
 * with *f set when something is missing.
 */
extern bool message_read_head(BqJob *job, const JsonDoc *doc, Failure *f);

/*
 * Read the cost from an answer, if it contains it: BigQuery puts it after the rows.
 */
extern void message_read_cost(BqJob *job, const JsonDoc *doc);

/*
 * The fields of the schema at `path` of a document ("schema.fields"), with those nested
 * in them, in CurrentMemoryContext.  False with *f set when one has no name or type, or
 * the nesting is too deep.
 */
extern bool message_read_fields(const JsonDoc *doc, const char *path, BqField **fields, int *nfields, Failure *f);

/*
 * The bytes that BigQuery bills for the bytes of one table, by its own rule: whole MB,
 * and at least 10 MB; nothing for none.
 */
extern int64 message_billed(int64 bytes_processed);

/*
 * The body of a dry run; and the number of bytes that, by its answer, the query would
 * process: -1 when BigQuery hides it, as it does for tables with row access policies.
 */
extern char *message_estimate_body(const BqQuery *query, const char *project, const char *location);
extern bool message_read_estimate(const JsonDoc *doc, int64 *bytes, Failure *f);

/*
 * The paths of tables.get for "project.dataset.table", and of tables.list for
 * "project.dataset", from page `token` on (NULL: the first).
 */
extern char *message_table_path(const char *table);
extern char *message_tables_path(const char *dataset, const char *token);

/* In CurrentMemoryContext; false with *f set when it does not describe a table. */
extern bool message_read_table(const JsonDoc *doc, BqTable *table, Failure *f);

/*
 * Append the BqListed of a page to *tables, in CurrentMemoryContext; *token is that of
 * the next page, NULL after the last.
 */
extern bool message_read_tables(const JsonDoc *doc, List **tables, char **token, Failure *f);

/*
 * The whole type of a field, as bqtype_text() writes it, in CurrentMemoryContext; an
 * unknown type keeps BigQuery's name.
 */
extern char *message_field_type(const BqField *field);

/* The name of its outermost type: ARRAY<RANGE<DATE>> gives RANGE. */
extern const char *message_type_name(const BqField *field);

/* Whether a field has a type that fits the declared one. */
extern bool message_type_fits(BqColumnType declared, const BqField *field);

#endif /* CONTRATOS_MESSAGE_H */
