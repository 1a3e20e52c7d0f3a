/*
 * worker_internal.h
 *	  Functions that the worker*.c files share.
 */
#ifndef CONTRATOS_WORKER_INTERNAL_H
#define CONTRATOS_WORKER_INTERNAL_H

#include "postgres.h"

/*
 * Run a step of a round.  Its errors are caught, rolled back and logged: the same
 * error (by SQLSTATE and message) once, and again after an hour.  True when it
 * succeeded.  `name` is a literal that identifies the step; `context` is current
 * afterwards.
 */
extern bool housekeeping(const char *name, void (*function)(void *arg), void *arg, MemoryContext context);

#endif /* CONTRATOS_WORKER_INTERNAL_H */
