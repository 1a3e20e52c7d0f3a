/*
 * progress.h
 *	  How far a load is: reported to other sessions in this backend's progress
 *	  slots, and in words.
 *
 * To other sessions a load looks like a COPY into its target, so that core's
 * pg_stat_progress_copy shows its bytes and rows.  The rest is in slots that
 * core's COPY does not use, marked by a magic number that distinguishes our
 * reports from those of COPY. contratos_progress reads them.
 *
 * One load at a time.  No function throws or allocates, except progress_text() and
 * progress_totals_text(); none needs a transaction.
 */
#ifndef CONTRATOS_PROGRESS_H
#define CONTRATOS_PROGRESS_H

#include "postgres.h"
#include "datatype/timestamp.h"
#include "utils/date.h"

/*
 * The load of a day begins: BigQuery is queried. progress_end() restores the
 * report of another command (a COPY that reads from this call).  An error that
 * ends the (sub)transaction ends the report as well; outside of one, the caller
 * must do so.
 */
extern void progress_begin(const char *source, DateADT day, Oid target);

/* BigQuery has answered, with `total` rows: the old ones are being deleted. */
extern void progress_delete(int64 total);

/* The INSERT begins. */
extern void progress_receive(void);

/*
 * Rows, bytes and pages received so far.  Cheap, but not for each row.  If
 * something in between (a trigger's own COPY, its caught error) has ended the
 * report, it is started again.
 */
extern void progress_received(int64 rows, int64 bytes, int pages);

/* All rows are inserted: only after_load and the ledger remain. */
extern void progress_finish(void);

/* The load is over; does nothing when no load is reported. */
extern void progress_end(void);

/* --------------------------------------------------------------------------
 * progress_text.c: pure arithmetic, and its text
 * -------------------------------------------------------------------------- */

/* Percent of `total`, rounded; 100 only when complete.  0 of 0 is complete. */
extern int progress_percent(int64 rows, int64 total);

/* Rows per second, after `ms` milliseconds; a time too short to be measured counts as one. */
extern double progress_rate(int64 rows, int64 ms);

/* Whole seconds, rounded up, until all rows have arrived at the present rate; -1: not known. */
extern int64 progress_seconds_left(int64 rows, int64 total, int64 ms);

/* "45 s", "12 min", "3 h 20 min": coarser the longer, in `text`, which is returned. */
#define PROGRESS_DURATION_SIZE 40
extern char *progress_duration(int64 seconds, char text[PROGRESS_DURATION_SIZE]);

/*
 * "500 of 1000 rows (50 %), 0.1 MB, 1000 rows/s, 1 s left", after `ms`
 * milliseconds; in CurrentMemoryContext.
 */
extern char *progress_text(int64 rows, int64 total, int64 bytes, int64 ms);

/* "500 rows, 0.1 MB, 0.5 s, 1000 rows/s": totals of a load; in CurrentMemoryContext. */
extern char *progress_totals_text(int64 rows, int64 bytes, int64 ms);

#endif /* CONTRATOS_PROGRESS_H */
