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

/* The longest fingerprint, two int64 and ":", with its terminating NUL. */
#define FINGERPRINT_SIZE 48

/* The fingerprint of no rows. */
#define FINGERPRINT_NOTHING "0:0"

/*
 * The figures that distinguish one version of a day's rows from another: in BigQuery,
 * in a load, in the ledger, in the target.
 */
typedef struct DayFigures
{
	int64 rows; /* -1: unknown */
	bool has_max; /* false: no rows, or no timestamp column */
	TimestampTz max_timestamp; /* the largest, as an instant in UTC */
	char fingerprint[FINGERPRINT_SIZE]; /* "": none */
} DayFigures;

#define DAY_NOT_KNOWN ((DayFigures){.rows = -1})

/* First day with a window BigQuery can express, 0001-01-01. */
#define DAY_FIRST ((DateADT) -730119)

/* The UTC day that contains `now`, whatever the session's TimeZone. */
extern DateADT day_of(TimestampTz now);

/* The last complete day: the one before day_of(now). */
extern DateADT day_yesterday(TimestampTz now);

/* First instant of a day; the window of a day is [start, start of next). */
extern TimestampTz day_start(DateADT day);

/* Whether the largest timestamps of two are the same, or both have none. */
extern bool day_same_max(const DayFigures *one, const DayFigures *other);

/* YYYY-MM-DD, in CurrentMemoryContext, whatever DateStyle says. */
extern char *day_text(DateADT day);

#endif /* CONTRATOS_DAY_H */
