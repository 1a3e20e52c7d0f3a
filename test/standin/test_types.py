#!/usr/bin/env python3
"""Every type in its wire form and in schemas: plain values in, the API's JSON out; query parameters of every type."""
import unittest

from base import StandinTest
from client import cells

THINGS = "test-project.own.things"
MILLENNIUM = 946684800000000

# type, the value given, "v" as it goes over the wire
WIRE = [
    ("INT64", -(2**63), "-9223372036854775808"),
    ("INT64", "9223372036854775807", "9223372036854775807"),
    ("FLOAT64", 0.1, "0.1"),
    ("FLOAT64", 1e10, "1.0E10"),
    ("FLOAT64", "1.7976931348623157e308", "1.7976931348623157E308"),
    ("FLOAT64", 5e-324, "5.0E-324"),
    ("FLOAT64", "-0", "-0.0"),
    ("FLOAT64", "NaN", "NaN"),
    ("FLOAT64", "Infinity", "Infinity"),
    ("FLOAT64", "-inf", "-Infinity"),
    ("NUMERIC", "99999999999999999999999999999.999999999", "99999999999999999999999999999.999999999"),
    ("NUMERIC", "-0.50", "-0.5"),
    ("NUMERIC", "1e3", "1000"),
    ("BIGNUMERIC", "-578960446186580977117854925043439539266.34992332820282019728792003956564819968",
     "-578960446186580977117854925043439539266.34992332820282019728792003956564819968"),
    ("BOOL", False, "false"),
    ("STRING", "a\u0000\"\\é\U0001f600\n", "a\u0000\"\\é\U0001f600\n"),
    ("STRING", "", ""),
    ("BYTES", "/wA=", "/wA="),
    ("DATE", "0001-01-01", "0001-01-01"),
    ("TIME", "23:59:59.5", "23:59:59.500000"),
    ("TIME", "00:00:00", "00:00:00"),
    ("DATETIME", "9999-12-31 23:59:59.999999", "9999-12-31T23:59:59.999999"),
    ("DATETIME", "2026-11-19T01:02:03", "2026-11-19T01:02:03"),
    ("TIMESTAMP", "0001-01-01 00:00:00+00", "-62135596800000000"),
    ("TIMESTAMP", "9999-12-31 23:59:59.999999+00", "253402300799999999"),
    ("TIMESTAMP", MILLENNIUM, "946684800000000"),
    ("JSON", '{"a": [1, null]}', '{"a": [1, null]}'),
    ("JSON", {"a": [1, None]}, '{"a":[1,null]}'),
    ("GEOGRAPHY", "POINT(1 2)", "POINT(1 2)"),
    ("INTERVAL", "1-2 -3 4:5:6.789", "1-2 -3 4:5:6.789"),
    ("RANGE<DATE>", "[2024-01-01, 2024-02-01)", "[2024-01-01, 2024-02-01)"),
    ("RANGE<DATE>", {"start": None, "end": "2024-02-01"}, "[UNBOUNDED, 2024-02-01)"),
    ("RANGE<DATETIME>", {"start": "2024-01-01 00:00:00"}, "[2024-01-01T00:00:00, UNBOUNDED)"),
    ("RANGE<TIMESTAMP>", {"start": MILLENNIUM, "end": "2000-01-02"}, "[946684800000000, 946771200000000)"),
    ("ARRAY<STRING>", ["a", None, ""], [{"v": "a"}, {"v": None}, {"v": ""}]),
    ("ARRAY<INT64>", [1, 2], [{"v": "1"}, {"v": "2"}]),
    ("ARRAY<TIMESTAMP>", [MILLENNIUM], [{"v": "946684800000000"}]),
    ("ARRAY<STRING>", None, []),
    ("STRUCT", {"x": 1.5, "t": MILLENNIUM, "l": [True]},
     {"f": [{"v": "1.5"}, {"v": "946684800000000"}, {"v": [{"v": "true"}]}]}),
    ("STRUCT", {}, {"f": [{"v": None}, {"v": None}, {"v": []}]}),
    ("STRUCT", [None, {"wire": 7}, []], {"f": [{"v": None}, {"v": 7}, {"v": []}]}),
    ("ARRAY<STRUCT>", [{"x": "NaN"}, None], [{"v": {"f": [{"v": "NaN"}, {"v": None}, {"v": []}]}}, {"v": None}]),
    ("STRING", {"wire": ["anything"]}, ["anything"]),
]
PARTS = [{"name": "x", "type": "FLOAT64"}, {"name": "t", "type": "TIMESTAMP"},
         {"name": "l", "type": "BOOL", "mode": "REPEATED"}]


