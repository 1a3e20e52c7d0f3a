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
	bool check; /* not a load */
	bool reload; /* a load that a check called for */
	bool by_hand; /* by a call, in which the worker had no part */
	bool queued; /* by a person */
	bool unreachable; /* the server could not be reached */
	int attempt;
	TimestampTz started_at; /* 0: null, as for the next two */
	TimestampTz finished_at;
	TimestampTz next_attempt_at;
	bool confirmed;
} RunRow;

/* The columns, by which read_attempt() finds them. */
#define DAYS_COLUMNS                                                                                                   \
	"r.id, d.day, r.status, r.attempt, r.started_at, r.finished_at, r.next_attempt_at, r.confirmed_at, r.cause, "      \
	"r.reason"

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
	DAYS_CAUSE,
	DAYS_REASON
};

/* The days found so far. */
typedef struct Days
{
	ScheduleDay *days;
	int ndays;
	int allocated;
} Days;

/* The latest load of the day, or its latest check, is this one. */
static void
take_over(ScheduleDay *d, const RunRow *a, ScheduleState state)
{
	*(a->check ? &d->check : &d->load) = (ScheduleTry){
		.state = state,
		.attempt = a->attempt,
		.ended_at = a->finished_at,
		.next_at = a->next_attempt_at,
		.unreachable = a->unreachable,
	};
	if (a->check)
		return;
	d->reload = a->reload;
	d->asked = a->reload || a->queued;
}

/* The attempt loaded the day, or compared it with BigQuery. */
static void
note_done(ScheduleDay *d, const RunRow *a)
{
	/* a check before the load says nothing about its rows */
	if (!a->check)
		d->check = (ScheduleTry){0};
	take_over(d, a, SCHEDULE_SUCCEEDED);
	d->checked_at = a->finished_at;
	d->differs = a->status == RUN_DIFFERS;
	if (a->check)
		return;
	d->started_at = 0;
	d->loaded = true;
	d->confirmed = a->confirmed || a->status == RUN_ACCEPTED;
}

/* The attempt did not load the day, for another reason than that it was queued or had to wait. */
static void
note_failure(ScheduleDay *d, const RunRow *a)
{
	/* what a call has failed to load again is not the worker's to repeat */
	if (a->by_hand && d->loaded)
		return;
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
	{
		ScheduleTry *last = a->check ? &d->check : &d->load;

		last->next_at = last->ended_at = a->started_at;
	}
	if (d->started_at == 0 && !a->check)
		d->started_at = a->started_at;
}

static void
note_attempt(ScheduleDay *d, const RunRow *a)
{
	switch (a->status)
	{
		case RUN_SUCCEEDED:
		case RUN_ACCEPTED:
		case RUN_UNCHANGED:
		case RUN_DIFFERS:
			note_done(d, a);
			break;
		case RUN_QUEUED:
		case RUN_WAITING:
			d->run = a->id;
			if (d->started_at == 0 && !a->check)
				d->started_at = a->started_at;
			break;
		default:
			note_failure(d, a);
			break;
	}
}

static RunRow
read_attempt(uint64 row)
{
	bool isnull;
	RunRow a = {.id = ledger_value_int64(row, DAYS_ID, 0)};

	if (a.id != 0)
	{
		const char *cause = ledger_value_text(row, DAYS_CAUSE);
		const char *reason = ledger_value_text(row, DAYS_REASON);

		a.status = ledger_status(ledger_value_text(row, DAYS_STATUS));
		a.check = strcmp(cause, "recheck") == 0;
		a.reload = strcmp(cause, "reload") == 0;
		a.queued = strcmp(cause, "queue") == 0;
		a.unreachable = reason != NULL && strcmp(reason, LEDGER_UNREACHABLE) == 0;
		a.by_hand = strcmp(cause, "manual") == 0 || strcmp(cause, "backfill") == 0;
	}
	a.day = DatumGetDateADT(ledger_value(row, DAYS_DAY, &isnull));
	a.attempt = DatumGetInt32(ledger_value(row, DAYS_ATTEMPT, &isnull));
	a.started_at = ledger_value_time(row, DAYS_STARTED_AT);
	a.finished_at = ledger_value_time(row, DAYS_FINISHED_AT);
	a.next_attempt_at = ledger_value_time(row, DAYS_NEXT_ATTEMPT_AT);
	a.confirmed = ledger_value_time(row, DAYS_CONFIRMED_AT) != 0;
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
	/*
	 * Earlier days with something left to do, as schedule_next() wants them; the rows
	 * of a day's loads and those of its checks follow each other independently.
	 */
	ledger_execute("contratos_runs",
				   "SELECT " DAYS_COLUMNS " FROM (SELECT $2 + i AS day FROM generate_series(0, $3 - $2) i "
				   "UNION SELECT o.day FROM %1$s.contratos_runs o WHERE o.source = $1 AND o.day < least($2, $3 + 1) "
				   "AND NOT o.only_cost GROUP BY o.day "
				   "HAVING bool_or(o.status IN ('queued', 'running', 'waiting')) "
				   "OR max(o.id) FILTER (WHERE o.cause <> 'recheck') = max(o.id) FILTER (WHERE o.cause <> 'recheck' "
				   "AND (o.next_attempt_at IS NOT NULL "
				   "OR o.cause IN ('queue', 'reload') AND o.status IN ('failed', 'interrupted'))) "
				   "OR max(o.id) FILTER (WHERE o.cause = 'recheck') = max(o.id) FILTER (WHERE o.cause = 'recheck' "
				   "AND (o.next_attempt_at IS NOT NULL OR o.status IN ('failed', 'interrupted'))) "
				   "OR max(o.id) FILTER (WHERE o.status IN ('succeeded', 'accepted')) "
				   "= max(o.id) FILTER (WHERE o.status = 'succeeded' AND o.confirmed_at IS NULL)) d "
				   "LEFT JOIN %1$s.contratos_runs r ON r.source = $1 AND r.day = d.day AND NOT r.only_cost "
				   "ORDER BY d.day, r.id",
				   &args, SPI_OK_SELECT, read_days, &days);
	*ndays = days.ndays;
	return days.days;
}
