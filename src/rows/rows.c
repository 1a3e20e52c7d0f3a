/*
 * rows.c
 *	  Incremental decoder of a BigQuery page: memory, cells and the envelope.
 *
 * The obvious way, a JSON library's tree of the page, takes 15 times the page's size in
 * memory and decodes slower than the network delivers.  This decoder builds no tree: a
 * cell points into the piece that was fed, and bytes are copied only if necessary: a
 * value with escapes or cut by the end of a piece (buffer "text"), the finished cells
 * of a row that continues in the next piece (buffer "kept"), and the envelope.
 *
 * The module is more than one file can hold legibly.  This file owns every byte that is
 * kept; rows_grammar.c knows the structure of a page and rows_token.c that of a string,
 * a number or a literal; neither of them allocates. rows_scan.h is their inner loop.
 */
#include <string.h>

#include "rows/rows_internal.h"

#define NO_LIMIT UINT64_MAX

/* The position in the page of the next byte. */
static uint64_t
position(const RowsDecoder *d)
{
	return d->base + (uint64_t) (d->p - d->piece);
}

/* Record the first error, at the current byte. */
static RowsResult
fail_as(RowsDecoder *d, RowsTrouble trouble, const char *error)
{
	d->error = error;
	d->trouble = trouble;
	d->error_at = position(d);
	return ROWS_ERROR;
}

RowsResult
rows_fail(RowsDecoder *d, const char *error)
{
	return fail_as(d, ROWS_MALFORMED, error);
}

static void
set_stop(RowsDecoder *d)
{
	uint64_t left = d->limit - position(d);

	d->stop = (uint64_t) (d->end - d->p) > left ? d->p + left : d->end;
}

/*
 * Set a limit of that many further bytes until the next call, 0 for none. The grammar
 * stops at exactly that byte, so that a page that is too long in one place and
 * malformed further on gives the same error however it is cut.
 */
void
rows_limit(RowsDecoder *d, uint64_t bytes)
{
	d->limit = bytes > 0 ? position(d) + bytes : NO_LIMIT;
	d->row_end = NO_LIMIT;
	set_stop(d);
}

/* The number of bytes of the value being copied, so far. */
static uint64_t
value_len(const RowsDecoder *d)
{
	if (!d->reads_cell)
		return 0;
	return d->into->len - d->start + (d->run != NULL ? (uint64_t) (d->p - d->run) : 0);
}

/*
 * Stop where the row's text may first exceed its limit, if every further byte were part
 * of it.
 */
static void
limit_text(RowsDecoder *d, uint64_t text_len)
{
	d->limit = position(d) + (ROWS_MAX_TEXT + 1 - text_len);
	if (d->limit > d->row_end)
		d->limit = d->row_end;
	set_stop(d);
}

/* A row begins: set the limits of a row. */
void
rows_limit_row(RowsDecoder *d)
{
	d->row_end = position(d) + ROWS_MAX_ROW;
	d->text_len = 0;
	limit_text(d, 0);
}

/* The limit was reached.  False if it is exceeded; otherwise sets the next limit. */
bool
rows_at_limit(RowsDecoder *d)
{
	uint64_t value = value_len(d);

	if (d->row_end == NO_LIMIT)
		fail_as(d, ROWS_ENVELOPE_TOO_LONG, "envelope too long");
	else if (value > ROWS_MAX_TEXT)
		fail_as(d, ROWS_VALUE_TOO_LONG, "value too long");
	else if (d->text_len + value > ROWS_MAX_TEXT)
		fail_as(d, ROWS_ROW_TOO_LONG, "row too long");
	else if (position(d) == d->row_end)
		fail_as(d, ROWS_ROW_TOO_WIDE, "row written in too many bytes");
	else
		limit_text(d, d->text_len + value);
	return d->error == NULL;
}

/*
 * Make room for n more bytes.  It is a realloc, which does not copy large blocks or
 * need memory for two; the cells that point into the buffer are moved.
 */
