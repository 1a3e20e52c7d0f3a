/*
 * schedule_harness.c
 *	  See schedule_harness.h; and the few symbols of the server that schedule.c
 *	  wants, for a text that is tested in the server.
 */
#include "schedule_harness.h"

#include <stdarg.h>

#include "pgtime.h"

/* the server's own printf and snprintf are not linked in */
#undef printf
#undef vprintf
#undef snprintf

static int tests = 0;
static int failures = 0;

void
ok(bool holds, const char *format, ...)
{
	va_list args;
	va_start(args, format);
	printf("%s %d - ", holds ? "ok" : "not ok", ++tests);
	vprintf(format, args);
	putchar('\n');
	va_end(args);
	failures += !holds;
}

void
note(const char *format, ...)
{
	va_list args;
	va_start(args, format);
	printf("# ");
	vprintf(format, args);
	putchar('\n');
	va_end(args);
}

bool
all_ok(void)
{
	printf("1..%d\n", tests);
	return failures == 0;
}

DateADT
date(int year, int month, int day)
{
	static const int before[] = {0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334};
	bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
	int days = before[month - 1] + day - 1 + (leap && month > 2);
	for (int y = 2000; y < year; y++)
		days += (y % 4 == 0 && y % 100 != 0) || y % 400 == 0 ? 366 : 365;
	for (int y = year; y < 2000; y++)
		days -= (y % 4 == 0 && y % 100 != 0) || y % 400 == 0 ? 366 : 365;
	return days;
}

/* Only for notes: days are counted from an epoch, which is enough to compare. */
const char *
timetext(TimestampTz at)
{
	static char texts[8][64];
	static int next = 0;
	char *text = texts[next++ % 8];
	int64 rest = at - (int64) day_of(at) * DAY;
	if (at == DT_NOEND || at == DT_NOBEGIN)
		return at == DT_NOEND ? "infinity" : "-infinity";
	snprintf(text, sizeof(texts[0]), "day %d %02d:%02d:%09.6f", day_of(at), (int) (rest / HOUR),
			 (int) (rest / MINUTE % 60), (double) (rest % MINUTE) / USECS_PER_SEC);
	return text;
}

ScheduleRules
default_rules(DateADT start_date)
{
	return (ScheduleRules){
		.start_date = start_date,
		.run_at = 8 * HOUR,
		.enabled = true,
		.catchup_days = 31,
		.recheck_days = 7,
		.ready_timeout = 12 * HOUR,
		.ready_interval = 15 * MINUTE,
		.retries = 3,
		.retry_delay = MINUTE,
	};
}

/*
 * day_text() is tested in the server: these are never called.  They
 * are declared here because utils/datetime.h has a DAY and an HOUR of its own.
 */
extern void j2date(int jd, int *year, int *month, int *day);
extern void EncodeDateOnly(struct pg_tm *tm, int style, char *str);
extern void EncodeSpecialDate(DateADT dt, char *str);

void
j2date(int jd, int *year, int *month, int *day)
{
	abort();
}

void
EncodeDateOnly(struct pg_tm *tm, int style, char *str)
{
	abort();
}

void
EncodeSpecialDate(DateADT dt, char *str)
{
	abort();
}

char *
pstrdup(const char *in)
{
	abort();
}
