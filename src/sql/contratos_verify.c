/*
 * contratos_verify.c
 *	  contratos_verify(): its arguments and rows.
 */
#include "postgres.h"

#include "fmgr.h"
#include "funcapi.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"
#include "utils/tuplestore.h"

#include "call/run.h"
#include "ledger/ledger.h"
#include "load/verify.h"
#include "sql/contratos_internal.h"

PG_FUNCTION_INFO_V1(contratos_verify);

/* A row being put together, column by column. */
typedef struct Row
{
	int n;
	Datum values[10];
	bool nulls[10];
} Row;

static void
add(Row *row, Datum value, bool isnull)
{
	row->values[row->n] = value;
	row->nulls[row->n++] = isnull;
}

static void
add_text(Row *row, const char *text)
{
	add(row, text ? CStringGetTextDatum(text) : (Datum) 0, text == NULL);
}

static void
emit(void *arg, const VerifyDay *day)
{
	ReturnSetInfo *set = arg;
	const LedgerSuccess *ledger = &day->ledger;
	bool loaded = ledger->run != 0;
	Row row = {0};

	add(&row, DateADTGetDatum(day->day), false);
	add(&row, Int64GetDatum(day->there.rows), false);
	add(&row, Int64GetDatum(day->here.rows), false);
	add(&row, Int64GetDatum(ledger->rows_loaded), !loaded);
	add(&row, TimestampTzGetDatum(day->there.max_timestamp), !day->there.has_max);
	add(&row, TimestampTzGetDatum(day->here.max_timestamp), !day->here.has_max);
	add(&row, TimestampTzGetDatum(ledger->source_max_timestamp), !loaded || !ledger->has_max_timestamp);
	add_text(&row, day->there.fingerprint);
	add_text(&row, loaded ? ledger->fingerprint : NULL);
	add(&row, BoolGetDatum(day->agrees), false);
	tuplestore_putvalues(set->setResult, set->setDesc, row.values, row.nulls);
}

Datum
contratos_verify(PG_FUNCTION_ARGS)
{
	DateADT first;
	DateADT last;

	contratos_get_days(fcinfo, "contratos_verify", &first, &last);
	contratos_refuse_null(fcinfo, 2, "source");
	InitMaterializedSRF(fcinfo, 0);
	run_verify(text_to_cstring(PG_GETARG_TEXT_PP(2)), first, last, emit, fcinfo->resultinfo);
	return (Datum) 0;
}