static bool
grow(RowsDecoder *d, RowsBuffer *b, size_t n)
{
	RowsMemory *m = &d->memory;
	uintptr_t from = (uintptr_t) b->data;
	size_t size = b->size > 0 ? b->size * 2 : 1024;

	while (size - b->len < n)
		size *= 2;
	char *data = m->alloc(m->arg, b->data, size);

	if (data == NULL)
	{
		fail_as(d, ROWS_NO_MEMORY, "out of memory");
		return false;
	}
	for (int i = 0; i < d->ncells; i++)
	{
		uintptr_t at = (uintptr_t) m->cells[i].data - from;

		if (at < b->len)
			m->cells[i].data = data + at;
	}
	b->data = data;
	b->size = size;
	return true;
}

bool
rows_append(RowsDecoder *d, RowsBuffer *b, const char *data, size_t n)
{
	if (b->size - b->len < n && !grow(d, b, n))
		return false;
	if (n > 0)
		memcpy(b->data + b->len, data, n);
	b->len += n;
	return true;
}

/* Make sure that one more cell fits. */
bool
rows_room_for_cell(RowsDecoder *d)
{
	RowsMemory *m = &d->memory;

	if (d->ncells < m->cells_size)
		return true;
	if (d->ncells == ROWS_MAX_CELLS)
	{
		rows_fail(d, "too many cells in a row");
		return false;
	}
	int size = m->cells_size > 0 ? m->cells_size * 2 : 16;

	if (size > ROWS_MAX_CELLS)
		size = ROWS_MAX_CELLS;
	RowsCell *cells = m->alloc(m->arg, m->cells, (size_t) size * sizeof(RowsCell));

	if (cells == NULL)
	{
		fail_as(d, ROWS_NO_MEMORY, "out of memory");
		return false;
	}
	m->cells = cells;
	m->cells_size = size;
	return true;
}

/* Start copying the source text, from run on, should it be necessary. */
void
rows_copy_begin(RowsDecoder *d, RowsBuffer *into, const char *run)
{
	d->into = into;
	d->run = run;
	d->start = into->len;
	d->spilled = false;
	d->reads_cell = into == &d->memory.text;
}

/* Copy the part that is not copied yet, up to the current byte. */
bool
rows_spill(RowsDecoder *d)
{
	if (!rows_append(d, d->into, d->run, (size_t) (d->p - d->run)))
		return false;
	d->run = d->p;
	d->spilled = true;
	return true;
}

/*
 * The value that rows_copy_begin() began ends before the current byte: it is the row's
 * next cell.  There is room (rows_room_for_cell).
 */
bool
rows_add_cell(RowsDecoder *d, RowsKind kind)
{
	RowsCell cell = {.data = "", .len = 0, .kind = kind};

	if (d->spilled && !rows_spill(d))
		return false;
	size_t len = value_len(d);

	/* an empty value must not seem to lie in a buffer */
	if (kind != ROWS_NULL && len > 0)
	{
		cell.data = d->spilled ? d->into->data + d->start : d->run;
		cell.len = len;
	}
	d->memory.cells[d->ncells++] = cell;
	d->text_len += cell.len;
	d->reads_cell = false;
	d->run = NULL;
	return true;
}

/*
 * The envelope always consists of "{…}" and a NUL, followed by the member being read.
 * When that is complete, brace and NUL become the comma (or, the first time, white
 * space) in front of it.
 */
bool
rows_member_begin(RowsDecoder *d)
{
	RowsBuffer *e = &d->memory.envelope;

	if (e->len == 0)
	{
		if (!rows_append(d, e, "{}", 3))
			return false;
		d->closed = 1;
	}
	rows_copy_begin(d, e, d->p);
	/*
	 * including its closing bytes (the key of "rows" counts until it is known); at
	 * least one byte, since 0 means no limit
	 */
	rows_limit(d, d->closed + 4 < ROWS_MAX_ENVELOPE ? ROWS_MAX_ENVELOPE - (d->closed + 3) : 1);
	return true;
}

/* The member is "rows": leave it out of the envelope. */
void
rows_member_drop(RowsDecoder *d)
{
	d->memory.envelope.len = d->start;
	d->run = NULL;
	rows_limit(d, 0);
}

bool
rows_member_end(RowsDecoder *d)
{
	RowsBuffer *e = &d->memory.envelope;

	if (!rows_spill(d))
		return false;
	size_t closed = e->len;

	if (!rows_append(d, e, "}", 2))
		return false;
	e->data[d->closed] = d->closed == 1 ? ' ' : ',';
	e->data[d->closed + 1] = ' ';
	d->closed = closed;
	d->run = NULL;
	rows_limit(d, 0);
	return true;
}

