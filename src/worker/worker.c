/*
 * worker.c
 *	  The worker of one database: it decides when a day is loaded, not how.
 *
 * A round: check that the extension exists, recover stale runs, ask schedule.c for
 * the next action of each source, do the most urgent one, and start over; when
 * nothing is due, prune the ledger, and sleep until something is.  Due actions are
 * derived from the tables each time, never from a timer in memory, so clock jumps,
 * restarts and changes by users need no special handling.
 */
#include "postgres.h"

#include <sys/stat.h>

#include "access/xact.h"
#include "commands/dbcommands.h"
#include "commands/extension.h"
#include "common/hashfn.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/proc.h"
#include "tcop/tcopprot.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "base/clock.h"
#include "base/compat.h"
#include "base/day.h"
#include "base/settings.h"
#include "bigquery/request.h"
#include "ledger/extension.h"
#include "ledger/ledger_history.h"
#include "ledger/ledger_source.h"
#include "ledger/notify.h"
#include "ledger/schedule.h"
#include "ledger/worker_signal.h"
#include "load/load.h"
#include "load/setup.h"
#include "worker/attempt.h"
#include "worker/worker.h"

/* The longest sleep: a clock change is noticed after it at the latest. */
#define MAX_SLEEP_MS (60 * 60 * 1000)

/*
 * How soon to look again at a source that another session is loading; after a
 * round that failed; and after such a round when the worker is woken.
 */
#define BUSY_MS (10 * 1000)
#define FAILED_ROUND_MS (60 * 1000)
#define FAILED_ROUND_PAUSE_MS (5 * 1000)

/* The worker's state of a source; all of it can be lost. */
typedef struct Memory
{
	char name[NAMEDATALEN];
	uint64 version; /* of its row, when last seen */
	char key_file[MAXPGPATH]; /* its credentials file, once it has been used */
	uint64 key_version; /* of that file */
	TimestampTz changed_at; /* when one of these was seen to change; 0 */
	int64 served; /* number of the round that last served it */
	int64 seen; /* number of the last lookup that found it */
	int64 busy_until; /* clock_ms(); 0: not known to be busy */
} Memory;

/* The worker's other state. */
typedef struct WorkerState
{
	char *database; /* its name, when the worker started */
	List *memories;
	MemoryContext memories_context;
	int64 looks; /* lookups of the sources */
	int64 round_number;
	TimestampTz started_changed_at; /* LauncherOrder.changed_at */
	DateADT pruned_on;

	/* already logged */
	bool logged_absent;
	bool logged_version;
	bool logged_copy;
} WorkerState;

static WorkerState state;

/* The most urgent thing found in a round. */
typedef struct Choice
{
	const LedgerSchedule *schedule;
	Memory *memory;
	ScheduleAction action;
	int64 open_run; /* queued or waiting row of the day */
} Choice;

/* A round. */
typedef struct Round
{
	MemoryContext context; /* reset before each */
	Choice best; /* of all sources; its schedule is NULL when there is none */
	long sleep; /* ms until the next */
	long pause; /* the part of it, in ms, that a wake-up does not cut short */
} Round;

static Memory *
memory_of(const LedgerSchedule *schedule)
{
	ListCell *cell;
	Memory *memory;
	MemoryContext old;

	foreach (cell, state.memories)
		if (strcmp(((Memory *) lfirst(cell))->name, schedule->source.name) == 0)
			return lfirst(cell);
	old = MemoryContextSwitchTo(state.memories_context);
	memory = palloc0(sizeof(Memory));
	strlcpy(memory->name, schedule->source.name, sizeof(memory->name));
	memory->version = schedule->version;
	/* one that did not exist at the first lookup is new */
	memory->changed_at = state.looks > 1 ? settings_now() : state.started_changed_at;
	state.memories = lappend(state.memories, memory);
	MemoryContextSwitchTo(old);
	return memory;
}

/* Free the sources that the last lookup did not find. */
static void
free_unseen(void)
{
	ListCell *cell;

	foreach (cell, state.memories)
	{
		Memory *memory = lfirst(cell);

		if (memory->seen == state.looks)
			continue;
		state.memories = foreach_delete_current(state.memories, cell);
		pfree(memory);
	}
}

/* A number that changes when a file is replaced; 0: the file does not exist. */
static uint64
version_of_file(const char *path)
{
	struct stat st;

	/* the keyword metadata is not a path: there is no file */
	if (!is_absolute_path(path) || stat(path, &st) != 0)
		return 0;
	return hash_combine64(hash_combine64((uint64) st.st_ino, (uint64) st.st_mtime), (uint64) st.st_size) | 1;
}

