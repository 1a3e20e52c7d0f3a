#!/usr/bin/env python3
"""Several accounts, projects and locations side by side: who may do what where, and whose token a request came with."""
import unittest

from base import StandinTest
from client import TOKENS, cells

FIRST = "contratos-test@test-project.iam.gserviceaccount.com"
OTHER = "other@test-project.iam.gserviceaccount.com"


class AccountsTest(StandinTest):
    def setUp(self):
        super().setUp()
        self.c.control("POST", "account", {"account": "other", "project": "other-project"})
        self.c.control("POST", "project", {"project": "other-project", "accounts": ["other"]})
        self.c.control("POST", "table", {"table": "other-project.eu.t", "location": "EU",
                                         "schema": [{"name": "a", "type": "STRING"}], "rows": [["x"]]})
        self.first = self.c.bearer
        answer = self.c.exchange(self.c.assertion("other.key", key_json="other_key.json"))
        self.assertEqual(answer[0], 200, answer)
        self.other = answer[1]["access_token"]

    def insert(self, bearer, project, location, table="other-project.eu.t", column="a"):
        """The job's id, and the answer to jobs.insert."""
        self.c.bearer = bearer
        body = self.c.insert_body(f"SELECT {column} FROM `{table}`")
        body["jobReference"].update(projectId=project, location=location)
        return body["jobReference"]["jobId"], self.c.call("POST", "jobs", body, project=project)

    def results(self, bearer, project, location, job):
        self.c.bearer = bearer
        return self.c.call("GET", "queries/" + job, options={"location": location}, project=project)

    def test_each_with_its_own(self):
        job, answer = self.insert(self.other, "other-project", "EU")
        self.assertEqual(answer[0], 200, answer)
        status, answer, _ = self.results(self.other, "other-project", "EU", job)
        self.assertEqual((status, cells(answer)), (200, [["x"]]))
        self.assertEqual(answer["jobReference"], {"projectId": "other-project", "jobId": job, "location": "EU"})
        job, _ = self.insert(self.first, "test-project", "US", TOKENS, "address")
        self.assertEqual(self.results(self.first, "test-project", "US", job)[1]["totalRows"], "912")

    def test_a_project_of_others(self):
        _, answer = self.insert(self.first, "other-project", "EU")
        self.assert_error(answer, 403, "accessDenied", "Access Denied: Project other-project: User does not have "
                          "bigquery.jobs.create permission in project other-project.")
        job, _ = self.insert(self.other, "other-project", "EU")
        self.assert_error(self.results(self.first, "other-project", "EU", job), 403, "accessDenied", "other-project")
        self.assert_error(self.results(self.first, "test-project", "EU", job), 404, "notFound", "Not found: Job test-project:")

    def test_datasets_of_others(self):
        job, _ = self.insert(self.first, "test-project", "EU")
        self.assert_error(self.results(self.first, "test-project", "EU", job), 403, "accessDenied",
                          "Access Denied: Table other-project:eu.t: User does not have permission to query table")
        self.c.bearer = self.first
        got = self.c.call("GET", "datasets/eu/tables", project="other-project")
        self.assert_error(got, 403, "accessDenied", "Permission bigquery.tables.list denied on dataset other-project:eu")
        got = self.c.call("GET", "datasets/eu/tables/t", project="other-project")
        self.assert_error(got, 403, "accessDenied", "Permission bigquery.tables.get denied on table other-project:eu.t")
        self.c.bearer = self.other
        self.assertEqual(self.c.call("GET", "datasets/eu/tables/t", project="other-project")[1]["location"], "EU")

    def test_another_location(self):
        job, _ = self.insert(self.other, "other-project", "US")
        self.assert_error(self.results(self.other, "other-project", "US", job), 404, "notFound",
                          "Not found: Dataset other-project:eu was not found in location US")
        job, _ = self.insert(self.other, "other-project", "EU", TOKENS, "address")
        self.assert_error(self.results(self.other, "other-project", "EU", job), 404, "notFound",
                          "Not found: Dataset bigquery-public-data:crypto_ethereum was not found in location EU")
        job, _ = self.insert(self.other, "other-project", "EU")
        self.assert_error(self.results(self.other, "other-project", "US", job), 404, "notFound", "Not found: Job")

    def test_the_log_says_whose_token(self):
        self.c.rule("insert", account=OTHER, status=503)
        self.assertEqual(self.insert(self.first, "test-project", "US")[1][0], 200)
        self.assertEqual(self.insert(self.other, "other-project", "EU")[1][0], 503)
        self.assertEqual([entry["account"] for entry in self.c.log("insert")], [FIRST, OTHER])
        self.assertEqual([job["account"] for job in self.c.control("GET", "jobs")["jobs"]], [FIRST])

    def test_keys_are_not_mixed(self):
        got = self.c.exchange(self.c.assertion("service.key", key_json="other_key.json"))
        self.assertEqual((got[0], got[1]["error_description"]), (400, "Invalid JWT Signature."))

    def test_a_project_without_jobs(self):
        self.c.control("POST", "project", {"project": "shared", "billed": False, "accounts": None})
        self.c.control("POST", "table", {"table": "shared.d.t", "schema": [{"name": "a", "type": "STRING"}]})
        job, _ = self.insert(self.first, "test-project", "US", "shared.d.t")
        self.assertEqual(self.results(self.first, "test-project", "US", job)[1]["totalRows"], "0")
        self.assertEqual(self.insert(self.first, "shared", "US")[1][0], 403)

    def test_reset(self):
        self.c.control("POST", "project", {"project": "other-project"})
        self.assertEqual(self.insert(self.first, "other-project", "EU")[1][0], 200)
        self.c.control("POST", "reset", {"tables": False})
        self.c.login()
        self.assertEqual(self.insert(self.c.bearer, "other-project", "EU")[1][0], 200)
        self.c.control("POST", "reset", {})
        self.c.login()
        self.assertEqual(self.insert(self.c.bearer, "other-project", "EU")[1][0], 403)
        self.assertEqual(self.c.exchange(self.c.assertion("other.key", key_json="other_key.json"))[0], 200)

    def test_names(self):
        for name in ("", "Other", "service", "../x", "a/b"):
            with self.subTest(name=name), self.assertRaisesRegex(RuntimeError, "not a name for an account"):
                self.c.control("POST", "account", {"account": name})


if __name__ == "__main__":
    unittest.main()
