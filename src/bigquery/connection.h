/*
 * connection.h
 *	  Where BigQuery is asked, as whom, and at what cost at most.
 */
#ifndef CONTRATOS_CONNECTION_H
#define CONTRATOS_CONNECTION_H

#include "postgres.h"

#include "lib/stringinfo.h"

#include "auth/auth.h"

/* Plain data.  A field that is a string goes into the list in connection.c as well. */
typedef struct BqConnection
{
	char *endpoint; /* "https://bigquery.googleapis.com" */
	char *project; /* billed; NULL: the key's project_id */
	char *location; /* "US" */
	char *credentials_file; /* NULL: none, no token is sent */
	char *ca_file; /* NULL: the system's roots */
	char *proxy; /* NULL: none */
	int64 max_bytes_billed; /* bytes; 0: no cap */
	char *cap_name; /* what sets that cap, for the message */
	int connect_timeout_ms;
	int request_timeout_ms; /* one request with its repetitions */
	int job_timeout_ms; /* from asking for a job to its result */
	int page_rows; /* rows asked for at a time; > 0 */
	int parallel_pages; /* asked for ahead of the page being read; 0: none */
} BqConnection;

/* A copy, its strings in CurrentMemoryContext. */
extern BqConnection connection_copy(const BqConnection *connection);

/*
 * A connection as bytes at the end of a buffer, for another process, and back with its
 * strings in CurrentMemoryContext; moves *at behind them.
 */
extern void connection_put(StringInfo buf, const BqConnection *connection);
extern void connection_take(const char **at, BqConnection *connection);

/* The same for a string; NULL stays NULL. */
extern void connection_put_string(StringInfo buf, const char *text);
extern char *connection_take_string(const char **at);

/* What the credentials are asked with, within so long. */
extern AuthConfig connection_auth(const BqConnection *connection, int timeout_ms);

#endif /* CONTRATOS_CONNECTION_H */
