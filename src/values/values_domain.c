/*
 * values_domain.c
 *	  Domains and enums, which are defined by users.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_enum.h"
#include "utils/builtins.h"
#include "utils/catcache.h"
#include "utils/memutils.h"
#include "utils/syscache.h"
#include "utils/typcache.h"

#include "base/failure.h"
#include "bigquery/job.h"
#include "bigquery/message.h"
#include "rows/rows.h"
#include "values/values_internal.h"

/* --------------------------------------------------------------------------
 * Domains: the values of their base type, as far as their constraints allow.
 * domain_in() cannot be used: the base type's input function would round to the
 * domain's typmod before the constraints are checked.
 * -------------------------------------------------------------------------- */

/* The number of rejected values after which the memory left behind by the checks is freed. */
#define REFUSALS_KEPT 1000

typedef struct DomainState
{
	ValueReader *base;
	Oid domain;
	void *constraints; /* domain_check()'s own data, in … */
	MemoryContext context;
	int refusals; /* since that was created */

	/* of the current call */
	Datum value;
	bool isnull;
} DomainState;

static void
call_check(void *arg)
{
	DomainState *state = arg;

	domain_check(state->value, state->isnull, state->domain, &state->constraints, state->context);
}

static bool
passes(ValueReader *reader, Datum value, bool isnull, const char **reason)
{
	DomainState *state = reader->state;

	state->value = value;
	state->isnull = isnull;
	if (values_guarded(reader, call_check, state, reason))
		return true;
	/* a check that throws cannot free its memory, which would grow with the number of bad values */
	if (++state->refusals >= REFUSALS_KEPT)
	{
		MemoryContextReset(state->context);
		state->constraints = NULL;
		state->refusals = 0;
	}
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

/* --------------------------------------------------------------------------
 * Enums, by a list of their labels.  enum_in() alone would not do: the catalog cache
 * keeps an entry for each text that is not a label, until the end of the session.  So
 * it is called only with labels, and once for each (it rejects those added in a
 * transaction that is still open).
 * -------------------------------------------------------------------------- */

typedef struct Label
{
	const char *name; /* in the server's encoding */
	Datum value;
	bool known; /* enum_in() has returned the value */
} Label;

typedef struct EnumState
{
	ValueReader *input; /* enum_in() */
	int nlabels;
	Label *labels; /* in the order of strcmp() */
	StringInfoData text; /* UTF-8, the value being read */
} EnumState;

static int
compare_labels(const void *a, const void *b)
{
	return strcmp(((const Label *) a)->name, ((const Label *) b)->name);
}

/* Read the current labels: one that is added later is not a label to this reader. */
static void
read_labels(EnumState *state, Oid type)
{
	CatCList *list = SearchSysCacheList1(ENUMTYPOIDNAME, ObjectIdGetDatum(type));

	state->labels = palloc0(sizeof(Label) * Max(list->n_members, 1));
	for (int i = 0; i < list->n_members; i++)
	{
		Form_pg_enum label = (Form_pg_enum) GETSTRUCT(&list->members[i]->tuple);

		state->labels[state->nlabels++].name = pstrdup(NameStr(label->enumlabel));
	}
	ReleaseSysCacheList(list);
	qsort(state->labels, state->nlabels, sizeof(Label), compare_labels);
}

static ValueResult
read_enum(ValueReader *reader, const RowsCell *cell, Datum *value, const char **reason)
{
	EnumState *state = reader->state;
	char *text;

	resetStringInfo(&state->text);
	if (!values_text(reader->field, cell->data, cell->len, &state->text, reason) ||
		!values_to_server(reader, &state->text, &text, reason))
		return VALUE_BAD;

	Label wanted = {.name = text};
	Label *label = bsearch(&wanted, state->labels, state->nlabels, sizeof(Label), compare_labels);

	/* in the words of enum_in() */
	if (label == NULL)
		return values_bad_message(
			reason, psprintf("invalid input value for enum %s: \"%s\"", format_type_be(reader->type), text));
	if (!label->known)
		label->known = values_input(state->input, text, &label->value, reason);
	*value = label->value;
	return label->known ? VALUE_OK : VALUE_BAD;
}

ValueReader *
values_enum_reader(const BqField *field, Oid type, const char *column, Failure *f)
{
	ValueReader *reader = values_make(read_enum, field, type, -1, column, f);

	if (reader == NULL)
		return NULL;

	EnumState *state = palloc0(sizeof(EnumState));

	state->input = values_input_reader(field, type, -1, column, f);
	if (state->input == NULL)
		return NULL;
	read_labels(state, type);
	initStringInfo(&state->text);
	reader->state = state;
	return reader;
}
