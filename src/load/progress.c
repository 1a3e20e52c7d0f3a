/*
 * progress.c
 *	  A load in this backend's progress slots.
 *
 * This module keeps a copy of the report, and writes all of it each time: core
 * ends the report with every subtransaction that is rolled back and with every
 * COPY that ends, even a trigger's, without a notice.  So each report first checks
 * whether the slots are still ours.
 */
#include "postgres.h"

#include "commands/progress.h"
#include "common/hashfn.h"
#include "utils/backend_progress.h"
#include "utils/backend_status.h"
#include "utils/timestamp.h"

#include "load/progress.h"

/*
 * Slots of our own.  Core's COPY uses those up to 6 (PostgreSQL 15 to 18);
 * contratos_progress counts them from 1.
 */
#define SLOT_MAGIC 10
#define SLOT_SOURCE 11 /* hashtextextended() of its name */
#define SLOT_DAY 12 /* days since 2000-01-01 */
#define SLOT_PHASE 13
#define SLOT_TOTAL 14 /* rows */
#define SLOT_PAGES 15
#define SLOT_STARTED 16 /* microseconds since 2000-01-01 UTC, as in the next two */
#define SLOT_RECEIVING 17 /* 0: not yet */
#define SLOT_RECEIVED 18 /* 0: not yet */

/* "contr": no count that core's COPY could put into the slot */
#define MAGIC INT64CONST(0x636f6e7472)

#define PHASE_ASKING 1
#define PHASE_DELETING 2
#define PHASE_RECEIVING 3
#define PHASE_FINISHING 4

/* A backend's report. */
typedef struct Report
{
	ProgressCommandType command; /* PROGRESS_COMMAND_INVALID: none */
	Oid target;
	int64 slots[PGSTAT_NUM_PROGRESS_PARAM];
} Report;

/* The load's report, and the one that the slots had before. */
static Report ours = {.command = PROGRESS_COMMAND_INVALID};
static Report outer = {.command = PROGRESS_COMMAND_INVALID};

/* Only this process writes its entry, so it may be read without a lock. */
static bool
is_shown(void)
{
	return MyBEEntry != NULL && MyBEEntry->st_progress_command == PROGRESS_COMMAND_COPY &&
		   MyBEEntry->st_progress_param[SLOT_MAGIC] == MAGIC;
}

static void
show(const Report *report)
{
	int index[PGSTAT_NUM_PROGRESS_PARAM];

	for (int i = 0; i < PGSTAT_NUM_PROGRESS_PARAM; i++)
		index[i] = i;
	pgstat_progress_start_command(report->command, report->target);
	pgstat_progress_update_multi_param(PGSTAT_NUM_PROGRESS_PARAM, index, report->slots);
}

static void
refresh(void)
{
	static const int index[] = {PROGRESS_COPY_BYTES_PROCESSED,
								PROGRESS_COPY_TUPLES_PROCESSED,
								SLOT_PHASE,
								SLOT_TOTAL,
								SLOT_PAGES,
								SLOT_RECEIVING,
								SLOT_RECEIVED};
	int64 values[lengthof(index)];

	if (ours.command == PROGRESS_COMMAND_INVALID)
		return;
	if (!is_shown())
	{
		show(&ours);
		return;
	}
	for (int i = 0; i < (int) lengthof(index); i++)
		values[i] = ours.slots[index[i]];
	pgstat_progress_update_multi_param(lengthof(index), index, values);
}

static void
remember_outer(void)
{
	outer.command = PROGRESS_COMMAND_INVALID;
	if (MyBEEntry == NULL || MyBEEntry->st_progress_command == PROGRESS_COMMAND_INVALID || is_shown())
		return;
	outer.command = MyBEEntry->st_progress_command;
	outer.target = MyBEEntry->st_progress_command_target;
	for (int i = 0; i < PGSTAT_NUM_PROGRESS_PARAM; i++)
		outer.slots[i] = MyBEEntry->st_progress_param[i];
}

void
progress_begin(const char *source, DateADT day, Oid target)
{
	remember_outer();
	ours = (Report){.command = PROGRESS_COMMAND_COPY, .target = target};
	ours.slots[PROGRESS_COPY_COMMAND] = PROGRESS_COPY_COMMAND_FROM;
	ours.slots[PROGRESS_COPY_TYPE] = PROGRESS_COPY_TYPE_CALLBACK;
	ours.slots[SLOT_MAGIC] = MAGIC;
	ours.slots[SLOT_SOURCE] =
		(int64) DatumGetUInt64(hash_any_extended((const unsigned char *) source, (int) strlen(source), 0));
	ours.slots[SLOT_DAY] = day;
	ours.slots[SLOT_PHASE] = PHASE_ASKING;
	ours.slots[SLOT_STARTED] = GetCurrentTimestamp();
	show(&ours);
}

void
progress_delete(int64 total)
{
	ours.slots[SLOT_PHASE] = PHASE_DELETING;
	ours.slots[SLOT_TOTAL] = total;
	refresh();
}

void
progress_receive(void)
{
	ours.slots[SLOT_PHASE] = PHASE_RECEIVING;
	ours.slots[SLOT_RECEIVING] = GetCurrentTimestamp();
	refresh();
}

void
progress_received(int64 rows, int64 bytes, int pages)
{
	ours.slots[PROGRESS_COPY_TUPLES_PROCESSED] = rows;
	ours.slots[PROGRESS_COPY_BYTES_PROCESSED] = bytes;
	ours.slots[SLOT_PAGES] = pages;
	refresh();
}

void
progress_finish(void)
{
	ours.slots[SLOT_PHASE] = PHASE_FINISHING;
	ours.slots[SLOT_RECEIVED] = GetCurrentTimestamp();
	refresh();
}

void
progress_end(void)
{
	if (ours.command == PROGRESS_COMMAND_INVALID)
		return;
	ours.command = PROGRESS_COMMAND_INVALID;
	if (is_shown())
		pgstat_progress_end_command();
	if (outer.command != PROGRESS_COMMAND_INVALID)
		show(&outer);
	outer.command = PROGRESS_COMMAND_INVALID;
}
