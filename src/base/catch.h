/*
 * catch.h
 *	  Errors that are caught, so that the caller can go on.
 */
#ifndef CONTRATOS_CATCH_H
#define CONTRATOS_CATCH_H

#include "postgres.h"

/*
 * Run body(arg) in a subtransaction and in the current memory context.  Returns NULL on
 * success, and then keeps the effects if `keep`; otherwise returns the error, and all
 * effects are undone.
 */
extern ErrorData *catch_in_subtransaction(void (*body)(void *arg), void *arg, bool keep);

/*
 * Run body(arg), which begins and ends transactions by itself, in the current memory
 * context.  NULL: it has worked; else the error, with any open transaction aborted.
 * Before that report(arg, error) is called (NULL: nothing is) while the error is still
 * PostgreSQL's current one; catch_emit() sends it to the log.
 */
extern ErrorData *catch_with_transactions(void (*body)(void *arg), void *arg,
										  void (*report)(void *arg, ErrorData *edata));
extern void catch_emit(void *arg, ErrorData *edata);

#endif /* CONTRATOS_CATCH_H */
