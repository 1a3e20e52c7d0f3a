#!/usr/bin/env python3
"""BigQuery's calls, the evaluation of queries, the tables.  Tokens: test_auth.py; misbehaviour: test_rules.py."""
import email.utils
import json
import time
import unittest
import urllib.request

from base import StandinTest
from client import ALL_COLUMNS, TOKENS, cells, select


class InsertTest(StandinTest):
    def test_insert(self):
        job, status, answer = self.c.insert()
        self.assertEqual(status, 200)
        self.assertEqual(answer["jobReference"], {"projectId": "test-project", "jobId": job, "location": "US"})
        self.assertEqual(answer["status"], {"state": "RUNNING"})

    def test_duplicate(self):
        body = self.c.insert_body()
        self.assertEqual(self.c.call("POST", "jobs", body)[0], 200)
        self.assert_error(self.c.call("POST", "jobs", body), 409, "duplicate", "Already Exists: Job test-project:US.")

    def test_other_project(self):
        body = json.dumps(self.c.insert_body()).encode()
        headers = {"Authorization": f"Bearer {self.c.bearer}", "Content-Type": "application/json"}
        got = self.c.request("POST", "/bigquery/v2/projects/other/jobs?prettyPrint=false", body, headers)
        self.assert_error(got, 403, "accessDenied", "does not have bigquery.jobs.create permission in project other")

    def test_bad_requests(self):
        for change in ({"jobReference": {"jobId": "a b"}}, {"configuration": {}},
                       {"configuration": {"query": {"query": "x"}, "labels": {"A": "b"}}},
                       {"configuration": {"query": {"query": "x", "maximumBytesBilled": "1e9"}}}):
            with self.subTest(change=change):
                got = self.c.call("POST", "jobs", dict(self.c.insert_body(), **change))
                self.assert_error(got, 400, "invalid", "")

    def test_not_json(self):
        got = self.c.call("POST", "jobs", self.c.insert_body(), headers={"Content-Type": "text/plain"})
        self.assert_error(got, 400, "invalid", "content type")

    def test_legacy_sql(self):
        for value in (None, True):
            with self.subTest(value=value):
                self.assert_job_fails(400, "invalidQuery", "Invalid table name: `bigquery-public-data:crypto_ethereum."
                                      "tokens`\n[Try using standard SQL", useLegacySql=value)

    def test_byte_cap(self):
        self.assert_job_fails(400, "bytesBilledLimitExceeded", "Query exceeded limit for bytes billed: 10485759. "
                              "10485760 or higher required.", maximumBytesBilled="10485759")
        self.assertEqual(self.c.run(maximumBytesBilled="10485760")[0], 200)

    def test_byte_cap_of_an_expensive_table(self):
        self.c.control("POST", "table", {"table": TOKENS, "append": True, "bytes_processed": 5 << 30})
        self.assert_job_fails(400, "bytesBilledLimitExceeded", "5368709120 or higher required.")

    def test_wrong_location(self):
        body = self.c.insert_body()
        body["jobReference"]["location"] = "EU"
        self.c.call("POST", "jobs", body)
        got = self.c.call("GET", "queries/" + body["jobReference"]["jobId"], options={"location": "EU"})
        self.assert_error(got, 404, "notFound", "Not found: Dataset bigquery-public-data:crypto_ethereum was not found "
                          "in location EU")

    def test_parameters(self):
        for message, query in (
            ("Query parameter 'p1' not found at [1:", {"queryParameters": []}),
            ("Query parameter 'p1' not found at [1:", {"parameterMode": None}),
            ("Unparseable query parameter `p1` in type `TYPE_TIMESTAMP`, Invalid timestamp: '2024-02-30 00:00:00+00'",
             {"low": "2024-02-30 00:00:00+00"}),
            ("Unparseable query parameter `p1`", {"low": "1709164800"}),
            ("Unparseable query parameter `p1`", {"low": "2024-02-29 00:00:00 +00:00"}),
            ("No matching signature for operator >= for argument types: TIMESTAMP, INT64", {"queryParameters": [
                {"name": "p1", "parameterType": {"type": "INT64"}, "parameterValue": {"value": "1"}}]}),
        ):
            with self.subTest(query=query):
                self.assert_job_fails(400, "invalidQuery", message, **query)

    def test_dry_run(self):
        body = self.c.insert_body()
        body["configuration"]["dryRun"] = True
        status, answer, _ = self.c.call("POST", "jobs", body)
        self.assertEqual(status, 200)
        self.assertNotIn("jobId", answer["jobReference"])
        self.assertGreater(int(answer["statistics"]["totalBytesProcessed"]), 10_000)
        self.assertEqual(self.c.control("GET", "jobs")["jobs"], [])

    def test_dry_run_of_nothing(self):
        body = self.c.insert_body()
        body["configuration"].update(dryRun=True)
        body["configuration"]["query"] = {"query": "SELECT 1", "useLegacySql": False}
        status, answer, _ = self.c.call("POST", "jobs", body)
        self.assertEqual((status, answer["statistics"]["totalBytesProcessed"]), (200, "0"))
        self.c.control("POST", "project", {"project": "test-project", "billed": False})
        self.assert_error(self.c.call("POST", "jobs", body), 403, "accessDenied", "bigquery.jobs.create")

    def test_date(self):
        headers = self.c.call("POST", "jobs", self.c.insert_body())[2]
        there = email.utils.parsedate_to_datetime(headers["Date"]).timestamp()
        self.assertAlmostEqual(there, time.time(), delta=30)

    def test_job_is_logged(self):
        job, _, _ = self.c.insert()
        entry = self.c.log("insert")[0]
        self.assertEqual((entry["job"], entry["bearer"], entry["status"]), (job, "ok", 200))
        self.assertEqual(entry["body"]["configuration"]["labels"], {"app": "contratos"})


