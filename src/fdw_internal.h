/*
 * fdw_internal.h
 *	  Between fdw.c, which reads, and fdw_modify.c, which refuses to write.
 */
#ifndef CONTRATOS_FDW_INTERNAL_H
#define CONTRATOS_FDW_INTERNAL_H

#include "fdw.h"

/* Set the callbacks that INSERT, UPDATE, DELETE, TRUNCATE and COPY FROM run into: all raise 0A000. */
extern void fdw_refuse_writing(FdwRoutine *routine);

#endif /* CONTRATOS_FDW_INTERNAL_H */
