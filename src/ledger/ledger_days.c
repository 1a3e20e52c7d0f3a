/*
 * ledger_days.c
 *	  Converts the attempts of each day, in their order, into the ScheduleDay of
 *	  the day.
 *
 * This is done in C and not in SQL, because which attempt counts depends on those
 * before it.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "ledger/ledger_history.h"
#include "ledger/ledger_internal.h"
#include "ledger/ledger_run.h"
#include "ledger/schedule.h"

/* One attempt: the columns that are read from a row of contratos_runs. */
typedef struct RunRow
{
	int64 id;
	DateADT day;
	RunStatus status;
	bool recheck;
	int attempt;
	TimestampTz started_at; /* 0: null, as for the next two */
	TimestampTz finished_at;
	TimestampTz next_attempt_at;
	bool confirmed;
} RunRow;

/* The columns, by which read_attempt() finds them. */
#define DAYS_COLUMNS                                                                                                   \
	"r.id, d.day, r.status, r.attempt, r.started_at, r.finished_at, r.next_attempt_at, r.confirmed_at, "               \
	"r.cause = 'recheck'"

enum
{
	DAYS_ID = 1,
	DAYS_DAY,
	DAYS_STATUS,
	DAYS_ATTEMPT,
	DAYS_STARTED_AT,
	DAYS_FINISHED_AT,
	DAYS_NEXT_ATTEMPT_AT,
	DAYS_CONFIRMED_AT,
	DAYS_IS_RECHECK
};

/* The days found so far. */
typedef struct Days
{
	ScheduleDay *days;
	int ndays;
	int allocated;
} Days;

/* The day's latest attempt is this one. */
static void
take_over(ScheduleDay *d, const RunRow *a, ScheduleState state)
{
	d->state = state;
	d->recheck = a->recheck;
	d->attempt = a->attempt;
	d->ended_at = a->finished_at;
	d->next_at = a->next_attempt_at;
}

/* The attempt compared the day with BigQuery, whether or not it loaded it. */
static void
note_checked(ScheduleDay *d, const RunRow *a)
{
	take_over(d, a, SCHEDULE_SUCCEEDED);
	d->checked_at = a->finished_at;
	d->differs = a->status == RUN_DIFFERS;
	d->started_at = 0;
	if (a->status == RUN_SUCCEEDED)
	{
		d->loaded = true;
		d->confirmed = a->confirmed;
	}
}

/* The attempt did not load the day, for another reason than that it was queued or had to wait. */
static void
note_failure(ScheduleDay *d, const RunRow *a)
{
	if (a->status == RUN_REFUSED)
		take_over(d, a, SCHEDULE_REFUSED);
	else if (a->status == RUN_CANCELED)
	{
		/* removed from the queue before it began: a loaded day keeps its state */
		if (!d->loaded || a->started_at != 0)
			take_over(d, a, SCHEDULE_CANCELED);
	}
	else
		take_over(d, a, a->status == RUN_FAILED ? SCHEDULE_FAILED : SCHEDULE_INTERRUPTED);

	/* a stale run, not yet recovered: another attempt is due */
	if (a->status == RUN_RUNNING)
		d->next_at = d->ended_at = a->started_at;
	if (d->started_at == 0)
		d->started_at = a->started_at;
}

static void
note_attempt(ScheduleDay *d, const RunRow *a)
{
	if (a->status == RUN_SUCCEEDED || a->status == RUN_UNCHANGED || a->status == RUN_DIFFERS)
		note_checked(d, a);
	else if (a->status == RUN_QUEUED || a->status == RUN_WAITING)
	{
		d->run = a->id;
		if (d->started_at == 0)
			d->started_at = a->started_at;
	}
	else
		note_failure(d, a);
}

static RunRow
read_attempt(uint64 row)
{
	bool isnull;
	RunRow a = {.id = ledger_value_int64(row, DAYS_ID, 0)};

	if (a.id != 0)
		a.status = ledger_status(ledger_value_text(row, DAYS_STATUS));
	a.day = DatumGetDateADT(ledger_value(row, DAYS_DAY, &isnull));
	a.attempt = DatumGetInt32(ledger_value(row, DAYS_ATTEMPT, &isnull));
	a.started_at = ledger_value_time(row, DAYS_STARTED_AT);
	a.finished_at = ledger_value_time(row, DAYS_FINISHED_AT);
	a.next_attempt_at = ledger_value_time(row, DAYS_NEXT_ATTEMPT_AT);
	a.confirmed = ledger_value_time(row, DAYS_CONFIRMED_AT) != 0;
	a.recheck = DatumGetBool(ledger_value(row, DAYS_IS_RECHECK, &isnull)) && !isnull;
	return a;
}

/* Rows are ordered by day and then by attempt; each day has at least one. */
static void
read_days(void *result)
{
	Days *days = result;
	RunRow open = {0}; /* the day's, once d->run is set */

	days->allocated = 64;
	days->days = palloc(days->allocated * sizeof(ScheduleDay));
	for (uint64 row = 0; row < SPI_processed; row++)
	{
		RunRow a = read_attempt(row);
		if (days->ndays == 0 || days->days[days->ndays - 1].day != a.day)
		{
			if (days->ndays == days->allocated)
			{
				days->allocated *= 2;
				days->days = repalloc(days->days, days->allocated * sizeof(ScheduleDay));
			}
			days->days[days->ndays++] = (ScheduleDay){.day = a.day};
		}
		ScheduleDay *d = &days->days[days->ndays - 1];
		if (a.id == 0)
			continue; /* a day without attempts */
		note_attempt(d, &a);
		if (d->run == a.id)
			open = a;
		/* an open row takes precedence over every attempt since it was written */
		if (d->run != 0)
		{
			take_over(d, &open, open.status == RUN_QUEUED ? SCHEDULE_QUEUED : SCHEDULE_WAITING);
			d->waits_since = open.started_at;
		}
	}
}

ScheduleDay *
ledger_days(const char *source, DateADT first, DateADT last, int *ndays)
{
	LedgerArgs args = {0};
	Days days = {0};

	ledger_text(&args, "source", source);
	ledger_arg(&args, "first", DATEOID, DateADTGetDatum(first), false);
	ledger_arg(&args, "last", DATEOID, DateADTGetDatum(last), false);
	ledger_execute(
		"contratos_runs",
		"SELECT " DAYS_COLUMNS " FROM (SELECT $2 + i AS day FROM generate_series(0, $3 - $2) i "
		"UNION SELECT o.day FROM %1$s.contratos_runs o WHERE o.source = $1 AND o.day < least($2, $3 + 1) "
		"AND (o.status IN ('queued', 'running', 'waiting') OR (o.next_attempt_at IS NOT NULL "
		"AND NOT EXISTS (SELECT 1 FROM %1$s.contratos_runs n WHERE n.source = $1 AND n.day = o.day "
		"AND n.id > o.id AND NOT n.only_cost)))) d "
		"LEFT JOIN %1$s.contratos_runs r ON r.source = $1 AND r.day = d.day AND NOT r.only_cost ORDER BY d.day, r.id",
		&args, SPI_OK_SELECT, read_days, &days);
	*ndays = days.ndays;
	return days.days;
}
