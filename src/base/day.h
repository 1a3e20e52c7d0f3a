/*
 * day.h
 *	  Days, and the figures of one day's rows.
 *
 * A day is a DateADT in UTC.  Pure arithmetic: no catalog, no clock, no settings.
 */
#ifndef CONTRATOS_DAY_H
#define CONTRATOS_DAY_H

#include "postgres.h"

#include "datatype/timestamp.h"
#include "utils/date.h"

/* First day with a window BigQuery can express, 0001-01-01. */
#define DAY_FIRST ((DateADT) -730119)

/* The UTC day that `now` lies in, whatever the session's TimeZone. */
extern DateADT day_of(TimestampTz now);

/* The last complete day: the one before day_of(now). */
extern DateADT day_yesterday(TimestampTz now);

/* First instant of a day; the window of a day is [start, start of next). */
extern TimestampTz day_start(DateADT day);

/* YYYY-MM-DD, in CurrentMemoryContext, whatever DateStyle says. */
extern char *day_text(DateADT day);

#endif /* CONTRATOS_DAY_H */
