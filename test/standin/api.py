"""Which call a request is, and its answer: routing, the token, the project's calls."""
import json
import re
from urllib.parse import parse_qsl

import auth
from errors import ApiError, OAuthError, invalid
from pages import Answer, RawAnswer

ROUTES = [
    ("POST", re.compile(r"/token"), "token"),
    ("POST", re.compile(r"/v1/token"), "sts"),
    ("POST", re.compile(r"/v1/projects/-/serviceAccounts/([^/:]+):generateAccessToken"), "impersonate"),
    ("GET", re.compile(r"/computeMetadata/v1/(.*)"), "metadata"),
    ("GET", re.compile(r"/subject-token"), "subject"),
    ("GET", re.compile(r"/bigquery/v2/projects"), "projects_list"),
    ("POST", re.compile(r"/bigquery/v2/projects/([^/]+)/jobs"), "insert"),
    ("GET", re.compile(r"/bigquery/v2/projects/([^/]+)/queries/([^/]+)"), "results"),
    ("GET", re.compile(r"/bigquery/v2/projects/([^/]+)/jobs/([^/]+)"), "get"),
    ("POST", re.compile(r"/bigquery/v2/projects/([^/]+)/jobs/([^/]+)/cancel"), "cancel"),
    ("POST", re.compile(r"/bigquery/v2/projects/([^/]+)/queries"), "query"),
    ("GET", re.compile(r"/bigquery/v2/projects/([^/]+)/datasets/([^/]+)/tables"), "tables_list"),
    ("GET", re.compile(r"/bigquery/v2/projects/([^/]+)/datasets/([^/]+)/tables/([^/]+)"), "table_get"),
]


# Whoever hands out tokens to get tokens with.
IDENTITY = ("sts", "impersonate", "metadata", "subject")


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
    if kind == "token" or kind in IDENTITY:
        facts["assertion"] = assertion_facts(request.body)
        facts["asked"] = asked_facts(kind, request.body)
        return facts
    facts["quota_project"] = request.headers.get("X-Goog-User-Project")
    facts["bearer"], facts["account"] = checker.bearer(request.headers.get("Authorization"))
    if kind in ("tables_list", "table_get"):
        facts["table"] = ".".join(parts)
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


def asked_facts(kind, body):
    """What a request for a token asks for, without its secrets."""
    if kind == "impersonate":
        try:
            return json.loads(body)
        except ValueError:
            return None
    form = dict(parse_qsl(body.decode("ascii", "replace")))
    return {name: form[name] for name in ("grant_type", "scope", "audience", "options") if name in form}


class Api:
    """The calls, over the jobs, the tables and the accounts of one stand-in."""

    def __init__(self, jobs, listing, checker, identity):
        self.identity = identity
        self.jobs = jobs
        self.listing = listing
        self.auth = checker

    def answer(self, request, kind, parts, action):
        """The answer to a request, errors included."""
        try:
            if action.get("expire_token"):
                self.auth.expire_all()
            if kind == "token":
                answer = Answer(self.auth.exchange(request.headers.get("Content-Type", ""), request.body,
                                                   action.get("expires_in")))
            elif kind in IDENTITY:
                answer = self.identity.answer(request, kind, parts, action.get("expires_in"))
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
        state, account = self.auth.bearer(request.headers.get("Authorization"))
        self.auth.require(state, kind)
        if kind == "projects_list":
            return Answer({"kind": "bigquery#projectList", "projects": [], "totalItems": 0})
        if kind in ("insert", "query"):
            return getattr(self.jobs, kind)(account, parts[0], self.body(request), action)
        if kind == "results":
            return self.jobs.results(account, *parts, request.query_lower, action)
        if kind in ("tables_list", "table_get"):
            return getattr(self.listing, kind)(account, request.query_lower, *parts)
        return getattr(self.jobs, kind)(account, *parts, request.query_lower.get("location"))

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
