/*
 * ledger_internal.h
 *	  How a statement on the private tables is run; only for ledger*.c.
 */
#ifndef CONTRATOS_LEDGER_INTERNAL_H
#define CONTRATOS_LEDGER_INTERNAL_H

#include "postgres.h"
#include "datatype/timestamp.h"

#include "ledger/ledger_run.h"
#include "ledger/ledger_source.h"

/* More than any statement on the private tables has. */
#define LEDGER_MAX_ARGS 32

/* Arguments of a statement; with column names where they form a row. */
typedef struct LedgerArgs
{
	int n;
	const char *names[LEDGER_MAX_ARGS];
	Oid types[LEDGER_MAX_ARGS];
	Datum values[LEDGER_MAX_ARGS];
	char nulls[LEDGER_MAX_ARGS];
} LedgerArgs;

/*
 * Reads SPI_tuptable; called with the caller's memory context as the current
 * one, also when there is no row.
 */
typedef void (*LedgerReader)(void *result);

/* Add an argument. */
extern void ledger_arg(LedgerArgs *args, const char *name, Oid type, Datum value, bool isnull);
extern void ledger_text(LedgerArgs *args, const char *name, const char *value); /* NULL: null */
extern void ledger_count(LedgerArgs *args, const char *name, int64 value); /* -1: null */
extern void ledger_time(LedgerArgs *args, const char *name, TimestampTz value, bool isnull);

/*
 * Run one statement as the owner of `table`, with an SPI connection of its own.
 * In `sql`, %s stands for the extension's schema.  `expected` is SPI's code of
 * success; `read` (may be NULL) gets the result.
 */
extern void ledger_execute(const char *table, const char *sql, LedgerArgs *args, int expected, LedgerReader read,
						   void *result);

/* Columns of a row of the result, rows from 0, columns from 1; for readers. */
extern Datum ledger_value(uint64 row, int column, bool *isnull);
extern char *ledger_value_text(uint64 row, int column); /* NULL: null */
extern int64 ledger_value_int64(uint64 row, int column, int64 missing); /* missing: the value for null */
extern TimestampTz ledger_value_time(uint64 row, int column); /* 0: null */

/* The same of the first row. */
extern Datum ledger_first(int column, bool *isnull);
extern char *ledger_first_text(int column); /* NULL: null */

/* A LedgerReader for an int64, which stays as it is when there is no row or a null. */
extern void ledger_read_int64(void *result);

/* A LedgerReader for a bool: whether there was any row. */
extern void ledger_read_found(void *result);

/* A LedgerReader for an int64: how many rows there were, returned or not. */
extern void ledger_read_count(void *result);

/* A LedgerReader for a char *: NULL when there is no row or a null. */
extern void ledger_read_text(void *result);

/* Columns that ledger_fill_source() expects to come first. */
#define LEDGER_SOURCE_COLUMNS                                                                                          \
	"name, remote_table, target_table, timestamp_column, start_date, max_shrink, allow_empty, after_load, snapshot, "  \
	"registered_at"

/* Their numbers; other columns of such a result begin at SOURCE_NEXT. */
enum
{
	SOURCE_NAME = 1,
	SOURCE_REMOTE_TABLE,
	SOURCE_TARGET_TABLE,
	SOURCE_TIMESTAMP_COLUMN,
	SOURCE_START_DATE,
	SOURCE_MAX_SHRINK,
	SOURCE_ALLOW_EMPTY,
	SOURCE_AFTER_LOAD,
	SOURCE_SNAPSHOT,
	SOURCE_REGISTERED_AT,
	SOURCE_NEXT
};

/* A source from a row of the result; for readers. */
extern void ledger_fill_source(LedgerSource *source, uint64 row);

/* Add the outcome of a run: its counts, its figures, its error. */
extern void ledger_add_outcome(LedgerArgs *args, const LedgerRun *run);

/*
 * Whether nobody holds a source's claim, not even this session; if so, nobody
 * can take it until the end of the transaction.
 */
extern bool ledger_claim_is_free(const char *source);

/*
 * Lock the queue of a source until the end of the transaction.  A session that
 * queues days holds it.  The worker does not wait for it, so that an open
 * transaction never blocks the worker, as a unique index would.  False: not
 * available without waiting.
 */
extern bool ledger_lock_queue(const char *source, bool wait);

#endif /* CONTRATOS_LEDGER_INTERNAL_H */
