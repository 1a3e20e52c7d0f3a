/*
 * scan_adopt.c
 *	  Scans within a load: they read its finished job, and report their progress to it.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/date.h"
#include "utils/lsyscache.h"
#include "utils/timestamp.h"

#include "fdw/scan_internal.h"

/* The number of rows between two checks of the clock for progress. */
#define PROGRESS_ROWS 256

/* The load's finished job, while its statement runs, and the scans that read it. */
static ScanAdoption *offered = NULL;
static dlist_head adopters = DLIST_STATIC_INIT(adopters);

void
scan_offer(ScanAdoption *adoption)
{
	Assert(offered == NULL);
	offered = adoption;
}

void
scan_adopt_leave(BqScan *scan)
{
	if (scan->role != SCAN_REPORTING && scan->role != SCAN_ADOPTING)
		return;
	dlist_delete(&scan->link);
	scan->role = scan->role == SCAN_REPORTING ? SCAN_OF_LOAD : SCAN_ALONE;
}

static void
leave_with_memory(void *arg)
{
	scan_adopt_leave(arg);
}

/*
 * A cursor that a trigger left open may still be reading: the job that it reads, and
 * the load that it reports to, end now.
 */
void
scan_withdraw(void)
{
	dlist_mutable_iter iter;

	offered = NULL;
	dlist_foreach_modify(iter, &adopters)
	{
		BqScan *scan = dlist_container(BqScan, link, iter.cur);

		scan_adopt_leave(scan);
		reader_close(scan->reader);
		scan->reader = NULL;
		scan->job = NULL;
		scan->adoption = NULL;
		scan->is_new_row = false;
		scan->role = SCAN_ORPHANED;
	}
}

void
scan_adopt_refuse_orphan(const BqScan *scan)
{
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("the load whose rows this scan of foreign table \"%s\" reads is over",
					get_rel_name(scan->table->relid)),
			 errhint("A trigger that opens a cursor on the foreign table during a load must close it as well.")));
}

void
scan_adopt_begin(BqScan *scan)
{
	/* the load's own scan begins before any trigger can begin another */
	if (offered == NULL || offered->relid != scan->table->relid || offered->begun)
		return;
	offered->begun = true;
	scan->role = SCAN_OF_LOAD;
}

int
scan_adopt_position(const ScanAdoption *adoption, AttrNumber attnum)
{
	for (int i = 0; i < adoption->ncolumns; i++)
		if (adoption->columns[i] == attnum)
			return i;
	return -1;
}

bool
scan_adopt_is_offered(const BqScan *scan)
{
	return offered != NULL && offered->relid == scan->table->relid;
}

bool
scan_adopt(BqScan *scan)
{
	ScanAdoption *adoption = offered;
	bool held;

	if (!scan_adopt_is_offered(scan))
		return false;
	/* the load's job must have all rows and columns that this scan reads */
	held = strcmp(scan->rows_key, adoption->rows_key) == 0;
	for (int i = 0; i < scan->ncolumns && held; i++)
		held = scan_adopt_position(adoption, scan->attnums[i]) >= 0;
	if (!held)
		ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
						errmsg("a load reads other rows of foreign table \"%s\" than those it requested from BigQuery",
							   get_rel_name(scan->table->relid)),
						errdetail("A trigger, rule or view of the target reads the foreign table."),
						errhint("Let it read the target instead: during a load the foreign table returns only the day "
								"that is loaded.")));
	scan->adoption = adoption;
	scan->role = scan->role == SCAN_OF_LOAD ? SCAN_REPORTING : SCAN_ADOPTING;
	scan->job = adoption->job;
	dlist_push_tail(&adopters, &scan->link);

	/* this memory may be freed without scan_end(), with a subtransaction of a trigger */
	scan->unlink = (MemoryContextCallback){.func = leave_with_memory, .arg = scan};
	MemoryContextRegisterResetCallback(scan->context, &scan->unlink);
	return true;
}

void
scan_adopt_note_timestamp(ScanAdoption *adoption, Oid type, Datum value)
{
	TimestampTz instant =
		type == DATEOID ? (TimestampTz) DatumGetDateADT(value) * USECS_PER_DAY : DatumGetTimestampTz(value);

	if (!adoption->figures.has_max || instant > adoption->figures.max_timestamp)
		adoption->figures.max_timestamp = instant;
	adoption->figures.has_max = true;
}

/* Report to the load, counting each row once, however often it is read again. */
void
scan_adopt_report(BqScan *scan, bool at_end)
{
	ScanAdoption *adoption = scan->adoption;

	scan->is_new_row = scan->role == SCAN_REPORTING && !at_end && reader_rows(scan->reader) > adoption->figures.rows;
	if (!scan->is_new_row && !(scan->role == SCAN_REPORTING && at_end))
		return;
	adoption->figures.rows = reader_rows(scan->reader);
	if (!at_end && adoption->figures.rows % PROGRESS_ROWS != 0)
		return;
	adoption->bytes = reader_bytes(scan->reader);
	adoption->pages = reader_pages(scan->reader);
	adoption->complete |= at_end;
	if (at_end && scan->row_hash != NULL)
		rowhash_text(scan->row_hash, adoption->figures.fingerprint);
	adoption->progress(adoption->arg, adoption->figures.rows, adoption->bytes, adoption->pages);
}
