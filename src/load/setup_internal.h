/*
 * setup_internal.h
 *	  What setup.c and setup_adopt.c both know of the built-in table.
 */
#ifndef CONTRATOS_SETUP_INTERNAL_H
#define CONTRATOS_SETUP_INTERNAL_H

#include "postgres.h"

/* A column that BigQuery's table and ours have in common. */
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

/* The column that a day is cut by. */
#define SETUP_TIMESTAMP "block_timestamp"

/*
 * Make sure that the existing relation `target` can be loaded from the foreign
 * table `remote` (InvalidOid: as we would make it); 42804 or 42809 says what
 * is in the way.  A NOTICE tells that it is used, and of a missing index.
 */
extern void setup_adopt(Oid target, Oid remote);

/* --------------------------------------------------------------------------
 * setup_event.c: event triggers
 * -------------------------------------------------------------------------- */

/*
 * Where an error comes out of one of these functions, by its CONTEXT, have its
 * message name the event trigger, and its hint what to change.
 */
extern void setup_blame_event_trigger(const List *functions, ErrorData *edata);

#endif /* CONTRATOS_SETUP_INTERNAL_H */
