/*
 * failure.c
 *	  A failure of a remote service, as a value; see failure.h.
 *
 * The fields are plain arrays, and no function of this file allocates before
 * failure_throw(), so a Failure can be filled where palloc and ereport are forbidden.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/namespace.h"
#include "common/hashfn.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/memutils.h"
#include "utils/resowner.h"

#include "base/compat.h"
#include "base/failure.h"

/*
 * The Failure of the last error that failure_throw() raised, for failure_of(); sqlstate
 * is 0 before the first.
 */
static Failure last_thrown;

/* A hash of its message as it was raised: converting the message again might give another text. */
static uint64 last_message;

static uint64
hash_text(const char *text)
{
	return hash_bytes_extended((const unsigned char *) text, (int) strlen(text), 0);
}

/* Drop a UTF-8 character whose last bytes were cut off at the end of `text`. */
static void
drop_partial_char(char *text)
{
	size_t len = strlen(text);
	size_t start = len;

	/* back to the last byte that begins a character: at most 3 after it */
	while (start > 0 && len - start < 4 && ((unsigned char) text[start - 1] & 0xC0) == 0x80)
		start--;
	if (start == 0)
		return;
	start--;
	if (IS_HIGHBIT_SET(text[start]) && start + pg_utf_mblen((unsigned char *) text + start) > len)
		text[start] = '\0';
}

/* vsnprintf that cuts at a character boundary. */
static void format_field(char *field, size_t size, const char *fmt, va_list args) pg_attribute_printf(3, 0);

static void
format_field(char *field, size_t size, const char *fmt, va_list args)
{
	int needed = vsnprintf(field, size, fmt, args);

	if (needed < 0)
		field[0] = '\0';
	else if ((size_t) needed >= size)
		drop_partial_char(field);
}

bool
failure_set(Failure *f, int sqlstate, const char *fmt, ...)
{
	va_list args;

	memset(f, 0, sizeof(*f));
	f->sqlstate = sqlstate;
	va_start(args, fmt);
	format_field(f->message, sizeof(f->message), fmt, args);
	va_end(args);
	return false;
}

void
failure_detail(Failure *f, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	format_field(f->detail, sizeof(f->detail), fmt, args);
	va_end(args);
}

void
failure_hint(Failure *f, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	format_field(f->hint, sizeof(f->hint), fmt, args);
	va_end(args);
}

void
failure_reason(Failure *f, const char *reason)
{
	strlcpy(f->reason, reason ? reason : "", sizeof(f->reason));
	drop_partial_char(f->reason);
}

/*
 * Convert one character of UTF-8, at most `len` bytes, to the server encoding into
 * `out` (terminated); '?' for a broken character or one that the encoding does not
 * have.  `proc` is the conversion, InvalidOid when none can be obtained.  Returns the
 * bytes read.
 */
static int
convert_char(Oid proc, const char *text, int len, char out[MAX_CONVERSION_GROWTH * 4 + 1])
{
	int one = pg_utf_mblen((const unsigned char *) text);

	strcpy(out, "?");
	if (one > len || !pg_utf8_islegal((const unsigned char *) text, one))
		return 1;
	if (!IS_HIGHBIT_SET(*text) || GetDatabaseEncoding() == PG_UTF8)
	{
		memcpy(out, text, one);
		out[one] = '\0';
	}
	else if (OidIsValid(proc))
	{
		unsigned char result[MAX_CONVERSION_GROWTH * 4 + 1];

		if (pg_do_encoding_conversion_buf(proc, PG_UTF8, GetDatabaseEncoding(), (unsigned char *) text, one, result,
										  sizeof(result), true) == one)
			strcpy(out, (char *) result);
	}
	return one;
}

/*
 * The texts of a service may be anything: an error message that cannot be converted
 * must not hide the error.
 */
