/*
 * check.c
 *	  The checks in their order, each in a subtransaction of its own.
 *
 * The purpose is to diagnose a broken setup, so no check may depend on anything being
 * right: an error thrown by a check is its result, and the next check continues with
 * the facts that are known.  Checks write nothing, and all of their subtransactions are
 * rolled back, which releases the locks they took before the next check waits for the
 * network.
 */
#include "postgres.h"

#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/namespace.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/memutils.h"
#include "utils/resowner.h"

#include "base/failure.h"
#include "check/check_internal.h"
#include "ledger/extension.h"
#include "ledger/ledger_source.h"
#include "load/error_class.h"
#include "load/setup.h"

/* A check, and its name in the column check_name. */
typedef struct CheckItem
{
	const char *name;
	void (*run)(Check *check);
} CheckItem;

static const CheckItem server_items[] = {
	{"extension", check_extension},
	{"libraries", check_libraries},
	{"preloaded", check_preloaded},
	{"database", check_database},
	{"role", check_role},
	{"worker", check_worker},
	{"settings", check_settings},
	{"housekeeping", check_housekeeping},
	{"subscription", check_subscription},
	{"publication", check_publication},
};

static const CheckItem source_items[] = {
	{"enabled", check_enabled},
	{"foreign_table", check_foreign_table},
	{"target", check_target},
	{"narrow_columns", check_narrow_columns},
	{"unfilled_columns", check_unfilled_columns},
	{"credentials_file", check_credentials_file},
	{"credentials", check_credentials},
	{"endpoint", check_endpoint},
	{"clock", check_clock},
	{"token", check_token},
	{"project", check_project},
	{"jobs", check_jobs},
	{"table", check_table},
	{"columns", check_columns},
	{"location", check_location},
	{"byte_cap", check_byte_cap},
	{"budget", check_budget},
	{"writable", check_writable},
	{"replica_identity", check_replica_identity},
	{"after_load", check_after_load},
	{"on_failure", check_on_failure},
	{"index", check_index},
	{"missing_days", check_missing_days},
};

/* The rows (CheckRow *) by their CheckStatus, in a context of their own. */
typedef struct Rows
{
	MemoryContext context;
	List *of[CHECK_SKIPPED + 1];
} Rows;

/* --------------------------------------------------------------------------
 * The result of a check
 * -------------------------------------------------------------------------- */

void
check_report(Check *check, CheckStatus status, const char *found, const char *hint)
{
	check->status = status;
	check->found = found;
	check->hint = hint;
}

/* Message and detail in one line, which psql shows best. */
static char *
in_a_line(const char *message, const char *detail)
{
	char *line = detail != NULL && detail[0] != '\0' ? psprintf("%s. %s", message, detail) : pstrdup(message);

	for (char *c = line; *c != '\0'; c++)
		if ((unsigned char) *c < ' ')
			*c = ' ';
	return line;
}

void
check_report_failure(Check *check, const Failure *f, const char *hint)
{
	check_report(check, CHECK_FAILED, in_a_line(failure_to_server(f->message), failure_to_server(f->detail)),
				 f->hint[0] != '\0' ? failure_to_server(f->hint) : hint);
}

/* --------------------------------------------------------------------------
 * A single check
 * -------------------------------------------------------------------------- */

typedef struct CheckRun
{
	Check *check;
	const CheckItem *item;
} CheckRun;

static void
call_item(void *arg)
{
	const CheckRun *run = arg;

	run->item->run(run->check);
}

/* Run a check, and release its locks; an error is its result, unless it must not be caught. */
static void
run_item(Check *check, const CheckItem *item)
{
	CheckRun run = {.check = check, .item = item};
	MemoryContext context = MemoryContextSwitchTo(check->context);
	ErrorData *edata;

	check_report(check, CHECK_OK, NULL, NULL);
	check->error_status = CHECK_FAILED;
	edata = catch_in_subtransaction(call_item, &run, false);
	if (edata != NULL)
	{
		if (error_must_rethrow(edata))
			ReThrowError(edata);
		check_report(check, check->error_status, in_a_line(edata->message, edata->detail),
					 edata->hint != NULL ? edata->hint : check->hint);
	}
	MemoryContextSwitchTo(context);
}

/* Run a check, and keep its row. */
static void
run(Check *check, const CheckItem *item, Rows *rows)
{
	static const char *const words[] = {"ok", "warning", "failed", "skipped"};

	CHECK_FOR_INTERRUPTS();
	run_item(check, item);
	if (check->found == NULL)
		return;

	MemoryContext context = MemoryContextSwitchTo(rows->context);
	CheckRow *row = palloc(sizeof(CheckRow));

	row->source = check->source;
	row->name = item->name;
	row->status = words[check->status];
	row->found = pstrdup(check->found);
	row->hint = check->hint != NULL && check->status != CHECK_OK ? pstrdup(check->hint) : NULL;
	rows->of[check->status] = lappend(rows->of[check->status], row);
	MemoryContextSwitchTo(context);
}

/* --------------------------------------------------------------------------
 * All checks
 * -------------------------------------------------------------------------- */

/* Check one source, with a Check of its own that includes the facts about the server. */
static void
run_source(const Check *server, const char *source, Rows *rows)
{
	static const CheckItem first = {"source", check_source};
	Check check = *server;

	check.context = AllocSetContextCreate(server->context, "contratos check", ALLOCSET_DEFAULT_SIZES);
	check.source = source;
	run(&check, &first, rows);
	/* if the source does not exist, nothing else can be checked */
	for (int i = 0; i < (int) lengthof(source_items) && (check.schedule != NULL || check.builtin); i++)
		run(&check, &source_items[i], rows);
	MemoryContextDelete(check.context);
}

/*
 * Collect the names of all sources; if there is none, report where the built-in one
 * will be, or why it cannot be created.
 */
static void
look_for_sources(Check *check)
{
	ListCell *cell;

	check->hint = "ALTER EXTENSION contratos UPDATE;";
	foreach (cell, ledger_schedules(NULL))
		check->names = lappend(check->names, pstrdup(((LedgerSchedule *) lfirst(cell))->source.name));
	if (check->names == NIL && ledger_is_untouched())
		check->names = list_make1(SETUP_SOURCE);
	if (check->names == NIL)
		check_report(check, CHECK_FAILED, "there is no source",
					 psprintf("SELECT %scontratos_setup(); or insert a row into %scontratos_sources.", check->schema,
							  check->schema));
}

List *
check_all(const char *source)
{
	static const CheckItem all = {"source", look_for_sources};
	/* what is wrong comes last, where a terminal shows it */
	static const CheckStatus order[] = {CHECK_OK, CHECK_SKIPPED, CHECK_WARNING, CHECK_FAILED};
	Rows rows = {.context = CurrentMemoryContext};
	List *result = NIL;
	ListCell *cell;

	extension_lock();

	List *path = fetch_search_path(false);
	bool found = list_member_oid(path, extension_schema());
	Check server = {
		.context = CurrentMemoryContext,
		.schema = found ? "" : psprintf("%s.", extension_schema_name()),
		.standby = RecoveryInProgress(),
		.billed = -1,
	};

	list_free(path);
	for (int i = 0; i < (int) lengthof(server_items); i++)
		run(&server, &server_items[i], &rows);
	if (source != NULL)
		server.names = list_make1(pstrdup(source));
	else
		run(&server, &all, &rows);
	foreach (cell, server.names)
		run_source(&server, lfirst(cell), &rows);
	for (int i = 0; i < (int) lengthof(order); i++)
		result = list_concat(result, rows.of[order[i]]);
	return result;
}
