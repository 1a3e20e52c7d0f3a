/*
 * options.h
 *	  Options of servers, user mappings, foreign tables and their columns: where each
 *	  may be set, and the connections and tables that result.
 */
#ifndef CONTRATOS_OPTIONS_H
#define CONTRATOS_OPTIONS_H

#include "access/attnum.h"
#include "foreign/foreign.h"
#include "nodes/pg_list.h"

#include "bigquery/bigquery.h"
#include "bigquery/bqtype.h"
#include "bigquery/connection.h"
#include "bigquery/request.h"

/* A column of a foreign table and the BigQuery column it stands for. */
typedef struct RemoteColumn
{
	AttrNumber attnum;
	char *name; /* the local name */
	char *remote_name; /* BigQuery's, UTF-8 */
	BqColumnType remote_type; /* option `type`; BQ_UNKNOWN: determined by the
							   * local type */
	Oid type; /* local */
	int32 typmod;
	bool not_null;
	bool null_on_bad_value; /* on_bad_value 'null', of the column or else the table: ad-hoc SELECT only */
} RemoteColumn;

/* A foreign table as plain data, which can be used without a catalog. */
typedef struct RemoteTable
{
	Oid relid;
	char *table; /* "project.dataset.table", UTF-8, from the options of
				  * table and server */
	char *row_filter; /* GoogleSQL, UTF-8, or NULL */
	char *partition_column; /* local name, or NULL */
	bool require_filter;
	bool null_on_bad_value; /* of columns without an option of their own */
	int ncolumns;
	RemoteColumn *columns; /* live columns in order of attnum */
} RemoteTable;

/*
 * Read a foreign table's options.  42P01/42809 when relid is not a foreign table of
 * this wrapper; HV00D-class errors for contradictory options. In CurrentMemoryContext.
 */
extern RemoteTable *options_table(Oid relid);

/*
 * The parameters of the connection by which `userid` reads a foreign table: the nearest
 * of table, user mapping, server and setting wins, except that the smallest byte cap
 * applies.  contratos.credentials_file serves only servers owned by a superuser (42501
 * with a hint otherwise).  In CurrentMemoryContext.
 */
extern BqConnection *options_connection(Oid relid, Oid userid);

/* The same for a server, before it has a foreign table. */
extern BqConnection *options_server_connection(Oid serverid, Oid userid);

/* The same for a server of that name that `userid` is about to create, without options. */
extern BqConnection *options_new_server_connection(const char *name, Oid userid);

/*
 * The route of a connection of `userid`, without its credentials: one of the functions
 * above, but without credentials_file, and so without the errors about it.  For the
 * foreign table, or else (InvalidOid) for the server, or else for a new server.
 */
extern BqConnection *options_route(Oid relid, Oid serverid, const char *name, Oid userid);

/*
 * "project.dataset", UTF-8, for a dataset named with or without its project: the
 * default is the project of the server's tables.  "dataset" alone if no project is set:
 * BigQuery then uses the key's.  22023 for an invalid name.
 */
extern char *options_dataset(const char *name, Oid serverid);

/* The column with that local name, or NULL. */
extern RemoteColumn *options_column(RemoteTable *table, const char *name);

/* The validator: `options` is a text[], `catalog` the catalog that they belong to. */
extern void options_validate(Datum options, Oid catalog);

/* --------------------------------------------------------------------------
 * For options*.c only
 * -------------------------------------------------------------------------- */

/* The value of an option in a list of DefElem, or NULL. */
extern const char *options_find(List *options, const char *name);

/* The problem with the name of a dataset, as a sentence, or NULL. */
extern const char *options_dataset_problem(const char *name);

/* 'error' or 'null'; false for anything else.  null_on_bad_value may be NULL. */
extern bool options_parse_on_bad_value(const char *value, bool *null_on_bad_value);

#endif /* CONTRATOS_OPTIONS_H */
