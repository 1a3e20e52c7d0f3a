/*
 * schedule_ledger.h
 *	  A source's rules and the ledger of a few days, for the tests of schedule
 *	  that put one case after another.
 */
#ifndef SCHEDULE_LEDGER_H
#define SCHEDULE_LEDGER_H

#include "schedule_harness.h"

/* the Friday on which most of it happens; yesterday is a leap day */
#define TODAY date(2024, 3, 1)
#define YESTERDAY (TODAY - 1)
#define MAX_DAYS 64

extern ScheduleRules rules;
extern ScheduleDay ledger[MAX_DAYS];
extern int ndays;

/* A time of a day, in microseconds since its midnight, which may be negative. */
extern TimestampTz clock_at(DateADT day, int64 time);

/*
 * Default rules, since long ago; all days that the worker looks at are loaded,
 * confirmed and just looked at.
 */
extern void begin(TimestampTz now);

/* The ledger's day, put in where it belongs when it is not there. */
extern ScheduleDay *on(DateADT day);

/* A day that has never been tried; one in the queue besides what it is. */
extern void missing(DateADT day);
extern void queued(DateADT day, int64 run);

/* A day without a success that ended so. */
extern ScheduleDay *ended(DateADT day, ScheduleState state, int attempt, TimestampTz at, TimestampTz next_at);

/* A day, as its first recheck left it. */
extern ScheduleDay *rechecked(DateADT day, ScheduleState state, TimestampTz at, TimestampTz next_at);

/* A loaded day that is not confirmed. */
extern ScheduleDay *provisional(DateADT day, TimestampTz checked_at);

/* A test: that this is what is to be done. */
extern void expect(TimestampTz now, ScheduleWhat what, DateADT day, const char *cause, int attempt, TimestampTz due,
				   const char *name);

#endif /* SCHEDULE_LEDGER_H */
