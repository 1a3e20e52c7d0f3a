/*
 * check_connection.c
 *	  From the credentials file to the permission to create jobs.
 *
 * Requests are not retried for as long as in a load, since a user is waiting.  The
 * clock is the real one, not contratos.now, because tokens use it.
 */
#include "postgres.h"

#include <time.h>

#include "commands/defrem.h"
#include "foreign/foreign.h"
#include "miscadmin.h"

#include "base/failure.h"
#include "bigquery/connection.h"
#include "bigquery/job.h"
#include "bigquery/message.h"
#include "bigquery/request.h"
#include "check/check_internal.h"
#include "load/setup.h"
#include "remote/options.h"

/* For one request including its retries. */
#define PATIENCE_MS 15000

/* A clock that is off by more causes a warning; if it is off by still more, tokens are rejected. */
#define CLOCK_WARNING_S 30
#define CLOCK_FAILED_S 300

/* The role that loads the source: the target's owner, or whoever will make the target. */
static Oid
loader(const Check *check)
{
	if (OidIsValid(check->owner))
		return check->owner;
	return OidIsValid(check->worker_role) ? check->worker_role : GetUserId();
}

/* The server that contratos_setup() would use, if it exists already. */
static Oid
builtin_server(void)
{
	Oid server = get_foreign_server_oid(SETUP_SERVER, true);
	bool ours =
		OidIsValid(server) && GetForeignServer(server)->fdwid == get_foreign_data_wrapper_oid("contratos", true);

	return ours ? server : InvalidOid;
}

/* A connection with a short timeout, since a user is waiting. */
static Bigquery *
open_with_short_timeout(const BqConnection *connection, MemoryContext parent)
{
	BqConnection copy = *connection;

	copy.request_timeout_ms = Min(copy.request_timeout_ms, PATIENCE_MS);
	return bigquery_open(&copy, parent);
}

/* Without a foreign table, the server and thus the key is unknown. */
static bool
skip_unknown_server(Check *check)
{
	if (check->table == NULL && !check->builtin)
		check_report(check, CHECK_SKIPPED, "the foreign table, which names the server, cannot be used", NULL);
	return check->table == NULL && !check->builtin;
}

/* --------------------------------------------------------------------------
 * Credentials
 * -------------------------------------------------------------------------- */

/* Whether the problem is the file itself, and not its content. */
static bool
is_about_file(const Failure *f)
{
	return f->sqlstate == ERRCODE_UNDEFINED_FILE || f->sqlstate == ERRCODE_INSUFFICIENT_PRIVILEGE ||
		   f->sqlstate == ERRCODE_WRONG_OBJECT_TYPE || f->sqlstate == ERRCODE_IO_ERROR;
}

void
check_credentials_file(Check *check)
{
	if (skip_unknown_server(check))
		return;

	if (check->table != NULL)
		check->connection = options_connection(check->table->relid, loader(check));
	else
	{
		Oid server = builtin_server();

		check->connection = OidIsValid(server) ? options_server_connection(server, loader(check))
											   : options_new_server_connection(SETUP_SERVER, loader(check));
	}
	check->bq = open_with_short_timeout(check->connection, check->context);

	const char *file = check->connection->credentials_file;
	AuthConfig config = connection_auth(check->connection, PATIENCE_MS);

	if (file == NULL)
	{
		check_report(check, CHECK_OK, psprintf("none, and %s needs none", check->connection->endpoint), NULL);
		return;
	}
	check->inspected = auth_inspect(&config, &check->facts, &check->why);
	if (!check->inspected && is_about_file(&check->why))
		check_report_failure(check, &check->why, NULL);
	else
		check_report(check, CHECK_OK,
					 check->inspected && strcmp(check->facts.kind, "metadata") == 0
						 ? "none: tokens come from the metadata server of this machine"
						 : psprintf("%s can be read, and its mode is safe", file),
					 NULL);
}

void
check_credentials(Check *check)
{
	const AuthFacts *facts = &check->facts;

	if (check->connection == NULL)
		check_report(check, CHECK_SKIPPED, "the connection is not known (see credentials_file)", NULL);
	else if (check->connection->credentials_file == NULL)
		check_report(check, CHECK_SKIPPED, "none are needed", NULL);
	else if (check->inspected)
		check_report(check, CHECK_OK,
					 psprintf("%s%s%s%s%s", facts->kind, facts->principal ? " " : "",
							  facts->principal ? facts->principal : "", facts->project ? " of project " : "",
							  facts->project ? facts->project : ""),
					 NULL);
	else if (is_about_file(&check->why))
		check_report(check, CHECK_SKIPPED, "the credentials file cannot be used", NULL);
	else
		check_report_failure(check, &check->why, NULL);
}

/* --------------------------------------------------------------------------
 * Endpoint
 * -------------------------------------------------------------------------- */

