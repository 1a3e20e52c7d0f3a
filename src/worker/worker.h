/*
 * worker.h
 *	  The worker of one database, which decides when a day is loaded, not how; and the
 *	  launcher, which starts a worker for each database in contratos.databases.
 */
#ifndef CONTRATOS_WORKER_H
#define CONTRATOS_WORKER_H

#include "postgres.h"

#include "datatype/timestamp.h"

/* Entry point, by name from the launcher's registration. */
extern PGDLLEXPORT void contratos_worker_main(Datum arg);

/*
 * Run a step of a round.  Its errors are caught, rolled back and logged: the same
 * error (by SQLSTATE and message) once, and again after an hour.  True when it
 * succeeded.  `name` is a literal that identifies the step; `context` is current
 * afterwards.
 */
extern bool housekeeping(const char *name, void (*function)(void *arg), void *arg, MemoryContext context);

/*
 * The projects that loads of the enabled sources (without any: those of the settings)
 * will be billed to, and the files of the credentials, a line each, in `context`, which
 * is current afterwards; NULL: neither is known.  Called outside a transaction.
 */
extern const char *worker_billing(MemoryContext context);

/* --------------------------------------------------------------------------
 * The launcher
 * -------------------------------------------------------------------------- */

/* The launcher's parameters for a worker, in bgw_extra. */
typedef struct LauncherOrder
{
	Oid database;
	Oid role; /* of contratos.role; InvalidOid: the bootstrap superuser */
	TimestampTz changed_at; /* the configuration was reloaded then; 0: it was not */
} LauncherOrder;

/* Register the launcher; from _PG_init while libraries are preloaded. */
extern void launcher_register(void);

/* Entry point, by name from the postmaster. */
extern PGDLLEXPORT void contratos_launcher_main(Datum arg);

#endif /* CONTRATOS_WORKER_H */
