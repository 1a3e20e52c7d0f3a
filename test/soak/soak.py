#!/usr/bin/env python3
"""The worker against a misbehaving BigQuery, for as long as is wanted; called by test/soak/run.

Three phases.  "clock": contratos.now runs fast, by hours; upstream writes its days in parts, late, or again, loses
some for a while; requests fail in every way the stand-in knows, the stand-in itself goes down, the worker is
cancelled, terminated and killed; people queue and load days by hand.  Each step reloads the configuration, upon which
an idle worker leaves, so in "queue" one worker lives long: it has days queued all the time, with the real clock and
upstream's faults only.  "calm": nothing goes wrong any more, and the clock runs on until every day is right.

Then: every day's rows are those upstream has, each once; the ledger has a success for each day, nothing open, nothing
without an end; nothing crashed but what was killed; memory and descriptors have not grown.
"""
import argparse
import collections
import os
import random
import re
import signal
import subprocess
import sys
import time
from datetime import datetime, timedelta, timezone

from upstream import Timeline, Upstream
from watch import Watch, report

STEP_SECONDS = 2.0
CALM_DEADLINE_SECONDS = 180

COLUMNS = ("address, symbol, name, decimals, total_supply, (extract(epoch FROM block_timestamp) * 1000000)::bigint, "
           "block_number, block_hash")


class Database:
    """psql, in a process each time: a cluster that has crashed is asked again until it is back."""

    def __init__(self, options, database="postgres"):
        self.command = [os.path.join(options.bindir, "psql"), "-X", "-q", "-At", "-v", "ON_ERROR_STOP=1", "-P",
                        "null=\\N", "-F", "\t", "-h", options.cluster, "-p", options.port, "-U", "postgres", "-d",
                        database]

    def try_sql(self, text):
        """(output, error), one of them None."""
        done = subprocess.run(self.command, input=text, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              encoding="utf-8", timeout=120)
        return (done.stdout, None) if done.returncode == 0 else (None, done.stderr)

    def sql(self, text):
        deadline = time.monotonic() + 60
        while True:
            out, error = self.try_sql(text)
            if error is None:
                return [line.split("\t") for line in out.splitlines()]
            if time.monotonic() > deadline:
                raise RuntimeError(f"{text}: {error}")
            time.sleep(0.2)

    def set_clock(self, moment):
        text = "" if moment is None else f"{moment:%Y-%m-%d %H:%M:%S}+00"
        self.sql(f"ALTER SYSTEM SET contratos.now = '{text}';\nSELECT pg_reload_conf();")


