#!/usr/bin/env python3
"""Functions, aggregates, a query in parentheses; above all a day's fingerprint as the extension asks for it."""
import base64
import hashlib
import unittest

from base import StandinTest
from client import TOKENS, cells, select

THINGS = "test-project.own.things"
SCHEMA = [{"name": "i", "type": "INT64"}, {"name": "s", "type": "STRING"}, {"name": "x", "type": "BYTES"},
          {"name": "b", "type": "BOOL"}, {"name": "d", "type": "DATE"}, {"name": "n", "type": "NUMERIC"},
          {"name": "t", "type": "TIMESTAMP"}, {"name": "f", "type": "FLOAT64"}]
ROW = {"i": -5, "s": "é\u0000x", "x": base64.b64encode(b"\xff\x00").decode(), "b": True, "d": "2026-11-19", "n": "1.50",
       "t": "1969-12-31 23:59:59.999999+00", "f": 0.5}


def fingerprint(columns, where, path=TOKENS):
    """The text as the extension writes it; columns are (name, type)."""
    plain = {"INT64": "CAST(`{0}` AS STRING)", "TIMESTAMP": "CAST(UNIX_MICROS(`{0}`) AS STRING)"}
    parts = []
    for name, kind in columns:
        if kind in plain:
            parts.append(f"IFNULL(CONCAT({plain[kind].format(name)}, ':'), '-')")
        else:
            parts.append(f"IFNULL(CONCAT(CAST(BYTE_LENGTH(`{name}`) AS STRING), ':', `{name}`), '-')")
    sums = [f"CAST(IFNULL(SUM(CAST(CONCAT('0x', SUBSTR(`h`, {at}, 8)) AS INT64)), 0) AS STRING)" for at in (1, 9)]
    return (f"SELECT COUNT(*) AS `n`, MAX(`t`) AS `m`, CONCAT({sums[0]}, ':', {sums[1]}) AS `f` FROM (SELECT "
            f"`block_timestamp` AS `t`, TO_HEX(SHA256(CONCAT('', {', '.join(parts)}))) AS `h` FROM `{path}`"
            + (f" WHERE {where}" if where else "") + ")")


WINDOW = "`block_timestamp` >= @p1 AND `block_timestamp` < @p2"
COLUMNS = [(name, {"block_timestamp": "TIMESTAMP", "block_number": "INT64"}.get(name, "STRING"))
           for name in ("address", "symbol", "name", "decimals", "total_supply", "block_timestamp", "block_number",
                        "block_hash")]


def expected(rows):
    """The fingerprint of rows as they came over the wire."""
    first = second = 0
    for row in rows:
        texts = ["-" if cell is None else f"{cell}:" if at in (5, 6) else f"{len(cell.encode())}:{cell}"
                 for at, cell in enumerate(row)]
        digest = hashlib.sha256("".join(texts).encode()).digest()
        first += int.from_bytes(digest[:4], "big")
        second += int.from_bytes(digest[4:8], "big")
    return f"{first}:{second}"


class FingerprintTest(StandinTest):
    def test_day(self):
        rows = cells(self.c.run()[1])
        status, answer = self.c.run(fingerprint(COLUMNS, WINDOW))
        self.assertEqual(status, 200, answer)
        self.assertEqual([(field["name"], field["type"], field["mode"]) for field in answer["schema"]["fields"]],
                         [("n", "INTEGER", "NULLABLE"), ("m", "TIMESTAMP", "NULLABLE"), ("f", "STRING", "NULLABLE")])
        self.assertEqual(cells(answer), [[str(len(rows)), max(row[5] for row in rows), expected(rows)]])
        self.assertNotEqual(expected(rows), "0:0")

    def test_whole_table(self):
        rows = cells(self.c.run(select(where=None))[1])
        self.assertEqual(cells(self.c.run(fingerprint(COLUMNS, None))[1])[0][2], expected(rows))

    def test_empty_day(self):
        _, answer = self.c.run(fingerprint(COLUMNS, WINDOW), low="2031-01-01 00:00:00+00:00",
                               high="2031-01-02 00:00:00+00:00")
        self.assertEqual(cells(answer), [["0", None, "0:0"]])

    def test_costs_what_it_reads(self):
        day = self.c.run()[1]["totalBytesProcessed"]
        self.assertEqual(self.c.run(fingerprint(COLUMNS, WINDOW))[1]["totalBytesProcessed"], day)


