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

/* What the worker remembers of a step; all of it can be lost. */
typedef struct Step
{
	const char *name;
	bool well; /* it has been done since it failed last; false at first */
	uint64 error; /* hash of what it failed with last; 0: it is well, or has not been tried */
	int64 logged_at; /* request_clock_ms() */
} Step;

#define MAX_STEPS 8
static Step steps[MAX_STEPS];

static Step *
step_called(const char *name)
{
	int i = 0;

	while (steps[i].name != NULL && strcmp(steps[i].name, name) != 0)
		i++;
	Assert(i < MAX_STEPS - 1);
	steps[i].name = name;
	return &steps[i];
}

/* In PG_CATCH: whether the error is worth telling, which is then noted. */
static bool
is_news(Step *step, const ErrorData *edata)
{
	const char *message = edata->message ? edata->message : "";
	uint64 error = hash_bytes_extended((const unsigned char *) message, (int) strlen(message), edata->sqlerrcode) | 1;
	int64 now = request_clock_ms();

	step->well = false;
	if (step->error == error && now - step->logged_at < LOG_AGAIN_MS)
		return false;
	step->error = error;
	step->logged_at = now;
	return true;
}

/*
 * A step has failed with an error that is news; all of it is undone.  Outside of
 * a transaction: what is to be kept of it for others is kept here.
 */
static void
note_failure(const Step *step, const ErrorData *edata)
{
	elog(DEBUG1, "contratos: %s has failed: %s", step->name, edata->message);
}

/*
 * A step has been done that had failed, or was not tried before by this process.
 * Outside of a transaction: what others were told of its failure ends here.
 */
static void
note_success(Step *step)
{
	step->well = true;
	step->error = 0;
}

bool
housekeeping(const char *name, void (*function)(void *arg), void *arg, MemoryContext context)
{
	Step *volatile step = step_called(name);
	ErrorData *volatile news = NULL;
	volatile bool done = false;

	PG_TRY();
	{
		function(arg);
		done = true;
	}
	PG_CATCH();
	{
		ErrorData *edata;

		MemoryContextSwitchTo(context);
		errcontext("contratos worker, %s", name);
		edata = CopyErrorData();
		if (is_news(step, edata))
		{
			EmitErrorReport();
			news = edata;
		}
		FlushErrorState();
		AbortOutOfAnyTransaction();
	}
	PG_END_TRY();
	MemoryContextSwitchTo(context);
	if (news != NULL)
		note_failure(step, news);
	else if (done && !step->well)
		note_success(step);
	return done;
}