class Soak:
    def __init__(self, options):
        self.options = options
        self.rng = random.Random(options.seed)
        self.counts = collections.Counter()
        self.db = Database(options)
        self.upstream = Upstream(options.standin_port, options.certs)
        self.watch = Watch(os.path.join(options.cluster, "data"))
        # half of the time for each of the first two phases; at least four days go by
        self.steps = max(8, int(options.minutes * 30 / STEP_SECONDS))
        self.step = timedelta(hours=max(1, -(-96 // self.steps)))
        today = datetime.now(timezone.utc).replace(hour=0, minute=0, second=0, microsecond=0)
        # the pretended time never passes the real one, which the phase "queue" goes by
        self.now = today - (self.steps + 1) * self.step
        self.first = self.now.date()
        self.timeline = Timeline(self.upstream, random.Random(options.seed + 1), self.first)

    def say(self, text):
        print(f"{datetime.now():%H:%M:%S} {text}", flush=True)

    def prepare(self):
        self.upstream.start()
        self.db.set_clock(self.now)
        # at once, or the worker's own first round would find another start_date
        self.db.sql("BEGIN; CREATE EXTENSION IF NOT EXISTS contratos; SELECT contratos_setup(); "
                    f"UPDATE contratos_sources SET start_date = '{self.first}', catchup_days = 3000, ready_interval = '1s'; COMMIT;")
        self.watch.start()

    # -- accidents -----------------------------------------------------------------------------------------------

    def worker_pids(self):
        return [int(pid) for (pid,) in
                self.db.sql("SELECT pid FROM pg_stat_activity WHERE backend_type = 'contratos worker'")]

    def accident(self):
        """Something happens to the worker, or somebody does something."""
        rng, day = self.rng, self.first + timedelta(days=self.rng.randrange(max(1, (self.now.date() - self.first).days)))
        what = rng.choices(["nothing", "terminate", "cancel", "kill", "enqueue", "load", "backfill"],
                           [60, 6, 5, 2, 10, 6, 3])[0]
        self.counts[what] += 1
        if what in ("terminate", "cancel"):
            self.db.sql(f"SELECT pg_{what}_backend(pid) FROM pg_stat_activity "
                        "WHERE backend_type = 'contratos worker'")
        elif what == "kill":
            self.kill_worker()
        elif what == "enqueue":
            self.db.try_sql(f"SELECT contratos_enqueue('{day}', '{min(day + timedelta(days=3), self.yesterday())}', "
                            "only_missing => false)")
        elif what == "load":
            self.db.try_sql(f"SET lock_timeout = '1s'; SELECT contratos_run('{day}')")
        elif what == "backfill":
            self.db.try_sql("SET lock_timeout = '1s'; SELECT contratos_backfill(3)")

    def kill_worker(self):
        for pid in self.worker_pids():
            try:
                os.kill(pid, signal.SIGKILL)
                self.counts["killed"] += 1
            except ProcessLookupError:
                pass

    def yesterday(self):
        return self.now.date() - timedelta(days=1)

    def outage(self, seconds):
        self.counts["outage"] += 1
        self.upstream.kill()
        time.sleep(seconds)
        self.upstream.start()

    def plant(self):
        self.counts[self.upstream.plant(self.rng)] += 1

    # -- the phases ----------------------------------------------------------------------------------------------

    def clock(self):
        self.watch.phase = "clock"
        for number in range(self.steps):
            ends = time.monotonic() + STEP_SECONDS
            self.now += self.step
            self.timeline.advance(self.now)
            self.db.set_clock(self.now)
            if number % 15 == 14:
                self.upstream.behave()
            for _ in range(self.rng.choice([0, 1, 1, 2])):
                self.plant()
            time.sleep(self.rng.random() * STEP_SECONDS / 2)
            self.accident()
            if self.rng.random() < 0.04:
                self.outage(self.rng.random() * 3)
            time.sleep(max(0, ends - time.monotonic()))

    def queue(self):
        self.db.set_clock(None)
        self.now = datetime.now(timezone.utc)
        self.timeline.advance(self.now)
        self.watch.phase = "queue"
        ends = time.monotonic() + self.options.minutes * 30
        number = 0
        while time.monotonic() < ends:
            number += 1
            if number % 30 == 0:
                self.upstream.behave()
            if self.rng.random() < 0.25:
                self.plant()
            if self.rng.random() < 0.01:
                self.outage(self.rng.random() * 3)
            if self.db.sql("SELECT count(*) < 5 FROM contratos_runs WHERE status = 'queued'") == [["t"]]:
                self.counts["queued"] += int(self.db.sql(
                    f"SELECT contratos_enqueue('{self.first}', '{self.yesterday()}', only_missing => false)")[0][0])
            time.sleep(0.5)

    def calm(self):
        """What goes on after the faults have stopped; the complaints that are left at the deadline."""
        self.watch.phase = "calm"
        self.upstream.behave()
        # whatever upstream has in store happens now: the days are as they will stay
        self.timeline.advance(self.now + timedelta(days=5), calm=True)
        deadline = time.monotonic() + CALM_DEADLINE_SECONDS
        steps = 0
        complaints = ["the time was too short"]
        while complaints and time.monotonic() < deadline:
            self.now += timedelta(hours=6)
            steps += 1
            self.timeline.advance(self.now + timedelta(days=1), calm=True)
            self.db.set_clock(self.now)
            self.quiet(min(deadline, time.monotonic() + 30))
            # two days, so that every day that is rechecked has been
            complaints = self.wrong_days() + self.wrong_ledger() if steps > 8 else complaints
        self.say(f"calm: {steps} steps of six hours")
        return complaints

    def quiet(self, deadline):
        """Wait until nothing is open, and the worker has nothing to do, twice in a row."""
        seen = 0
        while seen < 2 and time.monotonic() < deadline:
            time.sleep(0.3)
            idle = self.db.sql("SELECT NOT EXISTS (SELECT FROM contratos_runs WHERE status IN ('queued', 'running')) "
                               "AND EXISTS (SELECT FROM pg_stat_activity WHERE backend_type = 'contratos worker' "
                               "AND wait_event = 'Extension' AND backend_start < now() - interval '0.5 s')")
            seen = seen + 1 if idle == [["t"]] else 0

    # -- the checks ----------------------------------------------------------------------------------------------

    def expected_days(self):
        day = self.first
        while day <= self.yesterday():
            yield day
            day += timedelta(days=1)

    def wrong_days(self):
        there = {}
        for row in self.db.sql(f"SET timezone = 'UTC'; SELECT block_timestamp::date, {COLUMNS} FROM tokens"):
            there.setdefault(row[0], []).append(tuple(row[1:]))
        complaints = []
        for day in self.expected_days():
            wanted = sorted(tuple("\\N" if cell is None else str(cell) for cell in row)
                            for row in self.upstream.days[day])
            found = sorted(there.pop(str(day), []))
            if found != wanted:
                complaints.append(f"{day}: {len(found)} rows, {len(set(found))} of them different, where upstream has "
                                  f"{len(wanted)}; {len(set(found) - set(wanted))} are not upstream's")
        return complaints + [f"{day}: {len(rows)} rows that nobody asked for" for day, rows in there.items()]

    def wrong_ledger(self):
        checks = {
            "open": "status IN ('queued', 'running', 'waiting')",
            "ended, and no end": "status NOT IN ('queued', 'running', 'waiting') AND finished_at IS NULL",
            "ended, with another attempt to come": "status IN ('succeeded', 'unchanged', 'canceled') "
                                                   "AND next_attempt_at IS NOT NULL",
            "failed without a reason": "status IN ('failed', 'refused', 'interrupted') "
                                       "AND (sqlstate IS NULL OR error IS NULL)",
            "succeeded with too few rows": "status = 'succeeded' AND rows_inserted IS DISTINCT FROM rows_loaded",
            "of a bug": "sqlstate LIKE 'XX%'",
        }
        complaints = []
        for what, where in checks.items():
            rows = self.db.sql(f"SELECT id, day, cause, status, sqlstate, left(error, 100) FROM contratos_runs "
                               f"WHERE {where} ORDER BY id LIMIT 5")
            complaints += [f"ledger: {what}: {' '.join(row)}" for row in rows]
        for day, rows in self.db.sql("SELECT DISTINCT ON (day) day, rows_loaded FROM contratos_runs "
                                     "WHERE status = 'succeeded' ORDER BY day, id DESC"):
            wanted = [len(self.upstream.days[d]) for d in self.expected_days() if str(d) == day]
            if wanted != [int(rows)]:
                complaints.append(f"ledger: {day} was loaded with {rows} rows, upstream has {wanted}")
        done = {row[0] for row in self.db.sql("SELECT DISTINCT day FROM contratos_runs WHERE status = 'succeeded'")}
        return complaints + [f"ledger: {day} has no success" for day in self.expected_days() if str(day) not in done]

    def wrong_log(self):
        with open(os.path.join(self.options.cluster, "log"), encoding="utf-8", errors="replace") as file:
            text = file.read()
        died = len(re.findall(r"was terminated by signal", text))
        complaints = [line for line in text.splitlines() if re.search(r"PANIC:|TRAP:| XX\d\d\d ", line)][:5]
        if died != self.counts["killed"]:
            complaints.append(f"{died} processes died of a signal, and {self.counts['killed']} were killed")
        return complaints

    def tell(self):
        for name, count in sorted(self.counts.items()):
            print(f"  {count:6d} {name}")
        for row in self.db.sql("SELECT cause, status, count(*), coalesce(string_agg(DISTINCT sqlstate, ' '), '') "
                               "FROM contratos_runs GROUP BY 1, 2 ORDER BY 1, 2"):
            print("  ledger: " + " ".join(row))

    def run(self):
        options = self.options
        self.prepare()
        self.say(f"seed {options.seed}: {self.steps} steps of {self.step} from {self.first}, then the queue; "
                 f"{options.minutes:g} minutes")
        self.clock()
        self.say(f"clock: done, it is {self.now}")
        self.queue()
        self.say("queue: done")
        complaints = self.calm()
        self.watch.finish()
        self.tell()
        complaints += self.wrong_log() + report(self.watch)
        days = len(list(self.expected_days()))
        for complaint in complaints:
            print("WRONG " + complaint)
        self.say(f"soak {'FAILED' if complaints else 'passed'}: {days} days, "
                 f"{sum(len(rows) for rows in self.upstream.days.values())} rows")
        return 1 if complaints else 0


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=2)
    parser.add_argument("--seed", type=int, default=int(os.environ.get("CONTRATOS_SEED") or time.strftime("%Y%m%d", time.gmtime())))
    for name in ("cluster", "port", "bindir", "standin-port", "certs"):
        parser.add_argument("--" + name, required=True)
    soak = Soak(parser.parse_args())
    try:
        return soak.run()
    finally:
        soak.upstream.kill()


if __name__ == "__main__":
    sys.exit(main())
