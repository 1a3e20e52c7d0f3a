/*
 * values_enum.c
 *	  Enums, by a list of their labels.
 *
 * enum_in() would do, but for what it leaves behind: the catalog cache keeps
 * an entry for each text that is no label, to the end of the session.  So it
 * is asked only of labels, and once of each (it refuses those that were added
 * in a transaction still open).
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_enum.h"
#include "utils/builtins.h"
#include "utils/catcache.h"
#include "utils/syscache.h"

#include "base/failure.h"
#include "bigquery/message.h"
#include "rows/rows.h"
#include "values/values_internal.h"

typedef struct Label
{
	const char *name; /* in the server's encoding */
	Datum value;
	bool known; /* enum_in() has given it */
} Label;

typedef struct EnumState
{
	ValueReader *input; /* enum_in() */
	int nlabels;
	Label *labels; /* in strcmp()'s order */
	StringInfoData text; /* UTF-8, of the value being read */
} EnumState;

static int
compare_labels(const void *a, const void *b)
{
	return strcmp(((const Label *) a)->name, ((const Label *) b)->name);
}

/* As they are now: one that is added later is no label to this reader. */
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

	/* in enum_in()'s words */
	if (label == NULL)
		return values_bad_said(reason,
							   psprintf("invalid input value for enum %s: \"%s\"", format_type_be(reader->type), text));
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
