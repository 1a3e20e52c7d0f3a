/*
 * test_schedule.c
 *	  What is due, case by case: each test is a ledger of a few days and a time.
 */
#include "schedule_ledger.h"

static void
test_daily(void)
{
	TimestampTz due = clock_at(TODAY, 8 * HOUR);
	begin(due);
	missing(YESTERDAY);
	expect(due - 1, SCHEDULE_LOAD, YESTERDAY, "schedule", 1, due, "yesterday is not due before run_at");
	expect(due, SCHEDULE_LOAD, YESTERDAY, "schedule", 1, due, "it is at run_at");
	expect(due + 15 * HOUR, SCHEDULE_LOAD, YESTERDAY, "schedule", 1, due, "and after it");
	on(YESTERDAY)->loaded = true;
	on(YESTERDAY)->confirmed = true;
	on(YESTERDAY)->checked_at = due + 23 * HOUR;
	rules.recheck_days = 0;
	expect(due, SCHEDULE_LOAD, TODAY, "schedule", 1, due + DAY, "when all is done, today's load is awaited");

	rules.run_at = 0;
	begin(due);
	rules.run_at = 0;
	missing(YESTERDAY);
	expect(clock_at(TODAY, 0), SCHEDULE_LOAD, YESTERDAY, "schedule", 1, clock_at(TODAY, 0), "run_at 00:00");
	rules.run_at = DAY - USECS_PER_SEC;
	expect(clock_at(TODAY, 0), SCHEDULE_LOAD, YESTERDAY, "schedule", 1, clock_at(TODAY + 1, -USECS_PER_SEC),
		   "run_at 23:59:59: nothing until then");
	begin(clock_at(TODAY + 1, 0));
	rules.run_at = DAY - USECS_PER_SEC;
	missing(YESTERDAY);
	missing(TODAY);
	expect(clock_at(TODAY + 1, 0), SCHEDULE_LOAD, YESTERDAY, "catchup", 1, clock_at(TODAY + 1, -USECS_PER_SEC),
		   "a second later it is a gap, and due");
}

static void
test_catchup(void)
{
	TimestampTz now = clock_at(TODAY, 3 * HOUR);
	begin(now);
	missing(YESTERDAY);
	missing(YESTERDAY - 1);
	missing(YESTERDAY - 20);
	expect(now, SCHEDULE_LOAD, YESTERDAY - 20, "catchup", 1, clock_at(YESTERDAY - 19, 8 * HOUR),
		   "gaps are due at once, oldest first");
	now = clock_at(TODAY, 9 * HOUR);
	expect(now, SCHEDULE_LOAD, YESTERDAY, "schedule", 1, clock_at(TODAY, 8 * HOUR), "yesterday goes before gaps");

	begin(now);
	missing(YESTERDAY - 31);
	missing(YESTERDAY - 32);
	expect(now, SCHEDULE_LOAD, YESTERDAY - 31, "catchup", 1, clock_at(YESTERDAY - 30, 8 * HOUR),
		   "catchup_days before yesterday, no more");
	rules.start_date = YESTERDAY - 30;
	expect(now, SCHEDULE_LOAD, TODAY, "schedule", 1, clock_at(TODAY + 1, 8 * HOUR), "none before start_date");
	ok(schedule_first_day(&rules, now) == YESTERDAY - 30, "the first day is start_date");
	rules.start_date = YESTERDAY;
	ok(schedule_first_day(&rules, now) == YESTERDAY - 6, "or the first to be rechecked");
	rules.start_date = YESTERDAY - 90;
	ok(schedule_first_day(&rules, now) == YESTERDAY - 31, "or the first to be caught up");
	rules.start_date = TODAY + 10;
	ndays = 0;
	expect(now, SCHEDULE_LOAD, TODAY + 10, "schedule", 1, clock_at(TODAY + 11, 8 * HOUR), "start_date may be to come");
	rules.start_date = date(5874897, 12, 31);
	expect(now, SCHEDULE_LOAD, rules.start_date, "schedule", 1, DT_NOEND, "even beyond all time");
	rules.start_date = DAY_FIRST - 5;
	rules.catchup_days = 3660;
	ok(schedule_first_day(&rules, clock_at(date(5, 1, 1), 0)) == DAY_FIRST, "never before year 1");
	begin(now);
	rules.catchup_days = 0;
	missing(YESTERDAY - 1);
	missing(YESTERDAY);
	now = clock_at(TODAY, 3 * HOUR);
	expect(now, SCHEDULE_LOAD, YESTERDAY, "schedule", 1, clock_at(TODAY, 8 * HOUR),
		   "with catchup_days 0 there is yesterday only");
}

