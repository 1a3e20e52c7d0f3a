/*
 * rows_cell.c
 *	  What a cell holds that is no scalar: one level of an ARRAY or a STRUCT.
 *
 * Its text is what a page is made of anyway: an ARRAY is written like the
 * cells of a row, a STRUCT like a row.  So the page's decoder reads it, begun
 * in the middle, and whatever it checks and however fast it is holds here too.
 * What is nested deeper is skipped at the speed of a scan, and read when its
 * turn comes; a schema has 15 levels at most.  An array has no such bound on
 * its elements: they are given some at a time, so that the cells of them all
 * never take several times its own size.
 */
#include "rows/rows_internal.h"

/* Begin in the place where such a value stands on a page. */
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

	/* a row's end is told at once, and the common row's leaves the state behind */
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