def field(name, kind):
    """ "ARRAY<T>", "RANGE<T>" and "STRUCT" (of PARTS) as the API's field."""
    if kind.startswith("ARRAY<"):
        return dict(field(name, kind[6:-1]), mode="REPEATED")
    if kind.startswith("RANGE<"):
        return {"name": name, "type": "RANGE", "rangeElementType": {"type": kind[6:-1]}}
    return dict({"name": name, "type": kind}, **({"fields": PARTS} if kind == "STRUCT" else {}))


class WireTest(StandinTest):
    def setUp(self):
        super().setUp()
        schema = [field(f"c{at}", kind) for at, (kind, _, _) in enumerate(WIRE)]
        rows = [[value for _, value, _ in WIRE], [None] * len(WIRE)]
        self.c.control("POST", "table", {"table": THINGS, "schema": schema, "rows": rows})

    def test_values(self):
        got, nulls = cells(self.c.run("SELECT * FROM own.things")[1])
        for (kind, value, wanted), cell, null in zip(WIRE, got, nulls):
            with self.subTest(kind=kind, value=value):
                self.assertEqual(cell, wanted)
                self.assertEqual(null, [] if kind.startswith("ARRAY") else None)

    def test_expressions_give_the_same(self):
        plain = [at for at, (kind, _, _) in enumerate(WIRE) if "<" not in kind and kind != "STRUCT"][:-1]
        calls = ", ".join(f"IFNULL(c{at}, c{at})" for at in plain)
        got = cells(self.c.run(f"SELECT {calls} FROM own.things")[1])[0]
        self.assertEqual(got, [WIRE[at][2] for at in plain])

    def test_other_timestamp_formats(self):
        self.c.control("POST", "table", {"table": THINGS, "schema": [
            field("r", "RANGE<TIMESTAMP>"), field("a", "ARRAY<TIMESTAMP>"), field("s", "STRUCT")], "rows": [
            [{"start": MILLENNIUM}, ["0001-01-01"], {"t": "2026-11-19"}]]})
        drop = ["formatOptions.useInt64Timestamp"]
        _, answer = self.c.run("SELECT * FROM own.things", drop=drop)
        self.assertEqual(cells(answer), [["[9.466848E8, UNBOUNDED)", [{"v": "-6.21355968E10"}],
                                          {"f": [{"v": None}, {"v": "1.7950464E9"}, {"v": []}]}]])
        job, _, _ = self.c.insert("SELECT * FROM own.things")
        _, answer, _ = self.c.results(job, drop, **{"formatOptions.timestampOutputFormat": "ISO8601_STRING"})
        self.assertEqual(cells(answer)[0][1], [{"v": "0001-01-01T00:00:00.000000000000Z"}])

    def test_result_schema(self):
        self.c.control("POST", "table", {"table": THINGS, "schema": [
            dict(field("s", "ARRAY<STRUCT>"), description="left out"), dict(field("r", "RANGE<DATE>"), mode="REQUIRED")]})
        _, answer = self.c.run("SELECT s AS `a b`, r FROM own.things")
        self.assertEqual(answer["schema"]["fields"], [
            {"name": "a b", "type": "RECORD", "mode": "REPEATED", "fields": [
                {"name": "x", "type": "FLOAT", "mode": "NULLABLE"}, {"name": "t", "type": "TIMESTAMP", "mode": "NULLABLE"},
                {"name": "l", "type": "BOOLEAN", "mode": "REPEATED"}]},
            {"name": "r", "type": "RANGE", "mode": "NULLABLE", "rangeElementType": {"type": "DATE"}}])

    def test_refused(self):
        for kind, value, message in (
            ("INT64", "1.5", "Bad int64 value"), ("INT64", 2**63, "Bad int64 value"), ("FLOAT64", "x", "Bad double value"),
            ("NUMERIC", "1.0000000001", "Invalid NUMERIC"), ("NUMERIC", "1e29", "Invalid NUMERIC"),
            ("NUMERIC", "-1e29", "Invalid NUMERIC"), ("BIGNUMERIC", "-578960446186580977117854925043439539267", "BIGNUMERIC"),
            ("BIGNUMERIC", "1e39", "Invalid BIGNUMERIC"), ("BYTES", "x", "Invalid base64"), ("DATE", "2026-02-29", "date"),
            ("TIME", "24:00:00", "time"), ("TIMESTAMP", "10000-01-01", "timestamp"), ("INTERVAL", "1 day", "interval"),
            ("RANGE<DATE>", "2024", "range"), ("STRING", ["a"], "not a value of STRING"), ("JSON", "{", "Expecting"),
            ("STRUCT", {"y": 1}, "no such column: y"), ("STRUCT", [1], "a record of 1 values for 3 fields"),
        ):
            with self.subTest(kind=kind, value=value), self.assertRaisesRegex(RuntimeError, message):
                self.c.control("POST", "table", {"table": THINGS, "schema": [field("c", kind)], "rows": [[value]]})

    def test_bytes_processed(self):
        for at, size in enumerate((8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 16, 16, 16, 32, 1)):
            with self.subTest(kind=WIRE[at][0]):
                self.assertEqual(self.c.run(f"SELECT c{at} FROM own.things")[1]["totalBytesProcessed"], str(size))


