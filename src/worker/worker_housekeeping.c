/*
 * worker_housekeeping.c
 *	  Steps of a round, each with its own error recovery: a step that fails does
 *	  not prevent the others, nor the loads.
 *
 * A failing step is tried again in every round, and fails until somebody has
 * removed the cause.  So an error is logged once and not in each round; after an
 * hour it is logged again, as a reader of the log may not see older lines.
 */
#include "postgres.h"

#include "access/xact.h"
#include "common/hashfn.h"
#include "utils/memutils.h"

#include "base/clock.h"
#include "base/failure.h"
#include "bigquery/request.h"
#include "ledger/ledger_history.h"
#include "load/error_class.h"
#include "worker/attempt.h"
#include "worker/worker.h"

#define LOG_AGAIN_MS (60 * 60 * 1000)

/* The worker's state of a step; all of it can be lost. */
typedef struct Step
{
	const char *name;
	bool well; /* it has succeeded since its last failure; false at first */
	uint64 error; /* hash of its last error; 0: it succeeded, or has not been tried */
	int64 logged_at; /* clock_ms() */
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

/* In PG_CATCH: whether the error must be logged; if so, it is remembered. */
static bool
is_news(Step *step, const ErrorData *edata)
{
	const char *message = edata->message ? edata->message : "";
	uint64 error = hash_bytes_extended((const unsigned char *) message, (int) strlen(message), edata->sqlerrcode) | 1;
	int64 now = clock_ms();

	step->well = false;
	if (step->error == error && now - step->logged_at < LOG_AGAIN_MS)
		return false;
	step->error = error;
	step->logged_at = now;
	return true;
}

/* Message, DETAIL and HINT, as in the server log. */
static char *
error_text(const ErrorData *edata)
{
	return psprintf("%s%s%s", error_with_detail(edata), edata->hint != NULL ? "\nHINT:  " : "",
					edata->hint != NULL ? edata->hint : "");
}

/* A step that is being run. */
typedef struct Doing
{
	void (*function)(void *arg);
	void *arg;
	const char *name;
	Step *step;
	bool is_news;
	MemoryContext context;
	const ErrorData *edata; /* to be recorded; NULL: the step succeeded */
} Doing;

/* Record the result, which contratos_status and contratos_check report. */
static void
note_in_ledger(void *arg)
{
	const Doing *doing = arg;

	if (!attempt_begin_transaction())
		return;
	MemoryContextSwitchTo(doing->context);
	ledger_note_step(doing->name, doing->edata != NULL ? doing->edata->sqlerrcode : 0,
					 doing->edata != NULL ? error_text(doing->edata) : NULL);
	attempt_commit(doing->context);
}

static void
do_step(void *arg)
{
	const Doing *doing = arg;

	doing->function(doing->arg);
}

/* Log the error once, and not in each round. */
static void
report_step(void *arg, ErrorData *edata)
{
	Doing *doing = arg;

	errcontext("contratos worker, %s", doing->name);
	doing->is_news = is_news(doing->step, edata);
	if (doing->is_news)
		EmitErrorReport();
}

bool
housekeeping(const char *name, void (*function)(void *arg), void *arg, MemoryContext context)
{
	Doing doing = {.function = function, .arg = arg, .name = name, .step = step_called(name), .context = context};
	ErrorData *edata = catch_with_transactions(do_step, &doing, report_step);
	bool is_well_again = edata == NULL && !doing.step->well;

	if (is_well_again)
	{
		doing.step->well = true;
		doing.step->error = 0;
	}
	doing.edata = edata;
	/* the step's own error has been logged; that of recording it need not be */
	if (doing.is_news || is_well_again)
		(void) catch_with_transactions(note_in_ledger, &doing, NULL);
	return edata == NULL;
}