static void
test_disabled(void)
{
	TimestampTz now = clock_at(TODAY, 9 * HOUR);
	begin(now);
	missing(YESTERDAY);
	queued(YESTERDAY - 3, 5);
	rules.enabled = false;
	expect(now, SCHEDULE_NOTHING, 0, NULL, 0, DT_NOEND, "a disabled source is left alone, its queue too");
}

static void
test_retry(void)
{
	TimestampTz now = clock_at(TODAY, 8 * HOUR + MINUTE);
	begin(now);
	ended(YESTERDAY, SCHEDULE_FAILED, 1, now, now + MINUTE);
	expect(now, SCHEDULE_LOAD, YESTERDAY, "schedule", 2, now + MINUTE, "a failed day is retried at next_at");
	expect(now + 3 * HOUR, SCHEDULE_LOAD, YESTERDAY, "schedule", 2, now + MINUTE, "or later, after a restart");
	rules.changed_at = now + 1;
	expect(now, SCHEDULE_LOAD, YESTERDAY, "schedule", 2, now + MINUTE, "and not before, whatever has changed");
	missing(YESTERDAY - 4);
	expect(now, SCHEDULE_LOAD, YESTERDAY - 4, "catchup", 1, clock_at(YESTERDAY - 3, 8 * HOUR),
		   "meanwhile others are loaded");
	ok(schedule_retry_at(&rules, 1, false, now) == now + MINUTE, "retry_delay after a failure");
	ok(schedule_retry_at(&rules, 3, false, now) == now + MINUTE, "and after another");
	ok(schedule_retry_at(&rules, 4, false, now) == 0, "retries are bounded");
	ok(schedule_retry_at(&rules, 4, true, now) == 0, "of interrupted ones too");
	ok(schedule_retry_at(&rules, 1, true, now) == now + MINUTE &&
		   schedule_retry_at(&rules, 3, true, now) == now + 4 * MINUTE,
	   "the wait doubles when interrupted");
	rules.retries = 1000000;
	ok(schedule_retry_at(&rules, 999999, true, now) == now + 6 * HOUR, "up to six hours");
	rules.retry_delay = 0;
	ok(schedule_retry_at(&rules, 1, false, now) > now, "retry_delay 0 is no busy loop");
	begin(now);
	ended(YESTERDAY - 60, SCHEDULE_FAILED, 1, now, now + MINUTE);
	expect(now, SCHEDULE_LOAD, YESTERDAY - 60, "queue", 2, now + MINUTE, "the queue's old days are retried too");
}