class ParameterTest(StandinTest):
    def setUp(self):
        super().setUp()
        self.c.control("POST", "table", {"table": THINGS, "schema": [field("i", "INT64")], "rows": [[1]]})

    def run_with(self, kind, value):
        parameter = {"name": "p1", "parameterType": {"type": kind}, "parameterValue": {"value": value}}
        return self.c.run("SELECT IFNULL(@p1, @p1) AS x FROM own.things", queryParameters=[parameter])

    def test_accepted(self):
        for kind, text, wanted in (
            ("INT64", "-9223372036854775808", "-9223372036854775808"), ("BOOL", "TRUE", "true"),
            ("FLOAT64", "1e3", "1000.0"), ("FLOAT64", "-Infinity", "-Infinity"), ("FLOAT64", "nan", "NaN"),
            ("NUMERIC", "-1.50", "-1.5"), ("BIGNUMERIC", "0.00000000000000000000000000000000000001",
                                            "0.00000000000000000000000000000000000001"),
            ("STRING", "é'", "é'"), ("STRING", "", ""), ("BYTES", "/wA=", "/wA="),
            ("DATE", "0001-01-01", "0001-01-01"), ("TIME", "1:2:3.5", "01:02:03.500000"),
            ("DATETIME", "2026-11-19 01:02:03.000001", "2026-11-19T01:02:03.000001"),
            ("TIMESTAMP", "0001-01-01 00:00:00+00:00", "-62135596800000000"), ("INT64", None, None),
        ):
            with self.subTest(kind=kind, text=text):
                status, answer = self.run_with(kind, text)
                self.assertEqual(status, 200, answer)
                self.assertEqual(cells(answer), [[wanted]])

    def test_unparseable(self):
        for kind, text in (
            ("INT64", "1.0"), ("INT64", "9223372036854775808"), ("INT64", ""), ("INT64", " 1"), ("INT64", "1_0"),
            ("BOOL", "t"), ("BOOL", "1"), ("FLOAT64", "1,5"), ("FLOAT64", "0x10"), ("FLOAT64", "1_0"),
            ("NUMERIC", "NaN"), ("NUMERIC", "1.0000000001"), ("NUMERIC", "1e29"), ("BIGNUMERIC", "1e39"),
            ("DATE", "2026-02-29"), ("DATE", "2026-11-19 00:00:00"), ("DATE", "10000-01-01"), ("DATE", "0000-01-01"),
            ("DATE", "infinity"), ("DATETIME", "2026-11-19 01:02:03+00"), ("DATETIME", "2026-11-19 24:00:00"),
            ("TIME", "25:00:00"), ("TIME", "01:02"), ("TIMESTAMP", "10000-01-01 00:00:00+00"),
            ("TIMESTAMP", "9999-12-31 23:00:00-02"), ("TIMESTAMP", "infinity"), ("TIMESTAMP", "2026-11-19 00:00:00.1234567"),
            ("BYTES", "é"), ("BYTES", "abc"), ("DATE", "２026-11-19"),
        ):
            with self.subTest(kind=kind, text=text):
                status, answer = self.run_with(kind, text)
                self.assertEqual(status, 400, answer)
                self.assertIn(f"Unparseable query parameter `p1` in type `TYPE_{kind}`, ", answer["error"]["message"])

    def test_bad_shapes(self):
        for item, message in (
            ({"name": "p1", "parameterValue": {"value": "1"}}, "Missing type for query parameter p1"),
            ({"parameterType": {"type": "INT64"}}, "parameter 0 has no name"),
            ({"name": "p1", "parameterType": {"type": "INT64"}, "parameterValue": {"value": 1}}, "(TYPE_STRING)"),
            ({"name": "p1", "parameterType": {"type": "NUMBER"}}, "NUMBER is not a valid value"),
            ({"name": "p1", "parameterType": {"type": "ARRAY"}}, "Missing type"),
            ({"name": "p1", "parameterType": {"type": "ARRAY", "arrayType": {"type": "INT64"}},
              "parameterValue": {"arrayValues": ["1"]}}, "array_values[0]"),
            ({"name": "p1", "parameterType": {"type": "ARRAY", "arrayType": {"type": "INT64"}},
              "parameterValue": {"arrayValues": [{"value": 1}]}}, "array_values[0].value' (TYPE_STRING)"),
            ({"name": "p1", "parameterType": {"type": "ARRAY", "arrayType": {"type": "INT64"}},
              "parameterValue": {"value": "[1]"}}, "not arrayValues"),
            ({"name": "p1", "parameterType": {"type": "INT64"}, "parameterValue": {"arrayValues": []}}, "has arrayValues"),
        ):
            with self.subTest(item=item):
                self.assert_job_fails(400, "invalid", message, "SELECT i FROM own.things", queryParameters=[item])


