/*
 * test_schedule_model.c
 *	  A worker played on a model for 60 days, many times: upstream is late,
 *	  empty or down, the server crashes and is away, the source is disabled,
 *	  clocks jump.
 *
 * Two times run: `real`, which only the model knows, and the clock's, which is
 * all that the schedule is told.  The model's ledger is written as the worker
 * writes it.  SCHEDULE_SEED=n begins with another game.
 */
#include "schedule_harness.h"
#include "seed.h"

#include <string.h>

#define GAMES 300
#define LENGTH 60
#define BEFORE 8 /* days in the ledger before start_date */
#define SPAN (BEFORE + LENGTH + 12)
#define CALM_DAYS 5 /* at the end nothing goes wrong any more */

typedef enum Law
{
	LAW_COMPLETE, /* in the end every day that can be loaded is, and confirmed */
	LAW_REASON, /* no day that is loaded is loaded again without a reason */
	LAW_PAUSE, /* nothing is done twice within retry_delay */
	LAW_YESTERDAY, /* nothing goes before a yesterday that is due */
	LAW_PROMPT, /* and it is begun at run_at */
	LAW_BOUNDED, /* attempts are bounded, by series and by day */
	LAW_AGAIN, /* what has finally failed comes again once per run_at, or after a change */
	LAW_OVER, /* no day is loaded before it is over */
	LAW_WAKE, /* there is always a time to wake, next run_at at the latest */
	LAW_RECHECK, /* an equal recheck is not repeated within 6 h */
	LAWS
} Law;

static const char *const law_names[LAWS] = {
	"every day from start_date is loaded and confirmed in the end",
	"a loaded day is loaded again only when asked",
	"nothing is done twice within retry_delay",
	"yesterday goes before all others",
	"yesterday is begun at run_at",
	"attempts are bounded",
	"what has finally failed comes again at run_at",
	"no day is loaded before it is over",
	"there is always a time to wake",
	"rechecks are six hours apart",
};

static int broken[LAWS];

/* What is true of a day, and what the ledger and the referee know. */
typedef struct Truth
{
	ScheduleDay row;
	TimestampTz there_at; /* real time at which upstream has it whole; 0: never */
	bool poison; /* brings the server down until `mended` */
	bool asked; /* somebody has queued it */
	TimestampTz begun[2]; /* real time of the latest load and check, or 0 */
	TimestampTz equal; /* real time of the latest equal recheck */
	int series[2]; /* of loads and of checks: failures in a row since run_at, a change or an answer */
	int today; /* attempts on the model's day `on` */
	DateADT on;
} Truth;

typedef struct Game
{
	unsigned number;
	uint64 random;
	ScheduleRules rules;
	DateADT first; /* day of truth[0] */
	Truth truth[SPAN];
	TimestampTz real;
	TimestampTz end;
	TimestampTz mended; /* real */
	TimestampTz outage; /* real end of upstream's outage */
	TimestampTz offset; /* of the clock */
	TimestampTz disturbed; /* real time of the latest jump or absence */
	TimestampTz changed; /* real */
	int64 runs;
} Game;

static uint32
dice(Game *game, uint32 sides)
{
	game->random = game->random * UINT64CONST(6364136223846793005) + UINT64CONST(1442695040888963407);
	return (uint32) (game->random >> 33) % sides;
}

static void
hold(Game *game, Law law, bool holds, DateADT day)
{
	if (holds)
		return;
	if (broken[law]++ < 3)
		note("game %u: not so at %s, clock %+.1f h: %s (day %d)", game->number, timetext(game->real),
			 (double) game->offset / HOUR, law_names[law], day);
}

static bool
is_calm(const Game *game)
{
	return game->real > game->end - CALM_DAYS * DAY;
}

static TimestampTz
now_of(const Game *game)
{
	return game->real + game->offset;
}

static Truth *
truth_of(Game *game, DateADT day)
{
	return day >= game->first && day < game->first + SPAN ? &game->truth[day - game->first] : NULL;
}