class AllTypesTest(StandinTest):
    """The fingerprint of every type that it covers, by the extension's own expressions."""

    EXPRESSIONS = {
        "STRING": "{0}", "INT64": "CAST({0} AS STRING)", "TIMESTAMP": "CAST(UNIX_MICROS({0}) AS STRING)",
        "DATE": "CAST({0} AS STRING)", "BOOL": "CAST({0} AS STRING)", "BYTES": "TO_BASE64({0})",
        "NUMERIC": "REGEXP_REPLACE(CAST({0} AS STRING), '([.][0-9]*[1-9])0+$|[.]0+$', '\\\\1')",
    }
    PLAIN = ("INT64", "TIMESTAMP")
    ROWS = [
        ["", -(2**63), "0001-01-01 00:00:00+00", "0001-01-01", True, "", "-0.50"],
        ["é\u0000:-", 2**63 - 1, "9999-12-31 23:59:59.999999+00", "9999-12-31", False, "/wA=", "100"],
        ["-", 0, "1969-12-31 23:59:59.999999+00", "2026-11-19", None, None, "99999999999999999999999999999.999999999"],
        [None, None, None, None, None, "AA==", "0"],
        [None, None, None, None, None, "AA==", "0"],
    ]

    def setUp(self):
        super().setUp()
        schema = [{"name": kind.lower(), "type": kind} for kind in self.EXPRESSIONS]
        schema += [{"name": "dt", "type": "DATETIME"}]
        rows = [row + [f"2026-11-19 0{at}:00:00"] for at, row in enumerate(self.ROWS)]
        self.c.control("POST", "table", {"table": THINGS, "schema": schema, "rows": rows})

    def question(self, largest, where=""):
        parts = []
        for kind, expression in self.EXPRESSIONS.items():
            text = expression.format(f"`{kind.lower()}`")
            parts.append(f"IFNULL(CONCAT({text}, ':'), '-')" if kind in self.PLAIN else
                         f"IFNULL(CONCAT(CAST(BYTE_LENGTH({text}) AS STRING), ':', {text}), '-')")
        sums = [f"CAST(IFNULL(SUM(CAST(CONCAT('0x', SUBSTR(`h`, {at}, 8)) AS INT64)), 0) AS STRING)" for at in (1, 9)]
        return (f"SELECT COUNT(*) AS `n`, MAX(`t`) AS `m`, CONCAT({sums[0]}, ':', {sums[1]}) AS `f` FROM (SELECT "
                f"{largest} AS `t`, TO_HEX(SHA256(CONCAT('', {', '.join(parts)}))) AS `h` FROM `{THINGS}`{where})")

    def expected(self):
        names = ", ".join(f"`{kind.lower()}`" for kind in self.EXPRESSIONS)
        sums = [0, 0]
        for row in cells(self.c.run(f"SELECT {names} FROM `{THINGS}`")[1]):
            texts = ["-" if cell is None else f"{cell}:" if kind in self.PLAIN else f"{len(cell.encode())}:{cell}"
                     for kind, cell in zip(self.EXPRESSIONS, row)]
            digest = hashlib.sha256("".join(texts).encode()).digest()
            sums = [sums[at] + int.from_bytes(digest[4 * at : 4 * at + 4], "big") for at in (0, 1)]
        return ":".join(map(str, sums))

    def test_every_largest(self):
        for largest, kind, value in (
            ("`timestamp`", "TIMESTAMP", "253402300799999999"), ("`date`", "DATE", "9999-12-31"),
            ("`dt`", "DATETIME", "2026-11-19T04:00:00"), ("CAST(NULL AS TIMESTAMP)", "TIMESTAMP", None),
            ("TIMESTAMP(`date`)", "TIMESTAMP", "253402214400000000"), ("TIMESTAMP(`dt`)", "TIMESTAMP", "1795060800000000"),
            ("CAST(`date` AS TIMESTAMP)", "TIMESTAMP", "253402214400000000"),
        ):
            with self.subTest(largest=largest):
                status, answer = self.c.run(self.question(largest))
                self.assertEqual(status, 200, answer)
                self.assertEqual(cells(answer), [["5", value, self.expected()]])
                self.assertEqual(answer["schema"]["fields"][1]["type"], kind)

    def test_no_rows(self):
        for largest in ("`date`", "`dt`"):
            with self.subTest(largest=largest):
                _, answer = self.c.run(self.question(largest, " WHERE `date` = '2000-01-01'"))
                self.assertEqual(cells(answer), [["0", None, "0:0"]])


