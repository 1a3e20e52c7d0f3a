#!/usr/bin/env python3
"""Many sessions and two workers on the same sources, while BigQuery misbehaves; called by test/soak/run --load.

Twenty sessions in two databases, each with a worker, run, queue, compare and cancel days of ten sources, alter
sources, and cancel and terminate each other; upstream rewrites days; requests fail in every way the stand-in knows.
While this goes on, each day of each table is of one version of upstream, each row once.  Then nothing goes wrong any
more, all days are loaded once again, half of them by call, and the tables, the ledger, the server and the stand-in's
list of jobs are looked at.  A TAP line per check.

CONTRATOS_SEED (1) and CONTRATOS_LOAD_SECONDS (600) are read from the environment.
"""
import argparse
import collections
import os
import queue
import random
import re
import subprocess
import sys
import threading
import time
from datetime import datetime, timedelta, timezone

from soak import COLUMNS, Database
from upstream import Upstream
from watch import MAX_GROWTH_FDS, MAX_GROWTH_KB, Watch, median

DATABASES = ("load1", "load2")
SOURCES = 10  # those with even numbers are in the first database
SESSIONS = 20
KEPT = 4  # sessions that nobody terminates: they must not grow
DAYS = 6
CAPS = [gigabytes << 30 for gigabytes in range(1, 9)]  # what the foreign tables are given, in turn
# a session reaches its size only after it has done everything
MEMORY_SECONDS = 300
TABLE = "bigquery-public-data.crypto_ethereum.load_{}"
# no statement takes longer: a lock is waited for 2 s, a job 5 s, and a series has six days
HUNG_SECONDS = 120
CALM_SECONDS = 240
MARK = "== done =="