static void
test_final(void)
{
	TimestampTz end = clock_at(TODAY, 8 * HOUR + 5 * MINUTE);
	TimestampTz next = clock_at(TODAY + 1, 8 * HOUR);
	begin(end);
	ended(YESTERDAY - 1, SCHEDULE_FAILED, 4, end, 0);
	expect(next, SCHEDULE_LOAD, YESTERDAY - 1, "catchup", 1, next, "a finally failed day comes again at run_at");
	rules.changed_at = end - 1;
	expect(next, SCHEDULE_LOAD, YESTERDAY - 1, "catchup", 1, next, "an old change does not matter");
	rules.changed_at = end + HOUR;
	expect(end, SCHEDULE_LOAD, YESTERDAY - 1, "catchup", 1, end + HOUR, "a change brings it back");
	rules.changed_at = end + 10 * DAY;
	expect(next, SCHEDULE_LOAD, YESTERDAY - 1, "catchup", 1, next, "one to come (a file's time) does not loop");
	rules.changed_at = 0;
	ended(YESTERDAY - 1, SCHEDULE_REFUSED, 1, end, 0);
	expect(next, SCHEDULE_LOAD, YESTERDAY - 1, "catchup", 1, next, "so does a refused day");
	ended(YESTERDAY - 1, SCHEDULE_INTERRUPTED, 4, end, 0);
	expect(next, SCHEDULE_LOAD, YESTERDAY - 1, "catchup", 5, next, "an interrupted one has a single attempt more");
	ended(YESTERDAY - 1, SCHEDULE_CANCELED, 1, end, 0);
	rules.changed_at = end + 1;
	expect(end + HOUR, SCHEDULE_LOAD, TODAY, "schedule", 1, next, "a canceled day does not come again");
	queued(YESTERDAY - 1, 3);
	expect(end, SCHEDULE_LOAD, YESTERDAY - 1, "queue", 1, clock_at(YESTERDAY, 0), "unless it is queued");
	rules.changed_at = 0;
	ended(YESTERDAY - 1, SCHEDULE_FAILED, 4, clock_at(TODAY, 8 * HOUR), 0);
	expect(next, SCHEDULE_LOAD, YESTERDAY - 1, "catchup", 1, next, "failed on the stroke: the next one");
	begin(end);
	ended(YESTERDAY, SCHEDULE_FAILED, 1, clock_at(TODAY, 3 * HOUR), 0);
	rules.changed_at = clock_at(TODAY, 4 * HOUR);
	expect(clock_at(TODAY, 5 * HOUR), SCHEDULE_LOAD, YESTERDAY, "schedule", 1, clock_at(TODAY, 8 * HOUR),
		   "loaded by hand in vain at night: at run_at, as ever");
	begin(end);
	ended(YESTERDAY - 40, SCHEDULE_FAILED, 4, end, 0);
	expect(end, SCHEDULE_LOAD, TODAY, "schedule", 1, next, "old days that finally failed are let go");
	begin(end);
	ended(YESTERDAY - 40, SCHEDULE_FAILED, 0, end, next);
	missing(TODAY);
	expect(next, SCHEDULE_LOAD, TODAY, "schedule", 1, next, "no bytes left: the next UTC day's own load goes first");
	begin(end);
	ended(YESTERDAY - 40, SCHEDULE_FAILED, 0, end, next);
	expect(next, SCHEDULE_LOAD, YESTERDAY - 40, "queue", 1, next, "then those without bytes, however old");
	expect(end, SCHEDULE_LOAD, TODAY, "schedule", 1, next, "which are not tried before");
	rules.changed_at = end + HOUR;
	expect(end, SCHEDULE_LOAD, YESTERDAY - 40, "queue", 1, end + HOUR,
		   "unless there may be more of them after a change");
	ended(YESTERDAY - 40, SCHEDULE_FAILED, 0, end, next + DAY);
	rules.changed_at = 0;
	expect(end, SCHEDULE_LOAD, YESTERDAY - 40, "queue", 1, end, "a day later nobody can have promised");
}

