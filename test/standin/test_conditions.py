#!/usr/bin/env python3
"""Conditions over all types that can be compared, three-valued logic, required filters, partitions that are not read."""
import unittest

from base import StandinTest
from client import cells

THINGS = "test-project.own.things"
# type, then three values in rising order as a parameter has them
ORDERED = [
    ("INT64", "-9223372036854775808", "0", "9223372036854775807"),
    ("FLOAT64", "-Infinity", "0.1", "1e300"),
    ("NUMERIC", "-1.5", "1.500000001", "99999999999999999999999999999"),
    ("BIGNUMERIC", "-1e38", "0.00000000000000000000000000000000000001", "10"),
    ("STRING", "", "Z", "é"),
    ("BYTES", "AA==", "AAE=", "/wA="),
    ("DATE", "0001-01-01", "1969-12-31", "9999-12-31"),
    ("TIME", "00:00:00", "09:00:00.5", "23:59:59.999999"),
    ("DATETIME", "0001-01-01 00:00:00", "2026-11-19 01:02:03", "2026-11-19T01:02:03.000001"),
    ("TIMESTAMP", "0001-01-01 00:00:00+00", "1969-12-31 23:59:59.999999+00", "9999-12-31 23:59:59.999999+00"),
]


def parameter(name, kind, value):
    if isinstance(value, list):
        return {"name": name, "parameterType": {"type": "ARRAY", "arrayType": {"type": kind}},
                "parameterValue": {"arrayValues": [{"value": each} for each in value]}}
    return {"name": name, "parameterType": {"type": kind}, "parameterValue": {"value": value}}


class ConditionsTest(StandinTest):
    def create(self, schema, rows, **more):
        fields = [{"name": name, "type": kind} for name, kind in schema]
        self.c.control("POST", "table", dict({"table": THINGS, "schema": fields, "rows": rows}, **more))

    def found(self, where, *parameters, columns="k"):
        status, answer = self.c.run(f"SELECT {columns} FROM own.things WHERE {where}", queryParameters=list(parameters))
        self.assertEqual(status, 200, answer)
        return "".join(row[0] for row in cells(answer))

    def refused(self, message, where, *parameters):
        self.assert_job_fails(400, "invalidQuery", message, f"SELECT k FROM own.things WHERE {where}",
                              queryParameters=list(parameters))