static Choice
consider(LedgerSchedule *schedule, TimestampTz now)
{
	Memory *memory = memory_of(schedule);
	Choice choice = {.schedule = schedule, .memory = memory};
	uint64 key_version = version_of_file(memory->key_file);

	memory->seen = state.looks;
	/* whether the source's row or key file has changed since it was last looked at */
	if (schedule->version != memory->version || key_version != memory->key_version)
		memory->changed_at = settings_now();
	memory->version = schedule->version;
	memory->key_version = key_version;
	choice.action = ledger_next(schedule, memory->changed_at, now, &choice.open_run);
	return choice;
}

/*
 * If two sources are due, the one that was served longer ago is better, so that
 * none delays the others; otherwise the one that is due first.
 */
static bool
is_better(const Choice *a, const Choice *b, TimestampTz now)
{
	bool a_due = a->action.what != SCHEDULE_NOTHING && a->action.due <= now;
	bool b_due;

	if (b->schedule == NULL)
		return true;
	b_due = b->action.what != SCHEDULE_NOTHING && b->action.due <= now;
	if (a_due != b_due)
		return a_due;
	return a_due ? a->memory->served < b->memory->served : a->action.due < b->action.due;
}

/* Whether the extension is installed, in this library's version, and not a copy from another server. */
static bool
is_ours(MemoryContext context)
{
	bool fits;
	bool subscribed = false;

	if (!attempt_begin_transaction())
	{
		if (!state.logged_absent)
			ereport(LOG, (errmsg("extension \"contratos\" is not installed in database \"%s\"", state.database),
						  errdetail("The worker looks again within the hour; CREATE EXTENSION wakes it.")));
		state.logged_absent = true;
		return false;
	}
	state.logged_absent = false;
	fits = extension_fits_library(state.logged_version ? 0 : LOG);
	state.logged_version = !fits;
	if (fits)
	{
		/*
		 * whether sources and ledger are replicated from another server: that server
		 * does the loads, and their rows are replicated as well
		 */
		subscribed = ledger_is_subscribed();
		if (subscribed && !state.logged_copy)
			ereport(LOG, (errmsg("a subscription brings rows of contratos_sources, contratos_runs or "
								 "contratos_rejects: the worker loads nothing in this database"),
						  errhint("Publish the tables that are loaded, without contratos' own.")));
		state.logged_copy = subscribed;
	}
	attempt_commit(context);
	return fits && !subscribed;
}

/* --------------------------------------------------------------------------
 * Steps of a round, for housekeeping()
 * -------------------------------------------------------------------------- */

static void
set_up(void *arg)
{
	Round *round = arg;
	int nest_level;

	if (!attempt_begin_transaction())
		return;
	nest_level = load_bound_waits();
	setup_if_untouched();
	AtEOXact_GUC(false, nest_level);
	attempt_commit(round->context);
}

static void
recover(void *arg)
{
	Round *round = arg;

	attempt_recover(round->context);
}

/* Consider all sources, and choose the one to serve, or to wait for. */
static void
choose_source(void *arg)
{
	Round *round = arg;
	TimestampTz now = settings_now();
	int64 clock = clock_ms();
	Choice best = {.schedule = NULL};
	List *schedules;
	ListCell *cell;

	if (!attempt_begin_transaction())
		return;
	MemoryContextSwitchTo(round->context);
	state.looks++;
	schedules = load_schedules();
	foreach (cell, schedules)
	{
		Choice choice = consider(lfirst(cell), now);

		if (choice.memory->busy_until > clock)
			choice.action.due = Max(choice.action.due, TimestampTzPlusMilliseconds(now, BUSY_MS));
		if (is_better(&choice, &best, now))
			best = choice;
	}
	free_unseen();
	attempt_commit(round->context);
	round->best = best;
}

/* Once a day of the schedule. */
static void
prune(void *arg)
{
	Round *round = arg;
	DateADT today = day_of(settings_now());

	if (state.pruned_on == today || !attempt_begin_transaction())
		return;
	MemoryContextSwitchTo(round->context);
	(void) ledger_prune(settings_history_days, settings_now());
	attempt_commit(round->context);
	state.pruned_on = today;
}

/* -------------------------------------------------------------------------- */

/* Treats the error that prevented a day's attempt from being recorded like that of a step. */
static void
record_step(void *arg)
{
	if (arg != NULL)
		ReThrowError(arg);
}

static void
serve_source(Choice *best, MemoryContext context)
{
	Memory *memory = best->memory;
	AttemptResult result;

	memory->served = ++state.round_number;
	attempt_run(best->schedule, &best->action, best->open_run, context, &result);
	if (result.busy)
		memory->busy_until = clock_ms() + BUSY_MS;
	if (result.key_file != NULL)
		strlcpy(memory->key_file, result.key_file, sizeof(memory->key_file));
	memory->key_version = version_of_file(memory->key_file);
	if (result.answered && best->schedule->unreachable_at != 0)
		ereport(LOG, (errmsg("the server of source \"%s\" can be reached again", memory->name)));
	if (!result.busy || result.unrecorded != NULL)
		(void) housekeeping("recording", record_step, result.unrecorded, context);
}

