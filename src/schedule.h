/*
 * schedule.h
 *	  Pure arithmetic on days.  A day is a DateADT in UTC.
 */
#ifndef CONTRATOS_SCHEDULE_H
#define CONTRATOS_SCHEDULE_H

#include "postgres.h"
#include "datatype/timestamp.h"
#include "utils/date.h"

/* The UTC day that `now` lies in, whatever the session's TimeZone. */
extern DateADT schedule_day_of(TimestampTz now);

/* The last complete day: the one before schedule_day_of(now). */
extern DateADT schedule_yesterday(TimestampTz now);

/* First instant of a day; the window of a day is [start, start of next). */
extern TimestampTz schedule_day_start(DateADT day);

/* YYYY-MM-DD, in CurrentMemoryContext, whatever DateStyle says. */
extern char *schedule_day_text(DateADT day);

/* First day with a window BigQuery can express, 0001-01-01. */
#define SCHEDULE_FIRST_DAY ((DateADT) -730119)

#endif /* CONTRATOS_SCHEDULE_H */
