/*
 * worker_internal.h
 *	  Between the files of the worker room.
 */
#ifndef CONTRATOS_WORKER_INTERNAL_H
#define CONTRATOS_WORKER_INTERNAL_H

#include "postgres.h"

/*
 * Run a step of a round.  What goes wrong in it is caught, undone and logged:
 * the same error (by SQLSTATE and message) once, and again after an hour.  True
 * when it went well.  `name` is a literal that tells it from others; `context`
 * is current afterwards.
 */
extern bool housekeeping(const char *name, void (*function)(void *arg), void *arg, MemoryContext context);

#endif /* CONTRATOS_WORKER_INTERNAL_H */
