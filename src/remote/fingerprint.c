/*
 * fingerprint.c
 *	  The columns that a day's fingerprint covers, and the GoogleSQL that computes it.
 */
#include "postgres.h"

#include "lib/stringinfo.h"
#include "utils/builtins.h"

#include "bigquery/bqtype.h"
#include "bigquery/job.h"
#include "bigquery/message.h"
#include "read/rowhash.h"
#include "remote/deparse.h"
#include "remote/fingerprint.h"
#include "remote/options.h"

/* The facts about a column's assumed type; NULL if the fingerprint does not cover the column. */
static const BqTypeFacts *
covered(const RemoteColumn *column)
{
	const BqTypeFacts *facts = &bqtypes[deparse_column_type(column)];

	return facts->fingerprint != NULL ? facts : NULL;
}

char *
fingerprint_forms(const RemoteTable *table, const AttrNumber *columns, int ncolumns, const BqField *fields)
{
	char *forms = palloc0(ncolumns + 1);

	for (int i = 0; i < ncolumns; i++)
	{
		const BqTypeFacts *facts = covered(deparse_column(table, columns[i]));

		if (facts != NULL && (fields[i].repeated || facts != &bqtypes[fields[i].type]))
			return NULL;
		forms[i] = facts == NULL ? ROWHASH_NONE : facts->fingerprint_plain ? ROWHASH_PLAIN : ROWHASH_COUNTED;
	}
	return forms;
}

/* --------------------------------------------------------------------------
 * As GoogleSQL
 * -------------------------------------------------------------------------- */

/* One column's "<bytes>:<text>" as GoogleSQL. */
static void
append_expression(StringInfo buf, const RemoteColumn *column, const BqTypeFacts *facts)
{
	char *name = deparse_quote(column->remote_name);
	StringInfoData text;

	initStringInfo(&text);
	appendStringInfo(&text, facts->fingerprint, name);
	if (facts->fingerprint_plain)
		appendStringInfo(buf, "IFNULL(CONCAT(%s, ':'), '-')", text.data);
	else
		appendStringInfo(buf, "IFNULL(CONCAT(CAST(BYTE_LENGTH(%s) AS STRING), ':', %s), '-')", text.data, text.data);
}

/* Append the hash of a row in hexadecimal, over the concatenated texts of the covered columns. */
static void
append_hash(StringInfo buf, const RemoteTable *table, const AttrNumber *columns, int ncolumns)
{
	/* CONCAT() needs at least one argument: '' is there in case no column is covered */
	appendStringInfoString(buf, "TO_HEX(SHA256(CONCAT(''");
	for (int i = 0; i < ncolumns; i++)
	{
		const RemoteColumn *column = deparse_column(table, columns[i]);
		const BqTypeFacts *facts = covered(column);

		if (facts == NULL)
			continue;
		appendStringInfoString(buf, ", ");
		append_expression(buf, column, facts);
	}
	appendStringInfoString(buf, ")))");
}

/* The sum of 32 bits of the rows' hashes, as text; 0 without rows. */
static char *
sum_from(int position)
{
	return psprintf("CAST(IFNULL(SUM(CAST(CONCAT('0x', SUBSTR(`h`, %d, 8)) AS INT64)), 0) AS STRING)", position);
}

/* The expression whose largest value is returned: an instant, in UTC for a DATE or a DATETIME. */
static char *
instant(const RemoteTable *table, AttrNumber timestamp)
{
	const RemoteColumn *column = timestamp != InvalidAttrNumber ? deparse_column(table, timestamp) : NULL;
	BqType type = column != NULL ? deparse_column_type(column) : BQ_UNKNOWN;

	if (column == NULL)
		return pstrdup("CAST(NULL AS TIMESTAMP)");
	if (type == BQ_UNKNOWN || type == BQ_TIMESTAMP)
		return deparse_quote(column->remote_name);
	/* the time zone is explicit, because a project may have another default */
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

/* The aggregates over these rows, and FROM. */
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
