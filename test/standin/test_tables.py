#!/usr/bin/env python3
"""tables.list and tables.get: paging, kinds of tables, schemas, partitioning, errors; how a test changes a table."""
import unittest
import urllib.parse

from base import StandinTest
from client import TOKENS, cells

DATASET = "test-project.own"
NESTED = [
    {"name": "id", "type": "INT64", "mode": "REQUIRED", "description": "the number"},
    {"name": "at", "type": "TIMESTAMP"},
    {"name": "r", "type": "STRUCT", "mode": "REPEATED", "fields": [
        {"name": "x", "type": "FLOAT64"},
        {"name": "in", "type": "RECORD", "fields": [{"name": "b", "type": "BOOL", "mode": "REPEATED"}]}]},
    {"name": "span", "type": "RANGE", "rangeElementType": {"type": "DATE"}},
]


class TablesTest(StandinTest):
    def get(self, path, project="test-project", **options):
        sent = {"Authorization": f"Bearer {self.c.bearer}"} if self.c.bearer else {}
        query = urllib.parse.urlencode(options)
        return self.c.request("GET", f"/bigquery/v2/projects/{project}/datasets/{path}?{query}", headers=sent)

    def found(self, path, **options):
        status, answer, _ = self.get(path, **options)
        self.assertEqual(status, 200, answer)
        return answer

    def create(self, name, schema=NESTED, **more):
        self.c.control("POST", "table", dict({"table": f"{DATASET}.{name}", "schema": schema}, **more))


class ListTest(TablesTest):
    def test_pages(self):
        for name in ("t3", "t1", "t5", "t2", "t4"):
            self.create(name)
        seen, token, pages = [], {}, 0
        while token is not None:
            page = self.found("own/tables", maxResults=2, **token)
            self.assertEqual((page["kind"], page["totalItems"]), ("bigquery#tableList", 5))
            seen += [table["tableReference"]["tableId"] for table in page["tables"]]
            token = {"pageToken": page["nextPageToken"]} if "nextPageToken" in page else None
            pages += 1
        self.assertEqual((seen, pages), (["t1", "t2", "t3", "t4", "t5"], 3))

    def test_page_without_max_results(self):
        for number in range(51):
            self.create(f"t{number:02}", [{"name": "a", "type": "STRING"}])
        page = self.found("own/tables")
        self.assertEqual((len(page["tables"]), page["totalItems"]), (50, 51))
        self.assertIn("nextPageToken", page)

    def test_empty(self):
        self.c.control("POST", "dataset", {"dataset": DATASET})
        answer = self.found("own/tables")
        self.assertNotIn("tables", answer)
        self.assertNotIn("nextPageToken", answer)
        self.assertEqual(answer["totalItems"], 0)

    def test_items(self):
        for kind in ("VIEW", "EXTERNAL", "SNAPSHOT", "MATERIALIZED_VIEW"):
            self.create(kind.lower(), type=kind)
        self.create("by_day", time_partitioning={"type": "DAY", "field": "at"}, require_partition_filter=True)
        self.create("by_load", time_partitioning={"type": "HOUR"})
        self.create("by_id", range_partitioning={"field": "id", "range": {"start": 0, "end": 100, "interval": 10}})
        items = {table["tableReference"]["tableId"]: table for table in self.found("own/tables")["tables"]}
        self.assertEqual({name: table["type"] for name, table in items.items()},
                         {"view": "VIEW", "external": "EXTERNAL", "snapshot": "SNAPSHOT", "by_day": "TABLE",
                          "by_load": "TABLE", "by_id": "TABLE", "materialized_view": "MATERIALIZED_VIEW"})
        self.assertEqual(items["by_day"]["timePartitioning"],
                         {"type": "DAY", "field": "at", "requirePartitionFilter": True})
        self.assertEqual(items["by_load"]["timePartitioning"], {"type": "HOUR"})
        self.assertEqual(items["by_id"]["rangePartitioning"],
                         {"field": "id", "range": {"start": "0", "end": "100", "interval": "10"}})
        self.assertEqual(items["view"]["id"], "test-project:own.view")
        self.assertNotIn("schema", items["view"])

    def test_errors(self):
        self.assert_error(self.get("nothing/tables"), 404, "notFound", "Not found: Dataset test-project:nothing")
        self.assert_error(self.get("x/tables", "nobody"), 403, "accessDenied", "Access Denied: Dataset nobody:x: Permission "
                          "bigquery.tables.list denied on dataset nobody:x (or it may not exist).")
        self.create("t")
        self.assert_error(self.get("own/tables", pageToken="nonsense"), 400, "invalid", "pageToken")
        self.assert_error(self.get("own/tables", maxResults="1e2"), 400, "invalid", "maxresults")
        self.c.bearer = None
        self.assert_error(self.get("own/tables"), 401, "required", "missing required authentication")

    def test_rules_and_log(self):
        self.create("t")
        self.c.rule("tables_list", status=503, reason="backendError")
        self.assertEqual(self.get("own/tables")[0], 503)
        self.c.rule("table_get", table=f"{DATASET}.t", status=500)
        self.create("u")
        self.assertEqual(self.get("own/tables/u")[0], 200)
        self.assertEqual(self.get("own/tables/t")[0], 500)
        self.assertEqual([(entry["kind"], entry["table"]) for entry in self.c.log() if entry["kind"] != "token"],
                         [("tables_list", DATASET), ("table_get", f"{DATASET}.u"), ("table_get", f"{DATASET}.t")])

    def test_the_scope_for_reading_is_enough(self):
        self.create("t")
        self.c.login(scope="https://www.googleapis.com/auth/cloud-platform.read-only")
        self.assertEqual(self.found("own/tables")["totalItems"], 1)


