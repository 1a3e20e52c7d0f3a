/*
 * values_nested.c
 *	  Values made of values: ARRAY, STRUCT, RANGE, and JSON as jsonb.
 */
#include "postgres.h"

#include "values_internal.h"

ValueReader *
values_nested_reader(const BqField *field, Oid type, int32 typmod, const char *column, Failure *f)
{
	return values_refuse(field, type, typmod, column, f);
}
