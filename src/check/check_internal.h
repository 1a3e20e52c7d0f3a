/*
 * check_internal.h
 *	  Shared by the files of the check module only.
 *
 *	  check.c             the order, a subtransaction for each check, its errors
 *	  check_setup.c       the server and the worker, which all sources share; a source's
 *						  row and its tables
 *	  check_role.c        the roles that load, and publications
 *	  check_connection.c  from the credentials to the permission to create jobs
 *	  check_remote.c      BigQuery's table, and the cost of reading it
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
	CHECK_SKIPPED /* unknown, because of a problem above */
} CheckStatus;

/*
 * The facts found by the checks so far.  Unknown facts are NULL or false, and the
 * checks that need them are skipped: no check uses the result of another.
 */
typedef struct Check
{
	MemoryContext context; /* of all data below */
	const char *schema; /* "schema." before names in hints; "" if it is in search_path */

	/* by check_setup.c */
	bool standby;
	bool preloaded;
	bool listed; /* whether contratos.databases lists the database … */
	bool template; /* … which has no effect for a template */
	int worker; /* its process id; 0: none */

	/* by check_role.c */
	Oid worker_role; /* that the worker of this database connects as; InvalidOid: there is to be none */

	/* by check.c: sources to be checked (char *) */
	List *names;

	/* by check_setup.c */
	const char *source; /* NULL: the server is being checked */
	bool builtin; /* nothing is set up: the source that contratos_setup() would create */
	LedgerSchedule *schedule;
	RemoteTable *table;
	Oid owner; /* of the target, also of one that cannot be loaded; InvalidOid: there is none */
	LoadPlan *plan; /* without connection */

	/* by check_connection.c */
	BqConnection *connection; /* with credentials, if they are needed */
	bool inspected; /* whether the credentials passed the checks */
	AuthFacts facts; /* if inspected: the facts about them */
	Failure why; /* otherwise: the reason */
	bool reachable;
	int64 ahead_s; /* by how much this server's clock is ahead of the endpoint's … */
	bool has_clock; /* … if that is known */
	bool has_token; /* or needs none */
	bool has_project;
	Bigquery *bq; /* while there is a connection */

	/* by check_remote.c */
	BqTable *remote;
	int64 billed; /* the bytes that loading yesterday would bill; -1: unknown */

	/* by the current check, through check_report() */
	CheckStatus status;
	const char *found; /* NULL: no row */
	const char *hint; /* or NULL; if set before an error is thrown, it is for errors without a hint */
	CheckStatus error_status; /* of a row for an error; CHECK_FAILED unless the check changes it */
} Check;

/* Set the result; hint may be NULL.  Strings are not copied. */
extern void check_report(Check *check, CheckStatus status, const char *found, const char *hint);

/* Set the result `failed` with the texts of a Failure; `hint` is used if it has none of its own. */
extern void check_report_failure(Check *check, const Failure *f, const char *hint);

/*
 * The checks themselves.  Each has one result; an error becomes `failed`.
 */
extern void check_extension(Check *check);
extern void check_libraries(Check *check);
extern void check_preloaded(Check *check);
extern void check_database(Check *check);
extern void check_role(Check *check);
extern void check_settings(Check *check);
extern void check_worker(Check *check);
extern void check_housekeeping(Check *check);
extern void check_subscription(Check *check);
extern void check_publication(Check *check);

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
extern void check_replica_identity(Check *check);
extern void check_after_load(Check *check);
extern void check_on_failure(Check *check);
extern void check_index(Check *check);
extern void check_missing_days(Check *check);

/*
 * A privilege that the target's owner lacks on a function or sequence that defaults,
 * generated columns, CHECKs or indexes of the target use, as "EXECUTE ON FUNCTION ...";
 * NULL: none.
 */
extern char *check_missing_grant(const Check *check);

#endif /* CONTRATOS_CHECK_INTERNAL_H */
