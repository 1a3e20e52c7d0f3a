"""Which call a request is, and its answer: routing, the token, the project's calls."""
import json
import re

import auth
from errors import ApiError, OAuthError, invalid, not_found_dataset, not_found_table
from pages import Answer, RawAnswer

ROUTES = [
    ("POST", re.compile(r"/token"), "token"),
    ("POST", re.compile(r"/bigquery/v2/projects/([^/]+)/jobs"), "insert"),
    ("GET", re.compile(r"/bigquery/v2/projects/([^/]+)/queries/([^/]+)"), "results"),
    ("GET", re.compile(r"/bigquery/v2/projects/([^/]+)/jobs/([^/]+)"), "get"),
    ("POST", re.compile(r"/bigquery/v2/projects/([^/]+)/jobs/([^/]+)/cancel"), "cancel"),
    ("POST", re.compile(r"/bigquery/v2/projects/([^/]+)/queries"), "query"),
    ("GET", re.compile(r"/bigquery/v2/projects/([^/]+)/datasets/([^/]+)/tables/([^/]+)"), "table"),
]


def route(method, path):
    """(kind, path parts) of a request; kind "unknown" when it is no call of ours."""
    for wanted, pattern, kind in ROUTES:
        match = pattern.fullmatch(path)
        if match and wanted == method:
            return kind, match.groups()
    return "unknown", ()


def facts_of(request, kind, parts, checker):
    """What the log tells about a request.  Neither tokens nor signatures are kept."""
    facts = {
        "method": request.method, "path": request.path, "query": request.query, "tls": request.tls,
        "connection": request.connection_number, "user_agent": request.headers.get("User-Agent"),
        "accept_encoding": request.headers.get("Accept-Encoding"),
        "content_type": request.headers.get("Content-Type"), "status": None,
    }
    if kind == "token":
        facts["assertion"] = assertion_facts(request.body)
        return facts
    facts["bearer"] = checker.bearer_state(request.headers.get("Authorization"))
    if kind in ("results", "get", "cancel"):
        facts["job"] = parts[1]
        if kind == "results":
            index = request.query_lower.get("startindex", "0")
            facts["start_index"] = int(index) if index.isdigit() else index
    if kind in ("insert", "query"):
        try:
            facts["body"] = json.loads(request.body)
            facts["job"] = facts["body"].get("jobReference", {}).get("jobId")
        except (ValueError, AttributeError):
            facts["body"] = request.body.decode("utf-8", "replace")
    return facts


def assertion_facts(body):
    match = re.search(rb"(?:^|&)assertion=([^&]*)", body)
    try:
        header, claims, _, _ = auth.decode_jwt(match.group(1).decode())
        return {"header": header, "claims": claims}
    except (AttributeError, ValueError):
        return None


class Api:
    """The calls, over the jobs, the tables and the accounts of one stand-in."""

    def __init__(self, catalog, jobs, checker):
        self.catalog = catalog
        self.jobs = jobs
        self.auth = checker

    def answer(self, request, kind, parts, action):
        """The answer to a request, errors included."""
        try:
            if action.get("expire_token"):
                self.auth.expire_all()
            if kind == "token":
                answer = Answer(self.auth.exchange(request.headers.get("Content-Type", ""), request.body,
                                                   action.get("expires_in")))
            else:
                answer = self.call(request, kind, parts, action)
        except (ApiError, OAuthError) as problem:
            answer = Answer(problem.body(), problem.status, dict(getattr(problem, "headers", {})))
        if "fields" in request.query_lower and answer.status == 200:
            answer.mask(request.query_lower["fields"])
        return answer

    def call(self, request, kind, parts, action):
        if kind == "unknown":
            return RawAnswer(b"Not Found", 404, {"Content-Type": "text/html; charset=UTF-8"})
        self.auth.require(self.auth.bearer_state(request.headers.get("Authorization")), kind)
        location = request.query_lower.get("location")
        if kind == "insert":
            return self.jobs.insert(parts[0], self.body(request), action)
        if kind == "query":
            return self.jobs.query(parts[0], self.body(request), action)
        if kind == "results":
            return self.jobs.results(*parts, request.query_lower, action)
        if kind == "table":
            return self.table(*parts)
        return (self.jobs.get if kind == "get" else self.jobs.cancel)(*parts, location)

    @staticmethod
    def body(request):
        if request.headers.get("Content-Type", "").split(";")[0].strip().lower() != "application/json":
            raise invalid("Invalid JSON payload received. The content type must be application/json.")
        try:
            body = json.loads(request.body)
        except ValueError:
            body = None
        if not isinstance(body, dict):
            raise ApiError("parseError", "Invalid JSON payload received. Parse Error", 400)
        return body

    def table(self, project, dataset, name):
        """tables.get"""
        table = self.catalog.get(f"{project}.{dataset}.{name}")
        if (project, dataset) not in self.catalog.datasets():
            raise not_found_dataset(project, dataset, "US")
        if table is None:
            raise not_found_table(project, dataset, name, "US")
        fields = {
            "kind": "bigquery#table", "id": f"{project}:{dataset}.{name}",
            "tableReference": {"projectId": project, "datasetId": dataset, "tableId": name},
            "schema": {"fields": table.fields}, "numRows": str(table.row_count()), "type": "TABLE",
            "numBytes": str(table.bytes_of(range(len(table.fields)))), "location": table.location,
            "lastModifiedTime": str(1_700_000_000_000 + table.version),
        }
        if table.partition_column:
            fields["timePartitioning"] = {"type": "DAY", "field": table.partition_column}
        return Answer(fields)