static void
test_waiting(void)
{
	TimestampTz now = clock_at(TODAY, 8 * HOUR + MINUTE);
	begin(now);
	ok(schedule_ready_at(&rules, YESTERDAY, now) == now + 15 * MINUTE, "an empty day is asked again");
	ok(schedule_ready_at(&rules, YESTERDAY, clock_at(TODAY, 20 * HOUR) - 1) != 0, "until ready_timeout");
	ok(schedule_ready_at(&rules, YESTERDAY, clock_at(TODAY, 20 * HOUR)) == 0, "then it has failed");
	ok(schedule_ready_at(&rules, YESTERDAY - 1, now) == 0, "an old day does not wait");
	ok(schedule_locked_at(&rules, YESTERDAY, 0, now) == now + 15 * MINUTE, "a locked one is tried again");
	ok(schedule_locked_at(&rules, YESTERDAY, now - 11 * HOUR, clock_at(TODAY, 20 * HOUR)) == 0,
	   "as long as an empty one");
	ok(schedule_locked_at(&rules, YESTERDAY - 100, 0, now) == now + 15 * MINUTE, "an old day as well");
	ok(schedule_locked_at(&rules, YESTERDAY - 100, now - 12 * HOUR + 1, now) != 0,
	   "until ready_timeout after its first attempt");
	ok(schedule_locked_at(&rules, YESTERDAY - 100, now - 12 * HOUR, now) == 0, "then it has failed");
	rules.ready_interval = 0;
	ok(schedule_ready_at(&rules, YESTERDAY, now) > now, "ready_interval 0 is no busy loop");
	ok(schedule_locked_at(&rules, YESTERDAY, 0, now) > now, "nor for a locked table");
	rules.ready_interval = 15 * MINUTE;
	ended(YESTERDAY, SCHEDULE_WAITING, 3, now, now + 15 * MINUTE)->run = 9;
	expect(now, SCHEDULE_LOAD, YESTERDAY, "schedule", 1, now + 15 * MINUTE, "a waiting day begins a new series");
	rules.ready_interval = MINUTE;
	expect(now, SCHEDULE_LOAD, YESTERDAY, "schedule", 1, now, "a shorter interval holds at once");
	ended(YESTERDAY, SCHEDULE_WAITING, 1, now, 0);
	expect(now, SCHEDULE_LOAD, YESTERDAY, "schedule", 1, now + MINUTE, "a missing next_at is no busy loop");
	begin(now);
	ended(YESTERDAY - 50, SCHEDULE_WAITING, 1, now - 20 * DAY, now - 20 * DAY);
	expect(now, SCHEDULE_LOAD, YESTERDAY - 50, "queue", 1, now - 20 * DAY, "no waiting day is left open");

	rechecked(YESTERDAY - 50, SCHEDULE_WAITING, now, now + 15 * MINUTE)->loaded = true;
	on(YESTERDAY - 50)->load = (ScheduleTry){.state = SCHEDULE_SUCCEEDED};
	expect(now, SCHEDULE_RECHECK, YESTERDAY - 50, "recheck", 1, now + 15 * MINUTE, "a waiting recheck stays one");
}

static void
test_queue(void)
{
	TimestampTz now = clock_at(TODAY, 3 * HOUR);
	begin(now);
	queued(YESTERDAY - 300, 12);
	queued(YESTERDAY - 200, 11);
	queued(YESTERDAY - 2, 10);
	provisional(YESTERDAY - 3, now - DAY);
	expect(now, SCHEDULE_LOAD, YESTERDAY - 2, "queue", 1, clock_at(YESTERDAY - 1, 0), "the queue goes by its order");
	on(YESTERDAY - 2)->load.state = SCHEDULE_SUCCEEDED;
	expect(now, SCHEDULE_LOAD, YESTERDAY - 200, "queue", 1, clock_at(YESTERDAY - 199, 0), "whatever the day");
	missing(YESTERDAY - 9);
	expect(now, SCHEDULE_LOAD, YESTERDAY - 9, "catchup", 1, clock_at(YESTERDAY - 8, 8 * HOUR), "after the gaps");
	missing(YESTERDAY - 10);
	queued(YESTERDAY - 10, 13);
	expect(now, SCHEDULE_LOAD, YESTERDAY - 10, "queue", 1, clock_at(YESTERDAY - 9, 0), "of which some may be queued");
	begin(now);
	queued(YESTERDAY - 300, 12);
	rules.queue_from = clock_at(TODAY + 1, 8 * HOUR);
	expect(now, SCHEDULE_RECHECK, YESTERDAY - 6, "recheck", 1, clock_at(TODAY + 1, 3 * HOUR),
		   "what is used up keeps the queue waiting");
	expect(rules.queue_from, SCHEDULE_LOAD, YESTERDAY - 300, "queue", 1, rules.queue_from, "until the next day");
	missing(YESTERDAY - 9);
	expect(now, SCHEDULE_LOAD, YESTERDAY - 9, "catchup", 1, clock_at(YESTERDAY - 8, 8 * HOUR), "but not the gaps");
	rules.queue_from = 0;
	begin(now);
	missing(YESTERDAY);
	queued(YESTERDAY, 20);
	queued(YESTERDAY - 5, 19);
	expect(now, SCHEDULE_LOAD, YESTERDAY, "queue", 1, clock_at(TODAY, 0), "yesterday may be queued before run_at");
	begin(now);
	queued(TODAY, 1);
	expect(now, SCHEDULE_LOAD, TODAY, "queue", 1, clock_at(TODAY + 1, 0), "no day is loaded before it is over");
}

