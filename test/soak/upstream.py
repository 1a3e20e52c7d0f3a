"""The stand-in's side of a soak: what upstream holds, how it changes, how it misbehaves."""
import json
import os
import random
import subprocess
import sys
import time
import urllib.error
import urllib.request
from datetime import date, datetime, timedelta, timezone

HERE = os.path.dirname(os.path.abspath(__file__))
TABLE = "bigquery-public-data.crypto_ethereum.tokens"
EPOCH = date(1970, 1, 1)

# What goes wrong with single requests; kind None: any of those that read.
FAULTS = [
    (None, {"status": 500, "reason": "internalError"}),
    (None, {"status": 503, "reason": "backendError"}),
    (None, {"status": 502, "body": "bad gateway"}),
    (None, {"status": 429, "reason": "rateLimitExceeded", "headers": {"Retry-After": "1"}}),
    (None, {"status": 403, "reason": "rateLimitExceeded"}),
    (None, {"lost_answer": True}),
    (None, {"delay_ms": 700}),
    (None, {"expire_token": True}),
    (None, {"garbage": "<html>proxy</html>"}),
    (None, {"close": "before_headers"}),
    (None, {"close": "mid_body"}),
    ("results", {"close": {"after_bytes": 900, "reset": True}}),
    ("results", {"truncate_rows": 37}),
    ("results", {"page_bytes": 4096}),
    ("results", {"chunked": 100, "drop_chunk": 5}),
    ("results", {"stall": "mid_body"}),
    ("results", {"gzip": True}),
    ("insert", {"job_error": {"reason": "backendError", "message": "planted", "at": "results"}}),
    ("insert", {"job_error": {"reason": "rateLimitExceeded", "message": "planted", "at": "insert"}}),
    ("insert", {"job_pending": True}),
    ("token", {"status": 503}),
    ("token", {"stall": "before_headers"}),
    ("token", {"status": 400, "body": {"error": "invalid_grant"}}),
    ("results", {"status": 403, "reason": "accessDenied"}),
]


def make_rows(day, version, count):
    """Rows that tell which version of which day they are; NULL and '' among them."""
    rng = random.Random(f"{day} {version} {count}")
    start = (day - EPOCH).days * 86400 * 1000000
    rows = []
    for number in range(count):
        rows.append((f"0x{day:%Y%m%d}{version:04d}{number:08d}", rng.choice([None, "", "TKN", "Ξ", "a|b"]),
                     rng.choice([None, "", "Token ção", 'with "quotes"']), rng.choice([None, "0", "18"]),
                     rng.choice([None, "115792089237316195423570985008687907853269984665640564039457584007913129639935"]),
                     start + rng.randrange(86400 * 1000000), 10000000 + number, f"0x{rng.getrandbits(256):064x}"))
    return rows


class Upstream:
    """A stand-in process and the truth about its table, which outlives the process."""

    def __init__(self, port, certs, table=TABLE):
        self.port, self.certs, self.table = port, certs, table
        self.days = {}  # day -> rows, as they are to be found upstream now
        self.versions = {}
        self.process = None

    def start(self):
        ready = os.path.join(os.path.dirname(self.certs), "standin-ready.json")
        if os.path.exists(ready):
            os.unlink(ready)
        self.process = subprocess.Popen(
            [sys.executable, os.path.join(HERE, "..", "standin", "server.py"), "--certs", self.certs, "--http-port",
             str(self.port), "--csv", "", "--with-parent", "--ready-file", ready], stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + 30
        while not os.path.exists(ready):
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError("the stand-in did not start")
            time.sleep(0.05)
        for day in self.days:
            self.send(day)

    def kill(self):
        self.process.kill()
        self.process.wait()

    def control(self, name, body, method="POST"):
        data = None if method == "GET" else json.dumps(body).encode()
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}/_control/{name}", data=data, method=method)
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            raise RuntimeError(f"{name}: {error.read().decode()}") from error

    def send(self, day):
        self.control("table", {"table": self.table, "replace_day": str(day), "rows": self.days[day]})

    def write(self, day, count):
        """Upstream writes the day, or writes it anew: all rows are others than before."""
        self.versions[day] = self.versions.get(day, 0) + 1
        self.days[day] = make_rows(day, self.versions[day], count)
        self.send(day)

    def hide(self, day):
        """In the middle of being replaced, a day is empty for a while."""
        self.control("table", {"table": self.table, "replace_day": str(day), "rows": []})

    def plant(self, rng):
        """One fault, or a few at a time."""
        kind, action = rng.choice(FAULTS)
        kind = kind or rng.choice(["token", "insert", "results"])
        self.control("rule", {"match": {"kind": kind, "nth": rng.choice([1, 1, 2, 3]),
                                        "times": rng.choice([1, 1, 2, 6])}, "action": action})
        return kind + " " + json.dumps(action)

    def behave(self):
        """No rule any more; jobs and tokens are forgotten too, which is a fault of its own."""
        self.control("reset", {"tables": False})


class Timeline:
    """What upstream does with its days as the (pretended) hours go by."""

    def __init__(self, upstream, rng, first):
        self.upstream, self.rng = upstream, rng
        self.planned = first  # the next day to plan
        self.events = []  # (moment, number, action, day, rows)
        self.final = {}  # day -> rows in the end

    def plan(self, day, calm):
        """A day's rows come in parts, late, again, or simply."""
        rng, after = self.rng, datetime.combine(day + timedelta(days=1), datetime.min.time(), timezone.utc)
        count = rng.randrange(50, 1500)

        def at(hours, action, rows=0):
            self.events.append((after + timedelta(hours=hours), len(self.events), action, day, rows))

        self.final[day] = count
        kind = rng.choice(["partial", "partial", "late", "revised", "gap", "simple"]) if not calm else "simple"
        if kind == "late":
            at(rng.randrange(9, 18), "write", count)
        elif kind == "partial":
            at(6, "write", count // 2)
            at(rng.randrange(9, 15), "write", count)
        else:
            at(6, "write", count)
        if kind == "revised":
            at(rng.randrange(30, 96), "write", count + 5)
        if kind == "gap":
            hours = rng.randrange(9, 60)
            at(hours, "hide")
            at(hours + 3, "write", count)

    def advance(self, now, calm=False):
        """Bring upstream to `now`."""
        while self.planned < now.date():
            self.plan(self.planned, calm)
            self.planned += timedelta(days=1)
        due = sorted(event for event in self.events if event[0] <= now)
        self.events = [event for event in self.events if event[0] > now]
        for _, _, action, day, rows in due:
            if action == "write":
                self.upstream.write(day, rows)
            else:
                self.upstream.hide(day)