class Session(threading.Thread):
    """A psql that stays open, and what one user does in it."""

    def __init__(self, load, number):
        super().__init__(daemon=True)
        self.load, self.number = load, number
        self.rng = random.Random(f"{load.seed} session {number}")
        self.database = DATABASES[number % 2]
        self.lines, self.process, self.pid = queue.Queue(), None, None
        self.states, self.complaints, self.done = collections.Counter(), [], collections.Counter()

    @property
    def is_kept(self):
        return self.number < KEPT

    def connect(self):
        command = [*self.load.databases[self.database].command, "-v", "VERBOSITY=verbose", "-v", "ON_ERROR_STOP=0"]
        environment = dict(os.environ, PGAPPNAME=f"load {self.number}")
        lines = self.lines = queue.Queue()
        process = self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                                  stderr=subprocess.STDOUT, encoding="utf-8", env=environment)

        def read():
            for line in process.stdout:
                lines.put(line.rstrip("\n"))
            lines.put(None)

        threading.Thread(target=read, daemon=True).start()
        out = self.sql("SET lock_timeout = '2s'; SELECT pg_backend_pid();")
        self.pid = int(out[0]) if out and out[0].isdigit() else None
        if self.is_kept and self.pid:
            self.load.watch.sessions[self.pid] = f"session {self.number}"

    def sql(self, text):
        """The lines that it gives; None when the connection was lost, which is noted if nobody has ended it."""
        try:
            self.process.stdin.write(f"{text}\n\\echo '{MARK}'\n")
            self.process.stdin.flush()
        except OSError:
            return None
        out, until = [], time.monotonic() + HUNG_SECONDS
        while True:
            try:
                line = self.lines.get(timeout=max(0.1, until - time.monotonic()))
            except queue.Empty:
                self.complaints.append(f"session {self.number} hung in: {text}")
                self.process.kill()
                return None
            if line is None:
                self.note(out, text)
                return None
            if line == MARK:
                self.note(out, text)
                return out
            out.append(line)

    def note(self, out, text):
        for line in out:
            found = re.match(r"(?:psql:.*: )?(ERROR|FATAL|PANIC):\s+(\w{5}): (.*)", line)
            if found:
                self.states[found[2]] += 1
                if found[2].startswith("XX") or found[2] == "40P01":
                    self.complaints.append(f"session {self.number}: {text}: {line}")

    def action(self):
        """(name, statement) of the next thing to do."""
        rng, load = self.rng, self.load
        source = f"s{rng.choice(load.sources[self.database])}"
        first = load.first + timedelta(days=rng.randrange(DAYS))
        last = min(first + timedelta(days=rng.randrange(3)), load.last)
        only = rng.choice(["true", "false", "false"])
        other = f"'load {rng.randrange(SESSIONS)}'"
        victim = f"'load {rng.randrange(KEPT, SESSIONS)}'"
        there = f"FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND application_name = {other}"
        worker = "FROM pg_stat_activity WHERE backend_type = 'contratos worker'"
        choices = {
            "run": (20, f"SELECT contratos_run('{first}', '{source}');"),
            "backfill": (8, f"SELECT contratos_backfill({rng.randrange(1, DAYS)}, '{source}', only_missing => {only});"),
            "load": (8, f"CALL contratos_load('{first}', '{last}', '{source}', {only});"),
            "verify": (6, f"SELECT contratos_verify('{first}', '{last}', '{source}');"),
            "enqueue": (10, f"SELECT contratos_enqueue('{first}', '{last}', '{source}', {only});"),
            "cancel": (6, "SELECT contratos_cancel(id) FROM contratos_runs WHERE status IN ('queued', 'running', 'waiting') "
                          "ORDER BY random() LIMIT 2;"),
            "rolled back": (4, f"BEGIN; SELECT contratos_run('{first}', '{source}'); ROLLBACK;"),
            "read": (6, "SELECT count(*) FROM contratos_status; SELECT count(*) FROM contratos_days; "
                        "SELECT count(*) FROM contratos_metrics; SELECT length(contratos_page('" + source + "'));"),
            "check": (3, f"SELECT count(*) FROM contratos_check('{source}');"),
            "source": (3, f"UPDATE contratos_sources SET recheck_days = {rng.randrange(8)}, enabled = {rng.choice(['true', 'true', 'false'])} "
                          f"WHERE name = '{source}';"),
            "remote": (2, f"ALTER FOREIGN TABLE r{source[1:]} OPTIONS (SET max_bytes_billed '{rng.randrange(1, 9)}GB');"),
            "target": (1, f"ALTER TABLE {source} ADD COLUMN extra text; ALTER TABLE {source} DROP COLUMN extra;"),
            "pg_cancel_backend": (8, f"SELECT pg_cancel_backend(pid) {there};"),
            "pg_terminate_backend": (4, f"SELECT pg_terminate_backend(pid) {there.replace(other, victim)};"),
            # of the first database alone, as a cancel may end it, too: the other worker must not grow
            "cancel a worker": (1, f"SELECT pg_cancel_backend(pid) {worker} AND datname = '{DATABASES[0]}';"),
            "end a worker": (0.5, f"SELECT pg_terminate_backend(pid) {worker} AND datname = '{DATABASES[0]}';"),
        }
        name = rng.choices(list(choices), [weight for weight, _ in choices.values()])[0]
        return name, choices[name][1]

    def run(self):
        while not self.load.over.is_set():
            if self.process is None or self.process.poll() is not None:
                self.connect()
            name, text = self.action()
            self.done[name] += 1
            if self.sql(text) is None:
                self.end()
            time.sleep(self.rng.random() / 2)
        if not self.is_kept:
            self.end()

    def end(self):
        if self.process:
            self.process.kill()
            self.process.wait()
            self.process = None