static void
test_provisional(void)
{
	TimestampTz now = clock_at(TODAY, 8 * HOUR);
	begin(now);
	provisional(YESTERDAY, now);
	expect(now, SCHEDULE_RECHECK, YESTERDAY, "recheck", 1, now + 6 * HOUR, "a loaded day is rechecked after 6 h");
	rules.recheck_days = 0;
	expect(now, SCHEDULE_RECHECK, YESTERDAY, "recheck", 1, now + 6 * HOUR, "also with recheck_days 0");
	ok(!schedule_confirms(YESTERDAY, clock_at(TODAY + 1, 0) - 1), "a day is not confirmed within 24 h of its end");
	ok(schedule_confirms(YESTERDAY, clock_at(TODAY + 1, 0)), "but then");
	rules.catchup_days = 0;
	ok(schedule_first_day(&rules, now) == YESTERDAY - 2, "a day stays in sight until it can be confirmed");
	begin(now);
	provisional(YESTERDAY - 20, now - 13 * DAY);
	expect(now, SCHEDULE_RECHECK, YESTERDAY - 20, "recheck", 1, now - 13 * DAY + 6 * HOUR,
		   "what was loaded before an outage is confirmed after it");
	missing(YESTERDAY - 3);
	expect(now, SCHEDULE_LOAD, YESTERDAY - 3, "catchup", 1, clock_at(YESTERDAY - 2, 8 * HOUR), "after the gaps");
	begin(now);
	rules.start_date = YESTERDAY;
	provisional(YESTERDAY - 5, now - DAY);
	expect(now, SCHEDULE_RECHECK, YESTERDAY - 5, "recheck", 1, now - 18 * HOUR,
		   "days loaded by hand before start_date are rechecked");
}

