/*
 * load_lock.c
 *	  Waiting for locks on users' tables: for how long, and what is shown
 *	  meanwhile.
 *
 * A worker serves many sources, and a table that somebody has locked must not stop
 * them all.  Its waits for locks on users' tables are bounded.  Those on its
 * ledger are not, because a load that has been paid for would be thrown away.
 */
#include "postgres.h"

#include "pgstat.h"
#include "storage/lmgr.h"
#include "utils/guc.h"
#include "utils/memutils.h"

#include "base/day.h"
#include "base/settings.h"
#include "ledger/schedule.h"
#include "load/load_internal.h"

/* The worker's task: "tokens 2026-11-29"; NULL: none, or this process is not a worker. */
static char *task = NULL;

/* The current step of the task. */
static char shown[256] = "";

void
load_show_begin(const char *source, DateADT day)
{
	load_show_end();
	task = MemoryContextStrdup(TopMemoryContext, psprintf("%s %s", source, day_text(day)));
	load_show("beginning");
}

void
load_show_end(void)
{
	if (task == NULL)
		return;
	pfree(task);
	task = NULL;
	shown[0] = '\0';
	pgstat_report_activity(STATE_IDLE, NULL);
}

void
load_show(const char *format, ...)
{
	va_list args;

	if (task == NULL)
		return;
	va_start(args, format);
	vsnprintf(shown, sizeof(shown), format, args);
	va_end(args);

	char *text = psprintf("%s: %s", task, shown);

	pgstat_report_activity(STATE_RUNNING, text);
	pfree(text);
}

const char *
load_shown(void)
{
	return shown;
}

int
load_bound_waits(void)
{
	int nest_level = NewGUCNestLevel();

	(void) set_config_option("lock_timeout", psprintf("%d", settings_lock_timeout), PGC_USERSET, PGC_S_SESSION,
							 GUC_ACTION_SAVE, true, 0, false);
	return nest_level;
}

void
load_lock(Oid relid, LOCKMODE mode, const char *name)
{
	if (ConditionalLockRelationOid(relid, mode))
		return;
	load_show("waiting for a lock on %s", name);
	LockRelationOid(relid, mode);
}
