/*
 * schema.h
 *	  A foreign table's columns compared with BigQuery's schema.
 */
#ifndef CONTRATOS_SCHEMA_H
#define CONTRATOS_SCHEMA_H

#include "postgres.h"

#include "base/failure.h"
#include "bigquery/job.h"
#include "bigquery/message.h"
#include "remote/options.h"

/*
 * Whether a field of an answer has the type of the column's option.  False with *f set
 * (42804), its hint the ALTER FOREIGN TABLE to run, and in *needed the local type that
 * it changes the column to (NULL: it does not). `table_name` is the name of the foreign
 * table in that statement.
 */
extern bool schema_check_column(const char *table_name, const RemoteColumn *column, const BqField *field,
								const char **needed, Failure *f);

/* Fill *f in that way, for a column that is known to have that type; returns *needed.  Needs no transaction. */
extern const char *schema_changed_type(const char *table_name, const RemoteColumn *column, const BqField *field,
									   Failure *f);

#endif /* CONTRATOS_SCHEMA_H */
