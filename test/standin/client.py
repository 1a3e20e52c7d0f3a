"""A small client for the stand-in's own tests: signs with openssl, speaks HTTP, starts and stops a server."""
import base64
import json
import os
import ssl
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
import uuid

HERE = os.path.dirname(os.path.abspath(__file__))
TOKENS = "bigquery-public-data.crypto_ethereum.tokens"
GRANT_TYPE = "urn:ietf:params:oauth:grant-type:jwt-bearer"
ALL_COLUMNS = ["address", "symbol", "name", "decimals", "total_supply", "block_timestamp", "block_number",
               "block_hash"]


def b64url(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def sign(key_pem_file, header, claims):
    """A JWT signed by the openssl command line."""
    signed = ".".join(b64url(json.dumps(part).encode()) for part in (header, claims))
    done = subprocess.run(["openssl", "dgst", "-sha256", "-sign", key_pem_file], input=signed.encode(),
                          stdout=subprocess.PIPE, check=True)
    return signed + "." + b64url(done.stdout)


def select(columns=ALL_COLUMNS, table=TOKENS, where="`block_timestamp` >= @p1 AND `block_timestamp` < @p2"):
    """The text as the extension writes it."""
    names = ", ".join(f"`{column}`" for column in columns)
    return f"SELECT {names} FROM `{table}`" + (f" WHERE {where}" if where else "")


def timestamp_parameter(name, text):
    return {"name": name, "parameterType": {"type": "TIMESTAMP"}, "parameterValue": {"value": text}}


class Client:
    """A stand-in in a process of its own, and the calls to it.  Every call gives (status, JSON or bytes, headers)."""

    def __init__(self, *options):
        self.directory = tempfile.TemporaryDirectory(prefix="standin-test-")
        self.certs = os.path.join(self.directory.name, "certs")
        ready_file = os.path.join(self.directory.name, "ready")
        command = [sys.executable, os.path.join(HERE, "server.py"), "--certs", self.certs, "--ready-file", ready_file,
                   "--with-parent", *options]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + 60
        while not os.path.exists(ready_file):
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError("the stand-in did not start")
            time.sleep(0.02)
        with open(ready_file) as file:
            self.ready = json.load(file)
        self.http = f"http://127.0.0.1:{self.ready['http_port']}"
        self.https = f"https://localhost:{self.ready['https_port']}"
        self.base = self.http
        self.context = ssl.create_default_context(cafile=os.path.join(self.certs, "ca.pem"))
        self.bearer = None

    def stop(self):
        self.process.terminate()
        self.process.wait(30)
        self.directory.cleanup()

    def request(self, method, path, body=None, headers=None):
        request = urllib.request.Request(self.base + path, data=body, method=method, headers=headers or {})
        try:
            with urllib.request.urlopen(request, context=self.context, timeout=60) as answer:
                status, data, got = answer.status, answer.read(), answer.headers
        except urllib.error.HTTPError as answer:
            status, data, got = answer.code, answer.read(), answer.headers
        if got.get("Content-Type", "").startswith("application/json"):
            try:
                data = json.loads(data)
            except ValueError:
                pass
        return status, data, got

    # -- control -------------------------------------------------------------------------------------------------

    def control(self, method, name, body=None):
        base, self.base = self.base, self.http
        try:
            data = None if body is None else json.dumps(body).encode()
            status, answer, _ = self.request(method, "/_control/" + name, data)
        finally:
            self.base = base
        if status != 200:
            raise RuntimeError(f"control {name}: {status} {answer}")
        return answer

    def rule(self, kind="any", times=1, nth=1, **action):
        match = {"kind": kind, "times": times, "nth": nth}
        for name in ("start_index", "job", "table", "account"):
            if name in action:
                match[name] = action.pop(name)
        return self.control("POST", "rule", {"match": match, "action": action})["id"]

    def release(self, rule=None):
        self.control("POST", "release", {"rule": rule})

    def wait(self, **wanted):
        return self.control("POST", "wait", wanted)["request"]

    def log(self, kind=None):
        return self.control("GET", "requests" + (f"?kind={kind}" if kind else ""))["requests"]

    # -- the token endpoint --------------------------------------------------------------------------------------

    def key(self, name="key.json"):
        with open(os.path.join(self.certs, name)) as file:
            return json.load(file)

    def assertion(self, key_file="service.key", header=None, key_json="key.json", **claims):
        key, now = self.key(key_json), int(time.time())
        wanted = {"iss": key["client_email"], "scope": "https://www.googleapis.com/auth/bigquery",
                  "aud": "https://oauth2.googleapis.com/token", "iat": now, "exp": now + 3600}
        wanted.update(claims)
        wanted = {name: value for name, value in wanted.items() if value is not None}
        header = dict({"alg": "RS256", "typ": "JWT", "kid": key["private_key_id"]}, **(header or {}))
        return sign(os.path.join(self.certs, key_file), header, wanted)

    def exchange(self, assertion, grant_type=GRANT_TYPE, content_type="application/x-www-form-urlencoded"):
        form = urllib.parse.urlencode({"grant_type": grant_type, "assertion": assertion}).encode()
        return self.request("POST", "/token", form, {"Content-Type": content_type})

    def login(self, **claims):
        status, answer, _ = self.exchange(self.assertion(**claims))
        if status != 200:
            raise RuntimeError(f"token refused: {answer}")
        self.bearer = answer["access_token"]
        return answer

    # -- BigQuery ------------------------------------------------------------------------------------------------

    def call(self, method, path, body=None, options=None, headers=None, project="test-project"):
        """options are query parameters; prettyPrint=false is added."""
        options = dict({"prettyPrint": "false"}, **(options or {}))
        sent = {"Authorization": f"Bearer {self.bearer}"} if self.bearer else {}
        if body is not None:
            sent["Content-Type"] = "application/json"
            body = json.dumps(body).encode()
        sent.update(headers or {})
        path = f"/bigquery/v2/projects/{project}/{path}?" + urllib.parse.urlencode(options)
        return self.request(method, path, body, sent)

    def insert_body(self, text=None, low="2024-02-29 00:00:00+00:00", high="2024-03-01 00:00:00+00:00", **query):
        config = {
            "query": text or select(), "useLegacySql": False, "parameterMode": "NAMED",
            "queryParameters": [timestamp_parameter("p1", low), timestamp_parameter("p2", high)],
            "maximumBytesBilled": "1073741824",
        }
        config.update(query)
        config = {name: value for name, value in config.items() if value is not None}
        reference = {"projectId": "test-project", "jobId": "contratos_" + uuid.uuid4().hex, "location": "US"}
        return {"jobReference": reference,
                "configuration": {"query": config, "jobTimeoutMs": "600000", "labels": {"app": "contratos"}}}

    def insert(self, text=None, **query):
        """jobs.insert; gives (job id, status, answer)."""
        body = self.insert_body(text, **query)
        status, answer, _ = self.call("POST", "jobs", body)
        return body["jobReference"]["jobId"], status, answer

    def results(self, job, drop=(), **options):
        wanted = dict({"location": "US", "timeoutMs": "10000", "formatOptions.useInt64Timestamp": "true"},
                      **{name: str(value) for name, value in options.items()})
        for name in drop:
            del wanted[name]
        return self.call("GET", f"queries/{job}", options=wanted)

    def run(self, text=None, drop=(), **query):
        """Insert and read the first page: (status, answer)."""
        job, _, _ = self.insert(text, **query)
        status, answer, _ = self.results(job, drop)
        return status, answer


def cells(answer):
    """The rows of a page as lists of texts."""
    return [[cell["v"] for cell in row["f"]] for row in answer.get("rows", [])]
