#!/usr/bin/env python3
"""script/real: its questions over canned answers, its cap, its secrets, and the whole of it against the stand-in.

PG_CONFIG names a PostgreSQL that has contratos installed.
"""
import datetime
import email.message
import importlib.util
import io
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.join(HERE, "..", "..")
sys.path.insert(0, HERE)

import questions  # noqa: E402
from client import MEGABYTE, Key, OverCap, Problem, Reply, Service  # noqa: E402
from report import Report  # noqa: E402

STANDIN = None  # one for all tests that need it
DAY = "2020-01-01"


def setUpModule():
    global STANDIN
    # a module of the same name as ours
    spec = importlib.util.spec_from_file_location("standin_client", os.path.join(HERE, "..", "standin", "client.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    yesterday = datetime.datetime.now(datetime.timezone.utc).date() - datetime.timedelta(1)
    STANDIN = module.Client("--token-tls", "--dense-ends", str(yesterday), "--generate", f"{DAY}:20000")


def tearDownModule():
    STANDIN.stop()


def key_file(name="key.json"):
    return os.path.join(STANDIN.certs, name)


def service(cap=10**9):
    return Service(Key(key_file()), "test-project", STANDIN.https, os.path.join(STANDIN.certs, "ca.pem"), cap=cap)


def reply(body, status=200, **headers):
    told = email.message.Message()
    for name, value in headers.items():
        told[name.replace("_", "-")] = value
    return Reply(status, told, body if isinstance(body, bytes) else json.dumps(body).encode(), 1)


class Canned(Service):
    """A service whose every answer is made by a function of method, URL and body."""

    def __init__(self, answer, cap=10**9):
        super().__init__(Key(key_file()), "test-project", "https://localhost", cap=cap)
        self.answer, self.sent = answer, []

    def send(self, method, url, body=None, headers=None):
        self.sent.append((method, url, body))
        if url.endswith("/token"):
            return reply({"access_token": "ya29.canned", "expires_in": 3599, "token_type": "Bearer"})
        return self.answer(method, url, json.loads(body) if body else None)


def one_cell(kind, mode, value, **more):
    return reply({"schema": {"fields": [dict(more, name="x", type=kind, mode=mode)]}, "rows": [{"f": [{"v": value}]}],
                  "jobComplete": True, "totalRows": "1", "totalBytesProcessed": "0", "totalBytesBilled": "0",
                  "jobReference": {"projectId": "p", "jobId": "j", "location": "US"},
                  "status": {"state": "DONE"}, "statistics": {"query": {"totalBytesBilled": "0"}}})


def cells(*values):
    return [{"v": value} for value in values]


# point → type, mode, wire value, as they are assumed
WIRE = {
    "INT64, the least": ("INTEGER", "NULLABLE", "-9223372036854775808"),
    "FLOAT64 0.1": ("FLOAT", "NULLABLE", "0.1"),
    "FLOAT64 1e23": ("FLOAT", "NULLABLE", "1.0E23"),
    "FLOAT64 NaN": ("FLOAT", "NULLABLE", "NaN"),
    "FLOAT64 infinity": ("FLOAT", "NULLABLE", "Infinity"),
    "FLOAT64 -infinity": ("FLOAT", "NULLABLE", "-Infinity"),
    "FLOAT64 -0": ("FLOAT", "NULLABLE", "-0.0"),
    "NUMERIC": ("NUMERIC", "NULLABLE", "-12345678901234567890123456789.123456789"),
    "BIGNUMERIC": ("BIGNUMERIC", "NULLABLE", "1.00000000000000000000000000000000000001"),
    "BOOL": ("BOOLEAN", "NULLABLE", "true"),
    "STRING with U+0000, a quote and U+1F600": ("STRING", "NULLABLE", "a\0\"\U0001F600"),
    "BYTES": ("BYTES", "NULLABLE", "AP/+"),
    "DATE": ("DATE", "NULLABLE", "0001-01-01"),
    "DATETIME, whole seconds": ("DATETIME", "NULLABLE", "2024-02-29T01:02:03"),
    "DATETIME, microseconds": ("DATETIME", "NULLABLE", "2024-02-29T01:02:03.000001"),
    "TIME, whole seconds": ("TIME", "NULLABLE", "01:02:03"),
    "TIME, microseconds": ("TIME", "NULLABLE", "01:02:03.500000"),
    "TIMESTAMP, no format": ("TIMESTAMP", "NULLABLE", "1.709168523000001E9"),
    "TIMESTAMP, useInt64Timestamp": ("TIMESTAMP", "NULLABLE", "1709168523000001"),
    "TIMESTAMP, timestampOutputFormat INT64": ("TIMESTAMP", "NULLABLE", "1709168523000001"),
    "TIMESTAMP, timestampOutputFormat ISO8601_STRING": ("TIMESTAMP", "NULLABLE", "2024-02-29T01:02:03.000001000000Z"),
    "TIMESTAMP, the least": ("TIMESTAMP", "NULLABLE", "-62135596800000000"),
    "TIMESTAMP(12), useInt64Timestamp": ("TIMESTAMP", "NULLABLE", "1709168523123456"),
    "TIMESTAMP(12), ISO8601_STRING": ("TIMESTAMP", "NULLABLE", "2024-02-29T01:02:03.123456789012Z"),
    "JSON: white space, order of keys, numbers": ("JSON", "NULLABLE", '{"a":[1,2],"b":1.5,"c":null,"n":12345678901234567890}'),
    "GEOGRAPHY": ("GEOGRAPHY", "NULLABLE", "POINT(-122.4 37.8)"),
    "INTERVAL": ("INTERVAL", "NULLABLE", "-1-2 3 -4:5:6"),
    "RANGE<DATE>": ("RANGE", "NULLABLE", "[2024-01-01, UNBOUNDED)"),
    "RANGE<TIMESTAMP>, useInt64Timestamp": ("RANGE", "NULLABLE", "[1704067200000000, UNBOUNDED)"),
    "STRUCT": ("RECORD", "NULLABLE", {"f": cells("1", None)}),
    "ARRAY": ("INTEGER", "REPEATED", cells("1", "2")),
    "ARRAY that is NULL": ("INTEGER", "REPEATED", []),
    "ARRAY of STRUCT": ("RECORD", "REPEATED", cells({"f": cells("k", {"f": cells("1")})})),
    "NULL": ("STRING", "NULLABLE", None),
    "FORMAT('%.17g') of 0.1, 1e23, -0, NaN, infinity, the smallest and the largest": ("STRING", "REPEATED", cells(
        *("%.17g" % float(text) for text in ("0.1", "1e23", "-0.0", "nan", "inf", "5e-324", "1.7976931348623157e308")))),
    "TO_JSON_STRING of the same": ("STRING", "REPEATED", cells("0.1", "1e+23", "-0", '"NaN"', '"Infinity"')),
    "TO_JSON_STRING of SQL NULL and of JSON null": ("STRING", "REPEATED", cells("null", "null")),
    "ST_ASTEXT": ("STRING", "NULLABLE", "POINT(-122.4 37.8)"),
    "FORMAT_DATETIME and FORMAT_TIME with %E6S": ("STRING", "REPEATED", cells("2024-01-02T03:04:05.000000", "03:04:05.000000")),
    "FARM_FINGERPRINT('hello')": ("INTEGER", "NULLABLE", "-5436999610281751320"),
    "TO_HEX(SHA256('abc'))": ("STRING", "NULLABLE", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
    "the halves of a hash as INT64": ("INTEGER", "NULLABLE", str(0xba7816bf)),
}
OTHER_ANSWERS = {
    "an empty object": lambda *_: reply({}),
    "an empty body": lambda *_: reply(b""),
    "a list": lambda *_: reply([1]),
    "HTML of a proxy": lambda *_: reply(b"<html>", 502, Content_Type="text/html"),
    "400 invalidQuery": lambda *_: reply({"error": {"code": 400, "message": "no", "errors": [{"reason": "invalidQuery"}]}}, 400),
    "403 without errors": lambda *_: reply({"error": {"code": 403, "message": "no", "status": "PERMISSION_DENIED"}}, 403),
    "404": lambda *_: reply({"error": {"code": 404, "message": "Not found: x", "errors": [{"reason": "notFound"}]}}, 404),
    "an OAuth error": lambda *_: reply({"error": "invalid_grant", "error_description": "no"}, 400),
    "a job without rows": lambda *_: reply({"jobReference": {"projectId": "p", "jobId": "j", "location": "US"}, "jobComplete": True,
                                            "status": {"state": "DONE"}, "statistics": {"query": {}}, "totalRows": "0"}),
    "one cell": lambda *_: one_cell("INTEGER", "NULLABLE", "1"),
    "a cell that is NULL": lambda *_: one_cell("INTEGER", "NULLABLE", None),
}


class QuestionsTest(unittest.TestCase):
    def test_points_are_unique(self):
        points = [item.point for item in questions.QUESTIONS]
        self.assertEqual(len(points), len(set(points)))

    def test_each_wire_form_that_is_assumed_is_found_right(self):
        asked = {item.point: item for item in questions.QUESTIONS if item.section in ("Types", "Functions") and item.match}
        self.assertEqual(set(WIRE), set(asked) - {"parameters: TIMESTAMP, DATE, NULL as contratos sends them"})
        asker = questions.Asker(Canned(None), "name")
        for point, cell in WIRE.items():
            more = {"timestampPrecision": "12"} if "(12)" in point else {}
            asker.service.answer = lambda *_, cell=cell, more=more: one_cell(*cell, **more)
            with self.subTest(point):
                self.assertEqual(questions.answer(asker, asked[point])[0], "ok")

    def test_another_wire_form_differs(self):
        asker = questions.Asker(Canned(lambda *_: one_cell("FLOAT", "NULLABLE", "0.10000000000000001")), "name")
        item = next(item for item in questions.QUESTIONS if item.point == "FLOAT64 0.1")
        self.assertEqual(questions.answer(asker, item), ("differs", 'FLOAT NULLABLE "0.10000000000000001"'))

    def test_no_answer_breaks_a_question(self):
        for title, told in OTHER_ANSWERS.items():
            asker = questions.Asker(Canned(told), "name")
            for item in questions.QUESTIONS:
                if item.point.startswith("ALPN"):
                    continue  # asks no question over HTTP
                with self.subTest(f"{item.point}: {title}"):
                    status, text = questions.answer(asker, item)
                    self.assertNotEqual(status, "failed", text)
                    self.assertTrue(text.strip())

    def test_a_connection_that_breaks_fails_the_question(self):
        def broken(*_):
            raise ConnectionError("localhost: no")
        asker = questions.Asker(Canned(broken), "name")
        item = next(item for item in questions.QUESTIONS if item.point == "unknown table")
        self.assertEqual(questions.answer(asker, item), ("failed", "failed: localhost: no"))


class CapTest(unittest.TestCase):
    def setUp(self):
        self.service = Canned(lambda *_: reply({}, 500), cap=20 * MEGABYTE)

    def requests(self):
        return [url for method, url, _ in self.service.sent if not url.endswith("/token")]

    def test_a_query_without_a_cap_is_not_sent(self):
        body = {"query": "SELECT 1", "useLegacySql": False}
        for path, sent in (("queries", body), ("jobs", {"configuration": {"query": body}})):
            self.assertRaises(OverCap, self.service.call, "POST", path, sent)
        self.assertEqual(self.requests(), [])

    def test_a_query_over_what_is_left_is_not_sent(self):
        self.assertRaises(OverCap, self.service.query, "SELECT 1", cap=21 * MEGABYTE)
        self.assertRaises(OverCap, self.service.insert, "SELECT 1", "job", cap=21 * MEGABYTE)
        self.assertEqual(self.requests(), [])

    def test_a_dry_run_is_sent_whatever_is_left(self):
        self.service.budget.spent = self.service.budget.total
        self.service.dry_run("SELECT 1")
        self.assertEqual(len(self.requests()), 1)

    def test_a_request_without_a_clear_answer_stays_reserved(self):
        self.service.query("SELECT 1", cap=15 * MEGABYTE)
        self.service.settle()
        self.assertEqual(self.service.budget.left, 5 * MEGABYTE)
        self.assertRaises(OverCap, self.service.budget.allowance, 10 * MEGABYTE)

    def test_bills_are_what_jobs_get_tells(self):
        bought = service(cap=25 * MEGABYTE)
        self.assertEqual(bought.query(questions.day_query(DAY), cap=12 * MEGABYTE).status, 200)
        self.assertEqual(bought.budget.left, 13 * MEGABYTE)
        bought.settle()
        self.assertEqual((bought.budget.spent, bought.budget.left), (10 * MEGABYTE, 15 * MEGABYTE))

    def test_a_dear_query_is_refused_and_free(self):
        STANDIN.control("POST", "table", {"table": "test-project.d.dear", "bytes_processed": 500 * MEGABYTE, "schema": [
            {"name": "n", "type": "INT64"}], "rows": [[1]]})
        dear = service(cap=100 * MEGABYTE)
        told = dear.query("SELECT `n` FROM `test-project.d.dear`", cap=dear.budget.allowance(10**9))
        self.assertEqual(told.reason, "bytesBilledLimitExceeded")
        dear.settle()
        self.assertEqual((dear.budget.spent, dear.budget.left), (0, 100 * MEGABYTE))


class SecretTest(unittest.TestCase):
    def test_a_secret_is_not_printed(self):
        some = service()
        some.login()
        output = io.StringIO()
        report = Report(output=output)
        report.service = some
        secrets = [some.key.secrets()[3], some.token, some.key.sign(some.key.claims()), "-----BEGIN PRIVATE KEY-----", "ya29.other"]
        for number, secret in enumerate(secrets):
            report.say(f"line {number}: {secret}")
            self.assertNotIn(secret, output.getvalue())
            self.assertIn(f"line {number}: ", output.getvalue())
        self.assertEqual(report.secrets_found, len(secrets))

    def test_project_and_account_become_words(self):
        report = Report(output=io.StringIO())
        report.service = service()
        self.assertEqual(report.clean(f"{report.service.key.email} in test-project, not test-project-2"),
                         "ACCOUNT in PROJECT, not test-project-2")
        self.assertEqual(report.secrets_found, 0)

    def test_a_token_goes_to_no_other_host(self):
        other = service()
        other.key.token_uri = "https://example.com/token"
        self.assertRaisesRegex(Problem, "names the token_uri", other.login)


class RunTest(unittest.TestCase):
    """script/real itself."""

    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="contratos-real-test.")
        self.addCleanup(shutil.rmtree, self.folder)
        STANDIN.control("POST", "reset", {})

    def run_it(self, *options, key="key.json", project="test-project", **environment):
        """Exit code, what it prints, and the file."""
        output = os.path.join(self.folder, "report.txt")
        done = subprocess.run(
            [os.path.join(ROOT, "script", "real"), key_file(key), project, "--installed", "--endpoint", STANDIN.https, "--ca-file",
             os.path.join(STANDIN.certs, "ca.pem"), "--control", STANDIN.http, "--output", output, *options],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, env=dict(os.environ, **environment))
        written = ""
        if os.path.exists(output):
            with open(output) as file:
                written = file.read()
        return done.returncode, done.stdout.decode(), written

    def billed(self):
        return sum(job["bytes_billed"] for job in STANDIN.control("GET", "jobs")["jobs"] if job["state"] == "DONE" and not job["error"])

    def test_nothing_is_sent_without_yes(self):
        code, printed, written = self.run_it()
        self.assertEqual((code, written, STANDIN.log()), (2, "", []))
        self.assertIn("may bill at most 1000000000 bytes", printed)
        self.assertIn("Nothing was sent", printed)

    def test_a_wrong_key_ends_it_at_once(self):
        code, printed, written = self.run_it("--yes", key="unknown_key.json")
        self.assertEqual((code, written), (1, ""))
        self.assertIn(f'real: no token for the key file "{key_file("unknown_key.json")}": 400 invalid_grant: Invalid JWT Signature.', printed)

    def test_a_project_that_cannot_be_billed_ends_it_at_once(self):
        code, printed, _ = self.run_it("--yes", project="other-project")
        self.assertEqual(code, 1)
        self.assertIn('real: the project "other-project" cannot be used: 403 accessDenied', printed)

    def test_too_small_a_cap_is_kept_and_nothing_billed(self):
        code, printed, written = self.run_it("--yes", "--max-bytes", "5000000")
        self.assertEqual(code, 1, printed)
        self.assertEqual(self.billed(), 0)
        self.assertRegex(written, r"a load of yesterday[^|]*\| not done: 5,000,000 bytes are left of the cap")
        self.assertIn("Billed: 0 bytes of at most 5,000,000.", written)

    def test_the_whole_run(self):
        code, printed, written = self.run_it("--yes", KEEP="1")
        self.assertEqual(code, 0, printed)
        rows = [line for line in written.splitlines() if line.startswith("| ") and not re.match(r"\| (step|open point) \|", line)]
        self.assertEqual(len(rows), len(questions.QUESTIONS) + 12)
        for row in rows:
            *_, text, status = (cell.strip() for cell in re.split(r"(?<!\\)\|", row)[1:-1])
            self.assertIn(status, ("ok", "-", "done", "not asked"), row)
            self.assertTrue(text, row)
            self.assertEqual(status == "not asked", text.startswith("not asked: "), row)
        for line in written.splitlines():
            self.assertIn(line, printed)
        self.assertEqual(int(re.search(r"Billed: ([\d,]+) bytes", written).group(1).replace(",", "")), self.billed())
        self.check_secrets(printed, written)

    def check_secrets(self, printed, written):
        """Neither output nor a file of the run has a line of the key, or a token."""
        work = re.search(r"Logs are in (\S+)", printed).group(1)
        self.addCleanup(shutil.rmtree, work)
        with open(key_file()) as file:
            lines = [line.encode() for line in json.load(file)["private_key"].splitlines() if not line.startswith("-")]
        texts = {"output": printed.encode(), "file": written.encode()}
        for folder, folders, names in os.walk(work):
            if folder == work:
                folders.remove("src")  # the checkout
            for name in names:
                path = os.path.join(folder, name)
                if os.path.isfile(path):
                    with open(path, "rb") as file:
                        texts[path] = file.read()
        self.assertIn(os.path.join(work, "cluster", "log"), texts)
        for path, text in texts.items():
            self.assertFalse(any(line in text for line in lines), path)
            self.assertIsNone(re.search(rb"ya29\.c\.", text), path)


if __name__ == "__main__":
    unittest.main()