static void
test_recheck(void)
{
	TimestampTz now = clock_at(TODAY, 10 * HOUR);
	TimestampTz run = clock_at(TODAY + 1, 8 * HOUR);
	begin(now);
	on(YESTERDAY - 6)->checked_at = now - DAY;
	on(YESTERDAY - 5)->checked_at = now - 2 * DAY;
	on(YESTERDAY - 7)->checked_at = now - 9 * DAY;
	expect(now, SCHEDULE_RECHECK, YESTERDAY - 6, "recheck", 1, now, "confirmed days once a day, oldest first");
	expect(now - 1, SCHEDULE_RECHECK, YESTERDAY - 5, "recheck", 1, now - DAY, "24 h apart");
	begin(now);
	rules.recheck_days = 0;
	expect(now + 3 * DAY, SCHEDULE_LOAD, TODAY + 3, "schedule", 1, run + 3 * DAY, "not at all with recheck_days 0");
	begin(now);
	provisional(YESTERDAY - 2, now - 7 * HOUR)->differs = true;
	expect(now, SCHEDULE_RECHECK, YESTERDAY - 2, "recheck", 1, now + 17 * HOUR,
		   "a differing day is not asked every 6 h");
	on(YESTERDAY - 2)->checked_at = now - DAY;
	expect(now, SCHEDULE_RECHECK, YESTERDAY - 2, "recheck", 1, now, "but once a day");
	begin(now);
	provisional(YESTERDAY, now - 8 * HOUR);
	rechecked(YESTERDAY, SCHEDULE_FAILED, now, now + MINUTE);
	expect(now, SCHEDULE_RECHECK, YESTERDAY, "recheck", 2, now + MINUTE, "a failed recheck is retried");
	rechecked(YESTERDAY, SCHEDULE_FAILED, now, 0);
	expect(run, SCHEDULE_RECHECK, YESTERDAY, "recheck", 1, run, "finally failed: at run_at");
	rechecked(YESTERDAY, SCHEDULE_CANCELED, now, 0);
	expect(now, SCHEDULE_RECHECK, YESTERDAY, "recheck", 1, now + 6 * HOUR, "a canceled one is not repeated at once");
	on(YESTERDAY)->check = (ScheduleTry){0};
	on(YESTERDAY)->load.state = SCHEDULE_FAILED;
	on(YESTERDAY)->load.next_at = now + MINUTE;
	on(YESTERDAY)->asked = on(YESTERDAY)->reload = true;
	expect(now, SCHEDULE_LOAD, YESTERDAY, "reload", 2, now + MINUTE, "a reload that failed is a reload again");
	on(YESTERDAY)->reload = false;
	expect(now, SCHEDULE_LOAD, YESTERDAY, "queue", 2, now + MINUTE, "a queued one stays queued");
	begin(now);
	on(YESTERDAY - 10)->checked_at = now - 9 * DAY;
	rechecked(YESTERDAY - 10, SCHEDULE_FAILED, now - 20 * HOUR, now - 20 * HOUR + MINUTE);
	expect(now, SCHEDULE_RECHECK, YESTERDAY - 10, "recheck", 2, now + 4 * HOUR,
		   "a failed recheck is repeated outside recheck_days, once a day after the first week");
	rechecked(YESTERDAY - 10, SCHEDULE_FAILED, now - 2 * DAY, 0);
	expect(now, SCHEDULE_RECHECK, YESTERDAY - 10, "recheck", 1, now - DAY, "and when it has finally failed");
	begin(now);
	rules.recheck_days = 0;
	provisional(YESTERDAY - 90, now - 80 * DAY)->loaded = true;
	expect(now, SCHEDULE_RECHECK, YESTERDAY - 90, "recheck", 1, now - 80 * DAY + 6 * HOUR,
		   "a provisional day is rechecked however old it is");
}

/* What is tried again once it has finally failed. */
static void
test_again(void)
{
	TimestampTz now = clock_at(TODAY, 10 * HOUR);
	TimestampTz run = clock_at(TODAY + 1, 8 * HOUR);
	ScheduleDay *day;

	begin(now);
	day = on(YESTERDAY - 3);
	day->load = (ScheduleTry){.state = SCHEDULE_FAILED, .attempt = 4, .ended_at = now};
	day->asked = true;
	day->started_at = now;
	expect(now, SCHEDULE_LOAD, TODAY, "schedule", 1, run, "yesterday goes before what failed");
	rules.start_date = TODAY + 9;
	expect(run, SCHEDULE_LOAD, YESTERDAY - 3, "queue", 1, run, "a forced reload that finally failed comes at run_at");
	day = on(YESTERDAY - 300);
	*day = (ScheduleDay){.day = YESTERDAY - 300,
						 .load = {SCHEDULE_FAILED, 4, now, 0, false},
						 .asked = true,
						 .loaded = true,
						 .confirmed = true,
						 .started_at = now};
	on(YESTERDAY - 3)->load.state = SCHEDULE_SUCCEEDED;
	on(YESTERDAY - 3)->checked_at = run;
	expect(run, SCHEDULE_LOAD, YESTERDAY - 300, "queue", 1, run, "of an old day as well");
	on(YESTERDAY - 300)->load.ended_at = on(YESTERDAY - 300)->started_at = now - 32 * DAY;
	rules.start_date = TODAY - 100;
	expect(now, SCHEDULE_LOAD, TODAY, "schedule", 1, run, "but only for catchup_days");
	on(YESTERDAY - 300)->load = (ScheduleTry){.state = SCHEDULE_REFUSED, .attempt = 1, .ended_at = now};
	on(YESTERDAY - 300)->started_at = now;
	expect(now, SCHEDULE_LOAD, TODAY, "schedule", 1, run, "an old day that was refused does not");
}

