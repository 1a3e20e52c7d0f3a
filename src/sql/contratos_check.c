/*
 * contratos_check.c
 *	  SQL: contratos_check().
 */
#include "postgres.h"

#include "fmgr.h"
#include "funcapi.h"
#include "utils/builtins.h"
#include "utils/tuplestore.h"

#include "check/check.h"

PG_FUNCTION_INFO_V1(contratos_check);

static void
emit(void *arg, const CheckRow *row)
{
	ReturnSetInfo *set = arg;
	const char *texts[5] = {row->source, row->name, row->status, row->found, row->hint};
	Datum values[5] = {0};
	bool nulls[5];

	for (int i = 0; i < (int) lengthof(texts); i++)
	{
		nulls[i] = texts[i] == NULL;
		if (!nulls[i])
			values[i] = CStringGetTextDatum(texts[i]);
	}
	tuplestore_putvalues(set->setResult, set->setDesc, values, nulls);
}

/* A NULL stands for all sources. */
Datum
contratos_check(PG_FUNCTION_ARGS)
{
	InitMaterializedSRF(fcinfo, 0);
	check_all(PG_ARGISNULL(0) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(0)), emit, fcinfo->resultinfo);
	return (Datum) 0;
}
