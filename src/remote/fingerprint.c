/*
 * fingerprint.c
 *	  The fingerprint of a day's rows, here and there.
 *
 * It is made of what came over the wire and not of what is in the target: text
 * in a numeric column ("018", "1e3", " 18") does not read back as it came, and
 * a text loses its U+0000 here.  Lengths keep neighbours apart, so that text
 * moved over a column's border changes the row; NULL has none.
 *
 * Why sums and not XOR: equal rows are usual in the source, and under XOR each
 * pair of them would vanish.  32 bits a row leave room for 2^31 rows a day.
 */
#include "postgres.h"

#include "lib/stringinfo.h"
#include "port/pg_bswap.h"
#include "utils/builtins.h"

#include "base/digest.h"
#include "bigquery/message.h"
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

/* --------------------------------------------------------------------------
 * Here
 * -------------------------------------------------------------------------- */

struct Fingerprint
{
	Digest *digest;
	StringInfoData row; /* what is hashed: most rows as a whole, long ones in pieces */
	uint64 sums[2];
	int ncells;
	char *forms; /* of each cell, as fingerprint_agreements() gives them */
};

/* To put short texts together and hash them at once is faster; of long ones there need be no copy. */
#define PIECE_BYTES (64 * 1024)

#define FORM_NONE '-' /* left out */
#define FORM_PLAIN 'p' /* "<text>:" */
#define FORM_COUNTED 'c' /* "<bytes>:<text>" */

static Fingerprint *
make_fingerprint(int ncells)
{
	Fingerprint *fingerprint = palloc0(sizeof(Fingerprint));

	fingerprint->ncells = ncells;
	fingerprint->forms = palloc0(ncells + 1);
	initStringInfo(&fingerprint->row);
	fingerprint->digest = digest_create();
	return fingerprint;
}

Fingerprint *
fingerprint_create(const RemoteTable *table, const AttrNumber *columns, int ncolumns, const BqField *fields)
{
	Fingerprint *fingerprint = make_fingerprint(ncolumns);

	for (int i = 0; i < ncolumns; i++)
	{
		const Agreement *agreement = agreement_for(deparse_column(table, columns[i]));

		if (agreement != NULL && (fields[i].repeated || strcmp(agreement->type, fields[i].type) != 0))
			return NULL;
		fingerprint->forms[i] = agreement == NULL ? FORM_NONE : agreement->plain ? FORM_PLAIN : FORM_COUNTED;
	}
	return fingerprint;
}

const char *
fingerprint_agreements(const Fingerprint *fingerprint)
{
	return fingerprint->forms;
}

Fingerprint *
fingerprint_agreed(const char *agreements)
{
	Fingerprint *fingerprint = make_fingerprint((int) strlen(agreements));

	memcpy(fingerprint->forms, agreements, fingerprint->ncells);
	return fingerprint;
}

/* Hash what has been put together. */
static void
hash_piece(Fingerprint *fingerprint)
{
	digest_add(fingerprint->digest, fingerprint->row.data, fingerprint->row.len);
	fingerprint->row.len = 0;
}

/* A cell's text; as appendStringInfo() would write it, but in half the time. */
static void
append_cell(Fingerprint *fingerprint, char form, const RowsCell *cell)
{
	StringInfo row = &fingerprint->row;
	bool is_long = cell->len > PIECE_BYTES;

	/* room for a length and a colon besides */
	enlargeStringInfo(row, (is_long ? 0 : (int) cell->len) + 16);
	if (cell->kind == ROWS_NULL)
	{
		row->data[row->len++] = '-';
		return;
	}
	if (form == FORM_COUNTED)
	{
		row->len += pg_ultoa_n((uint32) cell->len, row->data + row->len);
		row->data[row->len++] = ':';
	}
	if (is_long)
	{
		hash_piece(fingerprint);
		digest_add(fingerprint->digest, cell->data, cell->len);
	}
	else
	{
		memcpy(row->data + row->len, cell->data, cell->len);
		row->len += (int) cell->len;
	}
	if (form == FORM_PLAIN)
		row->data[row->len++] = ':';
	if (row->len > PIECE_BYTES)
		hash_piece(fingerprint);
}

void
fingerprint_row(Fingerprint *fingerprint, const RowsCell *cells, uint8 result[FINGERPRINT_ROW_BYTES])
{
	uint8 hash[DIGEST_BYTES];

	digest_begin(fingerprint->digest);
	fingerprint->row.len = 0;
	for (int i = 0; i < fingerprint->ncells; i++)
		if (fingerprint->forms[i] != FORM_NONE)
			append_cell(fingerprint, fingerprint->forms[i], &cells[i]);
	hash_piece(fingerprint);
	digest_end(fingerprint->digest, hash);
	memcpy(result, hash, FINGERPRINT_ROW_BYTES);
}

void
fingerprint_add_row(Fingerprint *fingerprint, const uint8 row[FINGERPRINT_ROW_BYTES])
{
	uint32 halves[2];

	memcpy(halves, row, sizeof(halves));
	for (int i = 0; i < 2; i++)
		fingerprint->sums[i] += pg_ntoh32(halves[i]);
}

void
fingerprint_add(Fingerprint *fingerprint, const RowsCell *cells)
{
	uint8 row[FINGERPRINT_ROW_BYTES];

	fingerprint_row(fingerprint, cells, row);
	fingerprint_add_row(fingerprint, row);
}

void
fingerprint_text(const Fingerprint *fingerprint, char text[FINGERPRINT_SIZE])
{
	snprintf(text, FINGERPRINT_SIZE, UINT64_FORMAT ":" UINT64_FORMAT, fingerprint->sums[0], fingerprint->sums[1]);
}

/* --------------------------------------------------------------------------
 * There
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