/* A server that cannot be reached. */
static void
test_postponed(void)
{
	TimestampTz now = clock_at(TODAY, 8 * HOUR);
	TimestampTz until = now + 10 * MINUTE;

	begin(now);
	rules.postponed_until = until;
	missing(YESTERDAY);
	expect(now, SCHEDULE_LOAD, YESTERDAY, "schedule", 1, now, "yesterday is begun whatever is postponed");
	ended(YESTERDAY, SCHEDULE_FAILED, 1, now, now + MINUTE);
	missing(YESTERDAY - 4);
	provisional(YESTERDAY - 1, now - DAY);
	queued(YESTERDAY - 90, 5);
	expect(now, SCHEDULE_LOAD, YESTERDAY, "schedule", 2, now + MINUTE,
		   "a retry is made at next_at, the rest is postponed");
	ended(YESTERDAY, SCHEDULE_FAILED, 4, now, 0);
	expect(now, SCHEDULE_LOAD, YESTERDAY, "schedule", 1, until, "what has finally failed is the first to try again");
	ended(YESTERDAY, SCHEDULE_CANCELED, 4, now, 0);
	expect(until, SCHEDULE_LOAD, YESTERDAY - 4, "catchup", 1, until, "then gaps");
	on(YESTERDAY - 4)->load.state = SCHEDULE_CANCELED;
	expect(until, SCHEDULE_LOAD, YESTERDAY - 90, "queue", 1, until, "then the queue");
	on(YESTERDAY - 90)->load.state = SCHEDULE_CANCELED;
	expect(until, SCHEDULE_RECHECK, YESTERDAY - 1, "recheck", 1, until, "then rechecks");
}

/* late_checks: 14, 30 and 60 days after a day's end. */
static void
test_late_checks(void)
{
	TimestampTz now = clock_at(TODAY, 10 * HOUR);
	TimestampTz run = clock_at(TODAY + 1, 8 * HOUR);

	rules = default_rules(TODAY - 100);
	rules.late_checks = true;
	ok(schedule_first_day(&rules, now) == YESTERDAY - 60, "late checks need days of the last two months");
	begin(now);
	rules.late_checks = true;
	expect(now, SCHEDULE_LOAD, TODAY, "schedule", 1, run, "after a check there is no late one at once");
	on(YESTERDAY - 14)->checked_at = clock_at(YESTERDAY - 6, 9 * HOUR);
	expect(now, SCHEDULE_RECHECK, YESTERDAY - 14, "recheck", 1, clock_at(TODAY, 8 * HOUR), "14 days after its end");
	on(YESTERDAY - 14)->checked_at = clock_at(TODAY, 9 * HOUR);
	on(YESTERDAY - 20)->checked_at = clock_at(YESTERDAY - 18, 9 * HOUR);
	expect(now, SCHEDULE_RECHECK, YESTERDAY - 20, "recheck", 1, clock_at(YESTERDAY - 5, 8 * HOUR),
		   "a late check that was missed is made up for");
	on(YESTERDAY - 20)->checked_at = now - DAY;
	expect(now, SCHEDULE_LOAD, TODAY, "schedule", 1, run, "the next is 30 days after its end");
	rules.late_checks = false;
	on(YESTERDAY - 30)->checked_at = now - 20 * DAY;
	expect(now, SCHEDULE_LOAD, TODAY, "schedule", 1, run, "without late_checks there is none");
	rules.late_checks = true;
	expect(now, SCHEDULE_RECHECK, YESTERDAY - 30, "recheck", 1, clock_at(YESTERDAY - 15, 8 * HOUR),
		   "with them there is");
	on(YESTERDAY - 30)->checked_at = now;
	on(YESTERDAY - 70)->load.state = SCHEDULE_SUCCEEDED;
	on(YESTERDAY - 70)->loaded = on(YESTERDAY - 70)->confirmed = true;
	on(YESTERDAY - 70)->checked_at = clock_at(YESTERDAY - 9, 8 * HOUR);
	expect(now, SCHEDULE_LOAD, TODAY, "schedule", 1, run, "after 60 days there are no more");
}

