/*
 * ledger_housekeeping.h
 *	  Failed steps of the worker's housekeeping, and whether the ledger is a copy.
 */
#ifndef CONTRATOS_LEDGER_HOUSEKEEPING_H
#define CONTRATOS_LEDGER_HOUSEKEEPING_H

#include "postgres.h"

/*
 * Record that a step of the worker's housekeeping has failed with this SQLSTATE
 * and error, or (NULL) succeeded.
 */
extern void ledger_note_step(const char *step, int sqlerrcode, const char *error);

/* The failed steps that have not succeeded since, as text; NULL: none. */
extern char *ledger_failed_steps(void);

/*
 * Whether a subscription replicates rows of the extension's own tables from
 * another server, whose worker has written them.
 */
extern bool ledger_is_subscribed(void);

#endif /* CONTRATOS_LEDGER_HOUSEKEEPING_H */
