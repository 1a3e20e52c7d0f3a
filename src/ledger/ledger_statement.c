/*
 * ledger_statement.c
 *	  How a statement on the private tables is run.
 *
 * A role that may call contratos_run() needs no privileges on these tables: each
 * statement runs as the owner of the table it touches, like in a SECURITY DEFINER
 * function.  User and settings are restored in PG_FINALLY, although an abort would
 * do the same, because code that catches an error may read them before the abort.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/timestamp.h"

#include "ledger/extension.h"
#include "ledger/ledger_internal.h"
#include "ledger/statement.h"
#include "ledger/trust.h"

void
ledger_arg(LedgerArgs *args, const char *name, Oid type, Datum value, bool isnull)
{
	Assert(args->n < LEDGER_MAX_ARGS);
	args->names[args->n] = name;
	args->types[args->n] = type;
	args->values[args->n] = value;
	args->nulls[args->n] = isnull ? 'n' : ' ';
	args->n++;
}

void
ledger_text(LedgerArgs *args, const char *name, const char *value)
{
	ledger_arg(args, name, TEXTOID, value ? CStringGetTextDatum(value) : (Datum) 0, value == NULL);
}

void
ledger_count(LedgerArgs *args, const char *name, int64 value)
{
	ledger_arg(args, name, INT8OID, Int64GetDatum(value), value < 0);
}

void
ledger_time(LedgerArgs *args, const char *name, TimestampTz value, bool isnull)
{
	ledger_arg(args, name, TIMESTAMPTZOID, TimestampTzGetDatum(value), isnull);
}

/*
 * Become the owner of a table until the caller restores the old user.  If the
 * owner could not become the current user by SET ROLE, it must not gain that
 * user's privileges through a trigger either: then the operation is restricted.
 */
static void
ledger_become_owner(Oid relid, Oid user, int context)
{
	Oid owner = extension_relation_owner(relid);

	if (owner == user)
		return;
	context |= SECURITY_LOCAL_USERID_CHANGE;
	if (!is_member_of_role(owner, user))
		context |= SECURITY_RESTRICTED_OPERATION;
	SetUserIdAndSecContext(owner, context);
}

/* The extension's own tables, and no others. */
static StatementObjects
ledger_objects(void)
{
	static const char *const tables[] = {"contratos_sources", "contratos_runs", "contratos_rejects",
										 "_contratos_housekeeping"};
	Oid schema = extension_schema();
	StatementObjects objects = {.nrelations = lengthof(tables)};

	StaticAssertStmt(lengthof(tables) <= STATEMENT_MAX_RELATIONS, "too many tables");
	for (int i = 0; i < objects.nrelations; i++)
		objects.relations[i] = get_relname_relid(tables[i], schema);
	return objects;
}

void
ledger_execute(const char *table, const char *sql, LedgerArgs *args, int expected, LedgerReader read, void *result)
{
	Oid relid = extension_relation(table);
	StatementArgs given = {.n = args->n, .types = args->types, .values = args->values, .nulls = args->nulls};
	StatementObjects objects = ledger_objects();
	StringInfoData text;

	initStringInfo(&text);
	appendStringInfo(&text, sql, extension_schema_name()); /* our own printf: knows %1$s everywhere */

	MemoryContext caller = CurrentMemoryContext;
	Oid user;
	int context;
	GetUserIdAndSecContext(&user, &context);
	int level = extension_pin_settings();
	PG_TRY();
	{
		ledger_become_owner(relid, user, context);
		trust_check(relid, GetUserId(), expected == SPI_OK_SELECT ? AccessShareLock : RowExclusiveLock, NULL);
		SPI_connect();
		statement_execute(text.data, &given, &objects, expected);
		if (read)
		{
			MemoryContextSwitchTo(caller);
			read(result);
		}
		SPI_finish();
	}
	PG_FINALLY();
	{
		AtEOXact_GUC(true, level);
		SetUserIdAndSecContext(user, context);
	}
	PG_END_TRY();
	MemoryContextSwitchTo(caller);
}

Datum
ledger_value(uint64 row, int column, bool *isnull)
{
	return SPI_getbinval(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, column, isnull);
}

char *
ledger_value_text(uint64 row, int column)
{
	return SPI_getvalue(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, column);
}

int64
ledger_value_int64(uint64 row, int column, int64 missing)
{
	bool isnull;
	Datum value = ledger_value(row, column, &isnull);

	return isnull ? missing : DatumGetInt64(value);
}

TimestampTz
ledger_value_time(uint64 row, int column)
{
	bool isnull;
	Datum value = ledger_value(row, column, &isnull);

	return isnull ? 0 : DatumGetTimestampTz(value);
}

Datum
ledger_first(int column, bool *isnull)
{
	return ledger_value(0, column, isnull);
}

char *
ledger_first_text(int column)
{
	return ledger_value_text(0, column);
}

void
ledger_read_int64(void *result)
{
	if (SPI_processed == 0)
		return;
	bool isnull;
	Datum value = ledger_first(1, &isnull);
	if (!isnull)
		*(int64 *) result = DatumGetInt64(value);
}

void
ledger_read_found(void *result)
{
	*(bool *) result = SPI_processed > 0;
}

void
ledger_read_count(void *result)
{
	*(int64 *) result = (int64) SPI_processed;
}

void
ledger_read_text(void *result)
{
	*(char **) result = SPI_processed > 0 ? ledger_first_text(1) : NULL;
}