static void
test_snapshot(void)
{
	TimestampTz now = clock_at(TODAY, 9 * HOUR);
	begin(now);
	rules.snapshot = true;
	missing(YESTERDAY - 1);
	missing(YESTERDAY);
	expect(now, SCHEDULE_LOAD, YESTERDAY, "schedule", 1, clock_at(TODAY, 8 * HOUR), "a snapshot has yesterday only");
	now = clock_at(TODAY, 2 * HOUR);
	for (int i = 0; i < ndays; i++)
		ledger[i].checked_at -= DAY;
	provisional(YESTERDAY - 2, now - 9 * HOUR);
	provisional(YESTERDAY - 3, now - 99 * HOUR);
	expect(now, SCHEDULE_RECHECK, YESTERDAY - 2, "recheck", 1, now - 3 * HOUR, "only its newest load is rechecked");
}

static void
test_wrong_clock(void)
{
	TimestampTz now = clock_at(TODAY, 9 * HOUR);
	TimestampTz wrong = now + 400 * DAY;
	begin(now);
	ended(YESTERDAY, SCHEDULE_FAILED, 1, wrong, wrong + MINUTE);
	expect(now, SCHEDULE_LOAD, YESTERDAY, "schedule", 2, now, "a next_at far ahead counts as now");
	on(YESTERDAY)->load.next_at = DT_NOEND;
	expect(now, SCHEDULE_LOAD, YESTERDAY, "schedule", 2, now, "even an infinite one");
	on(YESTERDAY)->load.next_at = now + MINUTE + USECS_PER_SEC;
	expect(now, SCHEDULE_LOAD, YESTERDAY, "schedule", 2, now + MINUTE + USECS_PER_SEC, "a little ahead is waited for");
	ended(YESTERDAY, SCHEDULE_FAILED, 4, wrong, 0);
	expect(now, SCHEDULE_LOAD, YESTERDAY, "schedule", 1, now, "an end far ahead counts as now");
	ended(YESTERDAY, SCHEDULE_WAITING, 1, wrong, wrong);
	expect(now, SCHEDULE_LOAD, YESTERDAY, "schedule", 1, now, "so does a day that waits");
	begin(now);
	on(YESTERDAY)->checked_at = wrong;
	expect(now, SCHEDULE_RECHECK, YESTERDAY, "recheck", 1, now, "and a recheck");
	provisional(YESTERDAY, now + USECS_PER_SEC);
	expect(now, SCHEDULE_RECHECK, YESTERDAY, "recheck", 1, now + USECS_PER_SEC + 6 * HOUR,
		   "a clock set back a second repeats nothing");
}

static void
test_days(void)
{
	ok(day_of(clock_at(TODAY, 0)) == TODAY && day_of(clock_at(TODAY, -1)) == YESTERDAY, "a day begins at midnight");
	ok(day_yesterday(clock_at(TODAY, 5)) == date(2024, 2, 29), "yesterday may be a leap day");
	ok(day_of(-1) == -1 && day_of(-DAY) == -1, "days before 2000");
	ok(date(1, 1, 1) == DAY_FIRST, "DAY_FIRST is 0001-01-01");
}

int
main(void)
{
	test_days();
	test_daily();
	test_catchup();
	test_disabled();
	test_retry();
	test_final();
	test_waiting();
	test_queue();
	test_provisional();
	test_recheck();
	test_again();
	test_postponed();
	test_late_checks();
	test_snapshot();
	test_wrong_clock();
	test_model();
	return all_ok() ? 0 : 1;
}
