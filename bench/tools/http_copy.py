#!/usr/bin/env python3
"""A day of tokens by hand: BigQuery's REST API with urllib3 and orjson, one COPY.

    http_copy.py DAY TABLE
"""
import os
import sys
from datetime import datetime, timedelta, timezone

import orjson
import psycopg
import urllib3
from google.auth.transport.urllib3 import Request
from google.oauth2 import service_account

from query import COLUMNS, SQL, delete, window

EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
SCOPE = "https://www.googleapis.com/auth/bigquery"


class BigQuery:
    def __init__(self):
        self.http = urllib3.PoolManager(ca_certs=os.environ["REQUESTS_CA_BUNDLE"])
        credentials = service_account.Credentials.from_service_account_file(
            os.environ["GOOGLE_APPLICATION_CREDENTIALS"], scopes=[SCOPE])
        credentials.refresh(Request(self.http))
        self.project = credentials.project_id
        self.base = f"{os.environ['BIGQUERY_ENDPOINT']}/bigquery/v2/projects/{self.project}"
        self.headers = {"Authorization": f"Bearer {credentials.token}", "Content-Type": "application/json"}

    def call(self, method, path, fields=None, body=None):
        options = {"fields": fields} if method == "GET" else {"body": orjson.dumps(body)}
        answer = self.http.request(method, self.base + path, headers=self.headers, **options)
        if answer.status != 200:
            raise RuntimeError(f"{answer.status}: {answer.data[:500]!r}")
        return orjson.loads(answer.data)

    def rows(self, sql, parameters):
        """All rows of a query, as lists of texts."""
        query = {"query": sql, "useLegacySql": False, "parameterMode": "NAMED", "queryParameters": [
            {"name": name, "parameterType": {"type": "TIMESTAMP"}, "parameterValue": {"value": value.isoformat(" ")}}
            for name, value in parameters.items()]}
        job = self.call("POST", "/jobs?prettyPrint=false", body={"configuration": {"query": query}})["jobReference"]
        options = {"location": job["location"], "prettyPrint": "false", "formatOptions.useInt64Timestamp": "true"}
        while True:
            page = self.call("GET", f"/queries/{job['jobId']}", fields=options)
            if page["jobComplete"]:
                for row in page.get("rows", ()):
                    yield [cell["v"] for cell in row["f"]]
                if "pageToken" not in page:
                    return
                options["pageToken"] = page["pageToken"]


def main(day, table):
    timestamp = COLUMNS.index("block_timestamp")
    with psycopg.connect() as connection, connection.cursor() as cursor:
        delete(cursor, table, day)
        with cursor.copy(f"COPY {table} ({', '.join(COLUMNS)}) FROM STDIN") as copy:
            for row in BigQuery().rows(SQL, window(day)):
                row[timestamp] = EPOCH + timedelta(microseconds=int(row[timestamp]))
                copy.write_row(row)


main(*sys.argv[1:])
