/*
 * progress_text.c
 *	  How far a load is, in numbers and words: no clock, no server.
 */
#include "postgres.h"

#include <math.h>

#include "load/progress.h"

/* Bytes are shown in millions, as BigQuery bills them. */
#define MB 1e6

int
progress_percent(int64 rows, int64 total)
{
	if (rows >= total)
		return 100;
	return (int) Min(rint(100.0 * (double) rows / (double) total), 99.0);
}

double
progress_rate(int64 rows, int64 ms)
{
	return (double) rows * 1000.0 / (double) Max(ms, 1);
}

int64
progress_seconds_left(int64 rows, int64 total, int64 ms)
{
	if (rows >= total)
		return 0;
	if (rows <= 0)
		return -1;
	/* in floating point: the product of two counts may be too large for an integer */
	return (int64) ceil((double) (total - rows) / progress_rate(rows, ms));
}

char *
progress_duration(int64 seconds, char text[PROGRESS_DURATION_SIZE])
{
	int64 minutes = (seconds + 59) / 60;

	if (seconds < 120)
		snprintf(text, PROGRESS_DURATION_SIZE, INT64_FORMAT " s", seconds);
	else if (minutes < 120)
		snprintf(text, PROGRESS_DURATION_SIZE, INT64_FORMAT " min", minutes);
	else
		snprintf(text, PROGRESS_DURATION_SIZE, INT64_FORMAT " h " INT64_FORMAT " min", minutes / 60, minutes % 60);
	return text;
}

char *
progress_text(int64 rows, int64 total, int64 bytes, int64 ms)
{
	int64 left = progress_seconds_left(rows, total, ms);
	char duration[PROGRESS_DURATION_SIZE] = "";

	if (left >= 0)
		progress_duration(left, duration);
	return psprintf(INT64_FORMAT " of " INT64_FORMAT " rows (%d %%), %.1f MB, %.0f rows/s%s%s%s", rows, total,
					progress_percent(rows, total), (double) bytes / MB, progress_rate(rows, ms), left >= 0 ? ", " : "",
					duration, left >= 0 ? " left" : "");
}

char *
progress_totals_text(int64 rows, int64 bytes, int64 ms)
{
	return psprintf(INT64_FORMAT " rows, %.1f MB, %.1f s, %.0f rows/s", rows, (double) bytes / MB, (double) ms / 1000.0,
					progress_rate(rows, ms));
}