class QueryTest(StandinTest):
    def test_leap_day(self):
        status, answer = self.c.run()
        self.assertEqual(status, 200)
        self.assertEqual([field["name"] for field in answer["schema"]["fields"]], ALL_COLUMNS)
        self.assertEqual({field["mode"] for field in answer["schema"]["fields"]}, {"NULLABLE"})
        self.assertEqual([field["type"] for field in answer["schema"]["fields"]][5:7], ["TIMESTAMP", "INTEGER"])
        rows = cells(answer)
        self.assertEqual(answer["totalRows"], str(len(rows)))
        times = [int(row[5]) for row in rows]
        self.assertEqual((min(times), max(times)), (1709164800000000, 1709251199999999))
        self.assertTrue(all(isinstance(cell, (str, type(None))) for row in rows for cell in row))

    def test_only_columns_asked_for(self):
        _, answer = self.c.run(select(["block_number", "symbol"]))
        self.assertEqual([field["name"] for field in answer["schema"]["fields"]], ["block_number", "symbol"])
        self.assertEqual({len(row) for row in cells(answer)}, {2})

    def test_no_columns(self):
        _, answer = self.c.run(select().replace(select().split(" FROM ")[0], "SELECT 1 AS `_1`"))
        self.assertEqual(answer["schema"]["fields"], [{"name": "_1", "type": "INTEGER", "mode": "NULLABLE"}])
        self.assertEqual({tuple(row) for row in cells(answer)}, {("1",)})

    def test_operators(self):
        def count(symbol):
            text = select(["address"], where=f"`block_timestamp` {symbol} @p1")
            return int(self.c.run(text, low="2024-02-29 00:00:00+00:00")[1]["totalRows"])

        self.assertEqual(count("<") + count("=") + count(">"), 912)
        self.assertEqual(count("<="), count("<") + count("="))
        self.assertEqual(count(">="), count(">") + count("="))
        self.assertGreater(count("="), 0)

    def test_timestamp_texts(self):
        midnight = self.c.run()[1]["rows"]
        for low in ("2024-02-29", "2024-02-29T00:00:00Z", "2024-02-29 00:00:00 UTC", "2024-02-29 05:30:00.000000+05:30",
                    "2024-02-28 19:00:00-05"):
            with self.subTest(low=low):
                self.assertEqual(self.c.run(low=low)[1].get("rows"), midnight)

    def test_whole_table_and_layout(self):
        self.assertEqual(self.c.run("SELECT\n  address\nFROM `bigquery-public-data`.crypto_ethereum . tokens")[1]
                         ["totalRows"], "912")

    def test_row_filter(self):
        base = "`block_timestamp` >= @p1 AND `block_timestamp` < @p2"
        everything = int(self.c.run(select())[1]["totalRows"])
        some = int(self.c.run(select(where=f"{base} AND (symbol IS NULL)"))[1]["totalRows"])
        others = int(self.c.run(select(where=f"{base} AND (NOT symbol IS NULL)"))[1]["totalRows"])
        self.assertEqual(some + others, everything)
        like = cells(self.c.run(select(where=f"{base} AND (name LIKE '%oken%' AND decimals IN ('18', '6'))"))[1])
        self.assertTrue(all("oken" in row[2] and row[3] in ("18", "6") for row in like))

    def test_three_valued_logic(self):
        total = int(self.c.run(select(where=None))[1]["totalRows"])
        equal = int(self.c.run(select(where="symbol = 'WETH'"))[1]["totalRows"])
        differ = int(self.c.run(select(where="NOT symbol = 'WETH'"))[1]["totalRows"])
        null = int(self.c.run(select(where="symbol IS NULL"))[1]["totalRows"])
        self.assertGreater(null, 0)
        self.assertEqual(equal + differ + null, total)

    def test_array_parameter(self):
        parameter = {"name": "p1", "parameterType": {"type": "ARRAY", "arrayType": {"type": "INT64"}},
                     "parameterValue": {"arrayValues": [{"value": "3"}, {"value": "4"}]}}
        _, answer = self.c.run(select(where="`block_number` IN UNNEST(@p1)"), queryParameters=[parameter])
        self.assertEqual({row[6] for row in cells(answer)}, {"3", "4"})

    def test_null_and_empty(self):
        rows = cells(self.c.run(select(where="`block_number` = 2112234"))[1])
        self.assertEqual(rows[0][1:4], ["", "", "0"])
        rows = cells(self.c.run(select(where="`block_number` = 2161388"))[1])
        self.assertEqual(rows[0][1:5], [None] * 4)

    def test_refusals(self):
        for message, text in (
            ("Unrecognized name: foo at [1:8]", "SELECT foo FROM `%s`"),
            ("Unrecognized name: foo at [2:7]", "SELECT address FROM `%s`\nWHERE foo = 1"),
            ("Function not found: COUNTX at [1:8]", "SELECT COUNTX(1) FROM `%s`"),
            ("Syntax error: Unexpected keyword FROM at [1:8]", "SELECT FROM `%s`"),
            ("Syntax error: Expected end of input but got identifier", "SELECT address FROM `%s` nonsense nonsense"),
            ("Syntax error: Unclosed string literal", "SELECT address FROM `%s` WHERE name = 'x"),
            ("WHERE clause should return type BOOL, but returns STRING", "SELECT address FROM `%s` WHERE name"),
            ("No matching signature for operator =", "SELECT address FROM `%s` WHERE name = 1"),
            ("Duplicate column names", "SELECT address, address FROM `%s`"),
            ("Syntax error: Expected keyword SELECT", "DELETE FROM `%s`"),
        ):
            with self.subTest(text=text):
                self.assert_job_fails(400, "invalidQuery", message, text % TOKENS)

    def test_not_found(self):
        self.assert_job_fails(404, "notFound", "Not found: Table bigquery-public-data:crypto_ethereum.nothing was not "
                              "found in location US", select(["a"], "bigquery-public-data.crypto_ethereum.nothing"))
        self.assert_job_fails(404, "notFound", "Not found: Dataset bigquery-public-data:nothing was not found in "
                              "location US", select(["a"], "bigquery-public-data.nothing.tokens"))
        self.assert_job_fails(403, "accessDenied", "Access Denied: Table nobody:a.b: User does not have permission",
                              select(["a"], "nobody.a.b"))


