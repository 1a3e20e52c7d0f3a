/*
 * fdw_internal.h
 *	  Shared by fdw.c and the files of IMPORT FOREIGN SCHEMA: fdw_import.c (the dialogue
 *	  with BigQuery) and fdw_import_command.c (the commands, and the names in them).
 */
#ifndef CONTRATOS_FDW_INTERNAL_H
#define CONTRATOS_FDW_INTERNAL_H

#include "postgres.h"
#include "nodes/parsenodes.h"

#include "bigquery/message.h"
#include "fdw/fdw.h"

/* A remote name and its local counterpart. */
typedef struct FdwName
{
	char *remote; /* BigQuery's, in the server's encoding */
	char *local; /* set by fdw_name_locally() */
} FdwName;

/* IMPORT FOREIGN SCHEMA: the commands that create the foreign tables. */
extern List *fdw_import(ImportForeignSchemaStmt *stmt, Oid serverid);

/*
 * The definition of one table of `dataset` ("project.dataset", UTF-8), as it stands
 * in CREATE FOREIGN TABLE after the name, in CurrentMemoryContext; NULL, and a NOTICE,
 * when it has no columns to read.
 */
extern char *fdw_import_definition(const char *server, const char *dataset, const FdwName *table,
								   const BqTable *described);

/* Report by a NOTICE that `what`, a table or a column, is left out; `why` has no period at its end. */
extern void fdw_leave_out(const char *what, const char *why);

/* Convert UTF-8 to the server's encoding; NULL if that lacks a character. */
extern char *fdw_server_name(const char *text);

/*
 * Give each a name that PostgreSQL can keep, no two the same and none of those
 * `reserved` (NULL-terminated; NULL: none).  Names that fit are kept; the others are
 * replaced by names_cut(), independently of all other names.
 */
extern void fdw_name_locally(FdwName *names[], int n, const char *const *reserved);

/*
 * The length of the part before the date, if `name` is that of a table for one day,
 * such as events_20261120; else 0.
 */
extern int fdw_shard_prefix(const char *name);

#endif /* CONTRATOS_FDW_INTERNAL_H */
