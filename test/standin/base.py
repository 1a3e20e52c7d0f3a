"""What the stand-in's tests share."""
import unittest

from client import Client


class StandinTest(unittest.TestCase):
    """One server for all tests of a class, reset before each."""

    options = ()

    @classmethod
    def setUpClass(cls):
        cls.c = Client(*cls.options)

    @classmethod
    def tearDownClass(cls):
        cls.c.stop()

    def setUp(self):
        self.c.control("POST", "reset", {})
        self.c.base = self.c.http
        self.c.login()

    def assert_error(self, got, status, reason, message):
        """got is (status, answer, …) of a call that must have failed just so."""
        self.assertEqual(got[0], status, got[1])
        error = got[1]["error"]
        self.assertEqual(error["code"], status)
        self.assertEqual(error["errors"][0]["reason"], reason)
        self.assertEqual(error["errors"][0]["domain"], "global")
        self.assertEqual(error["errors"][0]["message"], error["message"])
        self.assertIn(message, error["message"])

    def assert_job_fails(self, status, reason, message, text=None, **query):
        """The job fails: jobs.insert says so with 200, getQueryResults with an error."""
        job, inserted, answer = self.c.insert(text, **query)
        self.assertEqual(inserted, 200, answer)
        self.assertEqual(answer["status"]["state"], "DONE")
        self.assertEqual(answer["status"]["errorResult"]["reason"], reason)
        self.assertIn(message, answer["status"]["errorResult"]["message"])
        self.assert_error(self.c.results(job), status, reason, message)
