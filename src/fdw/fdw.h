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

#endif /* CONTRATOS_FDW_H */
