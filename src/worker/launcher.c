/*
 * launcher.c
 *	  Starts a worker for each database in contratos.databases.
 *
 * It connects to no database, so it blocks none, and reads only shared catalogs.
 * Workers are not restarted by the postmaster but by the launcher, which knows
 * whether they are still wanted and delays the restart of one that keeps dying.  A
 * worker outlives its launcher; the next launcher finds it by its lock, has no handle
 * for it, and looks every second whether it still runs.
 */
#include "postgres.h"

#include <signal.h>

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/pg_database.h"
#include "commands/dbcommands.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/proc.h"
#include "tcop/tcopprot.h"
#include "utils/acl.h"
#include "utils/fmgroids.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "base/compat.h"
#include "base/settings.h"
#include "ledger/worker_signal.h"
#include "worker/worker.h"

/* After how many seconds the postmaster starts a launcher again that was terminated. */
#define RESTART_S 5

/* How often a worker of an earlier launcher is looked for. */
#define LOOK_FOR_ADOPTED_MS 1000

/* How often a missing database is looked for. */
#define LOOK_AGAIN_MS (60 * 1000)

/* A worker that dies soon after its start is restarted after 1 s, 2 s, … at most: */
#define MAX_DELAY_MS (60 * 1000)

/* A worker that will be started within this time is not reported as missing. */
#define EXPECTED_WITHIN_MS (5 * 1000)

/* A worker that has run this long is restarted at once when it dies. */
#define ADULT_MS (60 * 1000)

/* Why a database has no worker, as far as it has been logged. */
typedef enum Complaint
{
	COMPLAINT_NONE,
	COMPLAINT_ABSENT,
	COMPLAINT_TEMPLATE,
	COMPLAINT_NO_ROLE,
	COMPLAINT_NO_SLOT
} Complaint;

/* A database of the setting. */
typedef struct Place
{
	char name[NAMEDATALEN];
	LauncherOrder order; /* for its worker */
	BackgroundWorkerHandle *handle; /* of its worker, or NULL */
	int adopted; /* process id of a worker that an earlier launcher has started; 0: none */
	Oid expected; /* the database for which worker_signal_expect() is in effect */
	TimestampTz started;
	TimestampTz not_before; /* of the next start */
	int young_deaths; /* consecutive ones */
	int reloads; /* number of reloads when it was started */
	bool wanted; /* by the setting as it is now */
	Complaint logged;
} Place;

static List *places = NIL;
static MemoryContext places_context = NULL;

/* When the configuration was last reloaded; 0: not since the server started. */
static TimestampTz reloaded_at = 0;
static int reloads = 0;

void
launcher_register(void)
{
	BackgroundWorker worker = {0};

	worker.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
	worker.bgw_start_time = BgWorkerStart_RecoveryFinished;
	worker.bgw_restart_time = RESTART_S;
	strlcpy(worker.bgw_library_name, "contratos", sizeof(worker.bgw_library_name));
	strlcpy(worker.bgw_function_name, "contratos_launcher_main", sizeof(worker.bgw_function_name));
	strlcpy(worker.bgw_name, "contratos launcher", sizeof(worker.bgw_name));
	strlcpy(worker.bgw_type, "contratos launcher", sizeof(worker.bgw_type));
	RegisterBackgroundWorker(&worker);
}

static Place *
place_of(const char *name)
{
	ListCell *cell;
	Place *place;
	MemoryContext old;

	foreach (cell, places)
		if (strcmp(((Place *) lfirst(cell))->name, name) == 0)
			return lfirst(cell);
	old = MemoryContextSwitchTo(places_context);
	place = palloc0(sizeof(Place));
	strlcpy(place->name, name, sizeof(place->name));
	places = lappend(places, place);
	MemoryContextSwitchTo(old);
	return place;
}

/*
 * The OID of a database that accepts connections, whether it is a template, and
 * the worker's role; in a transaction of its own.
 */
static Oid
find_database(const char *name, bool *is_template, Oid *role)
{
	Relation catalog;
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple tuple;
	Oid found = InvalidOid;

	StartTransactionCommand();
	(void) GetTransactionSnapshot();
	catalog = table_open(DatabaseRelationId, AccessShareLock);
	ScanKeyInit(&key, Anum_pg_database_datname, BTEqualStrategyNumber, F_NAMEEQ, CStringGetDatum(name));
	/* without a database there are no indexes to use */
	scan = systable_beginscan(catalog, InvalidOid, false, NULL, 1, &key);
	tuple = systable_getnext(scan);
	*is_template =
		settings_refuse_template(name, HeapTupleIsValid(tuple) && ((Form_pg_database) GETSTRUCT(tuple))->datistemplate);
	if (HeapTupleIsValid(tuple) && ((Form_pg_database) GETSTRUCT(tuple))->datallowconn)
		found = ((Form_pg_database) GETSTRUCT(tuple))->oid;
	systable_endscan(scan);
	table_close(catalog, AccessShareLock);
	*role = settings_role[0] ? get_role_oid(settings_role, true) : InvalidOid;
	CommitTransactionCommand();
	return found;
}

