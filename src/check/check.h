/*
 * check.h
 *	  Whether a source is set up so that its days can be loaded: one row for each
 *	  possible problem, from the server to the missing days.
 */
#ifndef CONTRATOS_CHECK_H
#define CONTRATOS_CHECK_H

#include "nodes/pg_list.h"

/* The result of one check; strings live as long as the call. */
typedef struct CheckRow
{
	const char *source; /* NULL: about the server, for any source */
	const char *name;
	const char *status; /* "ok", "warning", "failed", "skipped" */
	const char *found; /* in one line */
	const char *hint; /* what to do; NULL: nothing, as where it is ok */
} CheckRow;

/*
 * Check the server, then the source of that name, or (NULL) all sources in order of
 * their names.  Returns the rows (CheckRow *): those that are ok, skipped, warnings and
 * failed, each in the order of the checks.  Only reads, and sends BigQuery only free
 * requests; each request takes 15 s at most.
 *
 * Problems are rows, never errors; so is a source that does not exist (42704
 * elsewhere).  Throws only errors that a load must not catch (error_must_rethrow():
 * cancel, shutdown, out of memory, serialization failure, deadlock), and 42704 when the
 * extension itself is not installed.  Must be called in a transaction, which may be
 * read-only.
 */
extern List *check_all(const char *source);

#endif /* CONTRATOS_CHECK_H */