/* It has failed for good. */
static bool
has_ended(const ScheduleTry *last)
{
	return (last->state == SCHEDULE_FAILED || last->state == SCHEDULE_INTERRUPTED) && last->next_at == 0;
}

/* The rows that ledger_days() gives: a range, and what is open. */
static int
rows_of(Game *game, ScheduleDay *rows, TimestampTz now)
{
	int n = 0;
	DateADT first = schedule_first_day(&game->rules, now);
	for (int i = 0; i < SPAN; i++)
	{
		const ScheduleDay *row = &game->truth[i].row;
		bool open = row->load.state == SCHEDULE_QUEUED || row->load.state == SCHEDULE_WAITING ||
					row->load.next_at != 0 || row->check.next_at != 0 || (row->loaded && !row->confirmed) ||
					has_ended(&row->check) || (row->asked && has_ended(&row->load));
		if (open || (row->day >= first && row->day <= day_yesterday(now)))
			rows[n++] = *row;
	}
	return n;
}

static void
succeed(Game *game, Truth *truth, const ScheduleAction *action, TimestampTz now)
{
	ScheduleDay *row = &truth->row;
	ScheduleTry *last = action->what == SCHEDULE_LOAD ? &row->load : &row->check;
	bool whole = game->real >= truth->there_at;
	if (action->what == SCHEDULE_LOAD)
	{
		row->confirmed = whole && schedule_confirms(row->day, now);
		row->check = (ScheduleTry){0};
		row->asked = false;
		truth->asked = false;
	}
	else
	{
		hold(game, LAW_RECHECK,
			 truth->equal == 0 || game->disturbed >= truth->equal || game->real - truth->equal >= 6 * HOUR, row->day);
		truth->equal = game->real;
		row->confirmed = row->confirmed || (whole && schedule_confirms(row->day, now));
	}
	last->state = SCHEDULE_SUCCEEDED;
	last->next_at = 0;
	row->loaded = true;
	row->checked_at = now;
	truth->series[0] = truth->series[1] = 0;
}

static void
fail(Game *game, Truth *truth, ScheduleTry *last, bool interrupted, TimestampTz now)
{
	last->state = interrupted ? SCHEDULE_INTERRUPTED : SCHEDULE_FAILED;
	last->next_at = schedule_retry_at(&game->rules, last->attempt, interrupted, now);
	truth->series[last == &truth->row.check]++;
}

static void
find_empty(Game *game, Truth *truth, TimestampTz now)
{
	ScheduleDay *row = &truth->row;
	row->load.next_at = schedule_ready_at(&game->rules, row->day, now);
	row->load.state = row->load.next_at != 0 ? SCHEDULE_WAITING : SCHEDULE_FAILED;
	row->run = row->load.next_at != 0 ? ++game->runs : 0;
	truth->series[0] = 0;
}

/* How an attempt ends, and how long it takes. */
static void
attempt(Game *game, const ScheduleAction *action)
{
	Truth *truth = truth_of(game, action->day);
	ScheduleDay *row = &truth->row;
	ScheduleTry *last = action->what == SCHEDULE_LOAD ? &row->load : &row->check;
	bool crash = truth->poison && game->real < game->mended;
	TimestampTz now;
	game->real += USECS_PER_SEC + dice(game, 90) * USECS_PER_SEC;
	crash = crash || (!is_calm(game) && dice(game, 60) == 0);
	if (crash)
		game->real += dice(game, 5) * MINUTE;
	now = now_of(game);
	last->attempt = action->attempt;
	last->ended_at = now;
	row->run = 0;
	if (crash)
		fail(game, truth, last, true, now);
	else if (game->real < game->outage || (!is_calm(game) && dice(game, 20) == 0))
		fail(game, truth, last, false, now);
	else if (!row->loaded && (truth->there_at == 0 || game->real < truth->there_at - 6 * HOUR))
		find_empty(game, truth, now);
	else
		succeed(game, truth, action, now);
}

