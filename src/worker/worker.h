/*
 * worker.h
 *	  The worker of one database: it decides when a day is loaded, not how.
 */
#ifndef CONTRATOS_WORKER_H
#define CONTRATOS_WORKER_H

#include "postgres.h"

/* Entry point, by name from the launcher's registration. */
extern PGDLLEXPORT void contratos_worker_main(Datum arg);

#endif /* CONTRATOS_WORKER_H */
