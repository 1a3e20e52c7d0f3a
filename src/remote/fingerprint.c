/*
 * fingerprint.c
 *	  What a day's fingerprint covers, and the GoogleSQL that computes it.
 */
#include "postgres.h"

#include "lib/stringinfo.h"
#include "utils/builtins.h"

#include "bigquery/job.h"
#include "bigquery/message.h"
#include "read/rowhash.h"
#include "remote/fingerprint.h"
#include "remote/options.h"
#include "values/values.h"

/*
 * The text both sides agree on for a type: here the wire's own, there the
 * expression that gives the same (%s: the column).  A type whose wire text the
 * service does not give again that simply (FLOAT64, JSON) is not covered.
 */
typedef struct Agreement
{
	const char *type; /* GoogleSQL name */
	bool plain; /* "<text>:" instead of "<bytes>:<text>": no such text
				 * can hold a colon */
	const char *expression;
} Agreement;

static const Agreement agreements[] = {
	/* the text as it is, U+0000 included; bytes of UTF-8 are counted */
	{"STRING", false, "%s"},
	/* decimal digits, as the wire has them */
	{"INT64", true, "CAST(%s AS STRING)"},
	/* the wire's own form, since useInt64Timestamp is asked for */
	{"TIMESTAMP", true, "CAST(UNIX_MICROS(%s) AS STRING)"},
	/* YYYY-MM-DD */
	{"DATE", false, "CAST(%s AS STRING)"},
	/* true, false */
	{"BOOL", false, "CAST(%s AS STRING)"},
	/* base64 with padding, as JSON has it */
	{"BYTES", false, "TO_BASE64(%s)"},
	/* the shortest decimal number; zeros at the end are not everywhere left out
	 * by CAST as they are on the wire */
	{"NUMERIC", false, "REGEXP_REPLACE(CAST(%s AS STRING), '([.][0-9]*[1-9])0+$|[.]0+$', '\\\\1')"},
};

static const Agreement *
agreement_for(const RemoteColumn *column)
{
	const char *type = column->remote_type ? column->remote_type : values_natural_type(column->type);

	for (size_t i = 0; type != NULL && i < lengthof(agreements); i++)
		if (strcmp(agreements[i].type, type) == 0)
			return &agreements[i];
	return NULL;
}

const char *
fingerprint_type(const RemoteColumn *column)
{
	const Agreement *agreement = agreement_for(column);

	return agreement ? agreement->type : NULL;
}

char *
fingerprint_forms(const RemoteTable *table, const AttrNumber *columns, int ncolumns, const BqField *fields)
{
	char *forms = palloc0(ncolumns + 1);

	for (int i = 0; i < ncolumns; i++)
	{
		const Agreement *agreement = agreement_for(deparse_column(table, columns[i]));

		if (agreement != NULL && (fields[i].repeated || strcmp(agreement->type, fields[i].type) != 0))
			return NULL;
		forms[i] = agreement == NULL ? ROWHASH_NONE : agreement->plain ? ROWHASH_PLAIN : ROWHASH_COUNTED;
	}
	return forms;
}

/* --------------------------------------------------------------------------
 * As GoogleSQL
 * -------------------------------------------------------------------------- */

/* One column's "<bytes>:<text>" as GoogleSQL. */
static void
append_expression(StringInfo buf, const RemoteColumn *column, const Agreement *agreement)
{
	char *name = deparse_quote(column->remote_name);
	StringInfoData text;

	initStringInfo(&text);
	appendStringInfo(&text, agreement->expression, name);
	if (agreement->plain)
		appendStringInfo(buf, "IFNULL(CONCAT(%s, ':'), '-')", text.data);
	else
		appendStringInfo(buf, "IFNULL(CONCAT(CAST(BYTE_LENGTH(%s) AS STRING), ':', %s), '-')", text.data, text.data);
}

/* A row's hash in hexadecimal, of the covered columns in a row. */
static void
append_hash(StringInfo buf, const RemoteTable *table, const AttrNumber *columns, int ncolumns)
{
	/* CONCAT() takes no fewer than one argument: '' stands for no column */
	appendStringInfoString(buf, "TO_HEX(SHA256(CONCAT(''");
	for (int i = 0; i < ncolumns; i++)
	{
		const RemoteColumn *column = deparse_column(table, columns[i]);
		const Agreement *agreement = agreement_for(column);

		if (agreement == NULL)
			continue;
		appendStringInfoString(buf, ", ");
		append_expression(buf, column, agreement);
	}
	appendStringInfoString(buf, ")))");
}

/* The sum of 32 bits of the rows' hashes, as text; 0 without rows. */
static char *
sum_from(int position)
{
	return psprintf("CAST(IFNULL(SUM(CAST(CONCAT('0x', SUBSTR(`h`, %d, 8)) AS INT64)), 0) AS STRING)", position);
}

/* What the latest is taken of: an instant, as a DATE or a DATETIME is one in UTC. */
static char *
instant(const RemoteTable *table, AttrNumber timestamp)
{
	const RemoteColumn *column = timestamp != InvalidAttrNumber ? deparse_column(table, timestamp) : NULL;
	const char *type;

	if (column == NULL)
		return pstrdup("CAST(NULL AS TIMESTAMP)");
	type = column->remote_type ? column->remote_type : values_natural_type(column->type);
	if (type == NULL || strcmp(type, "TIMESTAMP") == 0)
		return deparse_quote(column->remote_name);
	/* the zone is said: a project may have another default */
	return psprintf("TIMESTAMP(%s, 'UTC')", deparse_quote(column->remote_name));
}

/* Instant and hash of each row. */
static BqQuery *
rows_query(const RemoteTable *table, const AttrNumber *columns, int ncolumns, AttrNumber timestamp,
		   const RemoteCondition *conditions, int nconditions)
{
	StringInfoData list;

	initStringInfo(&list);
	appendStringInfoString(&list, instant(table, timestamp));
	appendStringInfoString(&list, " AS `t`, ");
	append_hash(&list, table, columns, ncolumns);
	appendStringInfoString(&list, " AS `h`");
	return deparse_select(table, list.data, conditions, nconditions);
}

/* What is said of some of them, and FROM. */
static char *
aggregates(void)
{
	return psprintf("COUNT(*) AS `n`, MAX(`t`) AS `m`, CONCAT(%s, ':', %s) AS `f` FROM", sum_from(1), sum_from(9));
}

BqQuery *
fingerprint_query(const RemoteTable *table, const AttrNumber *columns, int ncolumns, AttrNumber timestamp,
				  const RemoteCondition *conditions, int nconditions)
{
	BqQuery *query = rows_query(table, columns, ncolumns, timestamp, conditions, nconditions);

	query->text = psprintf("SELECT %s (%s)", aggregates(), query->text);
	return query;
}

BqQuery *
fingerprint_query_by_day(const RemoteTable *table, const AttrNumber *columns, int ncolumns, AttrNumber timestamp,
						 const RemoteCondition *conditions, int nconditions)
{
	BqQuery *query = rows_query(table, columns, ncolumns, timestamp, conditions, nconditions);

	query->text =
		psprintf("SELECT UNIX_DATE(DATE(`t`, 'UTC')) AS `d`, %s (%s) GROUP BY `d`", aggregates(), query->text);
	return query;
}
