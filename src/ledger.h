/*
 * ledger.h
 *	  SQL on contratos_sources, contratos_runs and contratos_rejects.
 *
 * Every call connects to SPI by itself, runs as the owner of the table it
 * touches (so that who may call contratos_run() needs no right on them) with a
 * pinned search_path, and puts back user and settings.  Times written are the
 * real clock's.
 */
#ifndef CONTRATOS_LEDGER_H
#define CONTRATOS_LEDGER_H

#include "postgres.h"
#include "datatype/timestamp.h"
#include "utils/date.h"

/* A row of contratos_sources; strings in CurrentMemoryContext. */
typedef struct LedgerSource
{
	char *name;
	char *remote_table; /* schema.table, quoted where needed */
	char *target_table;
	char *timestamp_column; /* NULL: a snapshot */
	DateADT start_date;
	double max_shrink;
	bool allow_empty;
} LedgerSource;

/* What becomes a row of contratos_runs.  -1: null, for the counts. */
typedef struct LedgerRun
{
	const char *source;
	DateADT day;
	const char *cause; /* "manual", "backfill", … */
	const char *status; /* "succeeded", "failed", "refused", … */
	TimestampTz started_at;
	int64 rows_loaded;
	int64 rows_replaced;
	int64 rows_inserted;
	int64 values_altered;
	int64 bytes_processed;
	int64 bytes_billed;
	int64 pages;
	const char *job_id; /* NULL: none was asked for */
	bool has_max_timestamp;
	TimestampTz source_max_timestamp;
	const char *sqlstate; /* five characters, or NULL */
	const char *reason; /* BigQuery's, or NULL */
	const char *error; /* message and detail, or NULL */
} LedgerRun;

/* A value that could not be kept as it was; text in the server encoding. */
typedef struct LedgerReject
{
	int64 row_number;
	char *column;
	char *raw_value; /* already cut and free of U+0000; may be NULL */
	const char *reason;
} LedgerReject;

/* Neither a source nor a run: the built-in source has never been set up. */
extern bool ledger_is_untouched(void);

/*
 * The source of that name, in CurrentMemoryContext; 42704, naming the ones
 * there are, when there is none.
 */
extern LedgerSource *ledger_source(const char *name);

/* Whether there is a source of that name. */
extern bool ledger_has_source(const char *name);

/* Put the built-in source in, unless a source of that name is there. */
extern bool ledger_add_source(const char *name, const char *remote_table, const char *target_table,
							  const char *timestamp_column);

/*
 * Rows of the last success of a day; -1 when it has none.
 */
extern int64 ledger_last_rows(const char *source, DateADT day);

/* Write one finished run; returns its id. */
extern int64 ledger_record(const LedgerRun *run);

/* Write the rejects of a run. */
extern void ledger_record_rejects(int64 run, const LedgerReject *rejects, int nrejects);

/*
 * Serialise loads of one source, until the end of the transaction.  When
 * another session holds the claim, a NOTICE says which, then it waits
 * (lock_timeout and cancel work).
 */
extern void ledger_claim(const char *source);

/*
 * The trigger function's work: the name of a relation as schema.table, quoted
 * where needed, in CurrentMemoryContext.  A name without schema that is not
 * found: 42P01.  One with schema that is not found: as it is written, with a
 * WARNING (a restore may fill this table before that one is made).  A temporary
 * table: 42P16.
 */
extern char *ledger_normalize_name(const char *name, const char *column);

#endif /* CONTRATOS_LEDGER_H */
