/*
 * launcher.h
 *	  Starts a worker for each database in contratos.databases.
 */
#ifndef CONTRATOS_LAUNCHER_H
#define CONTRATOS_LAUNCHER_H

#include "postgres.h"
#include "datatype/timestamp.h"

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

#endif /* CONTRATOS_LAUNCHER_H */
