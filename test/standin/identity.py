"""Who else hands out tokens: the Security Token Service, IAM, the metadata server, another provider.

Each in the form of the real one: STS as OAuth token exchange (RFC 8693), IAM's generateAccessToken as one of Google's
APIs, the metadata server with its header, the other provider as Azure's (which wants a header, too).
"""
import datetime
import json
import re

import certs
from auth import IAM_SCOPES, SCOPE_PREFIX, TOKEN_SECONDS, error_info, read_form
from errors import ApiError, OAuthError
from pages import Answer, RawAnswer

GRANT_TYPE = "urn:ietf:params:oauth:grant-type:token-exchange"
ACCESS_TOKEN_TYPE = "urn:ietf:params:oauth:token-type:access_token"
FLAVOR = {"Metadata-Flavor": "Google", "Server": "Metadata Server for VM"}
# How somebody from the pool is called.
PRINCIPAL = "principal:" + certs.AUDIENCE.rsplit("/providers", 1)[0] + "/subject/standin"
NO_TARGET = (
    'The target service indicated by the "audience" parameters is invalid. This might either be because the pool or '
    "provider is disabled or deleted or because it doesn't exist."
)


class IamError(ApiError):
    """An error of the IAM Credentials API: no list of errors, but details."""

    def body(self):
        error = super().body()["error"]
        return {"error": {name: error[name] for name in ("code", "message", "status", "details") if name in error}}


class Identity:
    """The other providers of one stand-in, over its tokens."""

    def __init__(self, auth, project):
        self.auth = auth
        self.project = project
        self.reset()

    def reset(self):
        self.subject_token = certs.SUBJECT_TOKEN

    def answer(self, request, kind, parts, expires_in):
        """The answer to a call of kind sts, impersonate, metadata or subject."""
        return getattr(self, kind)(request, parts, expires_in)

    def sts(self, request, parts, expires_in):
        form = read_form(request.headers.get("Content-Type", ""), request.body)
        if form.get("grant_type") != GRANT_TYPE:
            raise OAuthError("unsupported_grant_type", "Unsupported grant type.")
        for name in ("audience", "subject_token", "subject_token_type"):
            if name not in form:
                raise OAuthError("invalid_request", f"Missing required parameter: {name}.")
        if form.get("requested_token_type") != ACCESS_TOKEN_TYPE:
            raise OAuthError("invalid_request", "Invalid requested_token_type.")
        if form["audience"] != certs.AUDIENCE:
            raise OAuthError("invalid_target", NO_TARGET)
        if form["subject_token_type"] != certs.SUBJECT_TOKEN_TYPE:
            raise OAuthError("invalid_request", "The subject_token_type does not fit the provider.")
        scopes = set(form.get("scope", "").split())
        if not scopes or not all(scope.startswith(SCOPE_PREFIX) for scope in scopes):
            raise OAuthError("invalid_scope", "Invalid scope.")
        if form["subject_token"] != self.subject_token:
            raise OAuthError("invalid_grant", "ID Token issued at 1700000000 is stale to sign-in.")
        return Answer(dict(self.auth.issue(PRINCIPAL, scopes, expires_in), issued_token_type=ACCESS_TOKEN_TYPE))

    def impersonate(self, request, parts, expires_in):
        token = (request.headers.get("Authorization") or "").partition(" ")[2]
        ends, scopes, _ = self.auth.known(token)
        if ends is None:
            raise IamError("authError", "Request had invalid authentication credentials.")
        if not scopes & IAM_SCOPES:
            raise IamError("insufficientPermissions", "Request had insufficient authentication scopes.", 403,
                           details=[error_info("ACCESS_TOKEN_SCOPE_INSUFFICIENT")])
        try:
            body = json.loads(request.body)
            wanted, lifetime = set(body["scope"]), int(re.fullmatch(r"(\d+)s", body["lifetime"]).group(1))
        except (ValueError, KeyError, TypeError, AttributeError):
            raise IamError("badRequest", "Invalid JSON payload received.", 400) from None
        if parts[0] != certs.EMAIL:
            permission = "iam.serviceAccounts.getAccessToken"
            raise IamError(
                "forbidden", f"Permission '{permission}' denied on resource (or it may not exist).", 403,
                details=[dict(error_info("IAM_PERMISSION_DENIED"), domain="iam.googleapis.com",
                              metadata={"permission": permission})],
            )
        seconds = lifetime if expires_in is None else expires_in
        token = self.auth.issue(parts[0], wanted, seconds)["access_token"]
        end = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=seconds)
        return Answer({"accessToken": token, "expireTime": end.strftime("%Y-%m-%dT%H:%M:%SZ")})

    def metadata(self, request, parts, expires_in):
        if request.headers.get("Metadata-Flavor") != "Google":
            return RawAnswer(b"Missing Metadata-Flavor:Google header.", 403, dict(FLAVOR))
        if parts[0] == "project/project-id":
            return RawAnswer(self.project.encode(), 200, dict(FLAVOR, **{"Content-Type": "application/text"}))
        if parts[0] != "instance/service-accounts/default/token":
            return RawAnswer(b"not found", 404, dict(FLAVOR))
        seconds = TOKEN_SECONDS if expires_in is None else expires_in
        scopes = {SCOPE_PREFIX + "cloud-platform"}
        return Answer(self.auth.issue(certs.EMAIL, scopes, seconds), headers=dict(FLAVOR))

    def subject(self, request, parts, expires_in):
        if request.headers.get("Metadata") != "True":
            return Answer({"error": "invalid_request", "error_description": "Required metadata header not specified"},
                          400)
        if request.query.get("format") == "json":
            return Answer({"access_token": self.subject_token, "expires_in": "86399", "token_type": "Bearer"})
        return RawAnswer(self.subject_token.encode() + b"\n", 200, {"Content-Type": "text/plain"})
