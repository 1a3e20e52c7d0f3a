"""The private PostgreSQL and the stand-in, as measurements see them."""
import http.client
import json
import os
import re
import ssl
import time
import urllib.request

import psycopg

TOKENS = "bigquery-public-data.crypto_ethereum.tokens"
# What a page may be: the service cuts them short from there on.
PAGE_BYTES = 10_000_000


class Session:
    """A connection, and its backend as /proc shows it."""

    def __init__(self, database="postgres"):
        self.connection = psycopg.connect(dbname=database, autocommit=True)
        self.pid = self.connection.info.backend_pid
        self.run("SET timezone = 'UTC'")

    def run(self, sql, *values):
        """The rows, if there are any; % stays % where there are no values."""
        cursor = self.connection.execute(sql, values or None)
        return cursor.fetchall() if cursor.description else []

    def one(self, sql, *values):
        return self.run(sql, *values)[0]

    def close(self):
        self.connection.close()

    def cpu(self):
        """Seconds of CPU so far."""
        with open(f"/proc/{self.pid}/schedstat") as file:
            return int(file.read().split()[0]) / 1e9


def status(pid, name):
    """A number of /proc/PID/status."""
    with open(f"/proc/{pid}/status") as file:
        return int(re.search(rf"^{name}:\s+(\d+)", file.read(), re.M).group(1))


class Cluster:
    def __init__(self, work):
        self.data = os.path.join(work, "cluster", "data")

    def postmaster(self):
        """Its process."""
        with open(os.path.join(self.data, "postmaster.pid")) as file:
            return int(file.readline())

    def checkpoint(self, session, table):
        """The same start for every run: an empty table, and nothing left to write."""
        session.run(f"TRUNCATE {table}")
        session.run("CHECKPOINT")

    def written(self, session):
        """Bytes of WAL so far."""
        return int(session.one("SELECT pg_current_wal_insert_lsn() - '0/0'")[0])

    def contents(self, session, table, columns):
        """(rows, a sum of the rows' hashes): equal for equal rows in any order."""
        return session.one(f"SELECT count(*), coalesce(sum(hashtextextended(ROW({columns})::text, 0)::numeric), 0) "
                           f"FROM {table}")


class Standin:
    """Control calls over http, and pages over https as a client that does nothing with them sees them."""

    def __init__(self, work):
        with open(os.path.join(work, "ready.json")) as file:
            ready = json.load(file)
        self.certs, self.project = ready["certs"], ready["project"]
        self.control_url = f"http://127.0.0.1:{ready['http_port']}/_control/"
        self.port = ready["https_port"]
        self.url = f"https://localhost:{self.port}"
        self.ca_file = os.path.join(self.certs, "ca.pem")
        self.key_file = os.path.join(self.certs, "key.json")

    def control(self, method, name, body=None):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.control_url + name, data=data, method=method)
        with urllib.request.urlopen(request, timeout=600) as answer:
            return json.load(answer)

    def generate(self, day, rows):
        self.control("POST", "table", {"table": TOKENS, "append": True, "generate": {"day": day, "rows": rows}})

    def fresh(self, page_bytes=PAGE_BYTES, delay_ms=0):
        """No log, no tokens; encoded results stay.  Every answer is cut at page_bytes, and late by delay_ms."""
        self.control("POST", "reset", {"tables": False})
        action = {"page_bytes": page_bytes, **({"delay_ms": delay_ms} if delay_ms else {})}
        self.control("POST", "rule", {"match": {"kind": "any", "times": 0}, "action": action})

    def requests(self):
        """The kinds of requests since fresh()."""
        return [entry["kind"] for entry in self.control("GET", "requests")["requests"]]

    def reader(self):
        context = ssl.create_default_context(cafile=self.ca_file)
        return http.client.HTTPSConnection("localhost", self.port, context=context, timeout=600)

    def ask(self, connection, sql, low, high):
        """A job; the path of its pages."""
        names = {"low": low, "high": high}
        parameters = [{"name": name, "parameterType": {"type": "TIMESTAMP"}, "parameterValue": {"value": value}}
                      for name, value in names.items()]
        query = {"query": sql, "useLegacySql": False, "parameterMode": "NAMED", "queryParameters": parameters}
        connection.request("POST", f"/bigquery/v2/projects/{self.project}/jobs?prettyPrint=false",
                           json.dumps({"configuration": {"query": query}}), {"Content-Type": "application/json"})
        job = json.loads(connection.getresponse().read())["jobReference"]["jobId"]
        return (f"/bigquery/v2/projects/{self.project}/queries/{job}?location=US&prettyPrint=false"
                "&formatOptions.useInt64Timestamp=true")

    def page(self, connection, path, start, rows, buffer):
        """Read a page and throw it away; its bytes."""
        connection.request("GET", f"{path}&startIndex={start}&maxResults={rows}")
        answer = connection.getresponse()
        total = 0
        while True:
            taken = answer.readinto(buffer)
            if not taken:
                return total
            total += taken

    def raw(self, sql, low, high, rows, page_rows):
        """(bytes, seconds) of reading all rows, page after page on one connection."""
        connection, buffer = self.reader(), bytearray(1 << 20)
        path = self.ask(connection, sql, low, high)
        # the first request for a result is the one that encodes it
        self.page(connection, path, 0, 1, buffer)
        began = time.perf_counter()
        total = sum(self.page(connection, path, start, page_rows, buffer) for start in range(0, rows, page_rows))
        seconds = time.perf_counter() - began
        connection.close()
        return total, seconds
