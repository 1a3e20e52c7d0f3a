/*
 * check.h
 *	  Whether a source is set up so that its days can be loaded: one row for
 *	  each thing that can be wrong, from the server up to the days missing.
 */
#ifndef CONTRATOS_CHECK_H
#define CONTRATOS_CHECK_H

/* What one check has found; strings live until the next row. */
typedef struct CheckRow
{
	const char *source; /* NULL: of the server, whatever the source */
	const char *name;
	const char *status; /* "ok", "warning", "failed", "skipped" */
	const char *found; /* in a line */
	const char *hint; /* what to do; NULL: nothing */
} CheckRow;

/*
 * Check the server, then the source of that name, or (NULL) all of them by
 * name; `emit` is called for each row, in their order.  Reads only, and asks
 * BigQuery only for what is free; each question takes 15 s at most.
 *
 * What is wrong is a row, never an error: also a source that there is not (42704
 * elsewhere).  Throws only what no load may catch (error_must_rethrow(): cancel,
 * shutdown, out of memory, serialization failure, deadlock), and 42704 when the
 * extension itself is not installed.  In a transaction, which may be read-only.
 */
extern void check_all(const char *source, void (*emit)(void *arg, const CheckRow *row), void *arg);

#endif /* CONTRATOS_CHECK_H */
