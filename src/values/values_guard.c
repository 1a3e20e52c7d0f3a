/*
 * values_guard.c
 *	  Input functions of any type, and other calls that may throw.
 *
 * Before PostgreSQL 16 an input function can reject a text only by throwing, and those
 * of extensions, and the checks of domains, still do.  An error can only be caught in a
 * subtransaction, which releases all resources that were taken. PL/pgSQL's EXCEPTION
 * does the same, at the same cost, so common types are read without it.
 */
#include "postgres.h"

#include "access/transam.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "pgtime.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/resowner.h"

#include "base/compat.h"
#include "base/failure.h"
#include "bigquery/bqtype.h"
#include "bigquery/job.h"
#include "bigquery/message.h"
#include "rows/rows.h"
#include "values/values_internal.h"

/* --------------------------------------------------------------------------
 * Calls that may throw
 * -------------------------------------------------------------------------- */

static bool
formats_are_pinned(void)
{
	return DateStyle == USE_ISO_DATES && DateOrder == DATEORDER_YMD && IntervalStyle == INTSTYLE_POSTGRES &&
		   strcmp(pg_get_timezone_name(session_timezone), "UTC") == 0;
}

/*
 * The meaning of a text must not depend on the session's settings.  They are set until
 * the end of the current GUC nest level, and checked first, since setting them takes
 * longer than most input functions.
 */
static void
pin_formats(void)
{
	static const char *const settings[][2] = {
		{"datestyle", "ISO, YMD"}, {"intervalstyle", "postgres"}, {"timezone", "UTC"}};

	for (int i = 0; i < (int) lengthof(settings); i++)
		(void) set_config_option(settings[i][0], settings[i][1], PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, 0,
								 false);
}

/*
 * Whether an error is about the value, and not about the server or the statement: other
 * errors are rethrown, since another value would raise them as well.
 */
static bool
blames_value(int sqlstate)
{
	switch (ERRCODE_TO_CATEGORY(sqlstate))
	{
		case MAKE_SQLSTATE('2', '5', '0', '0', '0'): /* e.g. a check that writes, read-only */
		case MAKE_SQLSTATE('4', '0', '0', '0', '0'): /* serialization failure, deadlock */
		case MAKE_SQLSTATE('5', '3', '0', '0', '0'): /* out of memory or disk */
		case MAKE_SQLSTATE('5', '7', '0', '0', '0'): /* cancel, shutdown */
		case MAKE_SQLSTATE('5', '8', '0', '0', '0'): /* input and output */
		case MAKE_SQLSTATE('X', 'X', '0', '0', '0'): /* a bug */
			return false;
		default:
			return sqlstate != ERRCODE_INSUFFICIENT_PRIVILEGE && sqlstate != ERRCODE_LOCK_NOT_AVAILABLE;
	}
}

typedef struct Guarded
{
	void (*body)(void *arg);
	void *arg;
} Guarded;

static void
run_with_pinned_formats(void *arg)
{
	const Guarded *guarded = arg;

	if (!formats_are_pinned())
		pin_formats();
	guarded->body(guarded->arg);
}

/*
 * A parallel worker has no subtransactions: the error is caught, and its effects remain
 * until it is rethrown.
 */
static ErrorData *
catch_in_parallel(Guarded *guarded)
{
	MemoryContext context = CurrentMemoryContext;
	int nest_level = NewGUCNestLevel();

	ErrorData *volatile error = NULL;

	PG_TRY();
	{
		run_with_pinned_formats(guarded);
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		FlushErrorState();
	}
	PG_END_TRY();
	if (error == NULL)
		AtEOXact_GUC(true, nest_level);
	return error;
}

bool
values_guarded(ValueReader *reader, void (*body)(void *arg), void *arg, const char **reason)
{
	Guarded guarded = {.body = body, .arg = arg};
	bool sub = can_start_subtransaction_compat();
	/* the end of the subtransaction also ends its GUC nest level */
	ErrorData *error =
		sub ? catch_in_subtransaction(run_with_pinned_formats, &guarded, true) : catch_in_parallel(&guarded);

	if (error == NULL)
		return true;
	if (!blames_value(error->sqlerrcode))
		ReThrowError(error);
	/* the error cannot be rolled back: it ends the statement, as an error of the column */
	if (!sub)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_TEXT_REPRESENTATION),
				 errmsg("value of column \"%s\" cannot be stored without loss", reader->column),
				 errdetail("%s.", error->message),
				 errhint("For on_bad_value 'null' to take effect, run SET max_parallel_workers_per_gather = 0 before "
						 "the query.")));
	(void) values_bad_message(reason, error->message);
	return false;
}

