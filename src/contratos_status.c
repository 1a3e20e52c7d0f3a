/*
 * contratos_status.c
 *	  What contratos_status cannot ask in SQL: the schedule, and the worker.
 *
 * Both only read, so they work on a standby and in a read-only transaction.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "fmgr.h"
#include "funcapi.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "compat.h"
#include "ledger.h"
#include "settings.h"
#include "wake.h"

PG_FUNCTION_INFO_V1(contratos_next);
PG_FUNCTION_INFO_V1(contratos_worker);

/*
 * What the worker remembers of changes is not known here: a failed day that is
 * due again because its source, key file or configuration has changed shows so
 * once the worker has begun with it, which is at once.
 */
Datum
contratos_next(PG_FUNCTION_ARGS)
{
	TimestampTz now = settings_now();
	List *found = ledger_schedules(text_to_cstring(PG_GETARG_TEXT_PP(0)));
	Datum values[2] = {0};
	bool nulls[2] = {true, true};
	TupleDesc desc;

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	if (found != NIL)
	{
		int64 open_run;
		ScheduleAction action = ledger_next(linitial(found), 0, now, &open_run);

		if (action.what != SCHEDULE_NOTHING && IS_VALID_TIMESTAMP(action.due))
		{
			values[0] = TimestampTzGetDatum(Max(action.due, now));
			values[1] = DateADTGetDatum(action.day);
			nulls[0] = nulls[1] = false;
		}
	}
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls)));
}

Datum
contratos_worker(PG_FUNCTION_ARGS)
{
	int pid = wake_worker_pid();

	if (pid == 0)
		PG_RETURN_NULL();
	PG_RETURN_INT32(pid);
}