class ComparisonTest(ConditionsTest):
    def test_all_types(self):
        for kind, *values in ORDERED:
            self.create([("k", "STRING"), ("v", kind)], [["a", values[0]], ["b", values[1]], ["c", values[2]], ["n", None]])
            middle = parameter("p", kind, values[1])
            for symbol, wanted in (("=", "b"), ("<", "a"), ("<=", "ab"), (">", "c"), (">=", "bc"), ("!=", "ac"), ("<>", "ac")):
                with self.subTest(kind=kind, symbol=symbol):
                    self.assertEqual(self.found(f"`v` {symbol} @p", middle), wanted)
                    self.assertEqual(self.found(f"NOT (`v` {symbol} @p)", middle),
                                     "".join(sorted(set("abc") - set(wanted))))
            with self.subTest(kind=kind):
                self.assertEqual(self.found("v BETWEEN @p AND @q", middle, parameter("q", kind, values[2])), "bc")
                self.assertEqual(self.found("v IN UNNEST(@p)", parameter("p", kind, [values[0], values[2]])), "ac")
                self.assertEqual(self.found("v = @p", parameter("p", kind, None)), "")

    def test_bool(self):
        self.create([("k", "STRING"), ("v", "BOOL")], [["t", True], ["f", False], ["n", None]])
        for where, wanted in (("v", "t"), ("NOT v", "f"), ("v = @p", "f"), ("v IS NULL", "n"), ("v IS NOT NULL", "tf"),
                              ("v IS NOT NULL AND NOT v OR v IS NULL", "fn"), ("v < TRUE", "f")):
            with self.subTest(where=where):
                self.assertEqual(self.found(where, parameter("p", "BOOL", "false")), wanted)

    def test_in_with_null(self):
        self.create([("k", "STRING"), ("v", "INT64")], [["a", 1], ["b", 2], ["n", None]])
        for where, values, wanted in (("v IN UNNEST(@p)", ["1", None], "a"), ("NOT v IN UNNEST(@p)", ["1", None], ""),
                                      ("v NOT IN UNNEST(@p)", ["1"], "b"), ("v IN UNNEST(@p)", [], ""),
                                      ("v NOT IN UNNEST(@p)", [], "abn"), ("v IN (1, 2)", [], "ab")):
            with self.subTest(where=where, values=values):
                self.assertEqual(self.found(where, parameter("p", "INT64", values)), wanted)

    def test_three_values(self):
        self.create([("k", "STRING"), ("v", "INT64")], [["a", 1], ["n", None]])
        for where, wanted in (("v = 1 OR k = 'n'", "an"), ("v = 2 OR v IS NULL", "n"), ("NOT (v = 2 AND k = 'n')", "a"),
                              ("NOT (v = 2 OR k = 'x')", "a"), ("NOT (v = 1 AND k = 'a')", "n"), ("v = NULL", ""),
                              ("(v = 1) IS NULL", "n")):
            with self.subTest(where=where):
                self.assertEqual(self.found(where), wanted)

    def test_nan(self):
        self.create([("k", "STRING"), ("v", "FLOAT64")], [["x", "NaN"], ["o", 0.0], ["m", "-0"]])
        nan = parameter("p", "FLOAT64", "NaN")
        for where, wanted in (("v = @p", ""), ("v < @p", ""), ("NOT v = @p", "xom"), ("v IN UNNEST(@q)", ""), ("v = 0.0", "om"),
                              ("v >= 0", "om")):
            with self.subTest(where=where):
                self.assertEqual(self.found(where, nan, parameter("q", "FLOAT64", ["NaN"])), wanted)

    def test_types_that_meet(self):
        self.create([("k", "STRING"), ("i", "INT64"), ("n", "NUMERIC"), ("f", "FLOAT64"), ("d", "DATE"), ("t", "DATETIME")],
                    [["a", 1, "1.1", 1.1, "2026-11-19", "2026-11-19 00:00:00"], ["b", 2, "2", 2.0, "2026-11-20", None]])
        for where, kind, value, wanted in (
            ("i < @p", "NUMERIC", "1.5", "a"), ("i < @p", "FLOAT64", "1.5", "a"), ("n = @p", "INT64", "2", "b"),
            ("n = @p", "FLOAT64", "1.1", "a"), ("n = 1.1", "INT64", "0", "a"), ("f = @p", "NUMERIC", "1.1", "a"),
            ("d > @p", "DATETIME", "2026-11-19 00:00:00.5", "b"), ("t = @p", "DATE", "2026-11-19", "a"),
            ("i IN UNNEST(@p)", "NUMERIC", ["1", "1.5"], "a"), ("@p <= d", "DATE", "2026-11-20", "b"),
        ):
            with self.subTest(where=where, kind=kind):
                self.assertEqual(self.found(where, parameter("p", kind, value)), wanted)

    def test_number_literals_are_exact(self):
        self.create([("k", "STRING"), ("n", "NUMERIC")], [["a", "12345678901234567.000000001"], ["b", "12345678901234567"]])
        self.assertEqual(self.found("n = 12345678901234567.000000001"), "a")

    def test_types_that_do_not_meet(self):
        self.create([("k", "STRING"), ("d", "DATE"), ("t", "TIMESTAMP"), ("i", "INT64"), ("x", "BYTES"), ("j", "JSON"),
                     ("g", "GEOGRAPHY")], [])
        for where, kind, value, message in (
            ("d >= @p", "TIMESTAMP", "2026-11-19", "No matching signature for operator >= for argument types: DATE, TIMESTAMP. "
             "Supported signature: ANY >= ANY at [1:"),
            ("t < @p", "DATE", "2026-11-19", "operator < for argument types: TIMESTAMP, DATE"),
            ("t < @p", "DATETIME", "2026-11-19", "operator < for argument types: TIMESTAMP, DATETIME"),
            ("k = @p", "BYTES", "AA==", "operator = for argument types: STRING, BYTES"),
            ("i = @p", "STRING", "1", "operator = for argument types: INT64, STRING"),
            ("i = @p", "BOOL", "true", "operator = for argument types: INT64, BOOL"),
            ("i IN UNNEST(@p)", "STRING", ["1"], "operator IN UNNEST for argument types: INT64, ARRAY<STRING>"),
            ("i IN UNNEST(@p)", "STRING", [], "operator IN UNNEST for argument types: INT64, ARRAY<STRING>"),
            ("i IN UNNEST(@p)", "INT64", "1", "Values referenced in UNNEST must be arrays"),
            ("j = @p", "STRING", "1", "Equality is not defined for arguments of type JSON"),
            ("g = 'x'", "STRING", "1", "Equality is not defined for arguments of type GEOGRAPHY"),
            ("i", "INT64", "1", "WHERE clause should return type BOOL, but returns INT64"),
        ):
            with self.subTest(where=where, kind=kind):
                self.refused(message, where, parameter("p", kind, value))

    def test_nested_columns(self):
        fields = [{"name": "k", "type": "STRING"}, {"name": "a", "type": "INT64", "mode": "REPEATED"},
                  {"name": "s", "type": "RECORD", "fields": [{"name": "x", "type": "INT64"}]}]
        self.c.control("POST", "table", {"table": THINGS, "schema": fields, "rows": [["a", [1], {"x": 1}], ["n", [], None]]})
        self.assertEqual((self.found("s IS NULL"), self.found("s IS NOT NULL"), self.found("a IS NULL")), ("n", "a", ""))
        self.refused("Equality is not defined for arguments of type ARRAY", "a = 1")
        self.refused("Equality is not defined for arguments of type STRUCT", "s = 1")

    def test_casts(self):
        self.create([("k", "STRING"), ("t", "TIMESTAMP"), ("d", "DATE"), ("m", "DATETIME"), ("i", "INT64")],
                    [["a", "2026-11-19 23:59:59.999999+00", "2026-11-19", "2026-11-19 01:00:00.100000", 7]])
        for where in ("DATE(t) = DATE '2026-11-19'", "CAST(t AS DATE) = d", "TIMESTAMP(d) <= t", "DATETIME(d) < m",
                      "TIMESTAMP(m) < t", "CAST(i AS STRING) = '7'", "CAST('7' AS INT64) = i", "DATE(m) = d",
                      "CAST(m AS STRING) = '2026-11-19 01:00:00.100'", "CAST(d AS STRING) = '2026-11-19'",
                      "CAST(t AS STRING) = '2026-11-19 23:59:59.999999+00'", "SAFE_CAST(k AS INT64) IS NULL",
                      "UNIX_DATE(d) = 20776", "TIMESTAMP(m, 'UTC') < t", "CAST(1.5 AS STRING) = '1.5'"):
            with self.subTest(where=where):
                self.assertEqual(self.found(where), "a")
        self.assert_job_fails(400, "invalidQuery", "No matching signature for function DATE for argument types: INT64",
                              "SELECT k FROM own.things WHERE DATE(i) = d")

    def test_raw_cells_are_not_null(self):
        self.create([("k", "STRING"), ("v", "INT64")], [["w", {"wire": "x"}], ["n", {"wire": None}]])
        self.assertEqual((self.found("v IS NULL"), self.found("v IS NOT NULL"), self.found("v = 1")), ("n", "w", ""))


