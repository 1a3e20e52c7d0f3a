/*
 * options.h
 *	  Options of servers, user mappings, foreign tables and their columns: what
 *	  may be set where, and what follows from them.
 */
#ifndef CONTRATOS_OPTIONS_H
#define CONTRATOS_OPTIONS_H

#include "access/attnum.h"

#include "bigquery/bigquery.h"
#include "bigquery/bqtype.h"
#include "bigquery/connection.h"
#include "bigquery/request.h"

/* A column of a foreign table and what it stands for. */
typedef struct RemoteColumn
{
	AttrNumber attnum;
	char *name; /* the local name */
	char *remote_name; /* BigQuery's, UTF-8 */
	BqColumnType remote_type; /* option `type`; BQ_UNKNOWN: whatever the local type
								 * suggests */
	Oid type; /* local */
	int32 typmod;
	bool not_null;
} RemoteColumn;

/* A foreign table in plain data: needs no catalog to be used. */
typedef struct RemoteTable
{
	Oid relid;
	char *table; /* "project.dataset.table", UTF-8, as the options
								 * of table and server together say */
	char *row_filter; /* GoogleSQL, UTF-8, or NULL */
	char *partition_column; /* local name, or NULL */
	bool require_filter;
	bool null_on_bad_value; /* on_bad_value 'null': ad-hoc SELECT only */
	int ncolumns;
	RemoteColumn *columns; /* live columns in order of attnum */
} RemoteTable;

/*
 * Read a foreign table's options.  42P01/42809 when relid is no foreign table
 * of this wrapper; HV00D-class errors for options that do not make sense
 * together.  In CurrentMemoryContext.
 */
extern RemoteTable *options_table(Oid relid);

/*
 * Where and as whom a foreign table is read by `userid`: the nearest of table,
 * user mapping, server and setting wins, but of byte caps the smallest that is
 * set.  contratos.credentials_file serves only servers owned by a superuser
 * (42501 with a hint otherwise).  In CurrentMemoryContext.
 */
extern BqConnection *options_connection(Oid relid, Oid userid);

/* The same of a server, before it has a foreign table. */
extern BqConnection *options_server_connection(Oid serverid, Oid userid);

/* The same of a server of that name that is yet to be made by `userid`, without options. */
extern BqConnection *options_new_server_connection(const char *name, Oid userid);

/*
 * Where a connection of `userid` goes, whoever it goes as: one of the functions
 * above, but without credentials_file, and so without the errors about it.  Of
 * the foreign table, or else (InvalidOid) of the server, or else of a new one.
 */
extern BqConnection *options_route(Oid relid, Oid serverid, const char *name, Oid userid);

/*
 * "project.dataset", UTF-8, of a dataset named with or without its project:
 * without one it is that of the server's tables.  "dataset" alone when nobody
 * names a project: BigQuery then takes the key's.  22023 when it is no such name.
 */
extern char *options_dataset(const char *name, Oid serverid);

/* The column of that local name, or NULL. */
extern RemoteColumn *options_column(RemoteTable *table, const char *name);

/* The validator's work: `options` is a text[], `catalog` where they stand. */
extern void options_validate(Datum options, Oid catalog);

#endif /* CONTRATOS_OPTIONS_H */
