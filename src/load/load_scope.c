/*
 * load_scope.c
 *	  As whom, and under which settings, the target is touched.
 */
#include "postgres.h"

#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/guc.h"

#include "ledger/extension.h"
#include "load/load_internal.h"

/* What a load must not depend on.  JIT would cost more than the statement. */
static int
pin_settings(bool background)
{
	static const char *const settings[][2] = {
		{"timezone", "UTC"},
		{"datestyle", "ISO"},
		{"jit", "off"},
		/* "on" has the planner call functions in the foreign table's CHECKs */
		{"constraint_exclusion", "partition"},
	};
	int nest_level = extension_pin_settings();

	for (int i = 0; i < (int) lengthof(settings); i++)
		(void) set_config_option(settings[i][0], settings[i][1], PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, 0,
								 false);
	if (background)
		(void) load_bound_waits(); /* a level above, given back with this one */
	return nest_level;
}

/*
 * Deferred triggers would fail inside the security-restricted operation, or
 * run at commit as the worker, outside of it.
 */
static void
set_constraints_immediate(void)
{
	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	statement_execute("SET CONSTRAINTS ALL IMMEDIATE", 0, NULL, NULL, NULL, NULL, SPI_OK_UTILITY);
	SPI_finish();
}

void
load_scope_enter(LoadScope *scope, const LoadPlan *plan, bool background)
{
	scope->nest_level = pin_settings(background);
	load_check_again(plan);
	GetUserIdAndSecContext(&scope->user, &scope->context);
	if (scope->user != plan->owner)
	{
		if (background)
			set_constraints_immediate();
		SetUserIdAndSecContext(plan->owner, scope->context | SECURITY_RESTRICTED_OPERATION);
	}
	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
}

void
load_scope_leave(const LoadScope *scope)
{
	SPI_finish();
	/* not as at a commit: what a trigger has SET would stay in the session */
	AtEOXact_GUC(false, scope->nest_level);
	SetUserIdAndSecContext(scope->user, scope->context);
}