/* The piece ends in the middle of a row: save the cells that lie in it. */
static bool
keep_cells(RowsDecoder *d)
{
	size_t piece_len = (size_t) (d->end - d->piece);

	for (; d->nkept < d->ncells; d->nkept++)
	{
		RowsCell *cell = &d->memory.cells[d->nkept];
		RowsBuffer *kept = &d->memory.kept;

		if ((uintptr_t) cell->data - (uintptr_t) d->piece >= piece_len)
			continue;
		if (!rows_append(d, kept, cell->data, cell->len))
			return false;
		cell->data = cell->len > 0 ? kept->data + kept->len - cell->len : "";
	}
	return true;
}

/* The whole piece has been read. */
static RowsResult
finish_piece(RowsDecoder *d)
{
	if (!keep_cells(d))
		return ROWS_ERROR;
	if (d->run != NULL && !rows_spill(d))
		return ROWS_ERROR;
	d->base += (uint64_t) (d->end - d->piece);
	d->piece = d->p = d->stop = d->end = "";
	if (d->run != NULL)
		d->run = d->p;
	return d->state == STATE_DONE ? ROWS_END : ROWS_MORE;
}

RowsDecoder *
rows_create(RowsAlloc alloc, void *arg)
{
	RowsDecoder *d = alloc(arg, NULL, sizeof(RowsDecoder));

	if (d == NULL)
		return NULL;
	d->memory = (RowsMemory){.alloc = alloc, .arg = arg};
	rows_reset(d);
	return d;
}

static void
free_memory(RowsMemory *m, void *ptr)
{
	if (ptr != NULL)
		m->alloc(m->arg, ptr, 0);
}

void
rows_destroy(RowsDecoder *d)
{
	if (d == NULL)
		return;
	free_memory(&d->memory, d->memory.text.data);
	free_memory(&d->memory, d->memory.kept.data);
	free_memory(&d->memory, d->memory.envelope.data);
	free_memory(&d->memory, d->memory.cells);
	d->memory.alloc(d->memory.arg, d, 0);
}

void
rows_reset(RowsDecoder *d)
{
	RowsMemory memory = d->memory;

	memory.text.len = memory.kept.len = memory.envelope.len = 0;
	*d = (RowsDecoder){
		.memory = memory, .state = STATE_VALUE, .value = PLACE_PAGE, .limit = NO_LIMIT, .row_end = NO_LIMIT};
	d->piece = d->p = d->stop = d->end = "";
}

void
rows_feed(RowsDecoder *d, const char *data, size_t len)
{
	if (len == 0)
		return;
	d->piece = d->p = data;
	d->end = data + len;
	if (d->run != NULL)
		d->run = data;
	set_stop(d);
}

RowsResult
rows_next(RowsDecoder *d)
{
	if (d->error != NULL)
		return ROWS_ERROR;
	if (d->row_given)
	{
		d->row_given = false;
		d->ncells = d->nkept = 0;
		d->memory.text.len = d->memory.kept.len = 0;
	}
	RowsResult result = rows_advance(d);

	if (result == ROWS_ROW)
		d->row_given = true;
	return result == ROWS_MORE ? finish_piece(d) : result;
}

const RowsCell *
rows_cells(const RowsDecoder *d, int *ncells)
{
	*ncells = d->row_given ? d->ncells : 0;
	return d->memory.cells;
}

const char *
rows_envelope(RowsDecoder *d, size_t *len)
{
	if (d->memory.envelope.len == 0)
	{
		*len = 2;
		return "{}";
	}
	*len = d->closed + 1;
	return d->memory.envelope.data;
}

const char *
rows_error(const RowsDecoder *d, uint64_t *offset)
{
	*offset = d->error_at;
	return d->error;
}

RowsTrouble
rows_trouble(const RowsDecoder *d, int *cell)
{
	/* between two cells, report the previous one */
	*cell = d->reads_cell || d->ncells == 0 ? d->ncells : d->ncells - 1;
	return d->trouble;
}
