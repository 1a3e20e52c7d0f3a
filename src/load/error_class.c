/*
 * error_class.c
 *	  Error classes.
 *
 * Errors of this extension carry the error of BigQuery or the network (a Failure);
 * those of PostgreSQL are classified by the class of their SQLSTATE.
 */
#include "postgres.h"

#include "utils/errcodes.h"

#include "load/error_class.h"

#define CLASS(a, b) MAKE_SQLSTATE(a, b, '0', '0', '0')

bool
error_must_rethrow(const ErrorData *edata)
{
	return ERRCODE_TO_CATEGORY(edata->sqlerrcode) == CLASS('5', '7') || edata->sqlerrcode == ERRCODE_OUT_OF_MEMORY ||
		   edata->sqlerrcode == ERRCODE_T_R_SERIALIZATION_FAILURE || edata->sqlerrcode == ERRCODE_T_R_DEADLOCK_DETECTED;
}

bool
error_fails_every_day(const ErrorData *edata)
{
	const Failure *f = failure_of(edata);

	if (f != NULL && f->every_day)
		return true;
	switch (ERRCODE_TO_CATEGORY(edata->sqlerrcode))
	{
		case CLASS('0', '8'): /* not reached, after all retries */
		case CLASS('2', '8'): /* key or token */
		case CLASS('4', '2'): /* names and privileges */
		case CLASS('F', '0'): /* the key file */
			return true;
		default:
			return edata->sqlerrcode == ERRCODE_UNDEFINED_FILE ||
				   edata->sqlerrcode == ERRCODE_CONFIGURATION_LIMIT_EXCEEDED; /* the daily byte budget */
	}
}

bool
error_is_transient(const ErrorData *edata)
{
	const Failure *f = failure_of(edata);

	if (f != NULL)
		return f->retry == FAILURE_ASK_AGAIN || f->retry == FAILURE_ASK_LATER || f->retry == FAILURE_NEW_JOB;
	switch (ERRCODE_TO_CATEGORY(edata->sqlerrcode))
	{
		case CLASS('0', '8'): /* connections, also to the server of a foreign target */
		case CLASS('4', '0'): /* serialization, deadlock */
		case CLASS('5', '3'): /* memory, disk, connections */
		case CLASS('5', '7'): /* operator intervention */
		case CLASS('5', '8'): /* system */
			return true;
		case CLASS('5', '5'): /* locks and objects in use, but not a wrong state */
			return edata->sqlerrcode != ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE;
		case CLASS('H', 'V'): /* counts that do not agree, the connection of another wrapper; not wrong options */
			return edata->sqlerrcode != ERRCODE_FDW_DYNAMIC_PARAMETER_VALUE_NEEDED &&
				   edata->sqlerrcode != ERRCODE_FDW_INVALID_COLUMN_NAME &&
				   edata->sqlerrcode != ERRCODE_FDW_COLUMN_NAME_NOT_FOUND &&
				   edata->sqlerrcode != ERRCODE_FDW_INVALID_OPTION_NAME;
		default:
			return false;
	}
}

bool
error_is_unreachable(const ErrorData *edata)
{
	const Failure *f = failure_of(edata);

	if (f == NULL)
		return false;
	/* a gateway's answer; with a reason it is BigQuery's, about the one request */
	if (f->http_status >= 502 && f->http_status <= 504 && !f->reason[0])
		return true;
	return ERRCODE_TO_CATEGORY(f->sqlstate) == CLASS('0', '8') && f->sqlstate != ERRCODE_PROTOCOL_VIOLATION;
}

bool
error_blames_row(const ErrorData *edata)
{
	int category = ERRCODE_TO_CATEGORY(edata->sqlerrcode);

	return category == CLASS('2', '2') || category == CLASS('2', '3');
}

bool
error_is_daily_budget(const ErrorData *edata)
{
	return failure_of(edata) == NULL && edata->sqlerrcode == ERRCODE_CONFIGURATION_LIMIT_EXCEEDED;
}

const char *
error_with_detail(const ErrorData *edata)
{
	if (edata->detail == NULL)
		return edata->message;
	return psprintf("%s\nDETAIL:  %s", edata->message, edata->detail);
}