class ResultsTest(StandinTest):
    def setUp(self):
        super().setUp()
        self.job, _, _ = self.c.insert(select(where=None))

    def page(self, drop=(), **options):
        status, answer, _ = self.c.results(self.job, drop, **options)
        self.assertEqual(status, 200, answer)
        return answer

    def test_pages_by_start_index(self):
        pages = [self.page(maxResults=300, startIndex=start) for start in (0, 300, 600, 900)]
        self.assertEqual([len(page["rows"]) for page in pages], [300, 300, 300, 12])
        self.assertEqual(["pageToken" in page for page in pages], [True, True, True, False])
        together = [row for page in pages for row in page["rows"]]
        self.assertEqual(together, self.page()["rows"])

    def test_pages_by_token(self):
        page = self.page(maxResults=500)
        second = self.page(maxResults=500, pageToken=page["pageToken"])
        self.assertEqual(second["rows"], self.page(startIndex=500)["rows"])
        got = self.c.results(self.job, pageToken=page["pageToken"], startIndex=1)
        self.assert_error(got, 400, "invalid", "Cannot specify both")
        self.assert_error(self.c.results(self.job, pageToken="x"), 400, "invalid", "pageToken")

    def test_no_rows_wanted(self):
        page = self.page(maxResults=0)
        self.assertEqual((page["totalRows"], "rows" in page, "pageToken" in page), ("912", False, True))

    def test_beyond_the_end(self):
        page = self.page(startIndex=5000)
        self.assertEqual((page["totalRows"], "rows" in page, "pageToken" in page), ("912", False, False))

    def test_empty_result(self):
        self.job, _, _ = self.c.insert(low="2030-01-01 00:00:00+00:00", high="2030-01-02 00:00:00+00:00")
        page = self.page()
        self.assertEqual((page["totalRows"], "rows" in page), ("0", False))

    def test_option_names_without_case(self):
        page = self.page(drop=["formatOptions.useInt64Timestamp"], **{"formatoptions.UseInt64Timestamp": "True"})
        self.assertTrue(cells(page)[0][5].isdigit())

    def test_float_timestamps(self):
        page = self.page(drop=["formatOptions.useInt64Timestamp"])
        self.assertIn("1.7088192E9", [row[5] for row in cells(page)])
        self.assertIn("1.708819200000001E9", [row[5] for row in cells(page)])

    def test_iso_timestamps(self):
        page = self.page(drop=["formatOptions.useInt64Timestamp"],
                         **{"formatOptions.timestampOutputFormat": "ISO8601_STRING"})
        self.assertIn("2024-02-25T00:00:00.000001000000Z", [row[5] for row in cells(page)])

    def test_location(self):
        for options in ({"drop": ["location"]}, {"location": "EU"}):
            with self.subTest(options=options):
                self.assert_error(self.c.results(self.job, **options), 404, "notFound", "Not found: Job test-project:")
        for method, path in (("GET", "jobs/"), ("POST", "jobs/%s/cancel")):
            got = self.c.call(method, path % self.job if "%" in path else path + self.job)
            self.assert_error(got, 404, "notFound", "Not found: Job test-project:")

    def test_bad_numbers(self):
        self.assert_error(self.c.results(self.job, maxResults="1e5"), 400, "invalid", "maxresults")

    def test_pretty_print(self):
        self.assertIn(b'\n  "jobComplete": true', self.raw({"prettyPrint": "true"}))
        self.assertNotIn(b"\n", self.raw({}))

    def raw(self, options):
        options = dict({"location": "US", "prettyPrint": "false"}, **options)
        path = "&".join(f"{name}={value}" for name, value in options.items())
        request = urllib.request.Request(f"{self.c.http}/bigquery/v2/projects/test-project/queries/{self.job}?{path}",
                                         headers={"Authorization": f"Bearer {self.c.bearer}"})
        with urllib.request.urlopen(request) as answer:
            return answer.read()

    def test_mask(self):
        self.assertEqual(set(self.page(fields="jobReference,rows,totalRows")), {"jobReference", "rows", "totalRows"})

    def test_get_job(self):
        self.page()
        status, answer, _ = self.c.call("GET", f"jobs/{self.job}", options={"location": "US"})
        self.assertEqual((status, answer["status"]), (200, {"state": "DONE"}))
        self.assertEqual(answer["statistics"]["query"]["totalBytesBilled"], "10485760")

    def test_result_does_not_change_with_the_table(self):
        self.c.control("DELETE", "table", {"table": TOKENS, "day": "2024-02-29"})
        self.assertEqual(self.page(maxResults=1)["totalRows"], "912")

    def test_same_over_https(self):
        plain = self.page()
        self.c.base = self.c.https
        self.assertEqual(self.page(), plain)
        self.assertTrue(self.c.log("results")[-1]["tls"])

    def test_jobs_query(self):
        body = self.c.insert_body()["configuration"]["query"]
        body.update(location="US", maxResults=10, formatOptions={"useInt64Timestamp": True})
        status, answer, _ = self.c.call("POST", "queries", body)
        self.assertEqual((status, answer["kind"], len(answer["rows"])), (200, "bigquery#queryResponse", 10))
        body["query"] = f"SELECT foo FROM `{TOKENS}`"
        self.assert_error(self.c.call("POST", "queries", body), 400, "invalidQuery", "Unrecognized name: foo")

    def test_tables_get(self):
        path = "/bigquery/v2/projects/bigquery-public-data/datasets/crypto_ethereum/tables/"
        headers = {"Authorization": f"Bearer {self.c.bearer}"}
        status, answer, _ = self.c.request("GET", path + "tokens", headers=headers)
        self.assertEqual((status, answer["numRows"]), (200, "912"))
        self.assertEqual(answer["schema"]["fields"][0], {"name": "address", "type": "STRING", "mode": "REQUIRED"})
        self.assert_error(self.c.request("GET", path + "nothing", headers=headers), 404, "notFound", "Not found: Table")

    def test_unknown_path(self):
        self.assertEqual(self.c.request("GET", "/elsewhere")[0], 404)


