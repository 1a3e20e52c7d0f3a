/*
 * check_internal.h
 *	  Between the files of the check room.
 *
 *	  check.c             the order, a subtransaction for each, what comes of errors
 *	  check_server.c      what all sources have in common
 *	  check_source.c      a source's row and its tables
 *	  check_connection.c  from the credentials to the right to ask
 *	  check_remote.c      BigQuery's table, and what reading it costs
 *	  check_target.c      the local table, and the days in it
 */
#ifndef CONTRATOS_CHECK_INTERNAL_H
#define CONTRATOS_CHECK_INTERNAL_H

#include "postgres.h"

#include "auth/auth.h"
#include "base/failure.h"
#include "bigquery/bigquery.h"
#include "bigquery/connection.h"
#include "bigquery/message.h"
#include "bigquery/request.h"
#include "check/check.h"
#include "ledger/ledger_source.h"
#include "load/load.h"
#include "remote/options.h"

typedef enum CheckStatus
{
	CHECK_OK,
	CHECK_WARNING, /* works, but … */
	CHECK_FAILED, /* no day can be loaded like this */
	CHECK_SKIPPED /* cannot be told, because of something above */
} CheckStatus;

/*
 * What the checks so far have found out.  What is not known is NULL or false,
 * and what needs it is skipped: no check looks at the verdict of another.
 */
typedef struct Check
{
	MemoryContext context; /* of all that is below */
	const char *schema; /* "schema." before names in hints; "" where search_path has it */

	/* by check_server.c */
	bool standby;
	bool preloaded;
	bool listed; /* the database, in contratos.databases … */
	bool template; /* … in vain */
	int worker; /* its process id; 0: none */

	/* by check.c: sources to be checked (char *) */
	List *names;

	/* by check_source.c */
	const char *source; /* NULL: it is the server's turn */
	bool builtin; /* nothing is set up: what contratos_setup() would make */
	LedgerSchedule *schedule;
	RemoteTable *table;
	LoadPlan *plan; /* without connection */

	/* by check_connection.c */
	BqConnection *connection; /* with credentials, where they are needed */
	bool inspected; /* and they look right */
	AuthFacts facts; /* then: what they are */
	Failure why; /* else: why they do not */
	bool reachable;
	int64 ahead_s; /* this server's clock before the endpoint's … */
	bool has_clock; /* … if that is known */
	bool has_token; /* or needs none */
	bool has_project;
	Bigquery *bq; /* while there is a connection */

	/* by check_remote.c */
	BqTable *there;
	int64 billed; /* what loading yesterday would bill, in bytes; -1: not known */

	/* by the check in progress, through check_say() */
	CheckStatus status;
	const char *found; /* NULL: nothing worth a row */
	const char *hint; /* or NULL; set before an error is thrown: for one without a hint */
} Check;

/* The verdict; hint may be NULL.  Strings are kept as they are. */
extern void check_say(Check *check, CheckStatus status, const char *found, const char *hint);

/* `failed`, in a Failure's words; `hint` where it has none of its own. */
extern void check_say_failure(Check *check, const Failure *f, const char *hint);

/* "8192 kB": as pg_size_pretty() has it. */
extern char *check_size(int64 bytes);

/*
 * The checks themselves.  Each says one thing; what it throws becomes `failed`.
 */
extern void check_extension(Check *check);
extern void check_libraries(Check *check);
extern void check_preloaded(Check *check);
extern void check_database(Check *check);
extern void check_worker(Check *check);
extern void check_housekeeping(Check *check);
extern void check_subscription(Check *check);

extern void check_source(Check *check);
extern void check_enabled(Check *check);
extern void check_foreign_table(Check *check);
extern void check_target(Check *check);

extern void check_credentials_file(Check *check);
extern void check_credentials(Check *check);
extern void check_endpoint(Check *check);
extern void check_clock(Check *check);
extern void check_token(Check *check);
extern void check_project(Check *check);
extern void check_jobs(Check *check);

extern void check_table(Check *check);
extern void check_columns(Check *check);
extern void check_location(Check *check);
extern void check_byte_cap(Check *check);
extern void check_budget(Check *check);

extern void check_narrow_columns(Check *check);
extern void check_unfilled_columns(Check *check);
extern void check_writable(Check *check);
extern void check_hooks(Check *check);
extern void check_index(Check *check);
extern void check_missing_days(Check *check);

#endif /* CONTRATOS_CHECK_INTERNAL_H */
