/*
 * bqtype.c
 *	  BigQuery's types, and the facts about each.
 *
 * The REST API uses the legacy names (INTEGER, FLOAT, BOOLEAN, RECORD), DDL and
 * INFORMATION_SCHEMA use those of GoogleSQL; so does this file.
 */
#include "postgres.h"

#include "catalog/pg_type.h"

#include "bigquery/bqtype.h"

/*
 * A local type that several types map to stands for the first of them.
 *
 * Fingerprints are made of the texts on the wire: for STRING the text itself, U+0000
 * included, in UTF-8; for BYTES base64 with padding; for INT64 decimal digits; for
 * TIMESTAMP microseconds, since useInt64Timestamp is set; for NUMERIC the shortest
 * decimal number, because CAST does not always leave out trailing zeros.
 */
const BqTypeFacts bqtypes[] = {
	[BQ_UNKNOWN] = {.name = NULL},
	[BQ_STRING] = {.name = "STRING", .local = TEXTOID, .local_name = "text", .fingerprint = "%s"},
	[BQ_BYTES] = {.name = "BYTES", .local = BYTEAOID, .local_name = "bytea", .fingerprint = "TO_BASE64(%s)"},
	[BQ_INT64] = {.name = "INT64",
				  .aliases = {"INTEGER", "INT", "SMALLINT", "BIGINT", "TINYINT", "BYTEINT"},
				  .local = INT8OID,
				  .local_name = "bigint",
				  .fingerprint = "CAST(%s AS STRING)",
				  .fingerprint_plain = true},
	[BQ_FLOAT64] = {.name = "FLOAT64", .aliases = {"FLOAT"}, .local = FLOAT8OID, .local_name = "double precision"},
	[BQ_NUMERIC] = {.name = "NUMERIC",
					.aliases = {"DECIMAL"},
					.local = NUMERICOID,
					.local_name = "numeric",
					.fingerprint = "REGEXP_REPLACE(CAST(%s AS STRING), '([.][0-9]*[1-9])0+$|[.]0+$', '\\\\1')"},
	[BQ_BIGNUMERIC] = {.name = "BIGNUMERIC", .aliases = {"BIGDECIMAL"}, .local = NUMERICOID, .local_name = "numeric"},
	[BQ_BOOL] = {.name = "BOOL",
				 .aliases = {"BOOLEAN"},
				 .local = BOOLOID,
				 .local_name = "boolean",
				 .fingerprint = "CAST(%s AS STRING)"},
	[BQ_TIMESTAMP] = {.name = "TIMESTAMP",
					  .local = TIMESTAMPTZOID,
					  .local_name = "timestamptz",
					  .range = TSTZRANGEOID,
					  .fingerprint = "CAST(UNIX_MICROS(%s) AS STRING)",
					  .fingerprint_plain = true},
	[BQ_DATE] = {.name = "DATE",
				 .local = DATEOID,
				 .local_name = "date",
				 .range = DATERANGEOID,
				 .fingerprint = "CAST(%s AS STRING)"},
	[BQ_TIME] = {.name = "TIME", .local = TIMEOID, .local_name = "time"},
	[BQ_DATETIME] = {.name = "DATETIME", .local = TIMESTAMPOID, .local_name = "timestamp", .range = TSRANGEOID},
	[BQ_GEOGRAPHY] = {.name = "GEOGRAPHY", .local = TEXTOID, .local_name = "text"},
	[BQ_INTERVAL] = {.name = "INTERVAL", .local = INTERVALOID, .local_name = "interval"},
	[BQ_JSON] = {.name = "JSON", .local = JSONBOID, .local_name = "jsonb"},
	[BQ_STRUCT] = {.name = "STRUCT", .aliases = {"RECORD"}, .local = JSONBOID, .local_name = "jsonb"},
	[BQ_RANGE] = {.name = "RANGE"},
};

StaticAssertDecl(lengthof(bqtypes) == BQ_NTYPES, "each type needs its facts");

BqType
bqtype_find(const char *name)
{
	for (int type = BQ_UNKNOWN + 1; type < BQ_NTYPES; type++)
	{
		const BqTypeFacts *facts = &bqtypes[type];

		if (pg_strcasecmp(facts->name, name) == 0)
			return (BqType) type;
		for (int i = 0; i < BQ_MAX_ALIASES && facts->aliases[i] != NULL; i++)
			if (pg_strcasecmp(facts->aliases[i], name) == 0)
				return (BqType) type;
	}
	return BQ_UNKNOWN;
}

BqType
bqtype_of_local(Oid local)
{
	if (!OidIsValid(local))
		return BQ_UNKNOWN;
	for (int type = BQ_UNKNOWN + 1; type < BQ_NTYPES; type++)
	{
		if (bqtypes[type].local == local)
			return (BqType) type;
		if (bqtypes[type].range == local)
			return BQ_RANGE;
	}
	return BQ_UNKNOWN;
}

/* "inner" of "OUTER<inner>", blanks stripped; NULL when text is not OUTER<…>. */
static char *
inside(const char *text, const char *outer)
{
	size_t len = strlen(outer);
	const char *end = text + strlen(text);

	if (pg_strncasecmp(text, outer, len) != 0 || text[len] != '<' || end[-1] != '>')
		return NULL;
	text += len + 1;
	end--;
	while (*text == ' ')
		text++;
	while (end > text && end[-1] == ' ')
		end--;
	return pnstrdup(text, end - text);
}

bool
bqtype_parse(const char *text, BqColumnType *type)
{
	char *repeated = inside(text, "ARRAY");
	const char *single = repeated ? repeated : text;
	char *element = inside(single, bqtypes[BQ_RANGE].name);

	*type = (BqColumnType){
		.type = element ? BQ_RANGE : bqtype_find(single),
		.range_element = element ? bqtype_find(element) : BQ_UNKNOWN,
		.repeated = repeated != NULL,
	};
	if (element ? OidIsValid(bqtypes[type->range_element].range) : type->type != BQ_UNKNOWN)
		return true;
	*type = (BqColumnType){.type = BQ_UNKNOWN};
	return false;
}

char *
bqtype_text(BqColumnType type)
{
	const char *name = bqtypes[type.type].name;
	char *single =
		type.range_element == BQ_UNKNOWN ? pstrdup(name) : psprintf("%s<%s>", name, bqtypes[type.range_element].name);

	return type.repeated ? psprintf("ARRAY<%s>", single) : single;
}
