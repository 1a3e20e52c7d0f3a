/*
 * statement.h
 *	  The extension's own SQL statements, and the objects that they may name.
 *
 * Before a statement is run, the owners of its tables are checked: the role that
 * runs it must be able to trust them.  But it refers to the tables by name, and a
 * name can be given to another table between the check and the moment when
 * PostgreSQL looks it up (a schema's owner can rename it at any time).  So each
 * statement comes with the checked objects, by OID, and PostgreSQL's parse
 * analysis of it is compared with them before anything is planned, because
 * planning already runs code attached to a table.
 */
#ifndef CONTRATOS_STATEMENT_H
#define CONTRATOS_STATEMENT_H

#include "postgres.h"
#include "executor/spi.h"

/* As many relations as a statement of ours may name. */
#define STATEMENT_MAX_RELATIONS 4

/* The objects that a statement may name besides PostgreSQL's own relations and functions. */
typedef struct StatementObjects
{
	int nrelations;
	Oid relations[STATEMENT_MAX_RELATIONS];
	Oid routine; /* the function or procedure that it calls; InvalidOid: none */
} StatementObjects;

/* The arguments of a statement; {0}: none. */
typedef struct StatementArgs
{
	int n;
	Oid *types;
	Datum *values;
	const char *nulls; /* as SPI has it; NULL: none is null */
} StatementArgs;

/* Called once by _PG_init. */
extern void statement_init(void);

/*
 * Run one statement through SPI (the caller has connected); returns its SPI_OK_…
 * code, with the rows in SPI_processed and SPI_tuptable.  55006 when it names a
 * relation or function that is neither among `objects` nor PostgreSQL's own.
 * `objects` NULL: a utility statement, which may name any object.
 */
extern int statement_run(const char *sql, const StatementArgs *args, const StatementObjects *objects);

/* The same, and any code but `expected` is an internal error. */
extern void statement_execute(const char *sql, const StatementArgs *args, const StatementObjects *objects,
							  int expected);

#endif /* CONTRATOS_STATEMENT_H */