/* Find workers that an earlier launcher has started, also of databases that the setting no longer names. */
static void
adopt_workers(void)
{
	Relation catalog;
	SysScanDesc scan;
	HeapTuple tuple;

	StartTransactionCommand();
	(void) GetTransactionSnapshot();
	catalog = table_open(DatabaseRelationId, AccessShareLock);
	scan = systable_beginscan(catalog, InvalidOid, false, NULL, 0, NULL);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		Form_pg_database database = (Form_pg_database) GETSTRUCT(tuple);
		int pid = worker_signal_pid(database->oid);

		if (pid == 0)
			continue;

		Place *place = place_of(NameStr(database->datname));

		place->order.database = database->oid;
		place->adopted = pid;
	}
	systable_endscan(scan);
	table_close(catalog, AccessShareLock);
	CommitTransactionCommand();
}

/* Let other processes know whether the database has a worker, or will have one at once. */
static void
expect(Place *place, bool expected)
{
	Oid database = expected ? place->order.database : InvalidOid;

	if (place->expected == database)
		return;
	if (OidIsValid(place->expected))
		worker_signal_expect(place->expected, false);
	if (OidIsValid(database))
		worker_signal_expect(database, true);
	place->expected = database;
}

/* Its worker has ended: decide when the next one may be started. */
static void
note_death(Place *place)
{
	TimestampTz now = GetCurrentTimestamp();
	int delay = 0;

	pfree(place->handle);
	place->handle = NULL;
	/* an idle worker exits at each reload: that does not count as a death */
	if (place->reloads != reloads || TimestampDifferenceExceeds(place->started, now, ADULT_MS))
		place->young_deaths = 0;
	if (place->young_deaths > 0)
		delay = Min(1000 << Min(place->young_deaths - 1, 10), MAX_DELAY_MS);
	if (place->reloads == reloads)
		place->young_deaths++;
	place->not_before = TimestampTzPlusMilliseconds(now, delay);
}

static void
start_database_worker(Place *place)
{
	BackgroundWorker worker = {0};
	MemoryContext old = MemoryContextSwitchTo(TopMemoryContext);
	bool ok;

	worker.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
	worker.bgw_start_time = BgWorkerStart_RecoveryFinished;
	worker.bgw_restart_time = BGW_NEVER_RESTART;
	worker.bgw_notify_pid = MyProcPid;
	strlcpy(worker.bgw_library_name, "contratos", sizeof(worker.bgw_library_name));
	strlcpy(worker.bgw_function_name, "contratos_worker_main", sizeof(worker.bgw_function_name));
	snprintf(worker.bgw_name, sizeof(worker.bgw_name), "contratos worker for %s", place->name);
	strlcpy(worker.bgw_type, "contratos worker", sizeof(worker.bgw_type));
	place->order.changed_at = reloaded_at;
	memcpy(worker.bgw_extra, &place->order, sizeof(place->order));
	ok = RegisterDynamicBackgroundWorker(&worker, &place->handle);
	MemoryContextSwitchTo(old);

	place->started = GetCurrentTimestamp();
	place->reloads = reloads;
	if (!ok && place->logged != COMPLAINT_NO_SLOT)
		ereport(WARNING, (errcode(ERRCODE_INSUFFICIENT_RESOURCES),
						  errmsg("could not start the contratos worker for database \"%s\"", place->name),
						  errhint("You might need to increase max_worker_processes.")));
	place->logged = ok ? COMPLAINT_NONE : COMPLAINT_NO_SLOT;
	if (!ok)
		place->not_before = TimestampTzPlusMilliseconds(place->started, LOOK_AGAIN_MS);
}

static void
complain(const Place *place, Complaint complaint)
{
	if (complaint == COMPLAINT_TEMPLATE)
		ereport(WARNING,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("database \"%s\" of contratos.databases is a template, and gets no worker", place->name),
				 errdetail("CREATE DATABASE copies no database that somebody is connected to."),
				 errhint("Take it out of contratos.databases, or name a database made from it.")));
	else if (complaint == COMPLAINT_NO_ROLE)
		ereport(WARNING, (errcode(ERRCODE_UNDEFINED_OBJECT),
						  errmsg("role \"%s\" of contratos.role does not exist", settings_role),
						  errdetail("Database \"%s\" has no worker until it does.", place->name)));
	else
		ereport(LOG,
				(errmsg("database \"%s\" of contratos.databases does not exist or allows no connections", place->name),
				 errdetail("It is looked for again every minute.")));
}

