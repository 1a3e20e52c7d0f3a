/*
 * schedule_harness.h
 *	  TAP, and days and times that can be read, for the tests of schedule.
 */
#ifndef SCHEDULE_HARNESS_H
#define SCHEDULE_HARNESS_H

#include "postgres.h"

#include "base/day.h"
#include "ledger/schedule.h"

#define MINUTE USECS_PER_MINUTE
#define HOUR USECS_PER_HOUR
#define DAY USECS_PER_DAY

/* A TAP line; `format` says what is held. */
extern void ok(bool holds, const char *format, ...) __attribute__((format(__printf__, 2, 3)));

/* Something to know about the test before it failed. */
extern void note(const char *format, ...) __attribute__((format(__printf__, 1, 2)));

/* Whether none has failed; prints the plan. */
extern bool all_ok(void);

/* A day of the calendar, counted in another way than PostgreSQL's. */
extern DateADT date(int year, int month, int day);

/* "2024-02-29 08:00:00.000000" in UTC, in one of a few static buffers. */
extern const char *timetext(TimestampTz at);

/* The rules that contratos_sources and the settings have by default. */
extern ScheduleRules default_rules(DateADT start_date);

/* test_schedule_model.c: a worker is played for 60 days, many times. */
extern void test_model(void);

#endif /* SCHEDULE_HARNESS_H */
