/*
 * connection.h
 *	  The parameters of a connection to BigQuery: endpoint, credentials and limits.
 */
#ifndef CONTRATOS_CONNECTION_H
#define CONTRATOS_CONNECTION_H

#include "postgres.h"

#include "lib/stringinfo.h"

#include "auth/auth.h"

/* Plain data.  Each field that is a string must also be in the list in connection.c. */
typedef struct BqConnection
{
	char *endpoint; /* "https://bigquery.googleapis.com" */
	char *project; /* billed; NULL: the key's project_id */
	char *location; /* "US" */
	char *credentials_file; /* NULL: none, no token is sent */
	char *ca_file; /* NULL: the system's roots */
	char *proxy; /* NULL: none */
	int64 max_bytes_billed; /* bytes; 0: no cap */
	char *cap_name; /* the setting or option with that cap, for the message */
	int connect_timeout_ms;
	int request_timeout_ms; /* one request with its retries */
	int job_timeout_ms; /* from the start of a job to its result */
	int page_rows; /* rows per request; > 0 */
	int parallel_pages; /* requested ahead of the page being read; 0: none */
} BqConnection;

/* A copy, its strings in CurrentMemoryContext. */
extern BqConnection connection_copy(const BqConnection *connection);

/*
 * Append a connection to a buffer, for another process, and read it back with its
 * strings in CurrentMemoryContext; moves *at past it.
 */
extern void connection_put(StringInfo buf, const BqConnection *connection);
extern void connection_take(const char **at, BqConnection *connection);

/* The same for a string; NULL stays NULL. */
extern void connection_put_string(StringInfo buf, const char *text);
extern char *connection_take_string(const char **at);

/* The parameters for requesting a token, with that time limit. */
extern AuthConfig connection_auth(const BqConnection *connection, int timeout_ms);

#endif /* CONTRATOS_CONNECTION_H */
