"""What contratos itself does first: check, estimate, load a day, verify it, import and read a table with nested columns.

Each step is SQL in a private cluster.  Before it contratos.max_bytes_billed is set to what may still be billed, and
after it the jobs that the debug lines name are asked what they were billed.
"""
import json
import re
import subprocess
import urllib.parse

from client import MEGABYTE, OverCap
from questions import GA4, SHARD, NotAsked

STEPS = []
LOAD = 200 * MEGABYTE  # what a query of tokens may be billed
DEBUG_LINE = re.compile(r"DEBUG:  contratos: (GET|POST) [^/\s]*(/\S*): (\S.*?), (\d+) ms")
JOB = re.compile(r"/projects/([^/]+)/(?:queries|jobs)/([^/:]+)")
NESTED = [  # the stand-in's shard: the shape of the real one, few columns
    {"name": "event_date", "type": "STRING"}, {"name": "event_timestamp", "type": "INTEGER"},
    {"name": "event_name", "type": "STRING"}, {"name": "event_value_in_usd", "type": "FLOAT"},
    {"name": "event_params", "type": "RECORD", "mode": "REPEATED", "fields": [
        {"name": "key", "type": "STRING"},
        {"name": "value", "type": "RECORD", "fields": [
            {"name": "string_value", "type": "STRING"}, {"name": "int_value", "type": "INTEGER"},
            {"name": "float_value", "type": "FLOAT"}, {"name": "double_value", "type": "FLOAT"}]}]},
    {"name": "geo", "type": "RECORD", "fields": [{"name": "country", "type": "STRING"}]},
]


class Failed(Exception):
    """A step that did not do what it should; the text says why."""


def step(title):
    def add(function):
        STEPS.append((title, function))
        return function
    return add


class Database:
    """psql in the private cluster."""

    def __init__(self, psql, service):
        self.psql, self.service = psql, service
        self.requests = []  # of the last call: method, path, outcome, ms

    def ask(self, sql, cap=0):
        """The rows of a statement as lists of texts; raises Failed with its error.

        cap: bytes that each of its queries may be billed; 0: it makes none.
        """
        budget = self.service.budget
        allowed = budget.allowance(cap) if cap else MEGABYTE
        name = object()
        budget.reserved[name] = allowed if cap else 0
        prelude = f"SET contratos.max_bytes_billed = '{allowed // MEGABYTE}MB'; SET client_min_messages = debug1;"
        done = subprocess.run([*self.psql, "-c", prelude, "-c", sql], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              stdin=subprocess.DEVNULL)
        errors = done.stderr.decode("utf-8", "replace")
        self.requests = [match.groups() for match in DEBUG_LINE.finditer(errors)]
        if cap:
            self.charge(name)
        else:
            del budget.reserved[name]
        if done.returncode != 0:
            told = [line for line in errors.splitlines() if not re.match(r"DEBUG:|SET$|LOCATION:", line)]
            raise Failed(" ".join(told) or f"psql ended with exit code {done.returncode}")
        text = done.stdout.decode("utf-8", "replace")
        return [line.split("\x1f") for line in text.split("\x1e") if line.strip("\n") and line.strip() != "SET"]

    def charge(self, name):
        """Put what the jobs were billed in place of the reservation, if all of them tell it."""
        if any(not outcome.isdigit() for _, _, outcome, _ in self.requests):
            return  # a job may have begun that nobody was told of
        jobs = {match.groups() for _, path, _, _ in self.requests for match in [JOB.search(path)] if match}
        try:
            bills = [self.service.billed(urllib.parse.unquote(project), urllib.parse.unquote(job), None) for project, job in jobs]
        except ConnectionError:
            return
        if None not in bills:
            del self.service.budget.reserved[name]
            self.service.budget.spent += sum(bills)

    def pages(self):
        asked = [path for method, path, _, _ in self.requests if method == "GET" and "/queries/" in path]
        times = ", ".join(f"{method} {path.rsplit('/', 2)[-2 if '/queries/' in path else -1]} {outcome} in {ms} ms"
                          for method, path, outcome, ms in self.requests[:10])
        return f"{len(self.requests)} requests, {len(asked)} of getQueryResults: {times}"


class Context:
    def __init__(self, asker, database):
        self.asker, self.database, self.service = asker, database, asker.service
        self.day = None
        self.in_ledger = 0  # billed, as jobs.get tells it, for what the ledger has a row of

    def recorded(self, sql):
        """The rows of a statement that the ledger keeps the cost of."""
        spent = self.service.budget.spent
        try:
            return self.database.ask(sql, cap=LOAD)
        finally:
            self.in_ledger += self.service.budget.spent - spent


def rows_text(rows):
    return "; ".join(" ".join(row) for row in rows)


@step("the version, and the built-in source")
def setup(c):
    c.database.ask("CREATE EXTENSION contratos")
    c.database.ask("CREATE SCHEMA ga4")
    version = rows_text(c.database.ask("SELECT v.* FROM contratos_version() AS v"))
    c.database.ask("SELECT contratos_setup()")
    return version


@step("contratos_check()")
def check(c):
    rows = c.database.ask("SELECT check_name, status, found, coalesce(hint, '') FROM contratos_check()", cap=LOAD)
    text = "; ".join(f"{name}: {status}, {found} {hint if status != 'ok' else ''}".strip() for name, status, found, hint in rows)
    if any(row[1] == "failed" for row in rows):
        raise Failed("; ".join(f"{row[0]}: {row[2]} {row[3]}" for row in rows if row[1] == "failed"))
    return text