/* --------------------------------------------------------------------------
 * Input functions
 * -------------------------------------------------------------------------- */

/* Types whose input silently truncates, rounds or wraps, or depends on the session's settings. */
static bool
is_careless(Oid type)
{
	switch (type)
	{
		case CHAROID:
		case NAMEOID:
		case OIDOID:
		case XIDOID:
		case XID8OID:
		case CIDOID:
		case CASHOID:
		case FLOAT4OID:
		case FLOAT8OID:
		case TIMEOID:
		case TIMETZOID:
		case TIMESTAMPOID:
		case TIMESTAMPTZOID:
		case INTERVALOID:
		case POINTOID:
		case LINEOID:
		case LSEGOID:
		case BOXOID:
		case PATHOID:
		case POLYGONOID:
		case CIRCLEOID:
			return true;
		default:
			return false;
	}
}

/*
 * array_in() and similar functions pass the typmod, or that of their parts' domain, to
 * the parts' input functions, which round: so the parts of a container must not have
 * one. And jsonb_in() drops equal keys.
 */
bool
values_input_fits(const BqField *field, Oid type, int32 typmod)
{
	/* the type of the parts, if the type is a container */
	Oid part = get_element_type(type);

	if (type_is_rowtype(type) || is_careless(type) || get_typtype(type) == TYPTYPE_PSEUDO)
		return false;
	if (field->type == BQ_BYTES)
		return false;
	if (!OidIsValid(part) && type_is_range(type))
		part = get_range_subtype(type);
	if (!OidIsValid(part) && type_is_multirange(type))
		part = get_range_subtype(get_multirange_range(type));
	if (!OidIsValid(part))
		return true;
	part = getBaseTypeAndTypmod(part, &typmod);
	return typmod < 0 && part != JSONBOID && values_input_fits(field, part, -1);
}

typedef struct Input
{
	FmgrInfo function;
	Oid ioparam;
	int32 typmod;
	bool soft; /* it reports bad values without throwing */
	StringInfoData text; /* UTF-8, the value being read */

	/* of the current call */
	char *given;
	Datum made;
} Input;

static void
call_input(void *arg)
{
	Input *input = arg;

	input->made = InputFunctionCall(&input->function, input->given, input->ioparam, input->typmod);
}

static bool
call_softly(Input *input, const char **reason)
{
	int nest_level = formats_are_pinned() ? 0 : NewGUCNestLevel();

	if (nest_level > 0)
		pin_formats();

	bool ok = input_softly_compat(&input->function, input->given, input->ioparam, input->typmod, &input->made, reason);

	if (nest_level > 0)
		AtEOXact_GUC(true, nest_level);
	if (!ok)
		(void) values_bad_message(reason, *reason);
	return ok;
}

bool
values_input(ValueReader *reader, char *text, Datum *value, const char **reason)
{
	Input *input = reader->state;

	input->given = text;
	if (!(input->soft ? call_softly(input, reason) : values_guarded(reader, call_input, input, reason)))
		return false;
	*value = input->made;
	return true;
}

static ValueResult
read_input(ValueReader *reader, const RowsCell *cell, Datum *value, const char **reason)
{
	Input *input = reader->state;
	char *text;

	resetStringInfo(&input->text);
	if (!values_text(reader->field, cell->data, cell->len, &input->text, reason) ||
		!values_to_server(reader, &input->text, &text, reason))
		return VALUE_BAD;
	return values_input(reader, text, value, reason) ? VALUE_OK : VALUE_BAD;
}

ValueReader *
values_input_reader(const BqField *field, Oid type, int32 typmod, const char *column, Failure *f)
{
	ValueReader *reader = values_make(read_input, field, type, typmod, column, f);
	Oid function;

	if (reader == NULL)
		return NULL;

	Input *input = palloc0(sizeof(Input));

	getTypeInputInfo(type, &function, &input->ioparam);
	fmgr_info(function, &input->function);
	input->typmod = typmod;

	/*
	 * A built-in function of a built-in type reports softly if the version supports that
	 * (16); array_in() for a type of an extension is built in, and still throws.
	 */
	input->soft = has_soft_input_compat() && function < FirstUnpinnedObjectId && type < FirstUnpinnedObjectId;
	initStringInfo(&input->text);
	reader->state = input;
	return reader;
}
