/*
 * bigquery_types.c
 *	  BigQuery's type names.
 *
 * The REST API says the legacy names (INTEGER, FLOAT, BOOLEAN, RECORD), DDL
 * and INFORMATION_SCHEMA GoogleSQL's; everything here speaks GoogleSQL.
 */
#include "postgres.h"

#include "bigquery.h"

static const struct
{
	const char *said;
	const char *name;
} type_names[] = {
	{"STRING", "STRING"},
	{"INT64", "INT64"},
	{"TIMESTAMP", "TIMESTAMP"},
	{"NUMERIC", "NUMERIC"},
	{"BIGNUMERIC", "BIGNUMERIC"},
	{"FLOAT64", "FLOAT64"},
	{"BOOL", "BOOL"},
	{"DATE", "DATE"},
	{"DATETIME", "DATETIME"},
	{"TIME", "TIME"},
	{"BYTES", "BYTES"},
	{"JSON", "JSON"},
	{"GEOGRAPHY", "GEOGRAPHY"},
	{"INTERVAL", "INTERVAL"},
	{"RANGE", "RANGE"},
	{"STRUCT", "STRUCT"},
	/* legacy names */
	{"INTEGER", "INT64"},
	{"FLOAT", "FLOAT64"},
	{"BOOLEAN", "BOOL"},
	{"RECORD", "STRUCT"},
	/* GoogleSQL's own aliases */
	{"INT", "INT64"},
	{"SMALLINT", "INT64"},
	{"BIGINT", "INT64"},
	{"TINYINT", "INT64"},
	{"BYTEINT", "INT64"},
	{"DECIMAL", "NUMERIC"},
	{"BIGDECIMAL", "BIGNUMERIC"},
};

const char *
bigquery_type_name(const char *type)
{
	for (size_t i = 0; i < lengthof(type_names); i++)
	{
		if (pg_strcasecmp(type, type_names[i].said) == 0)
			return type_names[i].name;
	}
	return NULL;
}
