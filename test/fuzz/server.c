/*
 * server.c
 *	  Stand-ins for the functions of the server that the fuzzed files call: memory,
 *	  lists, errors, the calendar, and a few types.  See harness.h.
 *
 * What is in libpgcommon and libpgport is PostgreSQL's own: StringInfo, psprintf, UTF-8,
 * shortest decimals.  A function that is in neither is not linked, and a call of it ends
 * the run.
 */
#include "postgres.h"

#include <time.h>

#include "fmgr.h"
#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "nodes/pg_list.h"
#include "utils/builtins.h"
#include "utils/datetime.h"
#include "utils/json.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "harness.h"

#undef fprintf

/* --------------------------------------------------------------------------
 * Memory: each block is one of malloc's, so that the sanitizer sees its ends
 * -------------------------------------------------------------------------- */

typedef struct Block
{
	struct Block *next, *previous; /* in a ring, whose head is in the context */
	struct Context *context;
	size_t size;
} Block;

typedef struct Context
{
	Block ring;
	struct Context *parent, *children, *sibling;
	MemoryContextCallback *callbacks;
	size_t allocated;
} Context;

static Context top = {.ring = {.next = &top.ring, .previous = &top.ring}};

MemoryContext CurrentMemoryContext = (MemoryContext) &top;
MemoryContext TopMemoryContext = (MemoryContext) &top;

static void *
take(Context *context, size_t size)
{
	Block *block = malloc(sizeof(Block) + size);

	if (block == NULL)
		abort();
	*block = (Block){.next = context->ring.next, .previous = &context->ring, .context = context, .size = size};
	block->next->previous = block;
	context->ring.next = block;
	context->allocated += size;
	return block + 1;
}

static void
give(void *pointer)
{
	Block *block = (Block *) pointer - 1;

	block->next->previous = block->previous;
	block->previous->next = block->next;
	block->context->allocated -= block->size;
	free(block);
}

static void
empty(Context *context)
{
	MemoryContextCallback *callback;

	while (context->children != NULL)
		MemoryContextDelete((MemoryContext) context->children);
	while ((callback = context->callbacks) != NULL)
	{
		context->callbacks = callback->next;
		callback->func(callback->arg);
	}
	while (context->ring.next != &context->ring)
		give(context->ring.next + 1);
}

void
end_input(void)
{
	empty(&top);
	CurrentMemoryContext = (MemoryContext) &top;
}

MemoryContext
AllocSetContextCreateInternal(MemoryContext parent, const char *name, Size minContextSize, Size initBlockSize,
							  Size maxBlockSize)
{
	Context *context = calloc(1, sizeof(Context));
	Context *above = (Context *) parent;

	if (context == NULL)
		abort();
	context->ring.next = context->ring.previous = &context->ring;
	context->parent = above;
	context->sibling = above->children;
	above->children = context;
	return (MemoryContext) context;
}

void
MemoryContextReset(MemoryContext context)
{
	empty((Context *) context);
}

void
MemoryContextDelete(MemoryContext context)
{
	Context *gone = (Context *) context;
	Context **at = &gone->parent->children;

	empty(gone);
	while (*at != gone)
		at = &(*at)->sibling;
	*at = gone->sibling;
	free(gone);
}

void
MemoryContextRegisterResetCallback(MemoryContext context, MemoryContextCallback *cb)
{
	cb->next = ((Context *) context)->callbacks;
	((Context *) context)->callbacks = cb;
}

Size
MemoryContextMemAllocated(MemoryContext context, bool recurse)
{
	return ((Context *) context)->allocated;
}

void *
MemoryContextAlloc(MemoryContext context, Size size)
{
	property(AllocSizeIsValid(size), "palloc of %zu bytes would throw", size);
	return take((Context *) context, size);
}

void *
MemoryContextAllocZero(MemoryContext context, Size size)
{
	return memset(MemoryContextAlloc(context, size), 0, size);
}

void *
MemoryContextAllocHuge(MemoryContext context, Size size)
{
	return take((Context *) context, size);
}

char *
MemoryContextStrdup(MemoryContext context, const char *string)
{
	return strcpy(MemoryContextAlloc(context, strlen(string) + 1), string);
}

