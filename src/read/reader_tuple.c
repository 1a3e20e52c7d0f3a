/*
 * reader_tuple.c
 *	  Rows as tuples of a foreign table, made by a process without a database.
 *
 * This moves the executor's work on the values of a row to another core: the executor
 * receives a tuple, which it copies unchanged if its target has the same columns.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "utils/memutils.h"

#include "read/reader_internal.h"
#include "rows/rows.h"
#include "values/values.h"

/* A larger row is sent as cells: tuples and batches stay far below palloc()'s limit. */
#define MAX_ROW_BYTES (16 * 1024 * 1024)

struct TupleMaker
{
	ReaderShape shape;
	MemoryContext context; /* of one tuple */
	Datum *values;
	bool *nulls;
};

/* --------------------------------------------------------------------------
 * A shape as bytes
 * -------------------------------------------------------------------------- */

void
reader_tuple_put_shape(StringInfo buf, const ReaderShape *shape)
{
	int32 natts = shape->desc->natts;

	appendBinaryStringInfo(buf, (const char *) &natts, sizeof(natts));
	for (int i = 0; i < natts; i++)
		appendBinaryStringInfo(buf, (const char *) TupleDescAttr(shape->desc, i), ATTRIBUTE_FIXED_PART_SIZE);
	appendBinaryStringInfo(buf, (const char *) shape->columns, (int) sizeof(ReaderColumn) * shape->ncolumns);
}

void
reader_tuple_take_shape(const char **at, ReaderShape *shape)
{
	int32 natts;
	Form_pg_attribute *attributes;

	memcpy(&natts, *at, sizeof(natts));
	*at += sizeof(natts);
	attributes = palloc(sizeof(Form_pg_attribute) * Max(natts, 1));
	for (int i = 0; i < natts; i++)
	{
		attributes[i] = palloc0(sizeof(FormData_pg_attribute));
		memcpy(attributes[i], *at, ATTRIBUTE_FIXED_PART_SIZE);
		*at += ATTRIBUTE_FIXED_PART_SIZE;
	}
	shape->desc = CreateTupleDesc(natts, attributes);
	shape->columns = palloc(sizeof(ReaderColumn) * Max(shape->ncolumns, 1));
	memcpy(shape->columns, *at, sizeof(ReaderColumn) * shape->ncolumns);
	*at += sizeof(ReaderColumn) * shape->ncolumns;
}

/* --------------------------------------------------------------------------
 * Tuples
 * -------------------------------------------------------------------------- */

TupleMaker *
reader_tuple_maker(const ReaderShape *shape)
{
	TupleMaker *maker = palloc0(sizeof(TupleMaker));

	maker->shape = *shape;
	maker->context = AllocSetContextCreate(CurrentMemoryContext, "contratos tuple", ALLOCSET_DEFAULT_SIZES);
	maker->values = palloc0(sizeof(Datum) * Max(shape->desc->natts, 1));
	maker->nulls = palloc(sizeof(bool) * Max(shape->desc->natts, 1));
	/* attributes without a column stay NULL */
	memset(maker->nulls, true, shape->desc->natts);
	return maker;
}

/* Whether every column has a value that this process can read. */
static bool
read_values(TupleMaker *maker, const RowsCell *cells)
{
	size_t len = 0;

	for (int i = 0; i < maker->shape.ncolumns; i++)
	{
		const ReaderColumn *column = &maker->shape.columns[i];
		const RowsCell *cell = &cells[column->position];
		bool null = cell->kind == ROWS_NULL;

		len += cell->len;
		maker->nulls[column->attnum - 1] = null;
		if (len > MAX_ROW_BYTES || (null && column->not_null) ||
			(!null && !values_read_simple(column->simple, cell, &maker->values[column->attnum - 1])))
			return false;
	}
	return true;
}

HeapTuple
reader_tuple_make(TupleMaker *maker, const RowsCell *cells)
{
	MemoryContext old;
	HeapTuple tuple = NULL;

	MemoryContextReset(maker->context);
	old = MemoryContextSwitchTo(maker->context);
	if (read_values(maker, cells))
		tuple = heap_form_tuple(maker->shape.desc, maker->values, maker->nulls);
	MemoryContextSwitchTo(old);
	return tuple;
}
