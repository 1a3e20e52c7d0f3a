/*
 * run_queue.c
 *	  Days that are queued for the worker, or canceled.
 *
 * Neither call uses the network or waits for the worker: both write to the ledger,
 * and when that is committed the worker is woken.
 */
#include "postgres.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "tcop/utility.h"

#include "call/run.h"
#include "call/run_internal.h"
#include "ledger/extension.h"
#include "ledger/ledger_queue.h"
#include "ledger/ledger_source.h"
#include "ledger/worker_signal.h"

/* A hundred years: a typing error must not fill the ledger. */
#define MAX_QUEUED_DAYS 36600

static void
begin_queueing(const char *function)
{
	PreventCommandDuringRecovery(function);
	PreventCommandIfReadOnly(function);
	extension_lock();
}

int
run_enqueue(const char *source, DateADT first, DateADT last, bool only_missing)
{
	begin_queueing("contratos_enqueue()");
	LedgerSource *found = ledger_source(source);
	run_check_day(found, first);
	run_check_day(found, last);
	if (last - first >= MAX_QUEUED_DAYS)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("cannot queue more than %d days", MAX_QUEUED_DAYS),
				 errdetail("From first to last there are %d.", last - first + 1),
				 errhint("Queue them in several calls.")));

	int queued = ledger_enqueue(found->name, first, last, only_missing);
	if (queued == 0)
		return 0;
	worker_signal_at_commit();
	if (worker_signal_pid() == 0)
		ereport(NOTICE, (errmsg("no worker is running in this database: the days stay queued"),
						 errhint("Put contratos into shared_preload_libraries and this database into "
								 "contratos.databases.")));
	return queued;
}

bool
run_cancel(int64 run)
{
	bool running;

	begin_queueing("contratos_cancel()");
	if (!ledger_cancel(run, &running))
		return false;
	if (running)
		worker_signal_stop_run();
	else
		worker_signal_at_commit();
	return true;
}