void *
palloc(Size size)
{
	return MemoryContextAlloc(CurrentMemoryContext, size);
}

void *
palloc0(Size size)
{
	return MemoryContextAllocZero(CurrentMemoryContext, size);
}

void *
repalloc(void *pointer, Size size)
{
	Block *block = (Block *) pointer - 1;
	void *larger = take(block->context, size);

	memcpy(larger, pointer, Min(size, block->size));
	give(pointer);
	return larger;
}

void *
repalloc_huge(void *pointer, Size size)
{
	return repalloc(pointer, size);
}

void
pfree(void *pointer)
{
	give(pointer);
}

char *
pstrdup(const char *in)
{
	return MemoryContextStrdup(CurrentMemoryContext, in);
}

char *
pnstrdup(const char *in, Size len)
{
	char *copy;

	len = strnlen(in, len);
	copy = memcpy(palloc(len + 1), in, len);
	copy[len] = '\0';
	return copy;
}

List *
lappend(List *list, void *datum)
{
	if (list == NIL)
	{
		list = palloc0(sizeof(List));
		list->type = T_List;
	}
	if (list->length == list->max_length)
	{
		ListCell *more = palloc(sizeof(ListCell) * (2 * list->length + 4));

		if (list->length > 0)
			memcpy(more, list->elements, sizeof(ListCell) * list->length);
		list->elements = more;
		list->max_length = 2 * list->length + 4;
	}
	list->elements[list->length++].ptr_value = datum;
	return list;
}

/* --------------------------------------------------------------------------
 * Errors
 * -------------------------------------------------------------------------- */

volatile sig_atomic_t InterruptPending = false;

bool
errstart(int elevel, const char *domain)
{
	return elevel >= ERROR;
}

bool
errstart_cold(int elevel, const char *domain)
{
	return elevel >= ERROR;
}

void
errfinish(const char *filename, int lineno, const char *funcname)
{
	property(false, "ERROR in %s of %s, line %d", funcname, filename, lineno);
}

int
errcode(int sqlerrcode)
{
	return 0;
}

int
errmsg(const char *fmt, ...)
{
	fprintf(stderr, "%s\n", fmt);
	return 0;
}

int
errmsg_internal(const char *fmt, ...)
{
	fprintf(stderr, "%s\n", fmt);
	return 0;
}

void
ExceptionalCondition(const char *conditionName,
#if PG_VERSION_NUM < 160000
					 const char *errorType,
#endif
					 const char *fileName, int lineNumber)
{
	property(false, "Assert(%s) in %s, line %d", conditionName, fileName, lineNumber);
	abort();
}

/* --------------------------------------------------------------------------
 * Encodings: a database in UTF-8
 * -------------------------------------------------------------------------- */

int
GetDatabaseEncoding(void)
{
	return PG_UTF8;
}

char *
pg_server_to_any(const char *s, int len, int encoding)
{
	return unconstify(char *, s);
}

/* The longest beginning of whole characters in `limit` bytes. */
int
pg_mbcliplen(const char *mbstr, int len, int limit)
{
	if (len <= limit)
		return len;
	while (limit > 0 && ((unsigned char) mbstr[limit] & 0xC0) == 0x80)
		limit--;
	return limit;
}

void
escape_json(StringInfo buf, const char *str)
{
	appendStringInfoChar(buf, '"');
	for (; *str != '\0'; str++)
	{
		if ((unsigned char) *str < ' ')
			appendStringInfo(buf, "\\u%04x", *str);
		else
		{
			if (*str == '"' || *str == '\\')
				appendStringInfoChar(buf, '\\');
			appendStringInfoChar(buf, *str);
		}
	}
	appendStringInfoChar(buf, '"');
}

/* --------------------------------------------------------------------------
 * The calendar: the C library's
 * -------------------------------------------------------------------------- */

const int day_tab[2][13] = {{31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31, 0},
							{31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31, 0}};

int
date2j(int year, int month, int day)
{
	struct tm tm = {.tm_year = year - 1900, .tm_mon = month - 1, .tm_mday = day};
	time_t seconds = timegm(&tm);

	return (int) (seconds / SECS_PER_DAY - (seconds % SECS_PER_DAY < 0)) + UNIX_EPOCH_JDATE;
}