class DryRunTest(StandinTest):
    def setUp(self):
        super().setUp()
        self.c.control("POST", "table", {"table": THINGS, "schema": [field("i", "INT64"), field("s", "STRUCT")],
                                         "rows": [[1, {}]], "bytes_processed": 5 << 30})

    def dry(self, text, call="POST", path="jobs", **query):
        body = self.c.insert_body(text, **query)
        body["configuration"]["dryRun"] = True
        return self.c.call(call, path, body)

    def test_answer(self):
        status, answer, _ = self.dry("SELECT * FROM own.things", maximumBytesBilled="1")
        self.assertEqual(status, 200, answer)
        self.assertEqual(answer["jobReference"], {"projectId": "test-project", "location": "US"})
        self.assertEqual(answer["status"], {"state": "DONE"})
        statistics = answer["statistics"]
        self.assertEqual(statistics["totalBytesProcessed"], str(5 << 30))
        self.assertEqual(statistics["query"]["totalBytesProcessed"], str(5 << 30))
        self.assertEqual(statistics["query"]["totalBytesBilled"], "0")
        self.assertEqual([each["type"] for each in statistics["query"]["schema"]["fields"]], ["INTEGER", "RECORD"])
        self.assertNotIn("endTime", statistics)
        self.assertEqual(self.c.control("GET", "jobs")["jobs"], [])

    def test_errors_are_those_of_the_call(self):
        self.assert_error(self.dry("SELECT x FROM own.things"), 400, "invalidQuery", "Unrecognized name: x at [1:8]")
        self.assert_error(self.dry("SELECT x FROM own.nothing"), 404, "notFound", "Not found: Table test-project:own.")
        self.assert_error(self.dry("SELECT i FROM own.things", useLegacySql=None), 400, "invalidQuery",
                          "Invalid table name")
        self.assertEqual(self.c.control("GET", "jobs")["jobs"], [])

    def test_jobs_query(self):
        body = self.c.insert_body("SELECT i FROM own.things")["configuration"]["query"]
        status, answer, _ = self.c.call("POST", "queries", dict(body, dryRun=True))
        self.assertEqual((status, answer["totalBytesProcessed"]), (200, str(5 << 30)))
        self.assertEqual(answer["schema"]["fields"], [{"name": "i", "type": "INTEGER", "mode": "NULLABLE"}])


if __name__ == "__main__":
    unittest.main()