/* How often it has been run_at until then. */
static int
run_ats(const Game *game, TimestampTz clock)
{
	return day_of(clock - game->rules.run_at);
}

/* The referee, before each attempt. */
static void
judge(Game *game, const ScheduleAction *action, TimestampTz now)
{
	Truth *truth = truth_of(game, action->day);
	const ScheduleTry *last = action->what == SCHEDULE_LOAD ? &truth->row.load : &truth->row.check;
	TimestampTz *begun = &truth->begun[action->what == SCHEDULE_RECHECK];
	Truth *yesterday = truth_of(game, day_yesterday(now));
	TimestampTz due = schedule_due_at(&game->rules, day_yesterday(now));
	bool untried = yesterday && yesterday->row.load.state == SCHEDULE_UNTRIED && !yesterday->row.loaded;
	bool free = last->attempt > 0 && (last->state == SCHEDULE_QUEUED || game->changed >= *begun ||
									  (has_ended(last) && game->rules.changed_at > last->ended_at));
	int *series = &truth->series[action->what == SCHEDULE_RECHECK];
	DateADT day = day_of(game->real);

	hold(game, LAW_OVER, now >= day_start(action->day + 1), action->day);
	hold(game, LAW_REASON, action->what != SCHEDULE_LOAD || !truth->row.loaded || truth->asked, action->day);
	hold(game, LAW_PAUSE,
		 *begun == 0 || free || game->disturbed >= *begun || game->real - *begun >= game->rules.retry_delay,
		 action->day);
	if (untried && now >= due && yesterday->row.day >= game->rules.start_date)
	{
		hold(game, LAW_YESTERDAY, action->day == yesterday->row.day, action->day);
		/* an attempt that was under way takes 7 minutes at most */
		hold(game, LAW_PROMPT, now - due <= 7 * MINUTE || game->disturbed >= due - game->offset - 7 * MINUTE,
			 action->day);
	}
	if (truth->on != day || free || game->disturbed >= *begun)
		truth->today = 0;
	if (has_ended(last))
	{
		hold(game, LAW_AGAIN, free || game->disturbed >= *begun || run_ats(game, now) > run_ats(game, last->ended_at),
			 action->day);
		*series = 0;
	}
	if (free)
		*series = 0;
	truth->on = day;
	truth->today++;
	*begun = game->real;
	/* 24 hours of asking every 15 minutes, and a few failures on the way */
	hold(game, LAW_BOUNDED, truth->today <= 110 && *series <= game->rules.retries, action->day);
}

/* What happens meanwhile, about once an hour. */
static void
disturb(Game *game)
{
	DateADT day = day_yesterday(game->real) - dice(game, 30);
	Truth *truth = truth_of(game, day);
	bool back = game->offset != 0 && (is_calm(game) || dice(game, 8) == 0);
	if (back || (!is_calm(game) && dice(game, 300) == 0))
	{
		static const int64 jumps[] = {30 * USECS_PER_SEC, 2 * HOUR, 30 * HOUR, 3 * DAY, 400 * DAY};
		game->offset = back ? 0 : jumps[dice(game, 5)] * (dice(game, 2) ? 1 : -1);
		game->disturbed = game->real;
	}
	if (is_calm(game))
	{
		game->disturbed = game->rules.enabled ? game->disturbed : game->real;
		game->rules.enabled = true;
		return;
	}
	if (dice(game, 200) == 0)
	{
		/* the server is down */
		game->real = Min(game->real + dice(game, 120) * HOUR, game->end - CALM_DAYS * DAY);
		game->disturbed = game->real;
	}
	if (dice(game, 60) == 0)
		game->outage = game->real + dice(game, 30) * HOUR;
	if (dice(game, game->rules.enabled ? 400 : 20) == 0)
	{
		game->rules.enabled = !game->rules.enabled;
		game->disturbed = game->real;
	}
	if (dice(game, 100) == 0)
	{
		game->changed = game->real;
		game->rules.changed_at = now_of(game);
	}
	if (dice(game, 60) == 0 && truth && truth->row.load.state != SCHEDULE_WAITING &&
		truth->row.load.state != SCHEDULE_QUEUED)
	{
		truth->row.load.state = SCHEDULE_QUEUED;
		truth->row.load.next_at = 0;
		truth->row.run = ++game->runs;
		truth->row.asked = true;
		truth->row.started_at = now_of(game);
		truth->asked = true;
	}
}

