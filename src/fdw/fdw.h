/*
 * fdw.h
 *	  The foreign-data wrapper: planning, EXPLAIN, and the refusal to write.  The scan
 *	  itself is in scan.c.
 */
#ifndef CONTRATOS_FDW_H
#define CONTRATOS_FDW_H

#include "postgres.h"
#include "foreign/fdwapi.h"

/* The wrapper's callbacks, for contratos_fdw_handler(). */
extern FdwRoutine *fdw_routine(void);

/*
 * The command that creates the foreign table `into` (quoted, with its schema) for a
 * BigQuery table of `dataset`, as IMPORT FOREIGN SCHEMA ... LIMIT TO (table) would,
 * with its errors.  NULL, and a NOTICE, when the table cannot be read.
 */
extern char *fdw_import_table(const char *server, const char *dataset, const char *table, const char *into);

#endif /* CONTRATOS_FDW_H */
