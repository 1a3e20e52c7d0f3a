/*
 * fingerprint.h
 *	  The columns that a day's fingerprint covers, and the GoogleSQL that computes it:
 *	  the same fingerprint that rowhash.h computes from the rows while they stream in.
 */
#ifndef CONTRATOS_FINGERPRINT_H
#define CONTRATOS_FINGERPRINT_H

#include "bigquery/job.h"
#include "bigquery/message.h"
#include "remote/deparse.h"
#include "remote/options.h"

/*
 * The forms for rowhash_create() of rows whose cells are these columns, the fields of
 * their job; in CurrentMemoryContext.  A column is covered if bqtypes has an expression
 * for its assumed type (deparse_column_type()).  NULL when such a column turns out to
 * have another type: BigQuery could not compute the same, so there is no fingerprint.
 */
extern char *fingerprint_forms(const RemoteTable *table, const AttrNumber *columns, int ncolumns,
							   const BqField *fields);

/*
 * A query that returns one row for these columns and conditions: COUNT(*) as `n`
 * (INT64), the largest value of the `timestamp` column as `m` (TIMESTAMP, whatever the
 * column's type; NULL without rows, or for InvalidAttrNumber) and the fingerprint as
 * `f` (STRING).  The columns must be those of the fingerprint to compare with, in the
 * same order.  In CurrentMemoryContext.
 */
extern BqQuery *fingerprint_query(const RemoteTable *table, const AttrNumber *columns, int ncolumns,
								  AttrNumber timestamp, const RemoteCondition *conditions, int nconditions);

/*
 * The same for each UTC day of the `timestamp` column, which must be given: one row per
 * day, in no particular order, with days since 1970 as `d` (INT64) before the others.
 * There is no row for a day without rows.
 */
extern BqQuery *fingerprint_query_by_day(const RemoteTable *table, const AttrNumber *columns, int ncolumns,
										 AttrNumber timestamp, const RemoteCondition *conditions, int nconditions);

#endif /* CONTRATOS_FINGERPRINT_H */
