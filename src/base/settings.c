/*
 * settings.c
 *	  All custom settings (GUCs), the current time, and the server's settings that are
 *	  pinned in our processes.
 *
 * A check hook judges only the form of a value: files and hosts may appear and
 * disappear after it was set, so they are checked when they are used.  Connection and
 * cost settings are PGC_SUSET, not PGC_SIGHUP, so that ALTER DATABASE … SET works.
 */
#include "postgres.h"

#include <limits.h>
#include <string.h>

#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/timestamp.h"
#include "utils/varlena.h"

#include "base/settings.h"

char *settings_credentials_file = NULL;
char *settings_project = NULL;
char *settings_location = NULL;
char *settings_endpoint = NULL;
char *settings_ca_file = NULL;
char *settings_proxy = NULL;
int settings_max_bytes_billed = 1024;

int settings_connect_timeout = 10 * 1000;
int settings_request_timeout = 240 * 1000;
int settings_job_timeout = 10 * 60 * 1000;
int settings_page_rows = 50000;
int settings_parallel_pages = 4;
int settings_min_parallel_load_size = 32;

char *settings_databases = NULL;
char *settings_role = NULL;
int settings_retries = 3;
int settings_retry_delay = 60 * 1000;
int settings_lock_timeout = 60 * 1000;
int settings_history_days = 400;
double settings_notify_limit = 0.9;

/* Read only by settings_bytes_per_day(); in MB. */
static int max_bytes_per_day = 0;

/* The same of settings_bytes_per_day_total(). */
static int max_bytes_per_day_total = 0;

/* Read only by settings_now(); '' follows the real clock. */
static char *pretended_now = NULL;

/*
 * The common part of all check hooks for strings; '' means "none" and is always valid.
 * The message leaves out the value, which core would put into it: it may be a key or a
 * password that was entered by mistake.
 */
static bool
check_text(const char *name, const char *value, const char *(*problem)(const char *), const char *hint)
{
	const char *why = (value && *value) ? problem(value) : NULL;

	if (why == NULL)
		return true;
	GUC_check_errcode(ERRCODE_INVALID_PARAMETER_VALUE);
	GUC_check_errmsg("invalid value for parameter \"%s\"", name);
	GUC_check_errdetail("%s", why);
	if (hint)
		GUC_check_errhint("%s", hint);
	return false;
}

static bool
check_credentials_file(char **newval, void **extra pg_attribute_unused(), GucSource source pg_attribute_unused())
{
	return check_text("contratos.credentials_file", *newval, settings_credentials_problem, NULL);
}

static bool
check_ca_file(char **newval, void **extra pg_attribute_unused(), GucSource source pg_attribute_unused())
{
	return check_text("contratos.ca_file", *newval, settings_path_problem, NULL);
}

static bool
check_project(char **newval, void **extra pg_attribute_unused(), GucSource source pg_attribute_unused())
{
	return check_text("contratos.project", *newval, settings_project_problem, NULL);
}

static bool
check_location_setting(char **newval, void **extra pg_attribute_unused(), GucSource source pg_attribute_unused())
{
	return check_text("contratos.location", *newval, settings_location_problem, NULL);
}

static bool
check_endpoint(char **newval, void **extra pg_attribute_unused(), GucSource source pg_attribute_unused())
{
	return check_text("contratos.endpoint", *newval, settings_endpoint_problem,
					  "The default is \"" SETTINGS_DEFAULT_ENDPOINT "\".");
}

static bool
check_proxy(char **newval, void **extra pg_attribute_unused(), GucSource source pg_attribute_unused())
{
	return check_text("contratos.proxy", *newval, settings_proxy_problem,
					  "For example \"http://proxy.example.com:3128\".");
}

/*
 * A list of names, which are taken literally: unlike identifiers in SQL they are not
 * folded to lower case, so that a configuration file holds the name of the database
 * itself, quoted or not.
 */
static const char *
name_list_problem(const char *text)
{
	char *copy = pstrdup(text);
	List *names;
	const char *why = NULL;

	if (!SplitGUCList(copy, ',', &names))
		why = "A list consists of names separated by commas; a name with a comma or a blank in it is in double quotes.";
	ListCell *cell;
	foreach (cell, names)
	{
		if (*(char *) lfirst(cell) == '\0' || strlen(lfirst(cell)) >= NAMEDATALEN)
			why = "A name is empty or too long.";
	}
	list_free(names);
	pfree(copy);
	return why;
}

