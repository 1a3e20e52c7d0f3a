/*
 * worker_start.c
 *	  What a worker reports when it starts: the projects that its loads will be billed
 *	  to, and the credentials that they use.
 *
 * A restored or cloned server may still have the key of the original.  The project may
 * be named by the key alone, by a server's option or by a user mapping, so each source
 * is resolved like in a load.  Nothing is requested.
 */
#include "postgres.h"

#include "access/xact.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "utils/memutils.h"

#include "auth/auth.h"
#include "base/failure.h"
#include "bigquery/connection.h"
#include "ledger/extension.h"
#include "ledger/ledger_source.h"
#include "load/load.h"
#include "load/setup.h"
#include "remote/options.h"
#include "worker/attempt.h"
#include "worker/worker.h"

typedef struct Billing
{
	MemoryContext context; /* of the text */
	const LedgerSource *source; /* to be described; NULL: the built-in source before it is set up */
	StringInfoData text;
} Billing;

/* The project that the credentials themselves name, as far as that is known without a request. */
static const char *
project_of_credentials(const BqConnection *connection)
{
	AuthConfig config = connection_auth(connection, connection->request_timeout_ms);
	AuthFacts facts;
	Failure f;

	if (connection->credentials_file == NULL)
		return "none";
	if (!auth_inspect(&config, &facts, &f))
		return "unknown, as the credentials cannot be used";
	return facts.project != NULL ? failure_to_server(facts.project) : "as the credentials say";
}

/* Add a line with a source's project and credentials, unless another source has both. */
static void
describe_source(void *arg)
{
	Billing *billing = arg;
	const LedgerSource *source = billing->source;
	const BqConnection *connection;
	char *line;

	if (source == NULL)
		connection = options_new_server_connection(SETUP_SERVER, GetUserId());
	else
	{
		Oid remote = load_find_relation(source->remote_table);
		Oid target = load_find_relation(source->target_table);

		if (!OidIsValid(remote) || !OidIsValid(target))
			return;
		connection = options_connection(remote, extension_relation_owner(target));
	}
	line = psprintf("BigQuery project: %s; credentials: %s.\n",
					connection->project != NULL ? connection->project : project_of_credentials(connection),
					connection->credentials_file != NULL ? connection->credentials_file : "none");
	if (strstr(billing->text.data, line) == NULL)
		appendStringInfoString(&billing->text, line);
}

static void
describe_sources(void *arg)
{
	Billing *billing = arg;
	ListCell *cell;

	if (!attempt_begin_transaction())
		return;
	MemoryContextSwitchTo(billing->context);
	foreach (cell, ledger_schedules(NULL))
	{
		const LedgerSchedule *schedule = lfirst(cell);

		billing->source = &schedule->source;
		/* a load will report the error of a source that cannot be resolved */
		if (schedule->rules.enabled)
			(void) catch_in_subtransaction(describe_source, billing, false);
	}
	attempt_commit(billing->context);
}

static void
describe_settings(void *arg)
{
	Billing *billing = arg;

	billing->source = NULL;
	StartTransactionCommand();
	MemoryContextSwitchTo(billing->context);
	describe_source(billing);
	CommitTransactionCommand();
}

const char *
worker_billing(MemoryContext context)
{
	Billing billing = {.context = context};

	MemoryContextSwitchTo(context);
	initStringInfo(&billing.text);
	(void) catch_with_transactions(describe_sources, &billing, NULL);
	if (billing.text.len == 0)
		(void) catch_with_transactions(describe_settings, &billing, NULL);
	MemoryContextSwitchTo(context);
	if (billing.text.len == 0)
		return NULL;
	billing.text.data[billing.text.len - 1] = '\0';
	return billing.text.data;
}
