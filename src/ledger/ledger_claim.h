/*
 * ledger_claim.h
 *	  The claim on a source: one load of it at a time.
 */
#ifndef CONTRATOS_LEDGER_CLAIM_H
#define CONTRATOS_LEDGER_CLAIM_H

#include "postgres.h"

/*
 * Serialize loads of one source, until the end of the transaction.  When another
 * session holds the claim, a NOTICE reports it, and then this call waits
 * (lock_timeout and cancel work).
 */
extern void ledger_claim(const char *source);

/*
 * The claim for the worker: at session level, without waiting.  False when another
 * session holds it.  ledger_unclaim() releases it: once for each success, with or
 * without a transaction, also when the extension has been dropped; it does nothing
 * when the claim is not held.
 */
extern bool ledger_try_claim(const char *source);

extern void ledger_unclaim(const char *source);

#endif /* CONTRATOS_LEDGER_CLAIM_H */