static bool
check_databases(char **newval, void **extra pg_attribute_unused(), GucSource source pg_attribute_unused())
{
	return check_text("contratos.databases", *newval, name_list_problem, NULL);
}

static const char *
name_problem(const char *name)
{
	return strlen(name) >= NAMEDATALEN ? "The name is too long." : NULL;
}

static bool
check_role(char **newval, void **extra pg_attribute_unused(), GucSource source pg_attribute_unused())
{
	return check_text("contratos.role", *newval, name_problem, NULL);
}

/* A text: its default, who may set it, flags of guc.h, and its check hook or NULL. */
typedef struct Text
{
	const char *boot;
	GucContext context;
	int flags;
	GucStringCheckHook check;
} Text;

/* A number: its range, who may set it, and its unit; the variable holds its default. */
typedef struct Number
{
	int min;
	int max;
	GucContext context;
	int unit;
} Number;

static void
define_text(const char *name, const char *short_desc, const char *long_desc, char **variable, Text kind)
{
	DefineCustomStringVariable(name, short_desc, long_desc, variable, kind.boot, kind.context, kind.flags, kind.check,
							   NULL, NULL);
}

static void
define_number(const char *name, const char *short_desc, const char *long_desc, int *variable, Number kind)
{
	DefineCustomIntVariable(name, short_desc, long_desc, variable, *variable, kind.min, kind.max, kind.context,
							kind.unit, NULL, NULL, NULL);
}

static void
define_connection(void)
{
	define_text(
		"contratos.credentials_file", "Sets the file with the credentials used for BigQuery.",
		"It serves servers owned by a superuser; a user mapping can name another file. The word " SETTINGS_METADATA
		" stands for the service account of a machine on Google Cloud.",
		&settings_credentials_file,
		(Text){.boot = "", .context = PGC_SUSET, .flags = GUC_SUPERUSER_ONLY, .check = check_credentials_file});
	define_text("contratos.project", "Sets the Google Cloud project that is billed for queries.",
				"An empty string means the project of the credentials.", &settings_project,
				(Text){.boot = "", .context = PGC_SUSET, .check = check_project});
	define_text("contratos.location", "Sets the location of the BigQuery datasets that are read.", NULL,
				&settings_location,
				(Text){.boot = SETTINGS_DEFAULT_LOCATION, .context = PGC_SUSET, .check = check_location_setting});
	define_text("contratos.endpoint", "Sets the URL of the BigQuery service.",
				"Plain http is accepted for this machine only.", &settings_endpoint,
				(Text){.boot = SETTINGS_DEFAULT_ENDPOINT, .context = PGC_SUSET, .check = check_endpoint});
	define_text("contratos.ca_file", "Sets the file with the certificate authorities that are trusted.",
				"An empty string means those of the operating system.", &settings_ca_file,
				(Text){.boot = "", .context = PGC_SUSET, .flags = GUC_SUPERUSER_ONLY, .check = check_ca_file});
	define_text("contratos.proxy", "Sets the URL of the proxy through which BigQuery is reached.",
				"An empty string means none.", &settings_proxy,
				(Text){.boot = "", .context = PGC_SUSET, .check = check_proxy});
	define_number("contratos.max_bytes_billed", "Sets the most that one query may be billed for.",
				  "BigQuery refuses a query above it before it runs; 0 means no limit.", &settings_max_bytes_billed,
				  (Number){.min = 0, .max = INT_MAX, .context = PGC_SUSET, .unit = GUC_UNIT_MB});
	define_number("contratos.max_bytes_per_day", "Sets the most that a source may be billed for in a UTC day.",
				  "It counts the bytes that the ledger records for its loads and comparisons; 0 means no limit.",
				  &max_bytes_per_day, (Number){.min = 0, .max = INT_MAX, .context = PGC_SUSET, .unit = GUC_UNIT_MB});
	define_number("contratos.max_bytes_per_day_total",
				  "Sets the most that all sources of a database together may be billed for in a UTC day.",
				  "It counts as contratos.max_bytes_per_day does; 0 means no limit.", &max_bytes_per_day_total,
				  (Number){.min = 0, .max = INT_MAX, .context = PGC_SUSET, .unit = GUC_UNIT_MB});
}

/* A timeout that anyone may set. */
static void
define_timeout(const char *name, const char *short_desc, const char *long_desc, int *variable, int max)
{
	define_number(name, short_desc, long_desc, variable,
				  (Number){.min = SETTINGS_MIN_TIMEOUT, .max = max, .context = PGC_USERSET, .unit = GUC_UNIT_MS});
}

