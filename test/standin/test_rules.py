#!/usr/bin/env python3
"""The stand-in told to misbehave: a rule of each kind, seen from a raw socket where urllib would hide it."""
import gzip
import http.client
import json
import socket
import ssl
import threading
import time
import unittest

import handshakes
from base import StandinTest
from client import TOKENS, Client, cells, select


class RuleTest(StandinTest):
    def setUp(self):
        super().setUp()
        self.job, _, _ = self.c.insert()
        self.path = (f"/bigquery/v2/projects/test-project/queries/{self.job}?location=US&prettyPrint=false"
                     "&formatOptions.useInt64Timestamp=true")
        self.good = self.c.results(self.job)[1]

    def open(self, tls=False, headers=""):
        """Send one page request on a socket of its own."""
        port = self.c.ready["https_port" if tls else "http_port"]
        connection = socket.create_connection(("127.0.0.1", port), timeout=60)
        if tls:
            connection = self.c.context.wrap_socket(connection, server_hostname="localhost")
        connection.sendall(f"GET {self.path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {self.c.bearer}\r\n"
                           f"{headers}\r\n".encode())
        return connection

    def read_all(self, connection):
        data = b""
        while True:
            piece = connection.recv(65536)
            if not piece:
                return data
            data += piece

    def in_background(self, work):
        """Run work in a thread; join() gives its result."""
        box = []
        thread = threading.Thread(target=lambda: box.append(work()))
        thread.start()

        def join():
            thread.join(60)
            return box[0]

        join.running = thread.is_alive
        return join

    # -- answers -------------------------------------------------------------------------------------------------

    def test_reason(self):
        self.c.rule("results", reason="rateLimitExceeded", headers={"Retry-After": "7"})
        got = self.c.results(self.job)
        self.assert_error(got, 403, "rateLimitExceeded", "")
        self.assertEqual(got[2]["Retry-After"], "7")
        self.assertEqual(self.c.results(self.job)[1], self.good)

    def test_status_and_body(self):
        self.c.rule("results", status=502, body="<html>Bad Gateway</html>")
        self.assertEqual(self.c.results(self.job)[:2], (502, b"<html>Bad Gateway</html>"))
        self.c.rule("token", status=400, body={"error": "invalid_grant", "error_description": "Account disabled"})
        self.assertEqual(self.c.exchange("x")[:2],
                         (400, {"error": "invalid_grant", "error_description": "Account disabled"}))

    def test_nth_and_times(self):
        self.c.rule("results", nth=2, times=2, status=500)
        self.assertEqual([self.c.results(self.job)[0] for _ in range(4)], [200, 500, 500, 200])

    def test_always(self):
        self.c.rule("results", times=0, status=500)
        self.assertEqual([self.c.results(self.job)[0] for _ in range(3)], [500] * 3)

    def test_start_index_and_job(self):
        self.c.rule("results", start_index=10, status=500)
        self.c.rule("results", job="another", status=500)
        self.assertEqual([self.c.results(self.job, startIndex=index)[0] for index in (0, 10, 10)], [200, 500, 200])

    def test_failure_after_the_work(self):
        self.c.rule("insert", status=503, work=True)
        job, status, _ = self.c.insert()
        self.assertEqual(status, 503)
        self.assertEqual(self.c.results(job)[0], 200)
        self.c.rule("insert", status=503)
        job, status, _ = self.c.insert()
        self.assertEqual(self.c.results(job)[0], 404)

    def test_unknown_key_is_refused(self):
        with self.assertRaisesRegex(RuntimeError, "unknown key in rule: stahl"):
            self.c.rule("results", stahl=True)

    def test_expires_in(self):
        self.c.rule("token", expires_in="1800")
        self.assertEqual(self.c.login()["expires_in"], "1800")

    def test_headers_redirect_huge_header(self):
        connection = http.client.HTTPConnection("127.0.0.1", self.c.ready["http_port"])
        self.c.rule("results", redirect="http://127.0.0.1:1/")
        connection.request("GET", self.path, headers={"Authorization": "Bearer " + self.c.bearer})
        answer = connection.getresponse()
        answer.read()
        self.assertEqual((answer.status, answer.headers["Location"]), (302, "http://127.0.0.1:1/"))
        self.c.rule("results", huge_header=300_000)
        with self.open() as raw:
            self.assertIn(b"X-Huge: hhhhh", raw.recv(1000) + raw.recv(1000))
        connection.close()

    # -- pages ---------------------------------------------------------------------------------------------------

    def test_truncated_page(self):
        self.c.rule("results", truncate_rows=5)
        page = self.c.results(self.job, maxResults=20)[1]
        self.assertEqual(len(page["rows"]), 5)
        rest = self.c.results(self.job, pageToken=page["pageToken"])[1]
        self.assertEqual(page["rows"] + rest["rows"], self.good["rows"])

    def test_page_bytes(self):
        self.c.rule("results", page_bytes=1000)
        self.assertLess(len(self.c.results(self.job)[1]["rows"]), 6)

    def test_no_rows_key(self):
        self.c.rule("results", no_rows_key=True)
        page = self.c.results(self.job)[1]
        self.assertEqual(("rows" in page, page["totalRows"]), (False, self.good["totalRows"]))

    def test_rows_first(self):
        self.c.rule("results", rows_first=True)
        page = self.c.results(self.job)[1]
        self.assertEqual(next(iter(page)), "rows")
        self.assertEqual(page, self.good)

    def test_envelope(self):
        self.c.rule("results", envelope={"totalRows": "3", "pageToken": "x", "cacheHit": None})
        page = self.c.results(self.job)[1]
        self.assertEqual((page["totalRows"], page["pageToken"], "cacheHit" in page), ("3", "x", False))

    def test_extra_rows(self):
        self.c.rule("results", extra_rows=[["a", None], {"f": []}])
        page = self.c.results(self.job)[1]
        self.assertEqual(page["rows"], self.good["rows"] + [{"f": [{"v": "a"}, {"v": None}]}, {"f": []}])

    def test_garbage(self):
        self.c.rule("results", garbage='{"rows":[{"f":[{"v":')
        self.assertEqual(self.c.results(self.job)[1], b'{"rows":[{"f":[{"v":')
        self.c.rule("results", garbage_base64="/wD/")
        self.assertEqual(self.c.results(self.job)[1], b"\xff\x00\xff")

    def test_gzip(self):
        accept = {"Accept-Encoding": "gzip", "Authorization": "Bearer " + self.c.bearer}
        self.c.rule("results", times=0, gzip=True)
        status, body, headers = self.c.request("GET", self.path, headers=dict(accept, **{"User-Agent": "x (gzip)"}))
        self.assertEqual((status, headers["Content-Encoding"]), (200, "gzip"))
        self.assertEqual(json.loads(gzip.decompress(body)), self.good)
        self.assertEqual(self.c.request("GET", self.path, headers=accept)[1], self.good)

    def test_chunked(self):
        self.c.rule("results", chunked=100)
        _, page, headers = self.c.results(self.job)
        self.assertEqual((page, headers["Transfer-Encoding"]), (self.good, "chunked"))

    def test_broken_chunk(self):
        self.c.rule("results", drop_chunk=500)
        with self.open() as connection:
            data = self.read_all(connection)
        self.assertTrue(data.endswith(b"only the beginning of a chunk"))
        with self.assertRaises(http.client.IncompleteRead):
            self.c.rule("results", drop_chunk=500)
            self.c.results(self.job)

    def test_no_end(self):
        for action in ({}, {"chunked": 100}):
            self.c.rule("results", no_end=True, **action)
            with self.open() as connection:
                data = self.read_all(connection)
            self.assertTrue(data.rstrip().endswith(b"}"), "the body is whole")
            self.c.rule("results", no_end=True, **action)
            with self.assertRaises(http.client.IncompleteRead):
                self.c.results(self.job)

    def test_swell(self):
        swell = {"mark": self.good["etag"], "with": "abc", "times": 1_000_000}
        self.c.rule("results", swell=swell)
        _, page, headers = self.c.results(self.job)
        self.assertEqual((page["etag"], headers["Transfer-Encoding"]), ("abc" * 1_000_000, "chunked"))
        self.c.rule("results", swell=swell, gzip="force")
        _, body, headers = self.c.request("GET", self.path, headers={"Authorization": "Bearer " + self.c.bearer})
        self.assertEqual(headers["Content-Encoding"], "gzip")
        self.assertEqual(json.loads(gzip.decompress(body))["etag"], "abc" * 1_000_000)

    def test_swell_without_end(self):
        self.c.rule("results", swell={"mark": self.good["etag"], "with": "x", "times": 0})
        with self.open() as connection:
            got = 0
            while got < 5_000_000:
                got += len(connection.recv(65536))

    # -- cut connections -----------------------------------------------------------------------------------------

    def test_close(self):
        for tls in (False, True):
            for close, expected in (("before_headers", None), (0, 0), (100, 100)):
                with self.subTest(tls=tls, close=close):
                    self.c.rule("results", close=close)
                    with self.open(tls) as connection:
                        data = self.read_all(connection)
                    body = data.partition(b"\r\n\r\n")[2] if data else None
                    self.assertEqual(None if body is None else len(body), expected)

    def test_reset(self):
        self.c.rule("results", close={"after_bytes": 10, "reset": True})
        with self.open() as connection, self.assertRaises(ConnectionResetError):
            self.read_all(connection)

    def test_close_before_work(self):
        self.c.rule("insert", close="before_work")
        body = self.c.insert_body()
        with self.assertRaises((http.client.RemoteDisconnected, OSError)):
            self.c.call("POST", "jobs", body)
        self.assertEqual(self.c.results(body["jobReference"]["jobId"])[0], 404)

    def test_lost_answer(self):
        self.c.rule("insert", lost_answer=True)
        body = self.c.insert_body()
        with self.assertRaises((http.client.RemoteDisconnected, OSError)):
            self.c.call("POST", "jobs", body)
        self.assert_error(self.c.call("POST", "jobs", body), 409, "duplicate", "Already Exists")
        self.assertEqual(self.c.results(body["jobReference"]["jobId"])[0], 200)

    # -- stalls --------------------------------------------------------------------------------------------------

    def test_stall_and_release(self):
        for tls in (False, True):
            for stall in ("before_work", "before_headers", "after_headers", "mid_body", 10):
                with self.subTest(tls=tls, stall=stall):
                    rule = self.c.rule("results", stall=stall)
                    self.c.base = self.c.https if tls else self.c.http
                    join = self.in_background(lambda: self.c.results(self.job))
                    self.c.base = self.c.http
                    self.c.wait(rule=rule, state="stalled")
                    self.assertTrue(join.running())
                    self.c.release(rule)
                    self.assertEqual(join()[1], self.good)

    def test_stall_in_mid_body_has_sent_so_much(self):
        rule = self.c.rule("results", stall={"after_bytes": 123})
        with self.open() as connection:
            self.c.wait(rule=rule, state="stalled")
            data = b""
            while len(data.partition(b"\r\n\r\n")[2]) < 123:
                data += connection.recv(65536)
            connection.settimeout(0.2)
            with self.assertRaises(socket.timeout):
                connection.recv(1)
            self.assertEqual(len(data.partition(b"\r\n\r\n")[2]), 123)
        self.c.wait(rule=rule, state="closed")

    def test_stall_sees_the_client_go(self):
        for tls in (False, True):
            with self.subTest(tls=tls):
                rule = self.c.rule("results", stall="before_headers")
                connection = self.open(tls)
                self.c.wait(rule=rule, state="stalled")
                self.assertNotIn("closed", self.c.log("results")[-1]["states"])
                connection.close()
                self.c.wait(rule=rule, state="closed")
                self.c.release(rule)

    def test_stalled_token(self):
        rule = self.c.rule("token", stall="before_headers")
        join = self.in_background(self.c.login)
        self.c.wait(kind="token", nth=2, state="stalled")
        self.c.release(rule)
        self.assertIn("access_token", join())

    def test_stall_then_close(self):
        rule = self.c.rule("results", stall=50, close=60)
        with self.open() as connection:
            self.c.wait(rule=rule, state="stalled")
            self.c.release()
            self.assertEqual(len(self.read_all(connection).partition(b"\r\n\r\n")[2]), 60)

    def test_released_before_it_stalls(self):
        rule = self.c.rule("results", stall="before_headers")
        self.c.release(rule)
        self.assertEqual(self.c.results(self.job)[1], self.good)

    def test_delay_can_be_released(self):
        rule = self.c.rule("results", delay_ms=600_000)
        join = self.in_background(lambda: self.c.results(self.job))
        self.c.wait(rule=rule, state="seen")
        self.c.release(rule)
        self.assertEqual(join()[1], self.good)

    def test_reset_releases(self):
        self.c.rule("results", stall="before_headers")
        join = self.in_background(lambda: self.c.results(self.job))
        self.c.wait(kind="results", nth=2, state="stalled")
        self.c.control("POST", "reset", {})
        self.assertEqual(join()[1], self.good)

    def test_forgotten_rules(self):
        self.c.rule("insert", job_pending=True)
        job, _, _ = self.c.insert()
        self.c.rule("results", stall="before_headers")
        join = self.in_background(lambda: self.c.results(self.job))
        self.c.wait(kind="results", nth=2, state="stalled")
        self.c.control("DELETE", "rule", {})
        self.assertEqual(join()[1], self.good)
        self.assertEqual(self.c.control("GET", "rules")["rules"], [])
        self.assertEqual(self.c.results(job, timeoutMs=50)[1]["jobComplete"], False)

    def test_wait_has_a_deadline(self):
        with self.assertRaisesRegex(RuntimeError, "not reached within 0.1 s"):
            self.c.wait(kind="cancel", timeout=0.1)

    # -- jobs ----------------------------------------------------------------------------------------------------

    def test_pending_job(self):
        rule = self.c.rule("insert", job_pending=True)
        job, _, _ = self.c.insert()
        status, answer, _ = self.c.results(job, timeoutMs=50)
        self.assertEqual((status, answer["jobComplete"]), (200, False))
        self.assertFalse({"schema", "rows", "totalRows"} & set(answer))
        status, answer, _ = self.c.call("GET", f"jobs/{job}", options={"location": "US"})
        self.assertEqual(answer["status"]["state"], "RUNNING")
        join = self.in_background(lambda: self.c.results(job, timeoutMs=60_000))
        self.c.wait(kind="results", nth=3)
        self.c.release(rule)
        self.assertEqual(cells(join()[1]), cells(self.good))

    def test_cancel(self):
        self.c.rule("insert", job_pending=True)
        job, _, _ = self.c.insert()
        join = self.in_background(lambda: self.c.results(job, timeoutMs=60_000))
        self.c.wait(kind="results", nth=2)
        status, answer, _ = self.c.call("POST", f"jobs/{job}/cancel", options={"location": "US"})
        self.assertEqual((status, answer["kind"]), (200, "bigquery#jobCancelResponse"))
        self.assertEqual(answer["job"]["status"]["errorResult"]["reason"], "stopped")
        self.assert_error(join(), 400, "stopped", "Job execution was cancelled")
        listed = {each["job"]: each for each in self.c.control("GET", "jobs")["jobs"]}
        self.assertTrue(listed[job]["cancel_requested"])
        self.assertFalse(listed[self.job]["cancel_requested"])

    def test_job_timeout(self):
        self.c.rule("insert", job_pending=True)
        body = self.c.insert_body()
        body["configuration"]["jobTimeoutMs"] = "50"
        self.c.call("POST", "jobs", body)
        self.assert_error(self.c.results(body["jobReference"]["jobId"]), 400, "stopped", "Job timed out after 0.05 sec")

    def test_job_error(self):
        for at in ("insert", "results"):
            with self.subTest(at=at):
                self.c.rule("insert", job_error={"reason": "jobBackendError", "message": "try again", "at": at})
                job, status, answer = self.c.insert()
                self.assertEqual((status, answer["status"]["state"]), (200, "DONE" if at == "insert" else "RUNNING"))
                self.assert_error(self.c.results(job), 400, "jobBackendError", "try again")

    def test_insert_state(self):
        self.c.rule("insert", insert_state="DONE")
        self.assertEqual(self.c.insert()[2]["status"], {"state": "DONE"})

    def test_bill_failed(self):
        for bill in (False, True):
            with self.subTest(bill=bill):
                self.c.rule("insert", job_pending=True, bill_failed=bill)
                job = self.c.insert()[0]
                answer = self.c.call("POST", f"jobs/{job}/cancel", options={"location": "US"})[1]
                billed = int(answer["job"]["statistics"]["query"]["totalBytesBilled"])
                self.assertEqual(billed > 0, bill)

    def test_hide_cost(self):
        self.c.rule("insert", hide_cost=True)
        job = self.c.insert()[0]
        self.assertNotIn("totalBytesProcessed", self.c.results(job)[1])
        statistics = self.c.call("GET", f"jobs/{job}", options={"location": "US"})[1]["statistics"]
        self.assertNotIn("totalBytesProcessed", statistics)
        self.assertNotIn("totalBytesBilled", statistics["query"])

    # -- the mute ports ------------------------------------------------------------------------------------------

    def test_handshake_that_never_ends(self):
        connection = socket.create_connection(("127.0.0.1", self.c.ready["stall_tls_port"]), timeout=0.3)
        with self.assertRaises((socket.timeout, ssl.SSLError)):
            self.c.context.wrap_socket(connection, server_hostname="localhost")
        self.c.wait(kind="stall_tls", state="closed")

    def test_port_that_never_answers(self):
        with socket.create_connection(("127.0.0.1", self.c.ready["mute_port"]), timeout=0.3) as connection:
            connection.sendall(b"GET / HTTP/1.1\r\n\r\n")
            self.c.wait(kind="mute", state="stalled")
            with self.assertRaises(socket.timeout):
                connection.recv(1)
        self.c.wait(kind="mute", state="closed")

    def test_wrong_authority(self):
        context = ssl.create_default_context(cafile=self.c.certs + "/other_ca.pem")
        with socket.create_connection(("127.0.0.1", self.c.ready["https_port"])) as connection, \
                self.assertRaises(ssl.SSLCertVerificationError):
            context.wrap_socket(connection, server_hostname="localhost")

    def test_connections_are_kept(self):
        connection = http.client.HTTPConnection("127.0.0.1", self.c.ready["http_port"])
        for _ in range(3):
            connection.request("GET", self.path, headers={"Authorization": "Bearer " + self.c.bearer})
            self.assertEqual(json.loads(connection.getresponse().read()), self.good)
        connection.close()
        self.assertEqual(len({entry["connection"] for entry in self.c.log("results")[-3:]}), 1)

    def test_raw(self):
        self.c.rule("results", raw="HTTP/1.1 2\u00ff")
        with self.open() as raw:
            self.assertEqual(self.read_all(raw), b"HTTP/1.1 2\xff")
        self.assertEqual(self.c.results(self.job)[1], self.good)

    def test_reset_keeps_tokens(self):
        self.c.control("POST", "reset", {"tables": False, "tokens": False})
        self.assertEqual(self.c.insert()[1], 200)
        self.c.control("POST", "reset", {"tables": False})
        self.assertEqual(self.c.insert()[1], 401)

    def test_job_that_times_out_is_listed_as_done(self):
        self.c.rule("insert", job_pending=True)
        body = self.c.insert_body()
        body["configuration"]["jobTimeoutMs"] = "100"
        self.c.call("POST", "jobs", body)
        job = body["jobReference"]["jobId"]
        for _ in range(100):
            state = {each["job"]: each["state"] for each in self.c.control("GET", "jobs")["jobs"]}[job]
            if state == "DONE":
                break
            time.sleep(0.05)
        self.assertEqual(state, "DONE")

    def test_bad_tls(self):
        other = Client("--bad-tls")
        seen = {}
        for name in handshakes.NAMES:
            with socket.create_connection(("127.0.0.1", other.ready[name + "_port"]), timeout=60) as connection:
                try:
                    other.context.wrap_socket(connection, server_hostname="localhost")
                except OSError as problem:
                    seen[name] = str(problem)
        other.stop()
        for name, words in (("expired", "expired"), ("wrong_name", "Hostname mismatch"), ("old_tls", "(?i)version|alert|sigalg"),
                            ("cut_tls", "(?i)reset|EOF"), ("not_tls", "(?i)wrong version|record")):
            self.assertRegex(seen[name], words)

    def test_quit(self):
        other = Client()
        other.control("POST", "quit", {})
        self.assertEqual(other.process.wait(30), 0)
        other.stop()

    def test_table_rows_with_unknown_column(self):
        with self.assertRaisesRegex(RuntimeError, "no such column: nonsense"):
            self.c.control("POST", "table", {"table": TOKENS, "append": True, "rows": [{"nonsense": 1}]})
        self.assertEqual(self.c.run(select(where=None))[1]["totalRows"], "912")


if __name__ == "__main__":
    unittest.main()