class LargestTest(StandinTest):
    def test_every_type(self):
        for kind, values in (
            ("INT64", ["-5", "7"]), ("FLOAT64", ["-0.5", "Infinity"]), ("NUMERIC", ["-1.5", "10"]), ("STRING", ["Z", "é"]),
            ("BIGNUMERIC", ["9", "10"]), ("BYTES", ["AAE=", "/wA="]), ("BOOL", ["false", "true"]), ("DATE", ["0001-01-01",
            "2026-11-19"]), ("TIME", ["01:00:00", "01:00:00.500000"]), ("DATETIME", ["2026-11-19T01:00:00",
            "2026-11-19T01:00:00.000001"]), ("TIMESTAMP", ["-1", "0"]),
        ):
            rows = [[value if kind != "TIMESTAMP" else int(value)] for value in (*values, *reversed(values))] + [[None]]
            self.c.control("POST", "table", {"table": THINGS, "schema": [{"name": "v", "type": kind}], "rows": rows})
            with self.subTest(kind=kind):
                self.assertEqual(cells(self.c.run(f"SELECT MIN(v), MAX(v) FROM `{THINGS}`")[1]), [values])

    def test_no_such_order(self):
        for kind in ("JSON", "GEOGRAPHY"):
            self.c.control("POST", "table", {"table": THINGS, "schema": [{"name": "v", "type": kind}]})
            with self.subTest(kind=kind):
                self.assert_job_fails(400, "invalidQuery", f"No matching signature for function MAX for argument types: {kind}",
                                      f"SELECT MAX(v) FROM `{THINGS}`")


