/*
 * values.h
 *	  One BigQuery value (its type, its text) → one Datum of a column's type.
 *
 * A value is either stored without loss or reported: no value is silently altered.
 * Numbers and timestamps are parsed by hand, since PostgreSQL 15 has no input functions
 * that do not throw; on every version, the accepted forms of decimal numbers are those
 * of PostgreSQL 15's own input functions.
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
	VALUE_ALTERED, /* stored without U+0000, which a text cannot hold, or with only the last of an object's equal keys */
	VALUE_BAD /* not convertible: *isnull is true */
} ValueResult;

typedef struct ValueReader ValueReader;

/*
 * A reader for values of a BigQuery column, as the schema of its result describes it,
 * into the local type.  The reader and its scratch space live in CurrentMemoryContext.
 * NULL with *f set (0A000, naming `column` and both types) when there is no such
 * conversion.
 */
extern ValueReader *values_reader(const BqField *field, Oid type, int32 typmod, const char *column, Failure *f);

/*
 * Whether a column with this reader can be NULL: a domain may be NOT NULL, or have a
 * CHECK that rejects NULL.
 */
extern bool values_allows_null(ValueReader *reader);

/*
 * Convert one cell.  Datums by reference are allocated in CurrentMemoryContext.  Except
 * for VALUE_OK, *reason is a text that is static or lives in that context, too.
 */
extern ValueResult values_read(ValueReader *reader, const RowsCell *cell, Datum *value, bool *isnull,
							   const char **reason);

/*
 * The conversions that a process without a database can do: the most common pairs of
 * types, and of their values those in BigQuery's usual form.
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

/* The kind of a column; must be called in the database. */
extern ValueSimple values_simple(const BqField *field, Oid type, int32 typmod);

/*
 * Convert one cell in the same way as values_read(), if that would return VALUE_OK.
 * False for NULL, and for any text that needs a closer look by values_read().  Needs
 * neither catalogs nor a database.
 */
extern bool values_read_simple(ValueSimple simple, const RowsCell *cell, Datum *value);

/*
 * A cell for display: at most `max_bytes` of its UTF-8, cut between characters, U+0000
 * as U+FFFD, in the server's encoding ('?' for characters that it lacks).  Never throws
 * because of the cell's content.
 */
extern char *values_shown(const RowsCell *cell, int max_bytes);

/*
 * The SQL name of the natural PostgreSQL type for a field: bigint, timestamp with time
 * zone, jsonb (JSON, STRUCT, ARRAY of STRUCT), text[] (ARRAY of STRING), …; NULL if the
 * field's type is unknown.
 */
extern const char *values_natural_sql(const BqField *field);

/* --------------------------------------------------------------------------
 * The reverse (values_param.c): texts of parameters, as BigQuery parses them
 * -------------------------------------------------------------------------- */

/* Whether a timestamp (with or without time zone) lies in BigQuery's range, years 1 to 9999. */
extern bool values_timestamp_in_range(int64 timestamp);

/* "YYYY-MM-DD HH:MM:SS.ffffff+00:00" for a TIMESTAMP, which must be in range. */
extern char *values_timestamp_text(int64 timestamp);

/* The same without a zone, for a DATETIME: a timestamp without time zone, which must be in range. */
extern char *values_datetime_text(int64 timestamp);

/* "YYYY-MM-DD" for a DateADT; NULL when it is out of BigQuery's range (infinite as well). */
extern char *values_date_text(int32 day);

/*
 * The digits of a numeric, without trailing zeros; NULL when there are more than
 * `before` and `after` the point, or it is NaN or infinite.
 */
extern char *values_numeric_text(Datum value, int before, int after);

/*
 * A text as UTF-8; NULL when different texts of BigQuery might look the same in the
 * database's encoding, or the bytes are not valid UTF-8.
 */
extern char *values_string_text(Datum value);

#endif /* CONTRATOS_VALUES_H */
