/*
 * values.h
 *	  One BigQuery value (its type, its text) → one Datum of a column's type.
 *
 * A value is either held as it is or reported: nothing is silently altered.
 * Numbers and timestamps are parsed by hand, since PostgreSQL 15 has no input
 * functions that do not throw; what they accept is what PostgreSQL 15's own
 * input functions accept of a decimal number, on every version.
 */
#ifndef CONTRATOS_VALUES_H
#define CONTRATOS_VALUES_H

#include "base/failure.h"
#include "bigquery/job.h"
#include "bigquery/message.h"
#include "rows/rows.h"

typedef enum ValueResult
{
	VALUE_OK,
	VALUE_ALTERED, /* held, but for U+0000 that no text holds, or an object's equal keys but the last */
	VALUE_BAD /* not convertible: *isnull is true */
} ValueResult;

typedef struct ValueReader ValueReader;

/*
 * A reader for values of a BigQuery column, as the schema of its result
 * describes it, into the local type.  The reader and its scratch space live
 * in CurrentMemoryContext.  NULL with *f set (0A000, naming `column` and both
 * types) when there is no such conversion.
 */
extern ValueReader *values_reader(const BqField *field, Oid type, int32 typmod, const char *column, Failure *f);

/*
 * Whether a column read so can be NULL: a domain may be NOT NULL, or have a
 * CHECK that NULL does not pass.
 */
extern bool values_allows_null(ValueReader *reader);

/*
 * Convert one cell.  Datums by reference are allocated in
 * CurrentMemoryContext.  Except for VALUE_OK, *reason is a text that is static
 * or lives there, too.
 */
extern ValueResult values_read(ValueReader *reader, const RowsCell *cell, Datum *value, bool *isnull,
							   const char **reason);

/*
 * What a process without a database can read: the commonest pairs of types,
 * and of their values those that BigQuery writes as usual.
 */
typedef enum ValueSimple
{
	VALUE_NOT_SIMPLE,
	VALUE_SIMPLE_TEXT,
	VALUE_SIMPLE_BIGINT,
	VALUE_SIMPLE_INTEGER,
	VALUE_SIMPLE_NUMERIC,
	VALUE_SIMPLE_DOUBLE,
	VALUE_SIMPLE_BOOLEAN,
	VALUE_SIMPLE_DATE,
	VALUE_SIMPLE_TIMESTAMPTZ,
	VALUE_SIMPLE_TIMESTAMP
} ValueSimple;

/* Which of them a column is; asked in the database. */
extern ValueSimple values_simple(const BqField *field, Oid type, int32 typmod);

/*
 * Convert one cell as values_read() would, when that would say VALUE_OK.  False
 * for NULL, and for what may be anything else: it is values_read()'s to say.
 * Needs neither catalogs nor a database.
 */
extern bool values_read_simple(ValueSimple simple, const RowsCell *cell, Datum *value);

/*
 * A cell as a person may see it: at most `max_bytes` of its UTF-8, cut between
 * characters, U+0000 as U+FFFD, in the server's encoding ('?' for what that
 * lacks).  Never throws for what the cell holds.
 */
extern char *values_shown(const RowsCell *cell, int max_bytes);

/*
 * The SQL name of the PostgreSQL type that is the natural one for a field:
 * bigint, timestamp with time zone, jsonb (JSON, STRUCT, ARRAY of STRUCT),
 * text[] (ARRAY of STRING), …; NULL: the field's type is not known.
 */
extern const char *values_natural_sql(const BqField *field);

/* --------------------------------------------------------------------------
 * The other way (values_param.c): texts of parameters, as BigQuery parses them
 * -------------------------------------------------------------------------- */

/* Whether a timestamp (with or without time zone) lies in BigQuery's range, years 1 to 9999. */
extern bool values_timestamp_in_range(int64 timestamp);

/* "YYYY-MM-DD HH:MM:SS.ffffff+00:00" of a TIMESTAMP, which must be in range. */
extern char *values_timestamp_text(int64 timestamp);

/* The same without a zone, of a DATETIME: a timestamp without time zone in range. */
extern char *values_datetime_text(int64 timestamp);

/* "YYYY-MM-DD" of a DateADT; NULL when it is out of BigQuery's range (infinite as well). */
extern char *values_date_text(int32 day);

/*
 * The digits of a numeric, without zeros at its end; NULL when there are more
 * than `before` and `after` the point, or it is NaN or infinite.
 */
extern char *values_numeric_text(Datum value, int before, int after);

/*
 * A text as UTF-8; NULL when the database's encoding is one in which different
 * texts of BigQuery might look the same, or the bytes are no UTF-8.
 */
extern char *values_string_text(Datum value);

#endif /* CONTRATOS_VALUES_H */
