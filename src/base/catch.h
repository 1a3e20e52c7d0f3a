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

#endif /* CONTRATOS_CATCH_H */
