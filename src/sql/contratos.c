/*
 * contratos.c
 *	  The functions that PostgreSQL calls: the library's initialization and its SQL
 *	  functions.
 *
 * They read arguments and delegate.  Arguments may be NULL in the signature (the
 * functions are not STRICT) so that a NULL is an error that names the argument, and not
 * a silent NULL result.
 */
#include "postgres.h"

#include "access/reloptions.h"
#include "access/xact.h"
#include "commands/extension.h"
#include "commands/trigger.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "utils/builtins.h"
#include "utils/date.h"
#include "utils/tuplestore.h"

#include "base/compat.h"
#include "base/crypto.h"
#include "base/day.h"
#include "base/json.h"
#include "base/settings.h"
#include "call/mirror.h"
#include "call/run.h"
#include "fdw/fdw.h"
#include "http/http.h"
#include "ledger/extension.h"
#include "ledger/ledger_run.h"
#include "ledger/ledger_source.h"
#include "ledger/schedule.h"
#include "ledger/statement.h"
#include "ledger/worker_signal.h"
#include "load/load.h"
#include "load/setup.h"
#include "remote/options.h"
#include "sql/contratos_internal.h"
#include "worker/worker.h"

/* The columns message (of loads) and version: with the others they fit a terminal of 120 columns. */
#define MESSAGE_WIDTH 50
#define VERSION_WIDTH 90

CONTRATOS_MODULE_MAGIC;

PG_FUNCTION_INFO_V1(contratos_fdw_handler);
PG_FUNCTION_INFO_V1(contratos_fdw_validator);
PG_FUNCTION_INFO_V1(contratos_sources_normalize);
PG_FUNCTION_INFO_V1(contratos_yesterday);
PG_FUNCTION_INFO_V1(contratos_setup);
PG_FUNCTION_INFO_V1(contratos_run);
PG_FUNCTION_INFO_V1(contratos_backfill);
PG_FUNCTION_INFO_V1(contratos_backfill_range);
PG_FUNCTION_INFO_V1(contratos_load);
PG_FUNCTION_INFO_V1(contratos_estimate);
PG_FUNCTION_INFO_V1(contratos_mirror);
PG_FUNCTION_INFO_V1(contratos_enqueue);
PG_FUNCTION_INFO_V1(contratos_cancel);
PG_FUNCTION_INFO_V1(contratos_accept);
PG_FUNCTION_INFO_V1(contratos_sources_changed);
PG_FUNCTION_INFO_V1(contratos_sources_registered);
PG_FUNCTION_INFO_V1(contratos_version);

PGDLLEXPORT void _PG_init(void);

void
_PG_init(void)
{
	settings_define();
	statement_init();
	/* the SQL functions work without the worker: a library that is not preloaded is not an error */
	if (process_shared_preload_libraries_in_progress && !IsBinaryUpgrade)
		launcher_register();
}

Datum
contratos_fdw_handler(PG_FUNCTION_ARGS pg_attribute_unused())
{
	PG_RETURN_POINTER(fdw_routine());
}

Datum
contratos_fdw_validator(PG_FUNCTION_ARGS)
{
	options_validate(PG_GETARG_DATUM(0), PG_GETARG_OID(1));
	PG_RETURN_VOID();
}

/* Replace one of the row's names by schema.table. */
static HeapTuple
normalize_column(Relation relation, HeapTuple tuple, const char *column)
{
	int attnum = SPI_fnumber(RelationGetDescr(relation), column);
	char *name = SPI_getvalue(tuple, RelationGetDescr(relation), attnum);
	Datum value;
	bool isnull = false;

	if (name == NULL)
		return tuple; /* NOT NULL has a better message */
	value = CStringGetTextDatum(ledger_normalize_name(name, column));
	return heap_modify_tuple_by_cols(tuple, RelationGetDescr(relation), 1, &attnum, &value, &isnull);
}

/*
 * The same for a function named by the row, with that number of arguments; an unchanged
 * name is not checked again.
 */