char *
failure_to_server(const char *text)
{
	int len = strlen(text);
	StringInfoData buf;
	Oid proc = InvalidOid;

	if (GetDatabaseEncoding() == PG_SQL_ASCII)
		return pstrdup(text);
	/* looking up a conversion reads the catalog, which takes a transaction */
	if (GetDatabaseEncoding() != PG_UTF8 && IsTransactionState())
		proc = FindDefaultConversionProc(PG_UTF8, GetDatabaseEncoding());

	initStringInfo(&buf);
	for (int i = 0; i < len;)
	{
		char out[MAX_CONVERSION_GROWTH * 4 + 1];

		i += convert_char(proc, text + i, len - i, out);
		appendStringInfoString(&buf, out);
	}
	return buf.data;
}

char *
failure_from_server(const char *text)
{
	int encoding = GetDatabaseEncoding();
	StringInfoData buf;

	/* as above: a conversion is looked up */
	if (encoding == PG_UTF8 || encoding == PG_SQL_ASCII || IsTransactionState())
		return pg_server_to_any(text, strlen(text), PG_UTF8);
	initStringInfo(&buf);
	for (; *text != '\0'; text++)
		appendStringInfoChar(&buf, IS_HIGHBIT_SET(*text) ? '?' : *text);
	return buf.data;
}

void
failure_throw(const Failure *f)
{
	char *message;

	CHECK_FOR_INTERRUPTS();

	/* f may itself be the result of failure_of() */
	memmove(&last_thrown, f, sizeof(Failure));
	if (last_thrown.sqlstate == 0)
		last_thrown.sqlstate = ERRCODE_INTERNAL_ERROR;
	f = &last_thrown;
	message = failure_to_server(f->message);
	last_message = hash_text(message);

	ereport(ERROR, (errcode(f->sqlstate), errmsg_internal("%s", message),
					f->detail[0] ? errdetail_internal("%s", failure_to_server(f->detail)) : 0,
					f->hint[0] ? errhint("%s", failure_to_server(f->hint)) : 0));
}

/*
 * An error of the same SQLSTATE may come from PostgreSQL itself: a function that was
 * called may have caught the failure and then failed for another reason.  So the error
 * must have been raised by failure_throw(), with exactly the failure's message.
 */
const Failure *
failure_of(const ErrorData *edata)
{
	if (edata->sqlerrcode != last_thrown.sqlstate || edata->funcname == NULL || edata->message == NULL ||
		strcmp(edata->funcname, "failure_throw") != 0 || hash_text(edata->message) != last_message)
		return NULL;
	return &last_thrown;
}

/* --------------------------------------------------------------------------
 * Errors that are caught, so that the caller can go on.
 * -------------------------------------------------------------------------- */

ErrorData *
catch_in_subtransaction(void (*body)(void *arg), void *arg, bool keep)
{
	MemoryContext context = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;

	ErrorData *volatile edata = NULL;

	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(context);
	PG_TRY();
	{
		body(arg);
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(context);
		edata = CopyErrorData();
		FlushErrorState();
	}
	PG_END_TRY();
	if (edata == NULL && keep)
		ReleaseCurrentSubTransaction();
	else
		RollbackAndReleaseCurrentSubTransaction();
	MemoryContextSwitchTo(context);
	CurrentResourceOwner = owner;
	return edata;
}

void
catch_emit(void *arg pg_attribute_unused(), ErrorData *edata pg_attribute_unused())
{
	EmitErrorReport();
}

ErrorData *
catch_with_transactions(void (*body)(void *arg), void *arg, void (*report)(void *arg, ErrorData *edata))
{
	MemoryContext context = CurrentMemoryContext;

	ErrorData *volatile edata = NULL;

	PG_TRY();
	{
		body(arg);
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(context);
		edata = CopyErrorData();
		if (report != NULL)
			report(arg, edata);
		FlushErrorState();
		AbortOutOfAnyTransaction();
	}
	PG_END_TRY();
	MemoryContextSwitchTo(context);
	return edata;
}