static void
define_tuning(void)
{
	define_timeout("contratos.connect_timeout", "Sets the maximum time to wait for a connection to BigQuery.",
				   "It covers the look-up of the name, TCP and TLS.", &settings_connect_timeout,
				   SETTINGS_MAX_CONNECT_TIMEOUT);
	define_timeout("contratos.request_timeout", "Sets the maximum time to spend on one request to BigQuery.",
				   "It covers all repetitions of the request and the pauses between them.", &settings_request_timeout,
				   SETTINGS_MAX_REQUEST_TIMEOUT);
	define_timeout("contratos.job_timeout", "Sets the maximum time to wait for a BigQuery job to finish.",
				   "A job that takes longer is canceled.", &settings_job_timeout, SETTINGS_MAX_JOB_TIMEOUT);
	define_number("contratos.page_rows", "Sets how many rows are requested from BigQuery at a time.", NULL,
				  &settings_page_rows, (Number){.min = 1, .max = SETTINGS_MAX_PAGE_ROWS, .context = PGC_USERSET});
	define_number("contratos.parallel_pages", "Sets how many pages are fetched ahead of the one being read.", NULL,
				  &settings_parallel_pages,
				  (Number){.min = 0, .max = SETTINGS_MAX_PARALLEL_PAGES, .context = PGC_USERSET});
	define_number("contratos.min_parallel_load_size",
				  "Sets how much of a day must be left after its first page for a second process to fetch "
				  "and decode it.",
				  "-1 means never. The process takes one of max_worker_processes while it runs; if none is "
				  "free, the load fetches and decodes everything itself.",
				  &settings_min_parallel_load_size,
				  (Number){.min = -1, .max = MAX_KILOBYTES, .context = PGC_USERSET, .unit = GUC_UNIT_MB});
}

static void
define_worker(void)
{
	define_text("contratos.databases", "Sets the databases in which a worker loads days automatically.",
				"It requires contratos in shared_preload_libraries. An empty string means none.", &settings_databases,
				(Text){.boot = "", .context = PGC_SIGHUP, .flags = GUC_LIST_INPUT, .check = check_databases});
	define_text("contratos.role", "Sets the role the worker connects as.",
				"An empty string means the bootstrap superuser.", &settings_role,
				(Text){.boot = "", .context = PGC_SIGHUP, .check = check_role});
	define_number("contratos.retries", "Sets how many times the worker retries a day that fails.",
				  "Permanent errors are not retried.", &settings_retries,
				  (Number){.min = 0, .max = 100, .context = PGC_SIGHUP});
	define_number("contratos.retry_delay", "Sets the time between two attempts at a day.", NULL, &settings_retry_delay,
				  (Number){.min = 1, .max = SETTINGS_MAX_INTERVAL, .context = PGC_SIGHUP, .unit = GUC_UNIT_MS});
	define_number("contratos.lock_timeout", "Sets how long the worker waits for each lock on objects of users.",
				  "A day that would wait longer is postponed by its source's ready_interval, and uses up no attempt.",
				  &settings_lock_timeout,
				  (Number){.min = 1, .max = SETTINGS_MAX_INTERVAL, .context = PGC_SIGHUP, .unit = GUC_UNIT_MS});
	define_number("contratos.history_days", "Sets for how many days attempts are kept in contratos_runs.",
				  "The last success of a day is kept for good.", &settings_history_days,
				  (Number){.min = 1, .max = 36500, .context = PGC_SIGHUP});
}

void
settings_define(void)
{
	define_connection();
	define_tuning();
	define_worker();

	/*
	 * No check hook: PostgreSQL 15 cannot parse a timestamp without throwing, and its
	 * meaning may depend on TimeZone, so settings_now() parses it.
	 */
	define_text("contratos.now", "Sets the time that takes the place of the current time in tests.",
				"An empty string means the real clock.", &pretended_now,
				(Text){.boot = "", .context = PGC_SUSET, .flags = GUC_NO_SHOW_ALL | GUC_NOT_IN_SAMPLE});

	DefineCustomRealVariable(
		"contratos.notify_limit", "Sets how full the NOTIFY queue may be for days to be notified, for tests.", NULL,
		&settings_notify_limit, 0.9, 0, 2, PGC_SUSET, GUC_NO_SHOW_ALL | GUC_NOT_IN_SAMPLE, NULL, NULL, NULL);

	MarkGUCPrefixReserved("contratos");
}