class PartitionTest(ConditionsTest):
    """Three days, a row of 10 bytes (k: 2 + 8, padded) on each and one without a day."""

    DAYS = ("2026-11-18", "2026-11-19", "2026-11-20")
    NAMES = ("monday..", "tuesday.", "wednesda")
    TIMED = {"TIMESTAMP": "%s 12:00:00+00", "DATETIME": "%s 12:00:00", "DATE": "%s"}

    def partitioned(self, kind, **more):
        rows = [[name, self.TIMED[kind] % day] for name, day in zip(self.NAMES, self.DAYS)] + [["nullnull", None]]
        self.create([("k", "STRING"), ("c", kind)], rows, time_partitioning={"type": "DAY", "field": "c"}, **more)

    def read(self, where, *parameters, columns="k"):
        """Rows that were billed, by what was processed."""
        clause = f" WHERE {where}" if where else ""
        _, answer = self.c.run(f"SELECT {columns} FROM own.things{clause}", queryParameters=list(parameters))
        return int(answer["totalBytesProcessed"]) / (10 if "c" not in where else 18)

    def test_pruning(self):
        for kind in self.TIMED:
            self.partitioned(kind)
            self.assertEqual(self.read(""), 4)
            low, high = parameter("p", kind, "2026-11-19"), parameter("q", kind, "2026-11-20")
            null_costs = 10 / 18  # the NULL itself has no bytes
            for where, wanted in (
                ("c >= @p AND c < @q", 1), ("c >= @p", 2), ("c > @p", 1 if kind == "DATE" else 2), ("c < @p", 1),
                ("@q > c AND @p <= c", 1), ("c = @p", 1), ("c BETWEEN @p AND @q", 2),
                ("c IN (@p, @q)", 2), ("(k = 'x' OR c = @p) AND c <= @q AND TRUE", 3),
                ("k = 'x' OR c = @p", 3 + null_costs), ("NOT c = @p", 3 + null_costs), ("c IS NOT NULL", 3 + null_costs),
            ):
                with self.subTest(kind=kind, where=where):
                    self.assertAlmostEqual(self.read(where, low, high), wanted)
            with self.subTest(kind=kind):
                days = parameter("p", kind, ["2026-11-18", "2026-11-19"])
                self.assertEqual(self.read("c IN UNNEST(@p)", days), 2)

    def test_pruning_by_the_date_of_a_timestamp(self):
        self.partitioned("TIMESTAMP")
        day = parameter("p", "DATE", "2026-11-19")
        self.assertEqual(self.read("DATE(c) = @p", day), 1)
        self.assertEqual(self.read("CAST(c AS DATE) <= @p", day), 2)
        self.assertEqual(self.read("c >= TIMESTAMP(@p)", day), 2)

    def test_months_and_years(self):
        rows = [["january.", "2026-01-31"], ["february", "2026-02-01"], ["lastyear", "2025-12-31"]]
        for unit, wanted in (("MONTH", 1), ("YEAR", 2)):
            self.create([("k", "STRING"), ("c", "DATE")], rows, time_partitioning={"type": unit, "field": "c"})
            with self.subTest(unit=unit):
                self.assertEqual(self.read("c >= '2026-01-15' AND c < '2026-01-20'"), wanted)

    def test_ranges_of_integers(self):
        rows = [["in_zero.", 5], ["in_ten..", 15], ["in_ten..", 19]]
        self.create([("k", "STRING"), ("c", "INT64")], rows,
                    range_partitioning={"field": "c", "range": {"start": 0, "end": 100, "interval": 10}})
        self.assertEqual(self.read("c = 17"), 2)

    def test_required_filter(self):
        message = (f"Cannot query over table '{THINGS}' without a filter over column(s) 'c' that can be used for "
                   "partition elimination")
        for kind in self.TIMED:
            self.partitioned(kind, require_partition_filter=True)
            day = parameter("p", kind, "2026-11-19")
            self.assert_job_fails(400, "invalidQuery", message, "SELECT k FROM own.things")
            for where in ("k = 'x'", "k = 'x' OR c = @p", "NOT (c = @p AND k = 'x')", "CAST(c AS STRING) = k", "c = c"):
                with self.subTest(kind=kind, where=where):
                    self.refused(message, where, day)
            for where in ("c = @p", "@p < c", "c IN (@p)", "c >= @p AND k = 'x'", "c IS NOT NULL", "c IS NULL OR c > @p",
                          "NOT (c = @p OR k = 'x')", "NOT c = @p", "c BETWEEN @p AND @p", "C >= @p"):
                with self.subTest(kind=kind, where=where):
                    self.found(where, day)

    def test_required_filter_in_parentheses(self):
        self.partitioned("DATE", require_partition_filter=True)
        status, answer = self.c.run("SELECT COUNT(*) FROM (SELECT k FROM own.things WHERE c = '2026-11-19')")
        self.assertEqual((status, cells(answer)), (200, [["1"]]))

    def ingested(self, **more):
        self.create([("k", "STRING")], [], time_partitioning={"type": "DAY"}, **more)
        for name, day in zip(self.NAMES, self.DAYS):
            self.c.control("POST", "table", {"table": THINGS, "append": True, "partition": day, "rows": [[name]]})
        self.c.control("POST", "table", {"table": THINGS, "append": True, "rows": [
            {"k": "friday..", "_PARTITIONTIME": "2026-11-22 13:00:00"}, {"k": "buffered"}]})

    def test_ingestion_time(self):
        self.ingested()
        for where, kind, value, wanted in (
            ("_PARTITIONTIME >= @p", "TIMESTAMP", "2026-11-20", "wednesdafriday.."),
            ("_PARTITIONDATE = @p", "DATE", "2026-11-19", "tuesday."), ("_partitiontime = @p", "TIMESTAMP", "2026-11-22", "friday.."),
            ("_PARTITIONTIME IS NULL", "DATE", "2026-11-19", "buffered"),
            ("_PARTITIONDATE IS NULL", "DATE", "2026-11-19", "buffered"),
            ("DATE(_PARTITIONTIME) < @p", "DATE", "2026-11-19", "monday.."),
        ):
            with self.subTest(where=where):
                self.assertEqual(self.found(where, parameter("p", kind, value)), wanted)

    def test_ingestion_time_in_the_result(self):
        self.ingested()
        self.assertEqual([field["name"] for field in self.c.run("SELECT * FROM own.things")[1]["schema"]["fields"]], ["k"])
        _, answer = self.c.run("SELECT _PARTITIONTIME AS `pt`, _PARTITIONDATE AS pd, k FROM own.things WHERE k = 'tuesday.'")
        self.assertEqual(answer["schema"]["fields"][:2], [{"name": "pt", "type": "TIMESTAMP", "mode": "NULLABLE"},
                                                          {"name": "pd", "type": "DATE", "mode": "NULLABLE"}])
        self.assertEqual(cells(answer), [["1795046400000000", "2026-11-19", "tuesday."]])
        _, answer = self.c.run("SELECT MAX(t) AS m FROM (SELECT _PARTITIONTIME AS t FROM own.things)")
        self.assertEqual(cells(answer), [["1795305600000000"]])
        for text in ("_PARTITIONTIME", "_partitiondate", "_PARTITIONTIME AS `_PARTITION_x`"):
            with self.subTest(text=text):
                self.assert_job_fails(400, "invalidQuery", "Field names are not allowed to start with the (case-insensitive) "
                                      "prefixes _PARTITION, _TABLE_, _FILE_, _ROW_TIMESTAMP, __ROOT__ and _COLIDENTIFIER",
                                      f"SELECT k, {text} FROM own.things")

    def test_ingestion_time_costs_nothing_and_prunes(self):
        self.ingested()
        self.assertEqual(self.read(""), 5)
        self.assertEqual(self.read("_PARTITIONTIME >= @p AND _PARTITIONTIME < @q", parameter("p", "TIMESTAMP", "2026-11-19"),
                                   parameter("q", "TIMESTAMP", "2026-11-20")), 1)

    def test_ingestion_time_required(self):
        self.ingested(require_partition_filter=True)
        self.assert_job_fails(400, "invalidQuery", f"Cannot query over table '{THINGS}' without a filter over column(s) "
                              "'_PARTITION_LOAD_TIME', '_PARTITIONDATE', '_PARTITIONTIME' that can be used for partition "
                              "elimination", "SELECT k FROM own.things")
        self.assertEqual(self.found("_PARTITIONDATE = '2026-11-18'"), "monday..")

    def test_a_day_is_deleted(self):
        for kind in self.TIMED:
            self.partitioned(kind)
            self.c.control("DELETE", "table", {"table": THINGS, "day": "2026-11-19"})
            with self.subTest(kind=kind):
                self.assertEqual(self.found("TRUE"), "monday..wednesdanullnull")
        self.ingested()
        self.c.control("DELETE", "table", {"table": THINGS, "day": "2026-11-19"})
        self.assertEqual(self.found("TRUE"), "monday..wednesdafriday..buffered")

    def test_no_pseudo_columns_elsewhere(self):
        self.partitioned("DATE")
        self.refused("Unrecognized name: _PARTITIONTIME", "_PARTITIONTIME IS NULL")


if __name__ == "__main__":
    unittest.main()
