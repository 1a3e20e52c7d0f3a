/*
 * progress.h
 *	  How far a load is: told to other sessions in this backend's progress
 *	  slots, and in words.
 *
 * To other sessions a load is a COPY into its target, so that core's
 * pg_stat_progress_copy shows its bytes and rows; what is ours alone stands in
 * slots that core's COPY leaves free, behind a number that tells our reports
 * from its own.  contratos_progress reads them.
 *
 * One load at a time.  Nothing here throws or allocates, but for
 * progress_text() and progress_totals_text(); nothing needs a transaction.
 */
#ifndef CONTRATOS_PROGRESS_H
#define CONTRATOS_PROGRESS_H

#include "postgres.h"
#include "datatype/timestamp.h"
#include "utils/date.h"

/*
 * The load of a day begins: BigQuery is asked.  What another command (a COPY
 * that reads from this call) reported is put back by progress_end().  An error
 * that ends the (sub)transaction ends the report as well; outside of one, the
 * caller does.
 */
extern void progress_begin(const char *source, DateADT day, Oid target);

/* BigQuery has answered, with `total` rows: the old ones are being deleted. */
extern void progress_delete(int64 total);

/* The INSERT begins. */
extern void progress_receive(void);

/*
 * So much has come.  Cheap, but not for each row.  Should something in between
 * (a trigger's own COPY, its caught error) have ended the report, it is made
 * anew.
 */
extern void progress_received(int64 rows, int64 bytes, int pages);

/* All rows are there: what remains is after_load and the ledger. */
extern void progress_finish(void);

/* The load is over; does nothing when none is reported. */
extern void progress_end(void);

/* --------------------------------------------------------------------------
 * progress_text.c: pure arithmetic, and its words
 * -------------------------------------------------------------------------- */

/* Percent of `total`, rounded; 100 only when all is there.  Nothing of nothing is all. */
extern int progress_percent(int64 rows, int64 total);

/* Rows a second, after `ms` milliseconds; a time too short to be measured counts as one. */
extern double progress_rate(int64 rows, int64 ms);

/* Whole seconds, rounded up, until all are there at the present rate; -1: not to be told. */
extern int64 progress_seconds_left(int64 rows, int64 total, int64 ms);

/* "45 s", "12 min", "3 h 20 min": coarser the longer, in `text`, which is returned. */
#define PROGRESS_DURATION_SIZE 40
extern char *progress_duration(int64 seconds, char text[PROGRESS_DURATION_SIZE]);

/*
 * "500 of 1000 rows (50 %), 0.1 MB, 1000 rows/s, 1 s left", after `ms`
 * milliseconds; in CurrentMemoryContext.
 */
extern char *progress_text(int64 rows, int64 total, int64 bytes, int64 ms);

/* "500 rows, 0.1 MB, 0.5 s, 1000 rows/s": how it went; in CurrentMemoryContext. */
extern char *progress_totals_text(int64 rows, int64 bytes, int64 ms);

#endif /* CONTRATOS_PROGRESS_H */
