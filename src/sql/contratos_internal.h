/*
 * contratos_internal.h
 *	  Shared by the files of the SQL-callable functions.
 */
#ifndef CONTRATOS_INTERNAL_H
#define CONTRATOS_INTERNAL_H

#include "postgres.h"
#include "fmgr.h"
#include "utils/date.h"

/*
 * 22004 when argument n (from 0), named `name`, is NULL: the functions are not STRICT,
 * so that a NULL is an error and not a silent NULL result.
 */
extern void contratos_refuse_null(FunctionCallInfo fcinfo, int n, const char *name);

/*
 * The arguments `first` and `last`, which come first: 22004 when one is NULL,
 * 22023 when `first` comes after `last`; the hint names the function.
 */
extern void contratos_get_days(FunctionCallInfo fcinfo, const char *function, DateADT *first, DateADT *last);

/*
 * A text in lines of `width` characters at most, so that psql shows the column of a table
 * no wider than that.  Lines end after spaces, or else inside a word, if possible after a
 * punctuation mark; only line feeds are added.  In CurrentMemoryContext.
 */
extern char *contratos_fold(const char *text, int width);

#endif /* CONTRATOS_INTERNAL_H */