List *
settings_database_names(void)
{
	List *names;
	List *distinct = NIL;
	char *copy = pstrdup(settings_databases ? settings_databases : "");

	if (!SplitGUCList(copy, ',', &names))
		elog(ERROR, "contratos.databases is not a list"); /* its check hook has rejected that */
	ListCell *cell;
	foreach (cell, names)
	{
		bool seen = false;
		ListCell *other;
		foreach (other, distinct)
			seen |= strcmp(lfirst(other), lfirst(cell)) == 0;
		if (!seen)
			distinct = lappend(distinct, pstrdup(lfirst(cell)));
	}
	list_free(names);
	pfree(copy);
	return distinct;
}

/* CREATE DATABASE copies template1 whether or not datistemplate is set. */
bool
settings_refuse_template(const char *name, bool is_template)
{
	return is_template || strcmp(name, "template0") == 0 || strcmp(name, "template1") == 0;
}

int64
settings_bytes_per_day(void)
{
	return (int64) max_bytes_per_day * 1024 * 1024;
}

int64
settings_bytes_per_day_total(void)
{
	return (int64) max_bytes_per_day_total * 1024 * 1024;
}

static void
name_the_setting(void *arg pg_attribute_unused())
{
	errcontext("setting \"contratos.now\"");
}

TimestampTz
settings_now(void)
{
	if (pretended_now == NULL || *pretended_now == '\0')
		return GetCurrentTimestamp();

	ErrorContextCallback context = {.previous = error_context_stack, .callback = name_the_setting};

	error_context_stack = &context;

	TimestampTz now = DatumGetTimestampTz(DirectFunctionCall3(timestamptz_in, CStringGetDatum(pretended_now),
															  ObjectIdGetDatum(InvalidOid), Int32GetDatum(-1)));

	if (TIMESTAMP_NOT_FINITE(now))
		ereport(ERROR, (errcode(ERRCODE_DATETIME_VALUE_OUT_OF_RANGE), errmsg("the current time cannot be infinite")));

	error_context_stack = context.previous;
	return now;
}

/* --------------------------------------------------------------------------
 * Settings that end a transaction, or the process: no configuration file, ALTER
 * DATABASE or ALTER ROLE may change them for our own processes.  They are meant for
 * sessions.  A load may take longer than any of them, and the waits in it have limits
 * of their own.
 * -------------------------------------------------------------------------- */

/* A setting, and its value in our processes; NULL leaves it alone. */
typedef struct Pin
{
	const char *name;
	const char *value;
} Pin;

/*
 * Every timeout that a database or role may set, in all versions, pinned or not (a test
 * compares), and the other settings that end a process.
 */
static const Pin pins[] = {
	{"statement_timeout", "0"},
	{"transaction_timeout", "0"},
	{"lock_timeout", "0"},
	{"idle_in_transaction_session_timeout", "0"},
	{"idle_session_timeout", "0"},
	/* the time before a check for deadlocks: it ends nothing else */
	{"deadlock_timeout", NULL},
	/* these are for connections to clients and standbys, and our processes have none */
	{"tcp_user_timeout", NULL},
	{"wal_sender_timeout", NULL},
	{"wal_receiver_timeout", NULL},
	/* would make a day's error end the process */
	{"exit_on_error", "off"},
};

void
settings_pin(void)
{
	/* file, database and role are sources of lower priority: their values are ignored from now on */
	for (int i = 0; i < (int) lengthof(pins); i++)
		if (pins[i].value != NULL && GetConfigOption(pins[i].name, true, false) != NULL)
			SetConfigOption(pins[i].name, pins[i].value, PGC_SUSET, PGC_S_OVERRIDE);
}

void
settings_pin_session(void)
{
	SetConfigOption("default_transaction_read_only", "off", PGC_USERSET, PGC_S_OVERRIDE);
	SetConfigOption("default_transaction_isolation", "read committed", PGC_USERSET, PGC_S_OVERRIDE);
	SetConfigOption("session_replication_role", "origin", PGC_SUSET, PGC_S_OVERRIDE);
	/* our own objects are never looked up by search_path; but a process may fire a user's event trigger */
	SetConfigOption("search_path", "pg_catalog, pg_temp", PGC_USERSET, PGC_S_OVERRIDE);
}