class GetTest(TablesTest):
    def test_schema(self):
        self.create("t")
        self.assertEqual(self.found("own/tables/t")["schema"]["fields"], [
            {"name": "id", "type": "INTEGER", "mode": "REQUIRED", "description": "the number"},
            {"name": "at", "type": "TIMESTAMP"},
            {"name": "r", "type": "RECORD", "mode": "REPEATED", "fields": [
                {"name": "x", "type": "FLOAT"},
                {"name": "in", "type": "RECORD", "fields": [{"name": "b", "type": "BOOLEAN", "mode": "REPEATED"}]}]},
            {"name": "span", "type": "RANGE", "rangeElementType": {"type": "DATE"}},
        ])

    def test_attributes(self):
        self.create("t", description="äh", time_partitioning={"type": "DAY", "field": "at"}, location="EU",
                    require_partition_filter=True, last_modified=1795046400000, rows=[{"id": 1}, {"id": 2}])
        table = self.found("own/tables/t")
        self.assertEqual(table["timePartitioning"], {"type": "DAY", "field": "at", "requirePartitionFilter": True})
        self.assertEqual({name: table[name] for name in ("type", "description", "location", "numRows", "numBytes",
                                                         "lastModifiedTime", "requirePartitionFilter")},
                         {"type": "TABLE", "description": "äh", "location": "EU", "numRows": "2", "numBytes": "16",
                          "lastModifiedTime": "1795046400000", "requirePartitionFilter": True})

    def test_without_attributes(self):
        self.create("t")
        table = self.found("own/tables/t")
        for name in ("description", "timePartitioning", "rangePartitioning", "requirePartitionFilter", "labels", "view"):
            self.assertNotIn(name, table)

    def test_view(self):
        self.create("v", type="VIEW", rows=[{"id": 1}])
        table = self.found("own/tables/v")
        self.assertEqual((table["type"], table["numRows"], table["numBytes"]), ("VIEW", "0", "0"))
        self.assertIn("view", table)
        self.assertEqual(cells(self.c.run("SELECT id FROM own.v")[1]), [["1"]])

    def test_anything_put_over_the_answer(self):
        self.create("t", attributes={"numRows": None, "friendlyName": "T"})
        table = self.found("own/tables/t")
        self.assertEqual(("numRows" in table, table["friendlyName"]), (False, "T"))

    def test_errors(self):
        self.create("t")
        self.assertEqual(self.get("own/tables/x")[1]["error"]["message"], "Not found: Table test-project:own.x")
        self.assert_error(self.get("own/tables/x"), 404, "notFound", "")
        self.assertEqual(self.get("no/tables/t")[1]["error"]["message"], "Not found: Dataset test-project:no")
        self.assert_error(self.get("x/tables/y", "nobody"), 403, "accessDenied", "Access Denied: Table nobody:x.y: "
                          "Permission bigquery.tables.get denied on table nobody:x.y (or it may not exist).")

    def test_last_modified_follows_changes(self):
        before = int(self.found("crypto_ethereum/tables/tokens", project="bigquery-public-data")["lastModifiedTime"])
        self.c.control("POST", "table", {"table": TOKENS, "append": True})
        after = int(self.found("crypto_ethereum/tables/tokens", project="bigquery-public-data")["lastModifiedTime"])
        self.assertGreater(after, before)

    def found(self, path, project="test-project", **options):
        status, answer, _ = self.get(path, project, **options)
        self.assertEqual(status, 200, answer)
        return answer

    def test_a_schema_that_is_none(self):
        for schema, message in (([{"name": "a", "type": "STRONG"}], "STRONG is not a valid value"),
                                ([{"name": "a", "type": "STRING"}], "'at' is not in list")):
            with self.subTest(message=message), self.assertRaisesRegex(RuntimeError, message):
                self.create("t", schema, partition_column="at")