/* The reason why the database cannot be served, if any; fills in the order for its worker. */
static Complaint
look_up_database(Place *place)
{
	bool is_template;

	place->order.database = find_database(place->name, &is_template, &place->order.role);
	/* a worker connected to it would prevent CREATE DATABASE from copying it */
	if (is_template)
		return COMPLAINT_TEMPLATE;
	if (!OidIsValid(place->order.database))
		return COMPLAINT_ABSENT;
	return settings_role[0] && !OidIsValid(place->order.role) ? COMPLAINT_NO_ROLE : COMPLAINT_NONE;
}

/* A worker without a handle: whether it runs, and (if it is not wanted any more) its end. */
static bool
tend_adopted(Place *place)
{
	if (place->adopted != 0 && worker_signal_pid(place->order.database) != place->adopted)
		place->adopted = 0;
	if (place->adopted != 0 && !place->wanted)
		(void) kill(place->adopted, SIGTERM);
	return place->adopted != 0;
}

/* Start or stop the worker of one database as needed; returns after how many ms to look again (-1: no limit). */
static long
tend_worker(Place *place)
{
	TimestampTz now = GetCurrentTimestamp();
	Complaint complaint;

	if (tend_adopted(place))
		return LOOK_FOR_ADOPTED_MS;
	if (place->handle != NULL)
	{
		pid_t pid;
		BgwHandleStatus status = GetBackgroundWorkerPid(place->handle, &pid);

		if (status != BGWH_STARTED && status != BGWH_NOT_YET_STARTED)
			note_death(place);
	}
	if (!place->wanted)
	{
		if (place->handle != NULL)
			TerminateBackgroundWorker(place->handle);
		return -1;
	}
	if (place->handle != NULL)
		return -1;
	if (place->not_before > now)
		return TimestampDifferenceMilliseconds(now, place->not_before) + 1;
	complaint = look_up_database(place);
	if (complaint != COMPLAINT_NONE)
	{
		/* logged once */
		if (complaint != place->logged)
			complain(place, complaint);
		place->logged = complaint;
		return LOOK_AGAIN_MS;
	}
	/* one that was starting when the earlier launcher ended */
	place->adopted = worker_signal_pid(place->order.database);
	if (place->adopted != 0)
		return LOOK_FOR_ADOPTED_MS;
	start_database_worker(place);
	return place->handle != NULL ? -1 : LOOK_AGAIN_MS;
}

static long
tend(Place *place)
{
	long wait = tend_worker(place);

	expect(place, place->wanted &&
					  (place->handle != NULL || place->adopted != 0 || (wait >= 0 && wait <= EXPECTED_WITHIN_MS)));
	return wait;
}

/* Free the databases that are no longer in the setting, once their workers have ended. */
static void
free_unwanted(void)
{
	ListCell *cell;

	foreach (cell, places)
	{
		Place *place = lfirst(cell);

		if (place->wanted || place->handle != NULL || place->adopted != 0)
			continue;
		places = foreach_delete_current(places, cell);
		pfree(place);
	}
}

static void
wait_for_event(long timeout_ms)
{
	int events = WL_LATCH_SET | WL_EXIT_ON_PM_DEATH | (timeout_ms >= 0 ? WL_TIMEOUT : 0);

	(void) WaitLatch(MyLatch, events, timeout_ms, PG_WAIT_EXTENSION);
	ResetLatch(MyLatch);
	CHECK_FOR_INTERRUPTS();
	if (ConfigReloadPending)
	{
		ConfigReloadPending = false;
		ProcessConfigFile(PGC_SIGHUP);
		reloaded_at = settings_now();
		reloads++;
	}
}

void
contratos_launcher_main(Datum arg pg_attribute_unused())
{
	MemoryContext loop;

	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGTERM, die);
	BackgroundWorkerUnblockSignals();
	settings_pin();
	BackgroundWorkerInitializeConnection(NULL, NULL, 0);
	pgstat_report_appname("contratos launcher");
	loop = AllocSetContextCreate(TopMemoryContext, "contratos launcher", ALLOCSET_SMALL_SIZES);
	places_context = AllocSetContextCreate(TopMemoryContext, "contratos databases", ALLOCSET_SMALL_SIZES);
	adopt_workers();
	MemoryContextSwitchTo(loop);

	for (;;)
	{
		long wait = -1;
		ListCell *cell;

		MemoryContextReset(loop);
		/* mark the databases that the setting names now */
		foreach (cell, places)
			((Place *) lfirst(cell))->wanted = false;
		foreach (cell, settings_database_names())
			place_of(lfirst(cell))->wanted = true;
		foreach (cell, places)
		{
			long mine = tend(lfirst(cell));

			if (mine >= 0 && (wait < 0 || mine < wait))
				wait = mine;
			/* a transaction in it may have switched to another context */
			MemoryContextSwitchTo(loop);
		}
		free_unwanted();
		wait_for_event(wait);
	}
}
