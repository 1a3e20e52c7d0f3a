/*
 * catch.h
 *	  Errors caught and gone on from.
 */
#ifndef CONTRATOS_CATCH_H
#define CONTRATOS_CATCH_H

#include "postgres.h"

/*
 * Run body(arg) in a subtransaction and in the current memory context.  NULL: it has
 * worked, and what it did stays if `keep`; else the error, with all of it undone.
 */
extern ErrorData *catch_in_subtransaction(void (*body)(void *arg), void *arg, bool keep);

#endif /* CONTRATOS_CATCH_H */
