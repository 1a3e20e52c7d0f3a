/*
 * values_internal.h
 *	  What the files of the values room share; no door for others.
 */
#ifndef CONTRATOS_VALUES_INTERNAL_H
#define CONTRATOS_VALUES_INTERNAL_H

#include "values.h"

/*
 * Whether this server keeps numerics as we write them.  Asked once per
 * reader; without it all numbers go through numeric_in().
 */
extern bool values_numeric_layout_known(void);

/* Convert text (not NUL-terminated); by hand where that is known to work. */
extern ValueResult values_read_numeric(const char *data, size_t len, bool by_hand, Datum *value, const char **reason);

#endif /* CONTRATOS_VALUES_INTERNAL_H */