void
j2date(int jd, int *year, int *month, int *day)
{
	time_t seconds = ((time_t) jd - UNIX_EPOCH_JDATE) * SECS_PER_DAY;
	struct tm tm;

	gmtime_r(&seconds, &tm);
	*year = tm.tm_year + 1900;
	*month = tm.tm_mon + 1;
	*day = tm.tm_mday;
}

int
timestamp2tm(Timestamp dt, int *tzp, struct pg_tm *tm, fsec_t *fsec, const char **tzn, pg_tz *attimezone)
{
	int64 clock = dt % USECS_PER_DAY;
	int64 day = dt / USECS_PER_DAY;

	if (clock < 0)
	{
		clock += USECS_PER_DAY;
		day--;
	}
	j2date((int) day + POSTGRES_EPOCH_JDATE, &tm->tm_year, &tm->tm_mon, &tm->tm_mday);
	tm->tm_hour = (int) (clock / USECS_PER_HOUR);
	tm->tm_min = (int) (clock / USECS_PER_MINUTE % MINS_PER_HOUR);
	tm->tm_sec = (int) (clock / USECS_PER_SEC % SECS_PER_MINUTE);
	*fsec = (fsec_t) (clock % USECS_PER_SEC);
	return 0;
}

/* --------------------------------------------------------------------------
 * Types
 * -------------------------------------------------------------------------- */

char *
format_type_with_typemod(Oid type_oid, int32 typemod)
{
	return psprintf("type %u", type_oid);
}

text *
cstring_to_text_with_len(const char *s, int len)
{
	text *result = palloc(len + VARHDRSZ);

	SET_VARSIZE(result, len + VARHDRSZ);
	memcpy(VARDATA(result), s, len);
	return result;
}

Datum
DirectFunctionCall2Coll(PGFunction func, Oid collation, Datum arg1, Datum arg2)
{
	LOCAL_FCINFO(fcinfo, 2);

	InitFunctionCallInfoData(*fcinfo, NULL, 2, collation, NULL, NULL);
	fcinfo->args[0] = (NullableDatum){.value = arg1};
	fcinfo->args[1] = (NullableDatum){.value = arg2};
	return func(fcinfo);
}

Datum
DirectFunctionCall3Coll(PGFunction func, Oid collation, Datum arg1, Datum arg2, Datum arg3)
{
	LOCAL_FCINFO(fcinfo, 3);

	InitFunctionCallInfoData(*fcinfo, NULL, 3, collation, NULL, NULL);
	fcinfo->args[0] = (NullableDatum){.value = arg1};
	fcinfo->args[1] = (NullableDatum){.value = arg2};
	fcinfo->args[2] = (NullableDatum){.value = arg3};
	return func(fcinfo);
}

/* As PostgreSQL reads a boolean: a beginning of these words that fits one of them alone. */
bool
parse_bool_with_len(const char *value, size_t len, bool *result)
{
	static const struct
	{
		const char *word;
		size_t least;
		bool truth;
	} words[] = {{"true", 1, true}, {"false", 1, false}, {"yes", 1, true}, {"no", 1, false},
				 {"on", 2, true},	{"off", 2, false},	 {"1", 1, true},   {"0", 1, false}};

	for (size_t i = 0; i < lengthof(words); i++)
	{
		if (len < words[i].least || len > strlen(words[i].word) || pg_strncasecmp(value, words[i].word, len) != 0)
			continue;
		*result = words[i].truth;
		return true;
	}
	return false;
}

int
pg_mbstrlen_with_len(const char *mbstr, int limit)
{
	int n = 0;

	for (int i = 0; i < limit; i++)
		n += ((unsigned char) mbstr[i] & 0xC0) != 0x80;
	return n;
}

/* Nothing here is compressed or stored elsewhere. */
struct varlena *
pg_detoast_datum(struct varlena *datum)
{
	return datum;
}

struct varlena *
pg_detoast_datum_packed(struct varlena *datum)
{
	return datum;
}
