"""A small REST client for BigQuery that cannot be billed more than a cap: key, token, requests, budget.

Nothing but the standard library and the openssl command.  A request that could be billed is refused unless it has a
maximumBytesBilled that fits into what is left; that much stays reserved until jobs.get tells what was billed.
"""
import base64
import gzip
import http.client
import json
import os
import re
import ssl
import subprocess
import time
import urllib.parse

GRANT_TYPE = "urn:ietf:params:oauth:grant-type:jwt-bearer"
TOKEN_URI = "https://oauth2.googleapis.com/token"
SCOPE = "https://www.googleapis.com/auth/bigquery"
MEGABYTE = 1 << 20
MINIMUM_BILL = 10 * MEGABYTE
LOOPBACK = ("localhost", "127.0.0.1", "::1")


class Problem(Exception):
    """Something that ends the run; its text is for the user."""


class OverCap(Exception):
    """A request that the cap on bytes billed does not allow; it was not sent."""


def b64url(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


class Key:
    """A service-account key file.  Its private key leaves this object as signatures only."""

    def __init__(self, path):
        self.path = path
        try:
            with open(path, encoding="utf-8") as file:
                key = json.load(file)
            kind = key["type"]
        except OSError as problem:
            raise Problem(f'cannot read the key file "{path}": {problem.strerror}') from None
        except (ValueError, KeyError, TypeError):
            raise Problem(f'"{path}" is not a key file: it has no JSON with a "type"') from None
        if kind != "service_account":
            raise Problem(f'"{path}" has credentials of the kind "{kind}"; this script takes a service-account key')
        try:
            self.email, self.key_id, self._pem = key["client_email"], key["private_key_id"], key["private_key"]
        except KeyError as missing:
            raise Problem(f'the key file "{path}" has no {missing}') from None
        self.token_uri = key.get("token_uri") or TOKEN_URI

    def secrets(self):
        """Texts that nobody may see: the lines of the private key, as in the file and as in PEM."""
        lines = self._pem.replace("\\n", "\n").splitlines()
        return [line for line in lines if len(line) >= 16 and not line.startswith("-----")]

    def sign(self, claims):
        header = {"alg": "RS256", "typ": "JWT", "kid": self.key_id}
        signed = ".".join(b64url(json.dumps(part).encode()) for part in (header, claims))
        reading, writing = os.pipe()
        try:
            os.write(writing, self._pem.encode())  # a key is smaller than a pipe
            os.close(writing)
            done = subprocess.run(["openssl", "dgst", "-sha256", "-sign", f"/dev/fd/{reading}"], input=signed.encode(),
                                  stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, pass_fds=[reading])
        finally:
            os.close(reading)
        if done.returncode != 0:
            raise Problem(f'openssl cannot sign with the private key of "{self.path}"')
        return signed + "." + b64url(done.stdout)

    def claims(self, **other):
        now = int(time.time())
        return dict({"iss": self.email, "scope": SCOPE, "aud": TOKEN_URI, "iat": now, "exp": now + 3600}, **other)


class Reply:
    """An HTTP answer, read to its end."""

    def __init__(self, status, headers, raw, milliseconds):
        self.status, self.headers, self.wire_bytes, self.milliseconds = status, headers, len(raw), milliseconds
        self.encoding = headers.get("Content-Encoding", "")
        self.body = gzip.decompress(raw) if self.encoding == "gzip" else raw
        try:
            self.json = json.loads(self.body)
        except ValueError:
            self.json = None
        if not isinstance(self.json, dict):
            self.json = {}

    def at(self, path, default=None):
        """A value by its path, "status.errorResult.reason"; default where there is none."""
        value = self.json
        for name in path.split("."):
            if isinstance(value, list) and name.isdigit() and int(name) < len(value):
                value = value[int(name)]
            elif isinstance(value, dict) and name in value:
                value = value[name]
            else:
                return default
        return value

    @property
    def reason(self):
        return self.at("error.errors.0.reason")

    @property
    def message(self):
        return self.at("error.message") or self.at("error_description")

    def outcome(self):
        """HTTP status, and of an error its reason and message."""
        if self.status == 200:
            return "200"
        if not self.json:
            kind = self.headers.get("Content-Type", "no type")
            return f"{self.status}, body is not JSON ({kind}, {len(self.body)} bytes)"
        status = self.at("error.status")
        return f"{self.status} {self.reason or self.at('error')}{f' ({status})' if status else ''}: {self.message}"

    def rows(self):
        """The rows as lists of values, whatever they are."""
        rows = self.at("rows") or []
        return [[cell.get("v") for cell in row.get("f") or []] for row in rows]


class Budget:
    """How many bytes may still be billed."""

    def __init__(self, total):
        self.total, self.spent = total, 0
        self.reserved = {}  # (project, job id, location) or a name → bytes

    @property
    def left(self):
        return self.total - self.spent - sum(self.reserved.values())

    def allowance(self, wanted):
        """What a query may be billed, in whole MB; raises OverCap where even the least bill does not fit."""
        least = min(self.left, wanted) // MEGABYTE * MEGABYTE
        if least < MINIMUM_BILL:
            raise OverCap(f"{self.left:,} bytes are left of the cap of {self.total:,}, and BigQuery bills 10 MB at least")
        return least


def connect(url, context, timeout):
    parts = urllib.parse.urlsplit(url)
    if parts.scheme == "https":
        return http.client.HTTPSConnection(parts.hostname, parts.port, timeout=timeout, context=context)
    if parts.scheme == "http" and parts.hostname in LOOPBACK:
        return http.client.HTTPConnection(parts.hostname, parts.port, timeout=timeout)
    raise Problem(f"{url}: https is needed, or http on loopback")


class Service:
    """BigQuery, as one account sees it."""

    def __init__(self, key, project, endpoint, ca_file=None, location="US", cap=10**9, timeout=240):
        self.key, self.project, self.endpoint, self.location = key, project, endpoint.rstrip("/"), location
        self.ca_file, self.timeout = ca_file, timeout
        self.context = ssl.create_default_context(cafile=ca_file or None)
        self.budget = Budget(cap)
        self.token = None
        self.tokens = []  # every one there was: to be found should it be printed
        self.token_reply = None
        self.requests = 0

    # -- the token -----------------------------------------------------------------------------------------------

    def ask_token(self, **claims):
        """The token endpoint's reply to an assertion."""
        host = urllib.parse.urlsplit(self.key.token_uri).hostname
        here = urllib.parse.urlsplit(self.endpoint).hostname in LOOPBACK
        if self.key.token_uri != TOKEN_URI and not (here and host in LOOPBACK):
            raise Problem(f'the key file names the token_uri "{self.key.token_uri}", and not {TOKEN_URI}')
        form = {"grant_type": GRANT_TYPE, "assertion": self.key.sign(self.key.claims(**claims))}
        reply = self.send("POST", self.key.token_uri, urllib.parse.urlencode(form).encode(),
                          {"Content-Type": "application/x-www-form-urlencoded"})
        token = reply.at("access_token")
        if isinstance(token, str):
            self.tokens.append(token)
        return reply

    def login(self):
        self.token_reply = reply = self.ask_token()
        token = reply.at("access_token")
        if reply.status != 200 or not isinstance(token, str):
            raise Problem(f'no token for the key file "{self.key.path}": {reply.outcome()}')
        self.token = token

    # -- requests ------------------------------------------------------------------------------------------------

    def send(self, method, url, body=None, headers=None):
        """One request, without repetition."""
        parts = urllib.parse.urlsplit(url)
        self.requests += 1
        connection = connect(url, self.context, self.timeout)
        began = time.monotonic()
        try:
            connection.request(method, parts.path + (f"?{parts.query}" if parts.query else ""), body, headers or {})
            answer = connection.getresponse()
            raw = answer.read()
        except (OSError, http.client.HTTPException) as problem:
            raise ConnectionError(f"{parts.hostname}: {type(problem).__name__}: {problem}") from None
        finally:
            connection.close()
        return Reply(answer.status, answer.headers, raw, round((time.monotonic() - began) * 1000))

    def call(self, method, path, body=None, options=None, headers=None, project=None, token=None, plain=False):
        """A call below projects/PROJECT; options are query parameters.  plain: neither gzip nor prettyPrint=false."""
        project = self.project if project is None else project
        if not self.token:
            self.login()
        sent = {"Authorization": f"Bearer {token or self.token}", "User-Agent": "contratos/real"}
        options = dict(options or {})
        if not plain:
            sent.update({"User-Agent": "contratos/real (gzip)", "Accept-Encoding": "gzip"})
            options.setdefault("prettyPrint", "false")
        reserved = None
        if body is not None:
            reserved = self.guard(method, path, body)
            sent["Content-Type"] = "application/json"
            body = json.dumps(body).encode()
        sent.update(headers or {})
        url = f"{self.endpoint}/bigquery/v2/projects/{urllib.parse.quote(project, safe='')}/{path}"
        url += "?" + urllib.parse.urlencode(options) if options else ""
        name = object()
        if reserved:
            self.budget.reserved[name] = reserved
        reply = self.send(method, url, body, sent)  # without an answer the reservation stays
        if reserved:
            del self.budget.reserved[name]
            self.note(reply, reserved)
        return reply

    def guard(self, method, path, body):
        """What a request may be billed; raises OverCap unless it says so itself and it fits."""
        config = body.get("configuration", body) if method == "POST" else {}
        if method != "POST" or path not in ("queries", "jobs") or config.get("dryRun") is True:
            return None
        inner = config.get("query") if path == "jobs" else config
        cap = inner.get("maximumBytesBilled") if isinstance(inner, dict) else None
        if cap is None:
            raise OverCap("a query without maximumBytesBilled is not sent")
        if int(cap) > self.budget.left:
            raise OverCap(f"a query with maximumBytesBilled {cap} is not sent: {self.budget.left:,} bytes are left "
                          f"of the cap of {self.budget.total:,}")
        return int(cap)

    def note(self, reply, reserved):
        """Keep the reservation for a job that may be billed."""
        if reply.status >= 400 and reply.status < 500:
            return
        reference = reply.at("jobReference")
        job = reference.get("jobId") if isinstance(reference, dict) else None
        if job:
            self.budget.reserved[(reference.get("projectId"), job, reference.get("location"))] = reserved
        elif reply.status == 200 and reply.at("totalBytesBilled", reply.at("totalBytesProcessed")) is not None:
            self.budget.spent += int(reply.at("totalBytesBilled") or reserved)
        else:
            self.budget.reserved[object()] = reserved

    def settle(self):
        """Ask what the jobs were billed that may have been."""
        for name in [name for name in self.budget.reserved if isinstance(name, tuple)]:
            billed = self.billed(*name)
            if billed is not None:
                self.budget.spent += billed
                del self.budget.reserved[name]

    def billed(self, project, job, location):
        """What a job was billed; None while it runs, or when the service does not say."""
        reply = self.call("GET", f"jobs/{urllib.parse.quote(job, safe='')}", project=project,
                          options={"location": location or self.location})
        if reply.at("status.state") != "DONE":
            return None
        told = reply.at("statistics.query.totalBytesBilled")
        return int(told) if told is not None and re.fullmatch(r"\d+", str(told)) else None

    # -- queries -------------------------------------------------------------------------------------------------

    def body(self, text, cap=MINIMUM_BILL, **more):
        """The body of jobs.query, capped."""
        body = {"query": text, "useLegacySql": False, "location": self.location, "timeoutMs": 60000,
                "maximumBytesBilled": str(cap)}
        body.update(more)
        return {name: value for name, value in body.items() if value is not None}

    def query(self, text, **more):
        return self.call("POST", "queries", self.body(text, **more))

    def dry_run(self, text, project=None, **more):
        """jobs.query as a dry run: free."""
        body = self.body(text, **more)
        body["dryRun"] = True
        return self.call("POST", "queries", body, project=project)

    def insert(self, text, job, cap=MINIMUM_BILL, **more):
        """jobs.insert as contratos does it."""
        query = {"query": text, "useLegacySql": False, "maximumBytesBilled": str(cap)}
        query.update(more.pop("query", {}))
        configuration = dict({"query": query, "labels": {"app": "contratos"}}, **more)
        reference = {"projectId": self.project, "jobId": job, "location": self.location}
        return self.call("POST", "jobs", {"jobReference": reference, "configuration": configuration})

    def results(self, job, location=None, **options):
        wanted = {"location": location or self.location, "timeoutMs": "60000", "formatOptions.useInt64Timestamp": "true"}
        wanted.update({name.replace("_", "."): str(value) for name, value in options.items()})
        return self.call("GET", f"queries/{job}", options={k: v for k, v in wanted.items() if v != ""})

    def table(self, name, **options):
        """tables.get of project.dataset.table."""
        project, dataset, table = name.split(".", 2)
        path = f"datasets/{urllib.parse.quote(dataset, safe='')}/tables/{urllib.parse.quote(table, safe='')}"
        return self.call("GET", path, project=project, options=options)