class TableTest(StandinTest):
    options = ("--dense-ends", "2026-11-20")

    def count(self, day, after):
        return int(self.c.run(low=f"{day} 00:00:00+00:00", high=f"{after} 00:00:00+00:00")[1]["totalRows"])

    def test_dense_days_end_where_asked(self):
        self.assertGreater(self.count("2026-11-20", "2026-11-21"), 40)
        self.assertEqual(self.count("2026-11-21", "2026-12-21"), 0)

    def test_rows_of_every_type(self):
        schema = [{"name": "i", "type": "INT64"}, {"name": "f", "type": "FLOAT64"}, {"name": "b", "type": "BOOL"},
                  {"name": "t", "type": "TIMESTAMP"}, {"name": "d", "type": "DATE"}, {"name": "n", "type": "NUMERIC"},
                  {"name": "a", "type": "STRING", "mode": "REPEATED"}, {"name": "s", "type": "STRING"}]
        row = {"i": -(2**63), "f": 1e10, "b": True, "t": "2026-11-19 00:00:00.000001+00", "d": "2026-11-19",
               "n": "1.50", "a": ["x"], "s": "a\u0000\"é\U0001f600"}
        self.c.control("POST", "table", {"table": "test-project.own.things", "schema": schema,
                                         "rows": [row, [None] * 8, [{"wire": "x"}] + [None] * 7]})
        _, answer = self.c.run("SELECT * FROM own.things")
        self.assertEqual(cells(answer)[0], ["-9223372036854775808", "1.0E10", "true", "1795046400000001", "2026-11-19",
                                            "1.5", [{"v": "x"}], "a\u0000\"é\U0001f600"])
        self.assertEqual(cells(answer)[1], [None] * 6 + [[], None])
        self.assertEqual(cells(answer)[2][0], "x")
        self.assertEqual([field["type"] for field in answer["schema"]["fields"]][:3], ["INTEGER", "FLOAT", "BOOLEAN"])
        where = "d = @p1"
        parameter = {"name": "p1", "parameterType": {"type": "DATE"}, "parameterValue": {"value": "2026-11-19"}}
        _, answer = self.c.run(select(["i"], "test-project.own.things", where), queryParameters=[parameter])
        self.assertEqual(answer["totalRows"], "1")

    def test_replace_and_delete_a_day(self):
        row = ["0xaa", "S", None, "18", "1", "2026-11-20 12:00:00+00", 1, "0xbb"]
        self.c.control("POST", "table", {"table": TOKENS, "replace_day": "2026-11-20", "rows": [row, row]})
        self.assertEqual(self.count("2026-11-20", "2026-11-21"), 2)
        self.assertGreater(self.count("2026-11-19", "2026-11-20"), 40)
        self.c.control("DELETE", "table", {"table": TOKENS, "day": "2026-11-20"})
        self.assertEqual(self.count("2026-11-20", "2026-11-21"), 0)
        self.c.control("POST", "reset", {})
        self.c.login()
        self.assertGreater(self.count("2026-11-20", "2026-11-21"), 40)

    def test_generated_rows(self):
        self.c.control("POST", "table", {"table": TOKENS, "generate": {"day": "2026-11-10", "rows": 5000}})
        _, one = self.c.run(low="2026-11-10 00:00:00+00:00", high="2026-11-11 00:00:00+00:00")
        self.assertEqual(one["totalRows"], "5000")
        sizes = [len(json.dumps(row, separators=(",", ":"))) for row in one["rows"]]
        self.assertTrue(252 <= min(sizes) and max(sizes) <= 277, (min(sizes), max(sizes)))
        self.c.control("POST", "table", {"table": TOKENS, "generate": {"day": "2026-11-10", "rows": 5000}})
        _, again = self.c.run(low="2026-11-10 00:00:00+00:00", high="2026-11-11 00:00:00+00:00")
        self.assertEqual(one["rows"], again["rows"])
        self.assertEqual(self.count("2026-11-11", "2026-11-12"), 0)

    def test_page_cut_by_bytes(self):
        schema = [{"name": "s", "type": "STRING"}]
        rows = [["x" * 1_000_000]] * 30
        self.c.control("POST", "table", {"table": "test-project.own.big", "schema": schema, "rows": rows})
        _, answer = self.c.run("SELECT s FROM own.big")
        self.assertEqual((len(answer["rows"]), answer["totalRows"]), (20, "30"))
        self.assertIn("pageToken", answer)


class AnonymousTest(StandinTest):
    options = ("--anonymous", "--csv", "", "--generate", "2026-11-19:10")

    def test_no_token_needed(self):
        self.c.bearer = None
        _, answer = self.c.run(select(where=None))
        self.assertEqual(answer["totalRows"], "10")

    def test_bad_token_is_still_bad(self):
        self.c.bearer = "nonsense"
        self.assertEqual(self.c.run()[0], 401)


if __name__ == "__main__":
    unittest.main()