class AlterTest(TablesTest):
    def setUp(self):
        super().setUp()
        fields = [{"name": "a", "type": "INT64", "mode": "REQUIRED"}, {"name": "b", "type": "STRING"},
                  {"name": "d", "type": "DATE"}]
        self.create("t", fields, rows=[[1, "7", "2026-11-19"], [2, None, "2026-11-20"]], partition_column="d")

    def alter(self, **how):
        return self.c.control("POST", "schema", dict({"table": f"{DATASET}.t"}, **how))

    def rows(self):
        return cells(self.c.run("SELECT * FROM own.t")[1])

    def test_add(self):
        self.alter(add=[{"name": "n", "type": "NUMERIC"}, {"name": "l", "type": "STRING", "mode": "REPEATED"}])
        self.assertEqual(self.rows(), [["1", "7", "2026-11-19", None, []], ["2", None, "2026-11-20", None, []]])

    def test_drop(self):
        self.alter(drop=["A"])
        self.assertEqual(self.rows(), [["7", "2026-11-19"], [None, "2026-11-20"]])
        self.assert_job_fails(400, "invalidQuery", "Unrecognized name: a at [1:8]", "SELECT a FROM own.t")
        self.assertEqual(int(self.c.run("SELECT b FROM own.t WHERE d = DATE '2026-11-19'")[1]["totalBytesProcessed"]), 11)

    def test_change(self):
        self.alter(change={"a": "STRING", "b": {"type": "INT64", "mode": "NULLABLE"}})
        _, answer = self.c.run("SELECT a, b FROM own.t WHERE b = 7")
        self.assertEqual(([field["type"] for field in answer["schema"]["fields"]], cells(answer)),
                         (["STRING", "INTEGER"], [["1", "7"]]))
        self.alter(change={"b": {"mode": "REPEATED"}, "a": {"mode": "NULLABLE"}})
        self.assertEqual(self.rows()[0][1], [{"v": "7"}])

    def test_refused(self):
        for how, message in (({"drop": ["x"]}, "no such column: x"), ({"change": {"x": "INT64"}}, "no such column: x"),
                             ({"drop": ["d"]}, "'d' is not in list"), ({"change": {"d": "INT64"}}, "Bad int64 value")):
            with self.subTest(how=how), self.assertRaisesRegex(RuntimeError, message):
                self.alter(**how)
        self.assertEqual(len(self.rows()[0]), 3)

    def test_a_running_job_keeps_what_it_saw(self):
        self.c.rule("insert", job_pending=True)
        job, _, _ = self.c.insert("SELECT * FROM own.t")
        self.alter(drop=["b"])
        self.c.release()
        self.assertEqual(cells(self.c.results(job)[1])[0], ["1", "7", "2026-11-19"])


if __name__ == "__main__":
    unittest.main()
