/*
 * request_reason.c
 *	  BigQuery's errors as Failures: how each of its reasons is handled.
 *
 * There are three kinds of transient errors: those that the same request may overcome,
 * those that need a new job (a job that has failed stays failed), and those that last
 * longer than a caller would wait: these are final for a call, and the worker retries
 * them later.
 */
#include "postgres.h"

#include "bigquery/connection.h"
#include "bigquery/request.h"

/* How BigQuery's reasons are handled.  (bigquery/docs/error-messages) */
typedef struct ReasonRule
{
	const char *reason;
	FailureRetry retry;
	bool every_day; /* the same for every day */
	int sqlstate;
	const char *hint;
} ReasonRule;

static const ReasonRule reason_rules[] = {
	{"accessDenied", FAILURE_FINAL, true, ERRCODE_INSUFFICIENT_PRIVILEGE,
	 "The service account needs roles/bigquery.jobUser on the billed project and read access to the table."},
	/* not an access error: a role would not help */
	{"accessNotConfigured", FAILURE_FINAL, true, ERRCODE_FDW_ERROR,
	 "Enable the BigQuery API in Google Cloud, for the project that the message names, and try again some minutes "
	 "later."},
	{"attributeError", FAILURE_FINAL, true, ERRCODE_FDW_ERROR, NULL},
	{"backendError", FAILURE_ASK_AGAIN, false, ERRCODE_FDW_ERROR, "This is a problem at BigQuery: try again later."},
	{"badGateway", FAILURE_ASK_AGAIN, false, ERRCODE_FDW_ERROR, "This is a problem at BigQuery: try again later."},
	{"badRequest", FAILURE_FINAL, true, ERRCODE_FDW_ERROR, NULL},
	{"billingNotEnabled", FAILURE_FINAL, true, ERRCODE_FDW_ERROR, "Enable billing for the project that is billed."},
	{"billingTierLimitExceeded", FAILURE_FINAL, true, ERRCODE_CONFIGURATION_LIMIT_EXCEEDED, NULL},
	{"blocked", FAILURE_FINAL, true, ERRCODE_FDW_ERROR, "BigQuery has blocked it for now: ask Google's support."},
	{"bytesBilledLimitExceeded", FAILURE_FINAL, false, ERRCODE_PROGRAM_LIMIT_EXCEEDED, NULL},
	{"duplicate", FAILURE_FINAL, false, ERRCODE_DUPLICATE_OBJECT, NULL},
	{"internalError", FAILURE_ASK_AGAIN, false, ERRCODE_FDW_ERROR, "This is a problem at BigQuery: try again later."},
	{"invalid", FAILURE_FINAL, true, ERRCODE_FDW_ERROR, NULL},
	{"invalidQuery", FAILURE_FINAL, true, ERRCODE_SYNTAX_ERROR_OR_ACCESS_RULE_VIOLATION,
	 "See the query with EXPLAIN (VERBOSE); the columns and options of the foreign table decide its text."},
	{"invalidUser", FAILURE_FINAL, true, ERRCODE_INVALID_AUTHORIZATION_SPECIFICATION,
	 "Check contratos.credentials_file, or the credentials_file of the user mapping or server."},
	{"jobBackendError", FAILURE_NEW_JOB, false, ERRCODE_FDW_ERROR, "This is a problem at BigQuery: try again later."},
	{"jobInternalError", FAILURE_NEW_JOB, false, ERRCODE_FDW_ERROR, "This is a problem at BigQuery: try again later."},
	{"jobRateLimitExceeded", FAILURE_NEW_JOB, false, ERRCODE_CONFIGURATION_LIMIT_EXCEEDED,
	 "Too many jobs in the project at once: try again later."},
	{"notFound", FAILURE_FINAL, true, ERRCODE_UNDEFINED_TABLE,
	 "Check the options \"table\" of the foreign table and \"location\" of its server or contratos.location."},
	{"notImplemented", FAILURE_FINAL, true, ERRCODE_FEATURE_NOT_SUPPORTED, NULL},
	{"policyViolation", FAILURE_FINAL, true, ERRCODE_INSUFFICIENT_PRIVILEGE,
	 "A policy of the organization forbids it: ask the project's administrators."},
	{"proxyAuthenticationRequired", FAILURE_FINAL, true, ERRCODE_SQLCLIENT_UNABLE_TO_ESTABLISH_SQLCONNECTION,
	 "contratos.proxy cannot hold a password: make the proxy admit this server, or name another proxy."},
	{"quotaExceeded", FAILURE_FINAL, true, ERRCODE_CONFIGURATION_LIMIT_EXCEEDED,
	 "A quota of the billed project is used up: wait for its next period, or raise it."},
	{"rateLimitExceeded", FAILURE_ASK_AGAIN, false, ERRCODE_CONFIGURATION_LIMIT_EXCEEDED,
	 "Too many requests of the project at once: try again later."},
	{"resourceInUse", FAILURE_ASK_LATER, false, ERRCODE_OBJECT_IN_USE, "The table is being changed: try again later."},
	{"resourcesExceeded", FAILURE_FINAL, false, ERRCODE_INSUFFICIENT_RESOURCES,
	 "Ask for fewer columns, or set the foreign table's option row_filter."},
	{"responseTooLarge", FAILURE_FINAL, false, ERRCODE_PROGRAM_LIMIT_EXCEEDED,
	 "Ask for fewer columns, or set the foreign table's option row_filter."},
	{"stopped", FAILURE_FINAL, false, ERRCODE_FDW_ERROR, "Another user or program canceled the BigQuery job."},
	{"tableUnavailable", FAILURE_ASK_LATER, false, ERRCODE_FDW_ERROR,
	 "This is a problem at BigQuery: try again later."},
	{"timeout", FAILURE_ASK_LATER, false, ERRCODE_FDW_ERROR,
	 "BigQuery stopped the job: raise contratos.job_timeout or the server's option job_timeout."},
	{"userRateLimitExceeded", FAILURE_ASK_AGAIN, false, ERRCODE_CONFIGURATION_LIMIT_EXCEEDED,
	 "Too many requests of the service account at once: try again later."},
};

