/*
 * worker_housekeeping.c
 *	  Steps of a round, each with a recovery of its own: one that fails keeps
 *	  neither the others nor the loads from going on.
 *
 * A step is tried in every round, and fails until somebody has removed the
 * cause.  So an error is logged once and not with each round; after an hour it
 * is logged again, as who reads the log may not see what is older.
 */
#include "postgres.h"

#include "access/xact.h"
#include "common/hashfn.h"
#include "utils/memutils.h"

#include "request.h"
#include "worker_internal.h"

#define LOG_AGAIN_MS (60 * 60 * 1000)

/* What the worker remembers of a step that fails; all of it can be lost. */
typedef struct Trouble
{
	const char *step;
	uint64 error; /* hash of the one that was logged last; 0: it goes well */
	int64 logged_at; /* request_clock_ms() */
} Trouble;

#define MAX_STEPS 8
static Trouble troubles[MAX_STEPS];

static Trouble *
trouble_of(const char *step)
{
	int i = 0;

	while (troubles[i].step != NULL && strcmp(troubles[i].step, step) != 0)
		i++;
	Assert(i < MAX_STEPS - 1);
	troubles[i].step = step;
	return &troubles[i];
}

/* In PG_CATCH: whether the error is worth logging, which is then noted. */
static bool
is_news(const char *step, const ErrorData *edata)
{
	Trouble *trouble = trouble_of(step);
	const char *message = edata->message ? edata->message : "";
	uint64 error = hash_bytes_extended((const unsigned char *) message, (int) strlen(message), edata->sqlerrcode) | 1;
	int64 now = request_clock_ms();

	if (trouble->error == error && now - trouble->logged_at < LOG_AGAIN_MS)
		return false;
	trouble->error = error;
	trouble->logged_at = now;
	return true;
}

/* A step has failed, and everything of it is undone; outside of a transaction. */
static void
step_failed(const char *step, const ErrorData *edata)
{
	elog(DEBUG1, "contratos: %s has failed: %s", step, edata->message);
}

/* A step went well; outside of a transaction. */
static void
step_succeeded(const char *step)
{
	trouble_of(step)->error = 0;
}

bool
housekeeping(const char *step, void (*function)(void *arg), void *arg, MemoryContext context)
{
	ErrorData *volatile edata = NULL;

	PG_TRY();
	{
		function(arg);
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(context);
		errcontext("contratos worker, %s", step);
		edata = CopyErrorData();
		if (is_news(step, edata))
			EmitErrorReport();
		FlushErrorState();
		AbortOutOfAnyTransaction();
	}
	PG_END_TRY();
	MemoryContextSwitchTo(context);
	if (edata != NULL)
		step_failed(step, edata);
	else
		step_succeeded(step);
	return edata == NULL;
}