/* After a round, or a part of it, that failed: a wake-up does not mean that the cause has been removed. */
static void
rest(Round *round)
{
	round->sleep = Min(round->sleep, FAILED_ROUND_MS);
	round->pause = FAILED_ROUND_PAUSE_MS;
}

/* One round.  Pruning is done when nothing is due: a load must not wait for it. */
static void
work(void *arg)
{
	Round *round = arg;
	Choice *best = &round->best;
	bool well;
	TimestampTz now;

	if (!is_ours(round->context))
		return;
	well = housekeeping("set-up", set_up, round, round->context);
	well &= housekeeping("recovery", recover, round, round->context);
	well &= housekeeping("choosing", choose_source, round, round->context);
	now = settings_now();
	if (best->schedule != NULL && best->action.what != SCHEDULE_NOTHING && best->action.due <= now)
	{
		serve_source(best, round->context);
		round->sleep = 0;
		return;
	}
	(void) housekeeping("pruning", prune, round, round->context);
	if (best->schedule != NULL)
		round->sleep =
			best->action.due <= now ? 0 : (long) Min((best->action.due - now) / 1000 + 1, (int64) MAX_SLEEP_MS);
	if (attempt_reports_at() != 0)
		round->sleep = Min(round->sleep, (long) Max(attempt_reports_at() - clock_ms(), 1));
	if (!well)
		rest(round);
}

/*
 * Sleep.  On a reload an idle worker exits and the launcher starts it again, so
 * that it gets the settings of ALTER DATABASE … SET as well.  A stray cancel
 * request is ignored.
 */
static void
sleep_until_something(const Round *round)
{
	int64 now = clock_ms();
	int64 until = now + round->sleep;
	int64 deaf_until = now + round->pause;

	do
	{
		if (ConfigReloadPending)
			proc_exit(0);
		if (WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, (long) (until - now),
					  PG_WAIT_EXTENSION) &
			WL_LATCH_SET)
			until = Min(until, deaf_until);
		ResetLatch(MyLatch);
		QueryCancelPending = false;
		CHECK_FOR_INTERRUPTS();
		now = clock_ms();
	} while (now < until);
	if (ConfigReloadPending)
		proc_exit(0);
}

static char *
name_of_database(void)
{
	char *name;

	StartTransactionCommand();
	name = MemoryContextStrdup(TopMemoryContext, get_database_name(MyDatabaseId));
	CommitTransactionCommand();
	return name;
}

static emit_log_hook_type next_log_hook;

/*
 * Name the database in what this process logs: log_line_prefix cannot, as %d is empty for
 * background workers.  An error keeps its message, and has it as context.
 */
static void
name_database_in_log(ErrorData *edata)
{
	const char *name = psprintf("database \"%s\"", state.database);

	if (edata->elevel >= ERROR)
		edata->context = edata->context != NULL ? psprintf("%s\n%s", edata->context, name) : pstrdup(name);
	else if (edata->elevel >= LOG && strstr(edata->message, name) == NULL)
		edata->message =
			psprintf("%s%s %s", name, strncmp(edata->message, "source \"", 8) == 0 ? "," : ":", edata->message);
	if (next_log_hook != NULL)
		next_log_hook(edata);
}

void
contratos_worker_main(Datum arg pg_attribute_unused())
{
	LauncherOrder order;
	MemoryContext context;

	memcpy(&order, MyBgworkerEntry->bgw_extra, sizeof(order));
	state.started_changed_at = order.changed_at;
	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGTERM, die);
	BackgroundWorkerUnblockSignals();
	settings_pin();
	BackgroundWorkerInitializeConnectionByOid(order.database, order.role, 0);
	pgstat_report_appname("contratos worker");
	if (!worker_signal_lock())
		proc_exit(0); /* another one serves this database */
	settings_pin_session();
	notify_apart();
	context = AllocSetContextCreate(TopMemoryContext, "contratos worker", ALLOCSET_DEFAULT_SIZES);
	state.memories_context = AllocSetContextCreate(TopMemoryContext, "contratos sources", ALLOCSET_SMALL_SIZES);
	MemoryContextSwitchTo(context);
	state.database = name_of_database();
	next_log_hook = emit_log_hook;
	emit_log_hook = name_database_in_log;
	MemoryContextSwitchTo(context);

	const char *billing = worker_billing(context);

	ereport(LOG, (errmsg("contratos worker started for database \"%s\"", state.database),
				  billing != NULL ? errdetail_internal("%s", billing) : 0));

	for (;;)
	{
		Round round = {.context = context, .sleep = MAX_SLEEP_MS};

		MemoryContextReset(context);
		/* a wake-up after this point is seen by this round, or ends the sleep after it */
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
		if (!housekeeping("round", work, &round, context))
			rest(&round);
		if (round.sleep > 0 || ConfigReloadPending)
			sleep_until_something(&round);
	}
}