/* Sleep until due, an hour at most, as the worker does. */
static void
sleep_until(Game *game, TimestampTz due, TimestampTz now)
{
	TimestampTz wake = (day_of(now) + 2) * DAY + game->rules.run_at;
	hold(game, LAW_WAKE, due > now && (due <= wake || !game->rules.enabled || game->rules.start_date > day_of(now)), 0);
	game->real += Min(due - now, HOUR);
	disturb(game);
}

static void
begin(Game *game, unsigned number)
{
	static const int64 times[] = {0, 8 * HOUR, 8 * HOUR, DAY - USECS_PER_SEC};
	DateADT start = date(2024, 2, 1);
	*game = (Game){.number = number,
				   .random = (seed_of_run() * GAMES + number) * UINT64CONST(2654435761) + 1,
				   .first = start - BEFORE};
	game->rules = default_rules(start);
	dice(game, 2);
	game->rules.run_at = times[dice(game, 4)];
	game->rules.recheck_days = dice(game, 3) * 7;
	game->rules.snapshot = dice(game, 6) == 0;
	game->real = (start + 1) * DAY + dice(game, 20) * HOUR;
	game->end = (start + LENGTH) * DAY + 12 * HOUR;
	game->mended = game->real + 20 * DAY;
	game->disturbed = game->real;
	for (int i = 0; i < SPAN; i++)
	{
		Truth *truth = &game->truth[i];
		int late = dice(game, 10);
		truth->row.day = game->first + i;
		truth->there_at = day_start(truth->row.day + 1) + (late == 0 ? dice(game, 100) : dice(game, 16)) * HOUR;
		if (dice(game, 30) == 0 && i < SPAN - 2 * CALM_DAYS)
			truth->there_at = 0;
		truth->poison = dice(game, 25) == 0;
	}
}

static void
play(unsigned number)
{
	static Game game;
	static ScheduleDay rows[SPAN];
	int turns = 0;
	begin(&game, number);
	while (game.real < game.end && turns++ < 100000)
	{
		TimestampTz now = now_of(&game);
		int n = rows_of(&game, rows, now);
		ScheduleAction action = schedule_next(&game.rules, rows, n, now);
		/* the clock may show a day of which the model knows nothing */
		if (action.due <= now && !truth_of(&game, action.day))
			game.real += MINUTE;
		else if (action.due <= now)
		{
			judge(&game, &action, now);
			attempt(&game, &action);
		}
		else
			sleep_until(&game, action.due, now);
	}
	hold(&game, LAW_BOUNDED, game.real >= game.end, 0);
	/* a snapshot's day that has been missed is gone */
	for (DateADT day = game.rules.start_date; day < game.rules.start_date + LENGTH && !game.rules.snapshot; day++)
	{
		const Truth *truth = truth_of(&game, day);
		/* the youngest may be late, and are confirmed a day after their end */
		bool young = day > game.rules.start_date + LENGTH - 4;
		if (truth->there_at != 0 && truth->there_at < game.end - 2 * DAY && !young)
			hold(&game, LAW_COMPLETE, truth->row.loaded && truth->row.confirmed, day);
	}
}

void
test_model(void)
{
	note("CONTRATOS_SEED=%llu", seed_of_run());
	for (unsigned i = 0; i < GAMES; i++)
		play(i);
	for (int law = 0; law < LAWS; law++)
		ok(broken[law] == 0, "played for 60 days: %s", law_names[law]);
	for (int law = 0; law < LAWS; law++)
	{
		if (broken[law] == 0)
			continue;
		note(SEED_AGAIN, seed_of_run());
		break;
	}
}