class FunctionTest(StandinTest):
    def setUp(self):
        super().setUp()
        self.c.control("POST", "table", {"table": THINGS, "schema": SCHEMA, "rows": [ROW, {}]})

    def one(self, expression):
        """Its value for each of the two rows."""
        status, answer = self.c.run(f"SELECT {expression} FROM `{THINGS}`")
        self.assertEqual(status, 200, answer)
        return [row[0] for row in cells(answer)]

    def test_of_a_row(self):
        for expression, value in (
            ("CONCAT('a', s, '')", "aé\u0000x"),
            ("BYTE_LENGTH(s)", "4"),
            ("BYTE_LENGTH(x)", "2"),
            ("TO_HEX(x)", "ff00"),
            ("TO_BASE64(x)", "/wA="),
            ("TO_HEX(SHA256(s))", hashlib.sha256("é\u0000x".encode()).hexdigest()),
            ("TO_HEX(SHA256(x))", hashlib.sha256(b"\xff\x00").hexdigest()),
            ("SUBSTR(s, 2, 1)", "\u0000"),
            ("SUBSTR(s, -1)", "x"),
            ("SUBSTR(s, 0, 2)", "é\u0000"),
            ("SUBSTR(s, 9)", ""),
            ("UNIX_MICROS(t)", "-1"),
            ("CAST(i AS STRING)", "-5"),
            ("CAST(b AS STRING)", "true"),
            ("CAST(d AS STRING)", "2026-11-19"),
            ("CAST(n AS STRING)", "1.5"),
        ):
            with self.subTest(expression=expression):
                self.assertEqual(self.one(expression), [value, None])

    def test_of_constants(self):
        for expression, value in (
            ("CAST('0xffFFffff' AS INT64)", "4294967295"),
            ("CAST('-12' AS INT64)", "-12"),
            ("CAST(NULL AS TIMESTAMP)", None),
            ("IFNULL(NULL, 'x')", "x"),
            ("IFNULL('', 'x')", ""),
            ("CONCAT('')", ""),
            (r"REGEXP_REPLACE('1.500', '([.][0-9]*[1-9])0+$|[.]0+$', '\\1')", "1.5"),
            (r"REGEXP_REPLACE('100.00', '([.][0-9]*[1-9])0+$|[.]0+$', '\\1')", "100"),
        ):
            with self.subTest(expression=expression):
                self.assertEqual(self.one(expression), [value, value])

    def test_aggregates(self):
        _, answer = self.c.run("SELECT COUNT(*), COUNT(s), SUM(i), MAX(t), MAX(s), SUM(CAST(NULL AS INT64)) "
                               f"FROM `{THINGS}`")
        self.assertEqual(cells(answer), [["2", "1", "-5", "-1", "é\u0000x", None]])
        self.assertEqual(answer["totalRows"], "1")

    def test_any_value(self):
        _, answer = self.c.run(f"SELECT ANY_VALUE(s), ANY_VALUE(t) FROM `{THINGS}`")
        self.assertEqual(cells(answer)[0][0], "é\u0000x")
        self.assertEqual([field["type"] for field in answer["schema"]["fields"]], ["STRING", "TIMESTAMP"])
        _, answer = self.c.run(f"SELECT ANY_VALUE(s) FROM `{THINGS}` WHERE s IS NULL")
        self.assertEqual(cells(answer), [[None]])

    def test_groups(self):
        rows = [dict(ROW, i=i, s=s, t=f"2026-11-{day} 00:00:00+00") for i, s, day in
                ((1, "a", 19), (2, "b", 19), (3, None, 20), (4, None, 21), (5, "a", 19))]
        self.c.control("POST", "table", {"table": THINGS, "schema": SCHEMA, "rows": rows})
        for text, groups in (
            ("SELECT s, COUNT(*), SUM(i) FROM `{0}` GROUP BY s", [["a", "2", "6"], ["b", "1", "2"], [None, "2", "7"]]),
            ("SELECT SUM(i) AS i, S AS k FROM `{0}` WHERE i < 3 GROUP BY K", [["1", "a"], ["2", "b"]]),
            ("SELECT UNIX_DATE(DATE(t, 'UTC')) AS `d`, MAX(t) FROM (SELECT t FROM `{0}`) GROUP BY `d`",
             [["20776", "1795046400000000"], ["20777", "1795132800000000"], ["20778", "1795219200000000"]]),
            ("SELECT s, b, MAX(i) FROM `{0}` GROUP BY b, s", [["a", "true", "5"], ["b", "true", "2"], [None, "true", "4"]]),
            ("SELECT s FROM `{0}` GROUP BY s", [["a"], ["b"], [None]]),
            ("SELECT s, COUNT(*) FROM `{0}` WHERE i > 9 GROUP BY s", []),
        ):
            with self.subTest(text=text):
                status, answer = self.c.run(text.format(THINGS))
                self.assertEqual(status, 200, answer)
                self.assertEqual(sorted(cells(answer), key=repr), sorted(groups, key=repr))

    def test_bad_groups(self):
        for message, text in (
            ("references column i which is neither grouped nor aggregated", "SELECT i, s FROM `{0}` GROUP BY s"),
            ("Unrecognized name: i at [1:50]", "SELECT s FROM `{0}` GROUP BY i"),
            ("Aggregate function COUNT not allowed in GROUP BY", "SELECT COUNT(*) AS n FROM `{0}` GROUP BY n"),
            ('Expected keyword BY', "SELECT s FROM `{0}` GROUP s"),
            ("end of input", "SELECT s FROM `{0}` GROUP BY s HAVING s > 'a'"),
        ):
            with self.subTest(text=text):
                self.assert_job_fails(400, "invalidQuery", message, text.format(THINGS))

    def test_parentheses(self):
        _, answer = self.c.run(f"SELECT y FROM (SELECT CONCAT(s, '!') AS y, i FROM `{THINGS}` WHERE i < 0) AS q "
                               "WHERE i = -5")
        self.assertEqual(cells(answer), [["é\u0000x!"]])

    def test_refusals(self):
        for message, expression in (
            ("No matching signature for function CONCAT for argument types: STRING, INT64", "CONCAT(s, i)"),
            ("No matching signature for function BYTE_LENGTH for argument types: INT64", "BYTE_LENGTH(i)"),
            ("No matching signature for function UNIX_MICROS for argument types: STRING", "UNIX_MICROS(s)"),
            ("No matching signature for function TO_HEX for argument types: STRING", "TO_HEX(s)"),
            ("No matching signature for function IFNULL for argument types: INT64, STRING", "IFNULL(i, 'x')"),
            ("No matching signature for function SUM for argument types: STRING", "SUM(s)"),
            ("No matching signature for function SUBSTR", "SUBSTR(s)"),
            ("Invalid cast from BYTES to INT64", "CAST(x AS INT64)"),
            ("Type not found: INTEGRE", "CAST(i AS INTEGRE)"),
            ("references column i which is neither grouped nor aggregated", "COUNT(*), i"),
            ("Aggregate function SUM not allowed in argument of an aggregate", "SUM(SUM(i))"),
            ("Function not found: SHA512 at [1:8]", "SHA512(s)"),
        ):
            with self.subTest(expression=expression):
                self.assert_job_fails(400, "invalidQuery", message, f"SELECT {expression} FROM `{THINGS}`")
        self.assert_job_fails(400, "invalidQuery", "Aggregate function COUNT not allowed in WHERE clause",
                              f"SELECT s FROM `{THINGS}` WHERE COUNT(*) = 1")


if __name__ == "__main__":
    unittest.main()
