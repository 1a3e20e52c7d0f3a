/*
 * fdw_internal.h
 *	  Between fdw.c, which reads, fdw_modify.c, which refuses to write, and what
 *	  IMPORT FOREIGN SCHEMA is made of: fdw_import.c, which asks,
 *	  fdw_import_command.c, which writes, and fdw_import_names.c, which finds
 *	  names.
 */
#ifndef CONTRATOS_FDW_INTERNAL_H
#define CONTRATOS_FDW_INTERNAL_H

#include "postgres.h"
#include "nodes/parsenodes.h"

#include "bigquery/message.h"
#include "fdw/fdw.h"

/* Set the callbacks that INSERT, UPDATE, DELETE, TRUNCATE and COPY FROM run into: all raise 0A000. */
extern void fdw_refuse_writing(FdwRoutine *routine);

/* A thing's name there and here. */
typedef struct FdwName
{
	char *remote; /* BigQuery's, in the server's encoding */
	char *local; /* set by fdw_name_locally() */
} FdwName;

/* IMPORT FOREIGN SCHEMA: the commands that make the foreign tables. */
extern List *fdw_import(ImportForeignSchemaStmt *stmt, Oid serverid);

/*
 * The command for one table of `dataset` ("project.dataset", UTF-8), in
 * CurrentMemoryContext; NULL, and a NOTICE, when it has no columns to read.
 */
extern char *fdw_import_command(const char *server, const char *dataset, const FdwName *table,
								const BqTable *described);

/* A NOTICE; `what` is a table or a column, `why` has no full stop. */
extern void fdw_leave_out(const char *what, const char *why);

/* UTF-8 in the server's encoding; NULL where that lacks a character. */
extern char *fdw_server_name(const char *text);

/*
 * Give each a name that PostgreSQL can keep, no two the same and none of those
 * `reserved` (NULL-terminated; NULL: none).  What fits keeps its name; what does
 * not gets one by names_cut(), whatever else there is.
 */
extern void fdw_name_locally(FdwName *names[], int n, const char *const *reserved);

/*
 * The length of what stands before the date, if `name` is that of one day's
 * table, events_20261120; else 0.
 */
extern int fdw_shard_prefix(const char *name);

#endif /* CONTRATOS_FDW_INTERNAL_H */
