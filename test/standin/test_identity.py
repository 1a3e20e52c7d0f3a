#!/usr/bin/env python3
"""Refresh tokens, the exchange, impersonation, the metadata server, another provider: what is accepted, and each refusal."""
import json
import unittest
import urllib.parse

import certs
from base import StandinTest
from identity import ACCESS_TOKEN_TYPE, GRANT_TYPE

FORM = {"Content-Type": "application/x-www-form-urlencoded"}
IAM = f"/v1/projects/-/serviceAccounts/{certs.EMAIL}:generateAccessToken"
TOKEN = "/computeMetadata/v1/instance/service-accounts/default/token"


class IdentityTest(StandinTest):
    def post(self, path, form):
        return self.c.request("POST", path, urllib.parse.urlencode(form).encode(), FORM)

    def exchange(self, **changes):
        form = {
            "grant_type": GRANT_TYPE, "audience": certs.AUDIENCE, "requested_token_type": ACCESS_TOKEN_TYPE,
            "scope": "https://www.googleapis.com/auth/iam", "subject_token": certs.SUBJECT_TOKEN,
            "subject_token_type": certs.SUBJECT_TOKEN_TYPE,
        }
        form.update(changes)
        return self.post("/v1/token", {name: value for name, value in form.items() if value is not None})

    def impersonate(self, token, path=IAM, **changes):
        body = dict({"scope": ["https://www.googleapis.com/auth/bigquery"], "lifetime": "3600s"}, **changes)
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        return self.c.request("POST", path, json.dumps(body).encode(), headers)

    def test_refresh(self):
        form = {name: certs.USER[name] for name in ("client_id", "client_secret", "refresh_token")}
        status, answer, _ = self.post("/token", dict(form, grant_type="refresh_token"))
        self.assertEqual((status, answer["token_type"], answer["expires_in"]), (200, "Bearer", 3599))
        for name, wanted in (("client_id", (401, "invalid_client")), ("client_secret", (401, "invalid_client")),
                             ("refresh_token", (400, "invalid_grant"))):
            status, answer, _ = self.post("/token", dict(form, grant_type="refresh_token", **{name: "wrong"}))
            self.assertEqual((status, answer["error"]), wanted)

    def test_exchange(self):
        status, answer, _ = self.exchange()
        self.assertEqual((status, answer["issued_token_type"]), (200, ACCESS_TOKEN_TYPE))
        for changes, error in (
            ({"grant_type": "refresh_token"}, "unsupported_grant_type"), ({"subject_token": None}, "invalid_request"),
            ({"audience": "//iam.googleapis.com/x"}, "invalid_target"), ({"subject_token": "old"}, "invalid_grant"),
            ({"subject_token_type": "x"}, "invalid_request"), ({"scope": ""}, "invalid_scope"),
            ({"requested_token_type": "x"}, "invalid_request"),
        ):
            status, answer, _ = self.exchange(**changes)
            self.assertEqual((status, answer["error"]), (400, error), changes)

    def test_impersonate(self):
        token = self.exchange()[1]["access_token"]
        status, answer, _ = self.impersonate(token)
        self.assertEqual(status, 200)
        self.assertRegex(answer["expireTime"], r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$")
        self.c.bearer = answer["accessToken"]
        self.assertEqual(self.c.call("GET", "jobs/x", options={"location": "US"})[0], 404)
        status, answer, _ = self.impersonate(token, IAM.replace("contratos-test", "other"))
        self.assertEqual((status, answer["error"]["status"]), (403, "PERMISSION_DENIED"))
        self.assertEqual(answer["error"]["details"][0]["reason"], "IAM_PERMISSION_DENIED")
        self.assertNotIn("errors", answer["error"])
        self.assertEqual(self.impersonate("nobody")[0], 401)
        self.assertEqual(self.impersonate(token, lifetime="an hour")[0], 400)
        self.assertEqual(self.impersonate(self.c.login()["access_token"])[0], 403)

    def test_metadata(self):
        flavor = {"Metadata-Flavor": "Google"}
        status, answer, headers = self.c.request("GET", TOKEN, headers=flavor)
        self.assertEqual((status, answer["token_type"], headers["Metadata-Flavor"]), (200, "Bearer", "Google"))
        self.assertEqual(self.c.request("GET", TOKEN)[0], 403)
        status, answer, _ = self.c.request("GET", "/computeMetadata/v1/project/project-id", headers=flavor)
        self.assertEqual((status, answer), (200, b"test-project"))
        status, _, headers = self.c.request("GET", "/computeMetadata/v1/nothing", headers=flavor)
        self.assertEqual((status, headers["Metadata-Flavor"]), (404, "Google"))

    def test_subject(self):
        header = {"Metadata": "True"}
        self.assertEqual(self.c.request("GET", "/subject-token")[0], 400)
        self.assertEqual(self.c.request("GET", "/subject-token", headers=header)[1].decode().strip(), certs.SUBJECT_TOKEN)
        self.c.control("POST", "subject", {"token": "new"})
        self.assertEqual(self.c.request("GET", "/subject-token?format=json", headers=header)[1]["access_token"], "new")
        self.assertEqual(self.exchange()[1]["error"], "invalid_grant")
        self.assertEqual(self.exchange(subject_token="new")[0], 200)


if __name__ == "__main__":
    unittest.main()
