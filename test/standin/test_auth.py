#!/usr/bin/env python3
"""The token endpoint and the bearer check: what is accepted, and each refusal."""
import json
import os
import socket
import time
import unittest

from base import StandinTest
from client import Client

INVALID_TIME = ("Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable timeframe. "
                "Check your iat and exp values in the JWT claim.")


class TokenTest(StandinTest):
    def assert_refused(self, description, error="invalid_grant", status=400, **how):
        got, answer, _ = self.c.exchange(self.c.assertion(**how))
        self.assertEqual((got, answer), (status, {"error": error, "error_description": description}))

    def test_token(self):
        answer = self.c.login()
        self.assertEqual(answer["token_type"], "Bearer")
        self.assertEqual(answer["expires_in"], 3599)
        self.assertTrue(answer["access_token"].startswith("ya29."))

    def test_wrong_key(self):
        self.assert_refused("Invalid JWT Signature.", key_file="unknown.key")

    def test_signature_altered(self):
        good = self.c.assertion()
        head, body, signature = good.split(".")
        bad = ".".join((head, body, ("A" if signature[0] != "A" else "B") + signature[1:]))
        self.assertEqual(self.c.exchange(bad)[1]["error_description"], "Invalid JWT Signature.")

    def test_claims_altered(self):
        one, two = self.c.assertion().split("."), self.c.assertion(exp=int(time.time()) + 60).split(".")
        mixed = ".".join((one[0], two[1], one[2]))
        self.assertEqual(self.c.exchange(mixed)[1]["error_description"], "Invalid JWT Signature.")

    def test_unknown_key_id(self):
        self.assert_refused("Invalid JWT Signature.", header={"kid": "nobody"})

    def test_unknown_account(self):
        self.assert_refused("Invalid grant: account not found", iss="nobody@example.iam.gserviceaccount.com")

    def test_wrong_audience(self):
        self.assert_refused("Invalid JWT: Failed audience check. The right audience is "
                            "https://oauth2.googleapis.com/token", aud=self.c.http + "/token")

    def test_times(self):
        now = int(time.time())
        for iat, exp in ((now, now + 3601), (now - 7200, now - 3600), (now + 1000, now + 2000), (now, now), (None, now),
                         (str(now), now + 60), (now, None)):
            with self.subTest(iat=iat, exp=exp):
                self.assert_refused(INVALID_TIME, iat=iat, exp=exp)

    def test_scopes(self):
        for scope in (None, "", "https://www.googleapis.com/auth/drive"):
            with self.subTest(scope=scope):
                self.assert_refused("Invalid OAuth scope or ID token audience provided.", "invalid_scope", scope=scope)

    def test_header(self):
        for header in ({"alg": "none"}, {"alg": "HS256"}, {"typ": "JWS"}):
            with self.subTest(header=header):
                self.assertEqual(self.c.exchange(self.c.assertion(header=header))[0], 400)

    def test_not_a_jwt(self):
        for assertion in ("", "a.b.c", "only.two", self.c.assertion() + "=="):
            with self.subTest(assertion=assertion[:20]):
                self.assertEqual(self.c.exchange(assertion)[0], 400)

    def test_form(self):
        status, answer, _ = self.c.exchange(self.c.assertion(), grant_type="password")
        self.assertEqual((status, answer["error"]), (400, "unsupported_grant_type"))
        status, answer, _ = self.c.exchange(self.c.assertion(), content_type="application/json")
        self.assertEqual((status, answer["error"]), (400, "invalid_request"))

    def test_log_has_claims_but_no_secret(self):
        text = json.dumps(self.c.log())
        entry = self.c.log("token")[0]
        self.assertEqual(entry["assertion"]["claims"]["scope"], "https://www.googleapis.com/auth/bigquery")
        self.assertNotIn(self.c.bearer, text)


class BearerTest(StandinTest):
    def test_missing(self):
        self.c.bearer = None
        got = self.c.call("GET", "jobs/x", options={"location": "US"})
        self.assert_error(got, 401, "required", "Request is missing required authentication credential.")

    def test_unknown(self):
        self.c.bearer = "ya29.nonsense"
        got = self.c.call("GET", "jobs/x", options={"location": "US"})
        self.assert_error(got, 401, "authError", "Request had invalid authentication credentials.")

    def test_expired(self):
        self.c.rule("get", expire_token=True)
        got = self.c.call("GET", "jobs/x", options={"location": "US"})
        self.assert_error(got, 401, "authError", "Request had invalid authentication credentials.")
        self.c.login()
        self.assertEqual(self.c.call("GET", "jobs/x", options={"location": "US"})[0], 404)

    def test_scope_too_small(self):
        self.c.login(scope="https://www.googleapis.com/auth/bigquery.readonly")
        got = self.c.call("POST", "jobs", self.c.insert_body())
        self.assert_error(got, 403, "insufficientPermissions", "insufficient authentication scopes")


class AsGoogleTest(unittest.TestCase):
    """Under Google's names, for those whose hosts file has them for this server."""

    def test_names_and_address(self):
        client = Client("--as-google")
        try:
            with open(os.path.join(client.certs, "key.json")) as file:
                self.assertEqual(json.load(file)["token_uri"], "https://oauth2.googleapis.com/token")
            for name in ("oauth2.googleapis.com", "bigquery.googleapis.com", "localhost"):
                # 127.0.0.2: an address that only who listens on every one has
                with socket.create_connection(("127.0.0.2", client.ready["https_port"]), 10) as plain:
                    with client.context.wrap_socket(plain, server_hostname=name) as tls:
                        self.assertIsNotNone(tls.version())
        finally:
            client.stop()


if __name__ == "__main__":
    unittest.main()