static HeapTuple
normalize_hook(const TriggerData *trigger, HeapTuple tuple, const char *column, int nargs)
{
	Relation relation = trigger->tg_relation;
	int attnum = SPI_fnumber(RelationGetDescr(relation), column);
	char *name = SPI_getvalue(tuple, RelationGetDescr(relation), attnum);
	char *before = TRIGGER_FIRED_BY_UPDATE(trigger->tg_event)
					   ? SPI_getvalue(trigger->tg_trigtuple, RelationGetDescr(relation), attnum)
					   : NULL;
	Datum value;
	bool isnull = false;

	if (name == NULL || (before != NULL && strcmp(name, before) == 0))
		return tuple;
	value = CStringGetTextDatum(load_qualify_hook(name, nargs, column));
	return heap_modify_tuple_by_cols(tuple, RelationGetDescr(relation), 1, &attnum, &value, &isnull);
}

Datum
contratos_sources_normalize(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = (TriggerData *) fcinfo->context;
	HeapTuple tuple;

	if (!CALLED_AS_TRIGGER(fcinfo) || !TRIGGER_FIRED_BEFORE(trigger->tg_event) ||
		!TRIGGER_FIRED_FOR_ROW(trigger->tg_event))
		ereport(ERROR, (errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
						errmsg("_contratos_sources_normalize() is for the trigger of contratos_sources only")));
	tuple = TRIGGER_FIRED_BY_UPDATE(trigger->tg_event) ? trigger->tg_newtuple : trigger->tg_trigtuple;
	tuple = normalize_column(trigger->tg_relation, tuple, "remote_table");
	tuple = normalize_column(trigger->tg_relation, tuple, "target_table");
	tuple = normalize_hook(trigger, tuple, "after_load", 2);
	tuple = normalize_hook(trigger, tuple, "on_failure", 3);
	return PointerGetDatum(tuple);
}

/* A column of the row that a trigger was fired for, as text; NULL if it is null. */
static char *
column_text(const TriggerData *trigger, const char *column)
{
	TupleDesc desc = RelationGetDescr(trigger->tg_relation);
	HeapTuple row = TRIGGER_FIRED_BY_UPDATE(trigger->tg_event) ? trigger->tg_newtuple : trigger->tg_trigtuple;

	return SPI_getvalue(row, desc, SPI_fnumber(desc, column));
}

Datum
contratos_sources_registered(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = (TriggerData *) fcinfo->context;
	LedgerSource source = {0};

	if (!CALLED_AS_TRIGGER(fcinfo) || !TRIGGER_FIRED_AFTER(trigger->tg_event) ||
		!TRIGGER_FIRED_FOR_ROW(trigger->tg_event) || TRIGGER_FIRED_BY_DELETE(trigger->tg_event))
		ereport(ERROR, (errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
						errmsg("_contratos_sources_registered() is for the trigger of contratos_sources only")));
	source.name = column_text(trigger, "name");
	source.remote_table = column_text(trigger, "remote_table");
	source.target_table = column_text(trigger, "target_table");
	source.timestamp_column = column_text(trigger, "timestamp_column");
	source.snapshot = strcmp(column_text(trigger, "snapshot"), "t") == 0;
	load_registered(&source);
	return PointerGetDatum(NULL);
}

Datum
contratos_yesterday(PG_FUNCTION_ARGS pg_attribute_unused())
{
	PG_RETURN_DATEADT(day_yesterday(settings_now()));
}

Datum
contratos_setup(PG_FUNCTION_ARGS pg_attribute_unused())
{
	extension_lock_for_call();
	setup_builtin();
	PG_RETURN_VOID();
}

void
contratos_refuse_null(FunctionCallInfo fcinfo, int n, const char *name)
{
	if (PG_ARGISNULL(n))
		ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("argument \"%s\" must not be null", name)));
}