static void
report_status(Check *check, const char *endpoint, int status)
{
	char *found = psprintf("%s answers with HTTP status %d", endpoint, status);

	if (status >= 300 && status < 400)
		check_report(check, CHECK_FAILED, found,
					 "Redirects are not followed: check contratos.endpoint or the server's option endpoint.");
	else if (status >= 500)
		check_report(check, CHECK_WARNING, found, "This is a problem at BigQuery or at a proxy: try again later.");
	else
		check_report(check, CHECK_OK, psprintf("%s answers", endpoint), NULL);
}

/* The endpoint is known without credentials, and so it is checked without them. */
void
check_endpoint(Check *check)
{
	BqConnection *route;
	Bigquery *bq;
	Failure f;
	int64 remote;
	int64 before = (int64) time(NULL);
	int64 after;
	int status;

	if (skip_unknown_server(check))
		return;
	route =
		options_route(check->table ? check->table->relid : InvalidOid, builtin_server(), SETUP_SERVER, loader(check));
	bq = open_with_short_timeout(route, check->context);
	status = bigquery_probe(bq, Min(route->request_timeout_ms, PATIENCE_MS), &remote, &f);
	bigquery_close(bq);
	if (status == 0)
	{
		check_report_failure(check, &f,
							 psprintf("This server must reach %s: check its DNS and firewall, and the settings "
									  "contratos.endpoint and contratos.proxy.",
									  route->endpoint));
		return;
	}
	after = (int64) time(NULL);
	check->has_clock = remote > 0;
	/* it may have been any time between the request and the answer */
	check->ahead_s = remote < before ? before - remote : remote > after ? after - remote : 0;
	report_status(check, route->endpoint, status);
	check->reachable = check->status != CHECK_FAILED;
}

void
check_clock(Check *check)
{
	int64 off = check->ahead_s < 0 ? -check->ahead_s : check->ahead_s;
	char *found = psprintf(INT64_FORMAT " s %s the endpoint's", off, check->ahead_s > 0 ? "ahead of" : "behind");
	static const char cure[] = "Set this server's clock, and keep it right with NTP (timedatectl set-ntp true).";

	if (!check->reachable)
		check_report(check, CHECK_SKIPPED, "the endpoint cannot be reached", NULL);
	else if (!check->has_clock)
		check_report(check, CHECK_SKIPPED, "the endpoint does not report its time", NULL);
	else if (off >= CLOCK_FAILED_S)
		check_report(check, CHECK_FAILED, psprintf("%s: tokens will be refused", found), cure);
	else if (off >= CLOCK_WARNING_S)
		check_report(check, CHECK_WARNING, found, cure);
	else
		check_report(check, CHECK_OK, off == 0 ? "the same as the endpoint's" : found, NULL);
}

/* --------------------------------------------------------------------------
 * Permissions
 * -------------------------------------------------------------------------- */

void
check_token(Check *check)
{
	bool needed = check->connection != NULL && check->connection->credentials_file != NULL;
	Failure f;

	if (check->connection == NULL)
		check_report(check, CHECK_SKIPPED, "the connection is not known (see credentials_file)", NULL);
	else if (needed && !check->inspected)
		check_report(check, CHECK_SKIPPED, "the credentials cannot be used", NULL);
	else if (!bigquery_token(check->bq, &f))
		check_report_failure(check, &f, "Check the credentials, and that this server reaches the token endpoint.");
	else
	{
		check->has_token = true;
		check_report(check, needed ? CHECK_OK : CHECK_SKIPPED, needed ? "obtained" : "none is needed", NULL);
	}
}

void
check_project(Check *check)
{
	const char *project;
	Failure f;

	if (check->connection == NULL)
	{
		check_report(check, CHECK_SKIPPED, "the connection is not known (see credentials_file)", NULL);
		return;
	}
	project = bigquery_project(check->bq, &f);
	check->has_project = project != NULL;
	if (project == NULL && check->connection->credentials_file != NULL && !check->inspected)
		check_report(check, CHECK_SKIPPED, "none is set, and the credentials cannot be used", NULL);
	else if (project == NULL)
		check_report_failure(check, &f, NULL);
	else
		check_report(check, CHECK_OK,
					 psprintf("%s is billed%s", failure_to_server(project),
							  check->connection->project ? "" : ", as the credentials say"),
					 NULL);
}

/* A query without a table only needs the permission to create jobs. */
void
check_jobs(Check *check)
{
	BqQuery nothing = {.text = pstrdup("SELECT 1")};
	int64 bytes;
	Failure f;

	if (!check->reachable)
		check_report(check, CHECK_SKIPPED, "the endpoint cannot be reached", NULL);
	else if (!check->has_token)
		check_report(check, CHECK_SKIPPED, "there is no token", NULL);
	else if (!check->has_project)
		check_report(check, CHECK_SKIPPED, "no project is known", NULL);
	else if (bigquery_estimate(check->bq, &nothing, &bytes, &f))
		check_report(check, CHECK_OK, "may be made (a dry run)", NULL);
	else
	{
		if (f.sqlstate == ERRCODE_INSUFFICIENT_PRIVILEGE)
			failure_hint(&f, "Grant roles/bigquery.jobUser on the billed project to the service account, or bill "
							 "another project: contratos.project or the server's option project.");
		check_report_failure(check, &f, NULL);
	}
}
