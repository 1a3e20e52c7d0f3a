/*
 * http_header.c
 *	  The header lines of an answer, as libcurl hands them over.
 *
 * They are bytes of the other side: a line has any length and content, and no NUL at
 * its end.  As in every callback of libcurl: no palloc, no ereport, no interrupts.
 */
#include "postgres.h"

#include <ctype.h>
#include <time.h>

#include "http/http_internal.h"

/* We honor no longer waits; the limit also keeps the product in range. */
#define MAX_RETRY_AFTER_S (24 * 60 * 60)

/* Retry-After's value, seconds or a date, in milliseconds. */
static int
parse_retry_after(const char *value)
{
	long long seconds;

	if (isdigit((unsigned char) *value))
		seconds = strtoll(value, NULL, 10);
	else
	{
		time_t when = curl_getdate(value, NULL);

		seconds = when == (time_t) -1 ? 0 : (long long) when - (long long) time(NULL);
	}
	return (int) Min(Max(seconds, 0), MAX_RETRY_AFTER_S) * 1000;
}

/*
 * Copy the value of a header line, which is not NUL-terminated, into a fixed array;
 * false if the line has another name (`name` is in lower case, with its colon).
 */
static bool
header_value(const char *line, size_t len, const char *name, char *value, size_t size)
{
	size_t name_len = strlen(name);

	if (len <= name_len || pg_strncasecmp(line, name, name_len) != 0)
		return false;
	line += name_len;
	len -= name_len;
	while (len > 0 && (*line == ' ' || *line == '\t'))
	{
		line++;
		len--;
	}
	while (len > 0 && isspace((unsigned char) line[len - 1]))
		len--;
	len = Min(len, size - 1);
	memcpy(value, line, len);
	value[len] = '\0';
	return true;
}

/* Record the headers that matter for any request. */
static void
note_header(HttpExchange *exchange, const char *line, size_t len)
{
	char value[64];

	if (header_value(line, len, "retry-after:", value, sizeof(value)))
		exchange->retry_after_ms = parse_retry_after(value);
	else if (header_value(line, len, "x-request-id:", value, sizeof(value)) ||
			 header_value(line, len, "x-guploader-uploadid:", value, sizeof(value)))
	{
		/* cut before the first character that an identifier cannot have, so that nothing else is logged */
		value[strspn(value, "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz-_.:/+=")] = '\0';
		strlcpy(exchange->request_id, value, sizeof(exchange->request_id));
	}
	else if (header_value(line, len, "metadata-flavor:", value, sizeof(value)))
		exchange->google_metadata = strcmp(value, "Google") == 0;
	else if (header_value(line, len, "date:", value, sizeof(value)))
		exchange->date_s = Max((int64) curl_getdate(value, NULL), 0);
}

size_t
http_on_header(char *line, size_t size, size_t nitems, void *arg)
{
	HttpExchange *exchange = arg;
	size_t len = size * nitems;

	exchange->activity++;
	exchange->header_bytes += len;
	if (exchange->header_bytes > HTTP_MAX_HEADER)
	{
		exchange->cap = HTTP_CAP_HEADER;
		return 0;
	}
	if (exchange->status != 0)
		return len; /* a trailer, after the body */
	if (len > 0 && (line[0] == '\r' || line[0] == '\n'))
	{
		long status = 0;

		/* a final status follows a status below 200 */
		curl_easy_getinfo(exchange->easy, CURLINFO_RESPONSE_CODE, &status);
		if (status >= 200)
			exchange->status = (int) status;
	}
	else
		note_header(exchange, line, len);
	return len;
}
