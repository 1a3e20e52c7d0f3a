/*
 * worker.h
 *	  The worker of one database: it decides when a day is loaded, not how.
 */
#ifndef CONTRATOS_WORKER_H
#define CONTRATOS_WORKER_H

#include "postgres.h"

/* Entry point, by name from the launcher's registration. */
extern PGDLLEXPORT void contratos_worker_main(Datum arg);

/*
 * Run a step of a round.  Its errors are caught, rolled back and logged: the same
 * error (by SQLSTATE and message) once, and again after an hour.  True when it
 * succeeded.  `name` is a literal that identifies the step; `context` is current
 * afterwards.
 */
extern bool housekeeping(const char *name, void (*function)(void *arg), void *arg, MemoryContext context);

#endif /* CONTRATOS_WORKER_H */
