/*
 * options_internal.h
 *	  Shared by the files of the options module only.
 */
#ifndef CONTRATOS_OPTIONS_INTERNAL_H
#define CONTRATOS_OPTIONS_INTERNAL_H

#include "foreign/foreign.h"
#include "nodes/pg_list.h"

#include "remote/options.h"

/* The value of an option in a list of DefElem, or NULL. */
extern const char *options_find(List *options, const char *name);

/* The foreign table, after a check that it is one of ours: 42P01 or 42809. */
extern ForeignTable *options_foreign_table(Oid relid);

/* The problem with the name of a dataset, as a sentence, or NULL. */
extern const char *options_dataset_problem(const char *name);

/* 'error' or 'null'; false for anything else.  null_on_bad_value may be NULL. */
extern bool options_parse_on_bad_value(const char *value, bool *null_on_bad_value);

#endif /* CONTRATOS_OPTIONS_INTERNAL_H */
