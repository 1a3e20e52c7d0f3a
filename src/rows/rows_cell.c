/*
 * rows_cell.c
 *	  The content of a cell that is not a scalar: one level of an ARRAY or a STRUCT.
 *
 * Its text has the same form as a page: an ARRAY is written like the cells of a row, a
 * STRUCT like a row.  So the page's decoder reads it, started in the middle, with the
 * same checks and at the same speed.  Deeper levels are skipped at the speed of a scan,
 * and read later in the same way; a schema has 15 levels at most.  The number of an
 * array's elements is not limited in that way: they are returned in batches, so that
 * all the cells together never take several times the array's own size.
 */
#include "rows/rows_internal.h"

/* Start at the place where such a value is found on a page. */
static void
begin(RowsDecoder *d, RowsPlace place, const char *data, size_t len)
{
	rows_reset(d);
	d->value = place;
	rows_feed(d, data, len);
}

bool
rows_record(RowsDecoder *d, const char *data, size_t len)
{
	begin(d, PLACE_ROW, data, len);
	RowsResult result = rows_advance(d);

	/* a row's end is reported at once, and the fast path for rows leaves the state behind it */
	if (result == ROWS_ROW)
	{
		d->state = STATE_DONE;
		result = rows_advance(d);
	}
	if (result == ROWS_MORE && d->state != STATE_DONE)
		result = rows_fail(d, "ends too early");
	d->row_given = result == ROWS_MORE;
	return d->row_given;
}

void
rows_array(RowsDecoder *d, const char *data, size_t len)
{
	begin(d, PLACE_FIELDS, data, len);
	d->some_at_a_time = true;
}

bool
rows_elements(RowsDecoder *d, const RowsCell **cells, int *ncells)
{
	d->ncells = 0;
	d->memory.text.len = 0;
	RowsResult result = d->error != NULL ? ROWS_ERROR : rows_advance(d);

	if (result == ROWS_MORE && d->state != STATE_DONE)
		result = rows_fail(d, "ends too early");
	*cells = d->memory.cells;
	*ncells = result != ROWS_ERROR ? d->ncells : 0;
	return *ncells > 0;
}
