/*
 * setup.h
 *	  The built-in source: server bigquery, foreign table bigquery_tokens, table
 *	  tokens and its row in contratos_sources.
 */
#ifndef CONTRATOS_SETUP_H
#define CONTRATOS_SETUP_H

#include "postgres.h"

#include "nodes/pg_list.h"
#include "utils/relcache.h"

/* Names of the created objects, and of BigQuery's table. */
#define SETUP_SOURCE "tokens"
#define SETUP_SERVER "bigquery"
#define SETUP_TABLE "bigquery-public-data.crypto_ethereum.tokens"

/*
 * Create the missing objects, in the extension's schema, owned by the current
 * user.  Existing objects are kept; a table tokens must fit (42804 reports which
 * column does not and why).  42501 names the missing privilege and who should call
 * contratos_setup() once.
 */
extern void setup_builtin(void);

/* The same, but only if there has never been a source or a run. */
extern void setup_if_untouched(void);

/*
 * Raise the 42501 with which setup_builtin() would refuse a role, and its errors about
 * objects of these names that are not contratos'.  Creates nothing.
 */
extern void setup_check_role(Oid role);

/* The table tokens that setup_builtin() would use, once it fits (42804, 42809); InvalidOid: it would create one. */
extern Oid setup_check_target(void);

/*
 * The statement that turns a column which a load of BigQuery's table `remote` into
 * `target` (`name` in statements) leaves NULL into a generated one, as
 * contratos_setup() creates it; the table's rows stay.  NULL: none is known.
 */
extern char *setup_fill_column(const char *remote, const char *name, Relation target, const char *column);

/*
 * Whether rows can be found by a column without reading the whole table: one of
 * the table's valid indexes on all its rows begins with it.
 */
extern bool setup_has_index(Relation table, const char *column);

/* A function of an event trigger that may not find its tables while these objects are created. */
typedef struct SetupEventFunction
{
	char *trigger;
	char *name; /* quoted where needed */
	char *qualified; /* the same with its schema */
} SetupEventFunction;

/* Functions of all enabled event triggers on commands that have no search_path of their own: a List. */
extern List *setup_event_functions(void);

/* What to do about one of them, as a hint. */
extern char *setup_event_cure(const SetupEventFunction *function);

/* --------------------------------------------------------------------------
 * The built-in table, for setup*.c only
 * -------------------------------------------------------------------------- */

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
 * what prevents it.
 */
extern void setup_check_fit(Oid target, Oid remote);

/* The same; then a NOTICE reports that the table is used, and another a missing index. */
extern void setup_adopt(Oid target, Oid remote);

/* --------------------------------------------------------------------------
 * Event triggers, for setup*.c only
 * -------------------------------------------------------------------------- */

/*
 * If an error was raised in one of these functions, by its CONTEXT, name the event
 * trigger in its message, and put what to change into its hint.
 */
extern void setup_blame_event_trigger(const List *functions, ErrorData *edata);

#endif /* CONTRATOS_SETUP_H */