@step("contratos_estimate() of yesterday")
def estimate(c):
    return rows_text(c.database.ask("SELECT * FROM contratos_estimate(contratos_yesterday(), contratos_yesterday())", cap=LOAD))


@step("contratos_backfill(1): a load of yesterday, or of one of the three days before if that is empty")
def backfill(c):
    call, told = "contratos_backfill(1)", []
    for back in range(1, 5):
        rows = c.recorded(f"SELECT day, status, rows_loaded, coalesce(message, '') FROM {call}")
        told.append(rows_text(rows))
        if not rows or rows[0][1] != "refused":
            break
        call = f"contratos_backfill_range(contratos_yesterday() - {back}, contratos_yesterday() - {back})"
    if not rows or rows[0][1] != "succeeded":
        raise Failed("; ".join(told))
    requests = c.database.pages()
    c.day = rows[0][0]
    ledger = rows_text(c.database.ask("SELECT 'pages', pages, 'bytes_processed', bytes_processed, 'bytes_billed', bytes_billed, 'ms', "
                                      "round(1000 * extract(epoch FROM finished_at - started_at)) FROM contratos_runs ORDER BY id DESC LIMIT 1"))
    return f"{'; '.join(told)}; {requests}; {ledger}"


@step("contratos_verify() of that day")
def verify(c):
    if c.day is None:
        raise NotAsked("no day was loaded")
    rows = c.recorded(f"SELECT to_json(v) FROM contratos_verify('{c.day}', '{c.day}') AS v")
    return rows_text(rows)


@step("contratos_backfill_range() of that day: the rows replace themselves")
def again(c):
    if c.day is None:
        raise NotAsked("no day was loaded")
    rows = c.recorded("SELECT day, status, rows_loaded, rows_replaced, coalesce(message, '') "
                      f"FROM contratos_backfill_range('{c.day}', '{c.day}')")
    if not rows or rows[0][1] != "succeeded" or rows[0][2] != rows[0][3]:
        raise Failed(rows_text(rows))
    return rows_text(rows)


@step("EXPLAIN (ANALYZE) of a query of bigquery_tokens: pages, bytes")
def explain(c):
    if c.day is None:
        raise NotAsked("no day was loaded")
    rows = c.database.ask(f"EXPLAIN (ANALYZE, VERBOSE, COSTS OFF, TIMING OFF, SUMMARY OFF) SELECT * FROM bigquery_tokens WHERE block_timestamp >= "
                          f"'{c.day} 00:00+00' AND block_timestamp < '{c.day} 00:00+00'::timestamptz + interval '24 h'", cap=LOAD)
    return figures(rows)


def figures(rows):
    lines = [line.strip() for row in rows for line in " ".join(row).splitlines()]
    wanted = r"Foreign Scan|Pages|Bytes (Received|Billed|Processed)"
    return "; ".join(re.sub(r"^->\s*", "", line) for line in lines if re.search(wanted, line))


@step("IMPORT FOREIGN SCHEMA of a table with nested columns")
def import_nested(c):
    if c.asker.control:
        c.asker.control("POST", "table", {"table": SHARD, "schema": NESTED, "rows": [
            ["20210131", 1612051200000000, "page_view", 1.5, [{"key": "ga_session_id", "value": [None, 1, None, None]}], ["Brazil"]],
            ["20210131", 1612051200000001, "purchase", None, [], None]]})
    c.database.ask(f'IMPORT FOREIGN SCHEMA "{GA4}" LIMIT TO (events_20210131) FROM SERVER bigquery INTO ga4')
    rows = c.database.ask("SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute "
                          "WHERE attrelid = 'ga4.events_20210131'::regclass AND attnum > 0 ORDER BY attnum")
    if not rows:
        raise Failed("the foreign table has no columns")
    return f"{len(rows)} columns: {', '.join(' '.join(row) for row in rows)}"


@step("a dry run of that table")
def nested_estimate(c):
    reply = c.asker.dry_run(f"SELECT * FROM `{SHARD}`")
    if reply.status != 200:
        raise Failed(reply.outcome())
    return f"{int(reply.at('totalBytesProcessed')):,} bytes"


@step("all rows of that table, read")
def nested_read(c):
    rows = c.database.ask("EXPLAIN (ANALYZE, VERBOSE, COSTS OFF, TIMING OFF, SUMMARY OFF) SELECT * FROM ga4.events_20210131", cap=400 * MEGABYTE)
    return f"{figures(rows)}; {c.database.pages()}"


@step("a nested value of that table")
def nested_value(c):
    rows = c.database.ask("SELECT to_json(e) FROM (SELECT event_name, event_params FROM ga4.events_20210131 LIMIT 1) AS e", cap=100 * MEGABYTE)
    if not rows:
        raise Failed("no row")
    told = json.loads(rows[0][0])
    return json.dumps(told)[:400]


@step("the ledger's bytes against the jobs'")
def ledger(c):
    told = int(c.database.ask("SELECT coalesce(sum(bytes_billed), 0) FROM contratos_runs")[0][0])
    text = f"ledger {told:,} bytes; jobs.get of the same jobs {c.in_ledger:,} bytes"
    if told != c.in_ledger:
        raise Failed(text)
    return text


def run_step(c, function):
    """(status, text) of one step: done, not done or failed."""
    try:
        return "done", function(c)
    except NotAsked as reason:
        return "not done", f"not done: {reason}"
    except OverCap as reason:
        return "failed", f"not done: {reason}"
    except (Failed, ConnectionError) as problem:
        return "failed", f"failed: {problem}"
    except Exception as problem:  # an answer that nobody thought of must not end the run
        return "failed", f"failed: {type(problem).__name__}: {problem}"