/* No reason was given: judge by the status. */
static void
judge_by_status(Failure *f, int status, const char *message)
{
	if (status == 401)
	{
		failure_set(f, ERRCODE_INVALID_AUTHORIZATION_SPECIFICATION, "BigQuery did not accept the access token");
		if (message != NULL)
			failure_detail(f, "%s", message);
		failure_hint(f, "Check that the key in contratos.credentials_file (or the user mapping's credentials_file) is "
						"still valid, and that this server's clock is right.");
		f->retry = FAILURE_NEW_TOKEN;
		f->every_day = true;
		return;
	}
	failure_set(f, ERRCODE_FDW_ERROR, "BigQuery answered with HTTP status %d", status);
	if (message != NULL)
		failure_detail(f, "%s", message);
	if (status == 408 || status == 429 || (status >= 500 && status != 501))
		f->retry = FAILURE_ASK_AGAIN;
	else
		f->every_day = true;
	if (status >= 300 && status < 400)
		failure_hint(f, "Redirects are not followed: check contratos.endpoint or the server's option endpoint.");
}

static void
judge_byte_cap(Failure *f, const char *message, const BqConnection *connection)
{
	failure_set(f, ERRCODE_PROGRAM_LIMIT_EXCEEDED, "the query would bill more than the cap of " INT64_FORMAT " bytes",
				connection->max_bytes_billed);
	failure_detail(f, "BigQuery refused it without charge: %s", message ? message : "no message");
	failure_hint(f, "Raise %s, or ask for fewer columns or days.",
				 connection->cap_name ? connection->cap_name : "contratos.max_bytes_billed");
}

static void
judge_by_rule(Failure *f, const ReasonRule *rule, const char *message)
{
	int sqlstate = rule->sqlstate;

	if (message != NULL && strncmp(message, "Unrecognized name", 17) == 0)
		sqlstate = ERRCODE_UNDEFINED_COLUMN;
	failure_set(f, sqlstate, "BigQuery: %s", message ? message : rule->reason);
	f->retry = rule->retry;
	if (sqlstate == ERRCODE_UNDEFINED_COLUMN)
		failure_hint(f, "The BigQuery table has no such column: correct the foreign table's column or its option "
						"name, or drop it with ALTER FOREIGN TABLE ... DROP COLUMN.");
	else if (strcmp(rule->reason, "stopped") == 0 && message != NULL && strstr(message, "timed out") != NULL)
	{
		f->retry = FAILURE_NEW_JOB;
		failure_hint(f, "It ran longer than contratos.job_timeout or the server's option job_timeout allows.");
	}
	else if (rule->hint != NULL)
		failure_hint(f, "%s", rule->hint);
	f->every_day = rule->every_day;
}

/* Add what a user searches for: BigQuery's reason, and the HTTP status. */
static void
add_reason(Failure *f, int http_status, const char *reason)
{
	char text[sizeof(f->detail)];
	char status[32] = "";

	if (reason == NULL && http_status != 401)
		return; /* a status without a reason is in the message */
	strlcpy(text, f->detail, sizeof(text));
	if (http_status != 0)
		snprintf(status, sizeof(status), "HTTP status %d", http_status);
	failure_detail(f, "%s%s%s%s%s%s.", text, text[0] ? "\n" : "", reason ? "BigQuery's reason: " : "",
				   reason ? reason : "", reason && http_status != 0 ? ", " : "", status);
}

bool
request_error(Failure *f, int http_status, const char *reason, const char *message, const BqConnection *connection)
{
	const ReasonRule *rule = NULL;
	/* the byte cap: by its reason, or if that differs, by its text */
	bool is_byte_cap = reason != NULL && (strcmp(reason, "bytesBilledLimitExceeded") == 0 ||
										  (message != NULL && strstr(message, "limit for bytes billed") != NULL));
	/* a job that existed is gone: BigQuery has forgotten or lost it */
	bool is_lost_job = reason != NULL && strcmp(reason, "notFound") == 0 && message != NULL &&
					   strncmp(message, "Not found: Job", 14) == 0;

	for (int i = 0; reason != NULL && i < (int) lengthof(reason_rules); i++)
		if (strcmp(reason, reason_rules[i].reason) == 0)
			rule = &reason_rules[i];

	if (is_byte_cap)
		judge_byte_cap(f, message, connection);
	else if (is_lost_job)
	{
		failure_set(f, ERRCODE_FDW_ERROR, "BigQuery: %s", message);
		failure_hint(f, "The job no longer exists at BigQuery: try again with a new one.");
		f->retry = FAILURE_NEW_JOB;
	}
	else if (http_status == 401 || (rule == NULL && http_status != 0))
		judge_by_status(f, http_status, message);
	else if (rule != NULL)
		judge_by_rule(f, rule, message);
	else
	{
		failure_set(f, ERRCODE_FDW_ERROR, "BigQuery: %s", message ? message : "job failed");
		f->every_day = false;
	}
	add_reason(f, http_status, reason);
	failure_reason(f, reason);
	f->http_status = http_status;
	return false;
}
