/*
 * catch.c
 *	  Errors that are caught, so that the caller can go on.
 */
#include "postgres.h"

#include "access/xact.h"
#include "utils/memutils.h"
#include "utils/resowner.h"

#include "base/catch.h"

ErrorData *
catch_in_subtransaction(void (*body)(void *arg), void *arg, bool keep)
{
	MemoryContext context = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;

	ErrorData *volatile edata = NULL;

	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(context);
	PG_TRY();
	{
		body(arg);
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(context);
		edata = CopyErrorData();
		FlushErrorState();
	}
	PG_END_TRY();
	if (edata == NULL && keep)
		ReleaseCurrentSubTransaction();
	else
		RollbackAndReleaseCurrentSubTransaction();
	MemoryContextSwitchTo(context);
	CurrentResourceOwner = owner;
	return edata;
}

void
catch_emit(void *arg pg_attribute_unused(), ErrorData *edata pg_attribute_unused())
{
	EmitErrorReport();
}

ErrorData *
catch_with_transactions(void (*body)(void *arg), void *arg, void (*report)(void *arg, ErrorData *edata))
{
	MemoryContext context = CurrentMemoryContext;

	ErrorData *volatile edata = NULL;

	PG_TRY();
	{
		body(arg);
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(context);
		edata = CopyErrorData();
		if (report != NULL)
			report(arg, edata);
		FlushErrorState();
		AbortOutOfAnyTransaction();
	}
	PG_END_TRY();
	MemoryContextSwitchTo(context);
	return edata;
}