class Load:
    def __init__(self, options):
        self.options = options
        self.seed = int(os.environ.get("CONTRATOS_SEED", "1"))
        self.seconds = float(os.environ.get("CONTRATOS_LOAD_SECONDS", "600"))
        self.rng = random.Random(f"{self.seed} upstream")
        self.databases = {name: Database(options, name) for name in DATABASES}
        self.sources = {name: [n for n in range(SOURCES) if n % 2 == place] for place, name in enumerate(DATABASES)}
        self.upstreams = [Upstream(options.standin_port, options.certs, TABLE.format(n)) for n in range(SOURCES)]
        self.sizes = collections.defaultdict(set)  # (source, day) -> (version, rows) that upstream has had
        self.last = datetime.now(timezone.utc).date() - timedelta(days=1)
        self.first = self.last - timedelta(days=DAYS - 1)
        self.watch = Watch(os.path.join(options.cluster, "data"))
        self.over = threading.Event()
        self.faults = collections.Counter()
        self.count = self.failed = self.looked = 0
        self.torn = set()

    def all_days(self):
        return [self.first + timedelta(days=number) for number in range(DAYS)]

    def ok(self, complaints, title):
        self.count += 1
        verdict = "not ok" if complaints else "ok"
        self.failed += bool(complaints)
        print(f"{verdict} {self.count} - {title}", flush=True)
        for complaint in list(complaints)[:10]:
            print(f"# {complaint}", flush=True)

    # -- before --------------------------------------------------------------------------------------------------

    def write(self, number, day):
        upstream = self.upstreams[number]
        rows = self.rng.randrange(50, 400)
        self.sizes[number, day].add((upstream.versions.get(day, 0) + 1, rows))  # before it can be read
        upstream.write(day, rows)

    def prepare(self):
        self.upstreams[0].start()
        for number in range(SOURCES):
            for day in self.all_days():
                self.write(number, day)
        for name, database in self.databases.items():
            statements = ["CREATE EXTENSION contratos;", "SELECT contratos_setup();", "DELETE FROM contratos_sources;"]
            for number in self.sources[name]:
                statements.append(
                    f"CREATE TABLE s{number} (LIKE tokens); CREATE INDEX ON s{number} (block_timestamp); "
                    f"CREATE FOREIGN TABLE r{number} (address text, symbol text, name text, decimals numeric, "
                    "total_supply numeric, block_timestamp timestamptz, block_number bigint, block_hash text) "
                    f"SERVER bigquery OPTIONS (\"table\" '{TABLE.format(number)}', max_bytes_billed '1GB'); "
                    "INSERT INTO contratos_sources (name, remote_table, target_table, timestamp_column, start_date, "
                    f"catchup_days, ready_interval, max_shrink) VALUES ('s{number}', 'r{number}', 's{number}', "
                    f"'block_timestamp', '{self.first}', {DAYS}, '1s', 1);")
            database.sql("BEGIN;\n" + "\n".join(statements) + "\nCOMMIT;")
        self.watch.start()

    # -- meanwhile -----------------------------------------------------------------------------------------------

    def look(self, number):
        """Each day of a table is as one version of upstream is, each row once."""
        database = self.databases[DATABASES[number % 2]]
        rows = database.sql(
            f"SET timezone = 'UTC'; SELECT block_timestamp::date, count(*), count(DISTINCT address), "
            f"min(substr(address, 11, 4)), max(substr(address, 11, 4)) FROM s{number} GROUP BY 1")
        self.looked += len(rows)
        for day, count, different, low, high in rows:
            known = {str(version).zfill(4): size for (n, d), seen in list(self.sizes.items())
                     if n == number and str(d) == day for version, size in list(seen)}
            if low != high or count != different or known.get(low) != int(count):
                self.torn.add(f"s{number} {day}: {count} rows, {different} different ones, of the versions {low} to {high}")

    def trouble(self, until):
        while time.monotonic() < until:
            if self.rng.random() < 0.5:
                self.faults[self.upstreams[0].plant(self.rng)] += 1
            if self.rng.random() < 0.2:
                self.write(self.rng.randrange(SOURCES), self.rng.choice(self.all_days()))
            self.look(self.rng.randrange(SOURCES))
            time.sleep(0.3)

    # -- afterwards ----------------------------------------------------------------------------------------------

    def await_quiet(self, title, condition=""):
        """Until nothing is open in any database."""
        left = []
        until = time.monotonic() + CALM_SECONDS
        while time.monotonic() < until:
            left = [f"{name}: {' '.join(row)}" for name, database in self.databases.items() for row in database.sql(
                "SELECT source, day, cause, status, attempt FROM contratos_runs "
                f"WHERE status IN ('queued', 'running', 'waiting') {condition} ORDER BY id")]
            if not left:
                break
            time.sleep(0.5)
        self.ok(left, title)

    def calm(self):
        self.upstreams[0].control("rule", {}, "DELETE")
        for database in self.databases.values():
            database.sql("UPDATE contratos_sources SET enabled = true, recheck_days = 0;")
        self.await_quiet("everything that was open has ended")
        for number in range(SOURCES):
            database = self.databases[DATABASES[number % 2]]
            arguments = f"'{self.first}', '{self.last}', 's{number}'"
            if number % 4 < 2:
                database.sql(f"CALL contratos_load({arguments}, false);")
            else:
                database.sql(f"SELECT contratos_enqueue({arguments}, only_missing => false);")
        self.await_quiet("the last round has ended")

    def wrong_rows(self):
        complaints = []
        for number, upstream in enumerate(self.upstreams):
            found = collections.defaultdict(list)
            for row in self.databases[DATABASES[number % 2]].sql(
                    f"SET timezone = 'UTC'; SELECT block_timestamp::date, {COLUMNS} FROM s{number}"):
                found[row[0]].append(tuple(row[1:]))
            for day in self.all_days():
                wanted = sorted(tuple("\\N" if cell is None else str(cell) for cell in row) for row in upstream.days[day])
                there = found.pop(str(day), [])
                if sorted(there) != wanted:
                    complaints.append(f"s{number} {day}: {len(there)} rows, {len(set(there))} different ones; upstream "
                                      f"has {len(wanted)}, {len(set(wanted) - set(there))} of them are missing")
            complaints += [f"s{number} {day}: nobody asked for it" for day in found]
        return complaints

    def ledger(self):
        return [row for database in self.databases.values() for row in database.sql(
            "SELECT id, status, cause, coalesce(sqlstate, ''), coalesce(job_id, ''), coalesce(bytes_billed, -1), "
            "finished_at IS NOT NULL, next_attempt_at IS NOT NULL FROM contratos_runs")]

    def wrong_ledger(self, rows):
        complaints = [f"row {row[0]} is {row[1]}, without an end" for row in rows
                      if row[1] not in ("queued", "running", "waiting") and row[6] != "t"]
        complaints += [f"row {row[0]}: {row[3]}" for row in rows if row[3].startswith("XX") or row[3] == "40P01"]
        for name, database in self.databases.items():
            complaints += [f"{name}: contratos_verify: {' '.join(row)}" for number in self.sources[name]
                           for row in database.sql(f"SELECT * FROM contratos_verify('{self.first}', '{self.last}', 's{number}') "
                                                   "WHERE agrees IS NOT TRUE")]
        return complaints

    def wrong_bills(self, rows):
        """Each job that BigQuery has done is in the ledger once, with what it has billed.

        Whoever is canceled before the answer does not know the cost: the ledger then has the cap, and never NULL, as
        each table has one.  What cannot be written in time, because the ledger is locked or no process can be started
        while a session ends, is in the server's log with its job; that must stay rare.
        """
        logged = set(re.findall(r"\(job (contratos_\w+)\)|The session of BigQuery job (contratos_\w+) has ended", "\n".join(self.log())))
        logged = {name for names in logged for name in names if name}
        bills = collections.defaultdict(list)
        for row in rows:
            if row[4]:
                bills[row[4]].append((int(row[5]), row[1]))
        jobs = {job["job"]: job for job in self.upstreams[0].control("jobs", None, "GET")["jobs"]}
        complaints = [f"job {name} is in {len(billed)} rows of the ledger" for name, billed in bills.items() if len(billed) > 1]
        capped = unwritten = 0
        for name, job in jobs.items():
            if job["state"] != "DONE" or job["error"]:
                continue
            billed, status = bills.get(name, [(0, "no row")])[0]
            unknown = status not in ("succeeded", "unchanged", "differs") and billed in CAPS
            capped += unknown
            if name not in bills and name in logged:
                unwritten += 1
                continue
            if billed != job["bytes_billed"] and not unknown:
                complaints.append(f"job {name}: {job['bytes_billed']} bytes are billed, the ledger has {billed}, {status}")
        print(f"# {len(jobs)} jobs, {len(bills)} of them in the ledger; {capped} of a cost that nobody has learned; "
              f"{unwritten} bills that the log has, and not the ledger")
        if unwritten > max(3, len(jobs) / 100):
            complaints.append(f"{unwritten} bills are in the log only")
        return complaints

    def orphans(self):
        """Jobs that run although nobody waits for them, or were said to be canceled and were not.

        A session that is terminated does not cancel its job: the time limit that each job is given ends it.
        """
        jobs = {job["job"]: job for job in self.upstreams[0].control("jobs", None, "GET")["jobs"]}
        complaints = [f"job {name} runs: {job['query'][:60]}" for name, job in jobs.items()
                      if job["state"] != "DONE" and job["held"] and job["age_ms"] <= int(job["timeout_ms"] or sys.maxsize)]
        canceled = set(re.findall(r"BigQuery job (\S+) was canceled; ", "\n".join(self.log())))
        print(f"# {len(canceled)} jobs were canceled with their calls")
        return complaints + [f"job {name} was not canceled" for name in sorted(canceled) if not jobs[name]["cancel_requested"]]

    def log(self):
        with open(os.path.join(self.options.cluster, "log"), encoding="utf-8", errors="replace") as file:
            return file.read().splitlines()

    def wrong_log(self):
        lines = self.log()
        deadlocks = [line for line in lines if " 40P01 " in line or "deadlock detected" in line]
        crashes = [line for line in lines if re.search(r"PANIC:|TRAP:| XX\d\d\d |was terminated by signal", line)]
        return deadlocks, crashes

    def left_locks(self):
        """None while nobody does anything; a worker that has just looked is asked again.

        Launcher and workers hold others, of no table, as long as they live.
        """
        until = time.monotonic() + 20
        rows = True
        while rows and time.monotonic() < until:
            rows = self.databases[DATABASES[0]].sql(
                "SELECT l.pid, l.mode, a.backend_type, a.query FROM pg_locks l JOIN pg_stat_activity a USING (pid) "
                "WHERE locktype = 'advisory' AND classid <> 0")
            time.sleep(0.2)
        return [" ".join(row) for row in rows]

    def grown(self, warm, ends):
        """Processes that have lived from after the warm-up to the end, and were greater then."""
        complaints, series = [], collections.defaultdict(list)
        for _, role, pid, at, rss, fds in self.watch.samples:
            if warm <= at <= ends:
                series[role, pid].append((at, rss, fds))
        whole = {who: values for who, values in series.items() if values[0][0] < warm + 5 and values[-1][0] > ends - 5}
        for (role, pid), values in sorted(whole.items()):
            part = max(1, len(values) // 5)
            texts = []
            for place, (what, limit) in enumerate((("RssAnon kB", MAX_GROWTH_KB), ("descriptors", MAX_GROWTH_FDS)), 1):
                early, late = (median(value[place] for value in some) for some in (values[:part], values[-part:]))
                texts.append(f"{what} {early} to {late}")
                if late > early + limit and (place == 2 or self.seconds >= MEMORY_SECONDS):
                    complaints.append(f"{role} {pid}: {what} grew from {early} to {late}")
            print(f"# {role} {pid}: {', '.join(texts)}")
        roles = [role for role, _ in whole]
        if "worker" not in roles or sum(role.startswith("session") for role in roles) < KEPT:
            complaints.append(f"only these have lived so long: {' '.join(sorted(roles))}")
        return complaints

    def run(self):
        self.prepare()
        print(f"# CONTRATOS_SEED={self.seed} CONTRATOS_LOAD_SECONDS={self.seconds:g}: days {self.first} to {self.last}", flush=True)
        sessions = [Session(self, number) for number in range(SESSIONS)]
        for session in sessions:
            session.start()
        began = time.monotonic()
        warm = began - self.watch.began + min(120, 0.4 * self.seconds)
        self.trouble(began + self.seconds)
        self.over.set()
        ends = time.monotonic() - self.watch.began
        for session in sessions:
            session.join(HUNG_SECONDS + 30)
        self.calm()
        self.watch.finish()
        for title, counter in (("done", sum((session.done for session in sessions), collections.Counter())),
                               ("errors", sum((session.states for session in sessions), collections.Counter()))):
            print(f"# {title}: " + ", ".join(f"{count} {name}" for name, count in counter.most_common()))
        print(f"# {sum(self.faults.values())} faults; {self.looked} days looked at meanwhile; "
              f"{sum(upstream.versions[day] for upstream in self.upstreams for day in upstream.versions)} days written upstream")
        rows = self.ledger()
        causes = collections.Counter(f"{row[2]} {row[1]}" for row in rows)
        print("# ledger: " + ", ".join(f"{count} {name}" for name, count in causes.most_common()))
        deadlocks, crashes = self.wrong_log()
        self.ok(self.torn if self.looked else ["no day was looked at"], "meanwhile each day is one version of upstream's, each row once")
        self.ok(self.wrong_rows(), "nothing is lost or doubled: each day is as upstream has it")
        self.ok([c for session in sessions for c in session.complaints], "no session hung, or got an internal error")
        self.ok(deadlocks, "no deadlock")
        self.ok(crashes, "no internal error in the log, and no process died of a signal")
        self.ok(self.wrong_bills(rows), "each job is in the ledger once, with its bytes billed")
        self.ok(self.orphans(), "no job runs that nobody waits for, beyond its time limit, and those that are said to be canceled are")
        self.ok(self.wrong_ledger(rows), "the ledger is true, and contratos_verify() agrees with it")
        self.ok(self.left_locks(), "no advisory lock is left")
        self.ok(self.grown(warm, ends), "no worker, and no session that lives long, grows")
        print(f"1..{self.count}")
        return 1 if self.failed else 0


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ("cluster", "port", "bindir", "standin-port", "certs"):
        parser.add_argument("--" + name, required=True)
    load = Load(parser.parse_args())
    try:
        return load.run()
    finally:
        load.upstreams[0].kill()


if __name__ == "__main__":
    sys.exit(main())
