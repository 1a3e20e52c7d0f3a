/*
 * values_domain.c
 *	  Domains: what their base type reads, as far as their constraints let it.
 *
 * Not domain_in(): it would have the base type's input function round to the
 * domain's typmod before the constraints are asked.
 */
#include "postgres.h"

#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/typcache.h"

#include "rows/rows.h"
#include "values/values_internal.h"

/* After so many refusals what the checks have left behind is freed. */
#define REFUSALS_KEPT 1000

typedef struct DomainState
{
	ValueReader *base;
	Oid domain;
	void *constraints; /* domain_check()'s own, in … */
	MemoryContext context;
	int refusals; /* since that was made */

	/* of the call under way */
	Datum value;
	bool isnull;
} DomainState;

static void
call_check(void *arg)
{
	DomainState *state = arg;

	domain_check(state->value, state->isnull, state->domain, &state->constraints, state->context);
}

/* A check that throws cannot tidy up; its memory would grow with the bad values. */
static void
forget_constraints(DomainState *state)
{
	MemoryContextReset(state->context);
	state->constraints = NULL;
	state->refusals = 0;
}

static bool
passes(ValueReader *reader, Datum value, bool isnull, const char **reason)
{
	DomainState *state = reader->state;

	state->value = value;
	state->isnull = isnull;
	if (values_guarded(reader, call_check, state, reason))
		return true;
	if (++state->refusals >= REFUSALS_KEPT)
		forget_constraints(state);
	return false;
}

static ValueResult
read_domain(ValueReader *reader, const RowsCell *cell, Datum *value, const char **reason)
{
	DomainState *state = reader->state;
	ValueResult result = state->base->read(state->base, cell, value, reason);
	const char *why;

	if (result == VALUE_BAD || passes(reader, *value, false, &why))
		return result;
	return values_bad(reason, why);
}

bool
values_domain_allows_null(ValueReader *reader)
{
	const char *reason;

	return passes(reader, (Datum) 0, true, &reason);
}

ValueReader *
values_domain_reader(ValueReader *base, Oid domain)
{
	if (!DomainHasConstraints(domain))
		return base;

	ValueReader *reader = palloc(sizeof(ValueReader));
	DomainState *state = palloc0(sizeof(DomainState));

	*reader = *base;
	reader->read = read_domain;
	reader->nulls = NULLS_UNKNOWN;
	reader->state = state;
	state->base = base;
	state->domain = domain;
	state->context = AllocSetContextCreate(CurrentMemoryContext, "contratos domain", ALLOCSET_SMALL_SIZES);
	return reader;
}
