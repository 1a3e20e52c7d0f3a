/*
 * setup_internal.h
 *	  The built-in table, for setup*.c.
 */
#ifndef CONTRATOS_SETUP_INTERNAL_H
#define CONTRATOS_SETUP_INTERNAL_H

#include "postgres.h"

/* A column that both BigQuery's table and ours have. */
typedef struct SetupColumn
{
	const char *name;
	Oid remote_local_type; /* of the foreign table's column */
	const char *remote_definition; /* in CREATE FOREIGN TABLE, after the name */
	const char *definition; /* in CREATE TABLE, after the name */
	const char *comment;
} SetupColumn;

#define SETUP_NCOLUMNS 8
extern const SetupColumn setup_columns[SETUP_NCOLUMNS];

/* The timestamp_column. */
#define SETUP_TIMESTAMP "block_timestamp"

/*
 * Make sure that the existing relation `target` can be loaded from the foreign
 * table `remote` (InvalidOid: as setup.c would create it); 42804 or 42809 reports
 * what prevents it.  A NOTICE reports that the table is used, and a missing index.
 */
extern void setup_adopt(Oid target, Oid remote);

/* --------------------------------------------------------------------------
 * setup_adopt.c: event triggers
 * -------------------------------------------------------------------------- */

/*
 * If an error was raised in one of these functions, by its CONTEXT, name the event
 * trigger in its message, and put what to change into its hint.
 */
extern void setup_blame_event_trigger(const List *functions, ErrorData *edata);

#endif /* CONTRATOS_SETUP_INTERNAL_H */
