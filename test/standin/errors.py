"""The errors of the real service: reason, HTTP status, and the JSON they come in."""

# The HTTP status that goes with a reason.  Reasons not listed are 400.
STATUS_OF_REASON = {
    "accessDenied": 403,
    "authError": 401,
    "backendError": 503,
    "badGateway": 502,
    "billingNotEnabled": 403,
    "blocked": 403,
    "duplicate": 409,
    "internalError": 500,
    "notFound": 404,
    "notImplemented": 501,
    "policyViolation": 403,
    "quotaExceeded": 403,
    "rateLimitExceeded": 403,
    "required": 401,
    "responseTooLarge": 403,
}

CANONICAL_STATUS = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    409: "ALREADY_EXISTS",
    429: "RESOURCE_EXHAUSTED",
    500: "INTERNAL",
    501: "UNIMPLEMENTED",
    503: "UNAVAILABLE",
}


class ApiError(Exception):
    """A request that fails as a BigQuery request fails."""

    def __init__(self, reason, message, status=None, location=None, location_type=None, headers=None, details=None):
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.status = status or STATUS_OF_REASON.get(reason, 400)
        self.location = location
        self.location_type = location_type
        self.headers = headers or {}
        self.details = details

    def body(self):
        """The answer's JSON, as a dict."""
        item = {"message": self.message, "domain": "global", "reason": self.reason}
        if self.location:
            item["location"] = self.location
            item["locationType"] = self.location_type or "parameter"
        error = {"code": self.status, "message": self.message, "errors": [item]}
        if self.status in CANONICAL_STATUS:
            error["status"] = CANONICAL_STATUS[self.status]
        if self.details:
            error["details"] = self.details
        return {"error": error}

    def error_proto(self):
        """The same failure as jobs.get tells it in status.errorResult."""
        proto = {"reason": self.reason, "message": self.message}
        if self.location:
            proto["location"] = self.location
        return proto


class OAuthError(Exception):
    """A refusal of the token endpoint, whose JSON has a shape of its own."""

    def __init__(self, error, description, status=400):
        super().__init__(description)
        self.error = error
        self.description = description
        self.status = status

    def body(self):
        return {"error": self.error, "error_description": self.description}


def invalid_query(message):
    """The query text or a parameter is wrong."""
    return ApiError("invalidQuery", message, location="q")


def invalid(message):
    """The request is wrong in another place than the query text."""
    return ApiError("invalid", message)


def not_found(message):
    return ApiError("notFound", message)


def access_denied(what):
    return ApiError("accessDenied", f"Access Denied: {what}")


def not_found_job(project, job_id, location):
    where = f"{location}." if location else ""
    return not_found(f"Not found: Job {project}:{where}{job_id}")


def not_found_table(project, dataset, table, location):
    return not_found(f"Not found: Table {project}:{dataset}.{table} was not found in location {location}")


def not_found_dataset(project, dataset, location):
    return not_found(f"Not found: Dataset {project}:{dataset} was not found in location {location}")