void
contratos_get_days(FunctionCallInfo fcinfo, const char *function, DateADT *first, DateADT *last)
{
	contratos_refuse_null(fcinfo, 0, "first");
	contratos_refuse_null(fcinfo, 1, "last");
	*first = PG_GETARG_DATEADT(0);
	*last = PG_GETARG_DATEADT(1);
	if (*first > *last)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("first must not be after last"),
						errhint("%s(first, last) takes the earlier day first.", function)));
}

/* Add a row to the result set. */
static void
emit(void *arg, const RunResult *result)
{
	ReturnSetInfo *set = arg;
	Datum values[6] = {0};
	bool nulls[6] = {0};

	values[0] = DateADTGetDatum(result->day);
	values[1] = CStringGetTextDatum(ledger_status_name(result->status));
	values[2] = Int64GetDatum(result->rows_loaded);
	values[3] = Int64GetDatum(result->rows_replaced);
	nulls[2] = result->rows_loaded < 0;
	nulls[3] = result->rows_replaced < 0;
	nulls[4] = result->message == NULL;
	if (!nulls[4])
		values[4] = CStringGetTextDatum(contratos_fold(result->message, MESSAGE_WIDTH));
	values[5] = Int64GetDatum(result->run);
	nulls[5] = result->run == 0;
	tuplestore_putvalues(set->setResult, set->setDesc, values, nulls);
}

Datum
contratos_run(PG_FUNCTION_ARGS)
{
	contratos_refuse_null(fcinfo, 0, "day");
	contratos_refuse_null(fcinfo, 1, "source");
	contratos_refuse_null(fcinfo, 2, "allow_shrink");
	contratos_refuse_null(fcinfo, 3, "allow_empty");
	RunOptions options = {.allow_shrink = PG_GETARG_BOOL(2), .allow_empty = PG_GETARG_BOOL(3)};
	InitMaterializedSRF(fcinfo, 0);
	emit(fcinfo->resultinfo, run_day(text_to_cstring(PG_GETARG_TEXT_PP(1)), PG_GETARG_DATEADT(0), &options));
	return (Datum) 0;
}

/* The options of a backfill: its arguments from n on. */
static RunOptions
get_options(FunctionCallInfo fcinfo, int n)
{
	contratos_refuse_null(fcinfo, n, "only_missing");
	contratos_refuse_null(fcinfo, n + 1, "allow_shrink");
	contratos_refuse_null(fcinfo, n + 2, "allow_empty");
	return (RunOptions){
		.only_missing = PG_GETARG_BOOL(n), .allow_shrink = PG_GETARG_BOOL(n + 1), .allow_empty = PG_GETARG_BOOL(n + 2)};
}

Datum
contratos_backfill(PG_FUNCTION_ARGS)
{
	DateADT last = day_yesterday(settings_now());
	int32 days;

	contratos_refuse_null(fcinfo, 0, "days");
	contratos_refuse_null(fcinfo, 1, "source");
	RunOptions options = get_options(fcinfo, 2);
	days = PG_GETARG_INT32(0);
	if (days < 1 || days > RUN_MAX_DAYS)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("days must be between 1 and %d", RUN_MAX_DAYS),
				 errdetail("It was %d.", days), errhint("contratos_backfill(7) loads the last seven complete days.")));
	InitMaterializedSRF(fcinfo, 0);
	run_days("contratos_backfill()", text_to_cstring(PG_GETARG_TEXT_PP(1)), last - (days - 1), last, &options, emit,
			 fcinfo->resultinfo);
	return (Datum) 0;
}

Datum
contratos_backfill_range(PG_FUNCTION_ARGS)
{
	DateADT first;
	DateADT last;

	contratos_get_days(fcinfo, "contratos_backfill_range", &first, &last);
	contratos_refuse_null(fcinfo, 2, "source");
	RunOptions options = get_options(fcinfo, 3);
	InitMaterializedSRF(fcinfo, 0);
	run_days("contratos_backfill_range()", text_to_cstring(PG_GETARG_TEXT_PP(2)), first, last, &options, emit,
			 fcinfo->resultinfo);
	return (Datum) 0;
}

