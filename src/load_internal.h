/*
 * load_internal.h
 *	  Between load.c, which decides, and load_replace.c, which writes.
 */
#ifndef CONTRATOS_LOAD_INTERNAL_H
#define CONTRATOS_LOAD_INTERNAL_H

#include "load.h"

/* 55006 when called from a trigger of a load: that one is not over yet. */
extern void load_refuse_nested(void);

/* As soon as BigQuery has said it: a day that fails is billed as well. */
extern void load_note_cost(LoadOutcome *outcome, const BqJob *job);

/* DELETE and INSERT as the target's owner; the guard has let the job through. */
extern void load_replace_rows(const LoadPlan *plan, BqJob *job, DateADT day, LoadOutcome *outcome);

#endif /* CONTRATOS_LOAD_INTERNAL_H */
