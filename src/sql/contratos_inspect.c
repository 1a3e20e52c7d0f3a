/*
 * contratos_inspect.c
 *	  The SQL functions that change nothing: contratos_check(), contratos_verify(), and
 *	  the parts of contratos_status and contratos_page that SQL cannot compute.
 *
 * The latter only read, and work on a standby and in a read-only transaction.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/date.h"
#include "utils/timestamp.h"
#include "utils/tuplestore.h"

#include "base/compat.h"
#include "base/day.h"
#include "base/settings.h"
#include "call/run.h"
#include "check/check.h"
#include "ledger/extension.h"
#include "ledger/ledger_history.h"
#include "ledger/ledger_source.h"
#include "ledger/schedule.h"
#include "ledger/worker_signal.h"
#include "load/load.h"
#include "load/verify.h"
#include "sql/contratos_internal.h"

/* --------------------------------------------------------------------------
 * contratos_check()
 * -------------------------------------------------------------------------- */

PG_FUNCTION_INFO_V1(contratos_check);

/*
 * The widths of the columns found and hint: with the others they fill a terminal of 120
 * columns; for found there is what the names of sources leave.
 */
#define FOUND_WIDTH 47
#define MIN_FOUND_WIDTH 16
#define HINT_WIDTH 36

/* NULL means all sources. */
Datum
contratos_check(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *set = (ReturnSetInfo *) fcinfo->resultinfo;
	int name_width = sizeof("source") - 1;
	List *rows;
	ListCell *cell;

	InitMaterializedSRF(fcinfo, 0);
	rows = check_all(PG_ARGISNULL(0) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(0)));
	foreach (cell, rows)
		if (((CheckRow *) lfirst(cell))->source != NULL)
			name_width = Max(name_width, (int) strlen(((CheckRow *) lfirst(cell))->source));
	foreach (cell, rows)
	{
		const CheckRow *row = lfirst(cell);
		const char *texts[5] = {row->source, row->name, row->status,
								contratos_fold(row->found, Max(FOUND_WIDTH - name_width, MIN_FOUND_WIDTH)),
								row->hint ? contratos_fold(row->hint, HINT_WIDTH) : NULL};
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
	return (Datum) 0;
}

/* --------------------------------------------------------------------------
 * For contratos_status, contratos_problems, contratos_page and contratos_metrics: the
 * schedule, the time, the caps, the worker, and whether there is a source
 * -------------------------------------------------------------------------- */

PG_FUNCTION_INFO_V1(contratos_known_source);
PG_FUNCTION_INFO_V1(contratos_byte_caps);
PG_FUNCTION_INFO_V1(contratos_next);
PG_FUNCTION_INFO_V1(contratos_now);
PG_FUNCTION_INFO_V1(contratos_worker);
PG_FUNCTION_INFO_V1(contratos_worker_is_starting);

/*
 * The functions of a view are called with the privileges of the role that reads it, so
 * these are executable by all.  A role that may read none of the views learns nothing.
 */
static bool
may_read_status(void)
{
	return pg_class_aclcheck(extension_relation("contratos_status"), GetUserId(), ACL_SELECT) == ACLCHECK_OK ||
		   pg_class_aclcheck(extension_relation("contratos_problems"), GetUserId(), ACL_SELECT) == ACLCHECK_OK ||
		   pg_class_aclcheck(extension_relation("contratos_metrics"), GetUserId(), ACL_SELECT) == ACLCHECK_OK;
}

/*
 * The worker's memory of changes is not visible to this function: a failed day that is
 * due again because its source, key file or configuration has changed is shown so only
 * after the worker has begun with it, which happens at once.
 */