/* A procedure that commits must be called where it may do so: found out before anything is asked or billed. */
static void
refuse_atomic(FunctionCallInfo fcinfo)
{
	const CallContext *context = (const CallContext *) fcinfo->context;

	if (context == NULL || !IsA(context, CallContext) || context->atomic || IsSubTransaction())
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_TRANSACTION_TERMINATION),
				 errmsg("contratos_load() cannot run inside a transaction block, a function or a block with EXCEPTION"),
				 errdetail("It commits after each day."),
				 errhint("Run CALL contratos_load(...) as a statement of its own, with autocommit on. "
						 "contratos_backfill_range() loads days in the current transaction.")));
}

Datum
contratos_load(PG_FUNCTION_ARGS)
{
	DateADT first;
	DateADT last;
	char *source;

	refuse_atomic(fcinfo);
	contratos_get_days(fcinfo, "contratos_load", &first, &last);
	contratos_refuse_null(fcinfo, 2, "source");
	contratos_refuse_null(fcinfo, 3, "only_missing");
	SPI_connect_ext(SPI_OPT_NONATOMIC);
	/* in memory that survives the commits */
	source = text_to_cstring(PG_GETARG_TEXT_PP(2));
	run_load(source, first, last, PG_GETARG_BOOL(3));
	SPI_finish();
	PG_RETURN_VOID();
}

#define TIB (1024.0 * 1024 * 1024 * 1024)

/* BigQuery's list price of a TiB in the US, in dollars; the default of contratos_estimate(). */
#define LIST_PRICE 6.25

/* For one TiB, in any currency. */
#define MAX_PRICE 1e9

/* The state of an estimate that is being returned. */
typedef struct Estimate
{
	ReturnSetInfo *set;
	double price_per_tib;
} Estimate;

/* To eight decimal places: the smallest billed amount costs less than a hundredth of a cent. */
static Datum
price_of(const RunEstimate *estimate, double price_per_tib)
{
	char *price = psprintf("%.8f", (double) estimate->bytes_billed / TIB * price_per_tib);

	return DirectFunctionCall3(numeric_in, CStringGetDatum(price), ObjectIdGetDatum(InvalidOid), Int32GetDatum(-1));
}

/* Add one day of it. */
static void
emit_estimate(void *arg, const RunEstimate *estimate)
{
	const Estimate *all = arg;
	Datum values[4] = {
		DateADTGetDatum(estimate->day),
		Int64GetDatum(estimate->bytes_processed),
		Int64GetDatum(estimate->bytes_billed),
		price_of(estimate, all->price_per_tib),
	};
	bool hidden = estimate->bytes_processed < 0;
	bool nulls[4] = {false, hidden, hidden, hidden};

	tuplestore_putvalues(all->set->setResult, all->set->setDesc, values, nulls);
}

Datum
contratos_estimate(PG_FUNCTION_ARGS)
{
	DateADT first;
	DateADT last;
	Estimate estimate;

	contratos_get_days(fcinfo, "contratos_estimate", &first, &last);
	contratos_refuse_null(fcinfo, 2, "source");
	contratos_refuse_null(fcinfo, 3, "price_per_tib");
	estimate.price_per_tib = PG_GETARG_FLOAT8(3);
	/* this also rejects NaN */
	if (!(estimate.price_per_tib >= 0 && estimate.price_per_tib <= MAX_PRICE))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("price_per_tib must be between 0 and %g", MAX_PRICE),
				 errdetail("It was %g.", estimate.price_per_tib)));
	InitMaterializedSRF(fcinfo, 0);
	estimate.set = (ReturnSetInfo *) fcinfo->resultinfo;
	run_estimate(text_to_cstring(PG_GETARG_TEXT_PP(2)), first, last, emit_estimate, &estimate);
	return (Datum) 0;
}

static char *
text_or_null(FunctionCallInfo fcinfo, int n)
{
	return PG_ARGISNULL(n) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(n));
}

