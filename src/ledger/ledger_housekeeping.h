/*
 * ledger_housekeeping.h
 *	  What the worker cannot do besides loading, and whether the ledger is its own.
 */
#ifndef CONTRATOS_LEDGER_HOUSEKEEPING_H
#define CONTRATOS_LEDGER_HOUSEKEEPING_H

#include "postgres.h"

/*
 * A step of the worker's housekeeping has failed with this SQLSTATE and error, or
 * (NULL) been done.
 */
extern void ledger_note_step(const char *step, int sqlerrcode, const char *error);

/* What has failed of it and not been done since, in words; NULL: nothing. */
extern char *ledger_failed_steps(void);

/*
 * Whether a subscription brings rows of the extension's own tables from another
 * server: whoever loads there has written them.
 */
extern bool ledger_is_subscribed(void);

#endif /* CONTRATOS_LEDGER_HOUSEKEEPING_H */
