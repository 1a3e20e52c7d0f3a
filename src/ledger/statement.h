/*
 * statement.h
 *	  SQL statements of ours, and what they may name.
 *
 * A statement is judged before it is run: by whom its tables are owned, and
 * whether whoever it runs as may trust them.  It names them by text, though, and
 * a name can be given to another table between the judgement and the moment
 * PostgreSQL looks it up (a schema's owner can rename it at any time).  So each
 * statement comes with the objects that were judged, by OID, and PostgreSQL's
 * parse analysis of it is held against them before anything is planned: planning
 * is what runs code that hangs on a table.
 */
#ifndef CONTRATOS_STATEMENT_H
#define CONTRATOS_STATEMENT_H

#include "postgres.h"
#include "executor/spi.h"

/* More relations than any statement of ours names. */
#define STATEMENT_MAX_RELATIONS 4

/* What a statement may name besides PostgreSQL's own relations and functions. */
typedef struct StatementObjects
{
	int nrelations;
	Oid relations[STATEMENT_MAX_RELATIONS];
	Oid routine; /* the function or procedure that it calls; InvalidOid: none */
} StatementObjects;

/* Called once by _PG_init. */
extern void statement_init(void);

/*
 * Run one statement through SPI (the caller has connected); its SPI_OK_… code,
 * rows are in SPI_processed and SPI_tuptable.  Arguments are given by type, value
 * and a nulls array as SPI has it (NULL: none is null).  55006 when it names a
 * relation or function that is neither among `objects` nor PostgreSQL's own.
 * `objects` NULL: a utility statement, which names what it likes.
 */
extern int statement_run(const char *sql, int nargs, Oid *types, Datum *values, const char *nulls,
						 const StatementObjects *objects);

/* The same, and any code but `expected` is an internal error. */
extern void statement_execute(const char *sql, int nargs, Oid *types, Datum *values, const char *nulls,
							  const StatementObjects *objects, int expected);

#endif /* CONTRATOS_STATEMENT_H */