Datum
contratos_mirror(PG_FUNCTION_ARGS)
{
	contratos_refuse_null(fcinfo, 0, "remote");
	contratos_refuse_null(fcinfo, 3, "snapshot");
	contratos_refuse_null(fcinfo, 4, "enabled");
	contratos_refuse_null(fcinfo, 5, "server");
	MirrorRequest request = {
		.remote = text_or_null(fcinfo, 0),
		.target = text_or_null(fcinfo, 1),
		.timestamp_column = text_or_null(fcinfo, 2),
		.snapshot = PG_GETARG_BOOL(3),
		.enabled = PG_GETARG_BOOL(4),
		.server = text_or_null(fcinfo, 5),
		.name = text_or_null(fcinfo, 6),
	};
	InitMaterializedSRF(fcinfo, 0);
	ReturnSetInfo *set = (ReturnSetInfo *) fcinfo->resultinfo;
	const Mirror *mirror = mirror_create(&request);
	const char *texts[4] = {mirror->source, mirror->remote_table, mirror->target_table, mirror->timestamp_column};
	Datum values[6] = {0};
	bool nulls[6] = {0};

	for (int i = 0; i < (int) lengthof(texts); i++)
	{
		nulls[i] = texts[i] == NULL;
		if (!nulls[i])
			values[i] = CStringGetTextDatum(texts[i]);
	}
	nulls[4] = nulls[5] = mirror->estimate.bytes_processed < 0;
	values[4] = Int64GetDatum(mirror->estimate.bytes_billed);
	values[5] = price_of(&mirror->estimate, LIST_PRICE);
	tuplestore_putvalues(set->setResult, set->setDesc, values, nulls);
	return (Datum) 0;
}

Datum
contratos_enqueue(PG_FUNCTION_ARGS)
{
	DateADT first;
	DateADT last;

	contratos_get_days(fcinfo, "contratos_enqueue", &first, &last);
	contratos_refuse_null(fcinfo, 2, "source");
	contratos_refuse_null(fcinfo, 3, "only_missing");
	PG_RETURN_INT32(run_enqueue(text_to_cstring(PG_GETARG_TEXT_PP(2)), first, last, PG_GETARG_BOOL(3)));
}

Datum
contratos_cancel(PG_FUNCTION_ARGS)
{
	contratos_refuse_null(fcinfo, 0, "run");
	PG_RETURN_BOOL(run_cancel(PG_GETARG_INT64(0)));
}

Datum
contratos_accept(PG_FUNCTION_ARGS)
{
	contratos_refuse_null(fcinfo, 0, "day");
	contratos_refuse_null(fcinfo, 1, "source");
	PG_RETURN_INT64(run_accept(text_to_cstring(PG_GETARG_TEXT_PP(1)), PG_GETARG_DATEADT(0),
							   PG_ARGISNULL(2) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(2))));
}

/* The sources or the queue have changed: wake up the worker. */
Datum
contratos_sources_changed(PG_FUNCTION_ARGS)
{
	if (!CALLED_AS_TRIGGER(fcinfo))
		ereport(ERROR, (errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
						errmsg("_contratos_sources_changed() is for the trigger of contratos_sources only")));
	worker_signal_at_commit();
	PG_RETURN_POINTER(NULL);
}

Datum
contratos_version(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *set = (ReturnSetInfo *) fcinfo->resultinfo;
	const char *rows[][2] = {
		{"extension", extension_version()}, {"library", CONTRATOS_VERSION},		 {"libcurl", http_library_version()},
		{"OpenSSL", jwt_library_version()}, {"jansson", json_library_version()},
	};

	(void) extension_fits_library(WARNING);
	InitMaterializedSRF(fcinfo, 0);
	for (int i = 0; i < (int) lengthof(rows); i++)
	{
		Datum values[2] = {CStringGetTextDatum(rows[i][0]),
						   CStringGetTextDatum(contratos_fold(rows[i][1], VERSION_WIDTH))};
		bool nulls[2] = {false, false};

		tuplestore_putvalues(set->setResult, set->setDesc, values, nulls);
	}
	return (Datum) 0;
}
