/*
 * test_progress.c
 *	  How far a load is, in numbers and words: the edges of a few divisions.
 */
#include "schedule_harness.h"

#include <stdarg.h>

#include "load/progress.h"

/* the server's own are not linked in */
#undef snprintf
#undef vsnprintf

int
pg_snprintf(char *str, size_t count, const char *format, ...)
{
	va_list args;
	va_start(args, format);
	int n = vsnprintf(str, count, format, args);
	va_end(args);
	return n;
}

char *
psprintf(const char *format, ...)
{
	static char text[200];
	va_list args;
	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	return text;
}

static void
expect_duration(int64 seconds, const char *text)
{
	char got[PROGRESS_DURATION_SIZE];
	ok(strcmp(progress_duration(seconds, got), text) == 0, "%lld seconds: %s (%s)", (long long) seconds, text, got);
}

static void
expect_text(const char *got, const char *text)
{
	ok(strcmp(got, text) == 0, "%s (%s)", text, got);
}

int
main(void)
{
	ok(progress_percent(0, 1000) == 0 && progress_percent(500, 1000) == 50, "percent");
	ok(progress_percent(6, 1000) == 1, "percent is rounded");
	ok(progress_percent(999, 1000) == 99 && progress_percent(1000, 1000) == 100, "100 %% is all of it, and no less");
	ok(progress_percent(0, 0) == 100, "nothing of nothing is all");
	ok(progress_percent(1001, 1000) == 100, "more than was promised is no more than all");
	ok(progress_percent(INT64_MAX / 2, INT64_MAX) == 50, "percent of very many");

	ok(progress_rate(1000, 500) == 2000.0, "rows a second");
	ok(progress_rate(5, 0) == 5000.0, "in no time");
	ok(progress_seconds_left(500, 1000, 500) == 1, "the half took half a second, rounded up");
	ok(progress_seconds_left(1, 1001, 1000) == 1000, "a row a second");
	ok(progress_seconds_left(0, 1000, 5000) == -1, "no rows: nobody knows");
	ok(progress_seconds_left(1000, 1000, 5000) == 0 && progress_seconds_left(0, 0, 5) == 0, "all there");
	ok(progress_seconds_left(INT64CONST(1000000000000), INT64CONST(3000000000000), INT64CONST(86400000)) == 172800,
	   "many rows in a day: two more days");

	expect_duration(0, "0 s");
	expect_duration(119, "119 s");
	expect_duration(120, "2 min");
	expect_duration(121, "3 min");
	expect_duration(119 * 60, "119 min");
	expect_duration(119 * 60 + 1, "2 h 0 min");
	expect_duration(12000, "3 h 20 min");

	expect_text(progress_text(500, 1000, 120000, 500), "500 of 1000 rows (50 %), 0.1 MB, 1000 rows/s, 1 s left");
	expect_text(progress_text(0, 1000, 0, 500), "0 of 1000 rows (0 %), 0.0 MB, 0 rows/s");
	expect_text(progress_totals_text(500, 1250000, 500), "500 rows, 1.2 MB, 0.5 s, 1000 rows/s");
	expect_text(progress_totals_text(0, 0, 0), "0 rows, 0.0 MB, 0.0 s, 0 rows/s");
	return all_ok() ? 0 : 1;
}
