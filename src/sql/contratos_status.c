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
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "base/compat.h"
#include "base/settings.h"
#include "ledger/extension.h"
#include "ledger/ledger.h"
#include "ledger/schedule.h"
#include "ledger/wake.h"

PG_FUNCTION_INFO_V1(contratos_next);
PG_FUNCTION_INFO_V1(contratos_worker);

/*
 * A view's functions are called with the rights of whoever reads it, so that
 * these two are executable by all.  Who may not read the view learns nothing.
 */
static bool
may_read_status(void)
{
	return pg_class_aclcheck(extension_relation("contratos_status"), GetUserId(), ACL_SELECT) == ACLCHECK_OK;
}

/*
 * What the worker remembers of changes is not known here: a failed day that is
 * due again because its source, key file or configuration has changed shows so
 * once the worker has begun with it, which is at once.
 */
Datum
contratos_next(PG_FUNCTION_ARGS)
{
	TimestampTz now = settings_now();
	List *found = may_read_status() ? ledger_schedules(text_to_cstring(PG_GETARG_TEXT_PP(0))) : NIL;
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
	int pid = may_read_status() ? wake_worker_pid() : 0;

	if (pid == 0)
		PG_RETURN_NULL();
	PG_RETURN_INT32(pid);
}