Datum
contratos_next(PG_FUNCTION_ARGS)
{
	TimestampTz now = settings_now();
	char *source = text_to_cstring(PG_GETARG_TEXT_PP(0));
	List *schedules = may_read_status() ? load_schedules() : NIL;
	ListCell *cell;
	Datum values[2] = {0};
	bool nulls[2] = {true, true};
	TupleDesc desc;

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	foreach (cell, schedules)
	{
		LedgerSchedule *schedule = lfirst(cell);
		int64 open_run;
		ScheduleAction action;

		if (strcmp(schedule->source.name, source) != 0)
			continue;
		action = ledger_next(schedule, 0, now, &open_run);
		if (action.what != SCHEDULE_NOTHING && IS_VALID_TIMESTAMP(action.due))
		{
			values[0] = TimestampTzGetDatum(Max(action.due, now));
			values[1] = DateADTGetDatum(action.day);
			nulls[0] = nulls[1] = false;
		}
	}
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls)));
}

/* The settings exist once the library is loaded, so that a query cannot ask for them itself. */
Datum
contratos_byte_caps(PG_FUNCTION_ARGS)
{
	int64 caps[2] = {settings_bytes_per_day(), settings_bytes_per_day_total()};
	Datum values[2] = {Int64GetDatum(caps[0]), Int64GetDatum(caps[1])};
	bool nulls[2] = {caps[0] == 0, caps[1] == 0};
	TupleDesc desc;

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls)));
}

Datum
contratos_now(PG_FUNCTION_ARGS pg_attribute_unused())
{
	PG_RETURN_TIMESTAMPTZ(settings_now());
}

/* The name itself; 22004 when it is NULL, 42704 when there is no such source. */
Datum
contratos_known_source(PG_FUNCTION_ARGS)
{
	contratos_refuse_null(fcinfo, 0, "source");
	ledger_source(text_to_cstring(PG_GETARG_TEXT_PP(0)));
	PG_RETURN_DATUM(PG_GETARG_DATUM(0));
}

Datum
contratos_worker(PG_FUNCTION_ARGS)
{
	int pid = may_read_status() ? worker_signal_pid(MyDatabaseId) : 0;

	if (pid == 0)
		PG_RETURN_NULL();
	PG_RETURN_INT32(pid);
}

Datum
contratos_worker_is_starting(PG_FUNCTION_ARGS pg_attribute_unused())
{
	PG_RETURN_BOOL(may_read_status() && worker_signal_is_expected(MyDatabaseId) &&
				   worker_signal_pid(MyDatabaseId) == 0);
}

/* --------------------------------------------------------------------------
 * contratos_verify()
 * -------------------------------------------------------------------------- */

PG_FUNCTION_INFO_V1(contratos_verify);

/* The latest timestamp as the time of day in UTC: its date is the day. */
static Datum
time_of_latest(const DayFigures *figures)
{
	TimeADT time = figures->max_timestamp % USECS_PER_DAY;

	return TimeADTGetDatum(time < 0 ? time + USECS_PER_DAY : time);
}

static void
emit_verified_day(void *arg, const VerifyDay *day)
{
	ReturnSetInfo *set = arg;
	const LedgerSuccess *ledger = &day->ledger;
	bool loaded = ledger->run != 0;
	Datum values[] = {
		DateADTGetDatum(day->day),			Int64GetDatum(day->remote.rows), Int64GetDatum(day->target.rows),
		Int64GetDatum(ledger->loaded.rows), time_of_latest(&day->remote),	 time_of_latest(&day->target),
		time_of_latest(&ledger->loaded),	BoolGetDatum(day->agrees),
	};
	bool nulls[] = {
		false, false, false, !loaded, !day->remote.has_max, !day->target.has_max, !loaded || !ledger->loaded.has_max,
		false,
	};

	tuplestore_putvalues(set->setResult, set->setDesc, values, nulls);
}

Datum
contratos_verify(PG_FUNCTION_ARGS)
{
	DateADT first;
	DateADT last;

	contratos_get_days(fcinfo, "contratos_verify", &first, &last);
	contratos_refuse_null(fcinfo, 2, "source");
	InitMaterializedSRF(fcinfo, 0);
	run_verify(text_to_cstring(PG_GETARG_TEXT_PP(2)), first, last, emit_verified_day, fcinfo->resultinfo);
	return (Datum) 0;
}
