/*
 * fuzz_header.c
 *	  libFuzzer target: the header lines of an answer, one per line of the input.
 *
 * What is kept of them is in range and fit for the log; neither the case of a name nor
 * blanks around a value matter, and lines after the body none at all.
 */
#include "harness.h"

#include <ctype.h>

#include "http/http_internal.h"

static HttpExchange
take_lines(const uint8_t *data, size_t size, bool other_case)
{
	static CURL *easy;
	HttpExchange exchange = {.easy = easy ? easy : (easy = curl_easy_init())};
	size_t left;

	for (; size > 0; data += left, size -= left)
	{
		const uint8_t *end = memchr(data, '\n', size);
		char *line;
		size_t taken, colon = 0;

		left = end ? (size_t) (end - data) + 1 : size;
		/* exactly as long as it is, and without a NUL, as libcurl hands it over */
		line = malloc(left + 2);
		memcpy(line, data, left);
		for (taken = left; other_case && colon < left && line[colon] != ':'; colon++)
			line[colon] = (char) (isupper((unsigned char) line[colon]) ? tolower((unsigned char) line[colon])
																	   : toupper((unsigned char) line[colon]));
		if (other_case && end != NULL && left > 1)
		{
			memcpy(line + left - 1, " \r\n", 3);
			taken = left + 2;
		}
		line = realloc(line, taken);
		property(http_on_header(line, 1, taken, &exchange) == taken, "a line of %zu bytes stops the transfer", taken);
		free(line);
	}
	return exchange;
}

static bool
same(const HttpExchange *a, const HttpExchange *b)
{
	int off = abs(a->retry_after_ms - b->retry_after_ms);

	/* a date is counted from now */
	return (off == 0 || off == 1000) && strcmp(a->request_id, b->request_id) == 0 &&
		   a->google_metadata == b->google_metadata && a->date_s == b->date_s;
}

int
fuzz_input(const uint8_t *data, size_t size)
{
	HttpExchange got = take_lines(data, size, false);
	HttpExchange other = take_lines(data, size, true);
	HttpExchange before;

	property(got.retry_after_ms >= 0 && got.retry_after_ms <= 24 * 60 * 60 * 1000, "Retry-After %d ms",
			 got.retry_after_ms);
	property(got.date_s >= 0, "Date " INT64_FORMAT, got.date_s);
	property(strspn(got.request_id, "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz-_.:/+=") ==
				 strlen(got.request_id),
			 "id %s", got.request_id);
	property(same(&got, &other), "in other case or with blanks something else: %d %d, %s %s", got.retry_after_ms,
			 other.retry_after_ms, got.request_id, other.request_id);
	property(got.cap == HTTP_CAP_NONE && got.header_bytes == size, "%zu bytes of %zu", got.header_bytes, size);

	/* trailers */
	before = got;
	before.status = 200;
	if (size > 0)
	{
		char *line = malloc(size);

		memcpy(line, data, size);
		(void) http_on_header(line, 1, size, &before);
		free(line);
		property(same(&got, &before), "a trailer counts");
	}

	/* a number of seconds is what it says */
	if (size > 0 && size <= 6 && strspn((const char *) copy_of(data, size), "0123456789") == size)
	{
		char line[32];
		int len = sprintf(line, "Retry-After: %.*s\r\n", (int) size, (const char *) data);
		long seconds = strtol(line + 13, NULL, 10);
		HttpExchange one = take_lines((const uint8_t *) line, len, false);

		property(one.retry_after_ms == Min(seconds, 24 * 60 * 60) * 1000, "%ld s give %d ms", seconds,
				 one.retry_after_ms);
	}
	return 0;
}
