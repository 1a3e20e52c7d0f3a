"""Query jobs: insert, wait, page, cancel, with the checks and answers of the real service."""
import re
import threading
import time
import uuid

import parameters
import plans
from errors import (
    ApiError,
    access_denied,
    invalid,
    invalid_query,
    not_found_dataset,
    not_found_job,
    not_found_table,
)
from options import first_row, number, page_token, timestamp_format
from pages import Answer, ResultCache
from syntax import parse

MEGABYTE = 1 << 20
MINIMUM_BILL = 10 * MEGABYTE
PAGE_BYTES = 20 * MEGABYTE
LONGEST_WAIT_MS = 200_000
JOB_ID_RE = re.compile(r"[A-Za-z0-9_-]{1,1024}")
LABEL_KEY_RE = re.compile(r"[a-z][a-z0-9_-]{0,62}")
LABEL_VALUE_RE = re.compile(r"[a-z0-9_-]{0,63}")
TRY_STANDARD = "[Try using standard SQL (https://cloud.google.com/bigquery/docs/reference/standard-sql/enabling-standard-sql)]"


def now_ms():
    return str(int(time.time() * 1000))


def int64(config, name, where):
    """An int64 field, which the API takes as a string of digits or as a number."""
    value = config.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not re.fullmatch(r"-?\d+", str(value)):
        raise invalid(f"Invalid value at '{where}.{name}' (TYPE_INT64), {value!r}")
    return int(value)


def check_labels(labels):
    if len(labels) > 64:
        raise invalid("Too many labels: at most 64 are allowed")
    for key, value in labels.items():
        if not LABEL_KEY_RE.fullmatch(key):
            raise invalid(f'Label key "{key}" has invalid characters.')
        if not LABEL_VALUE_RE.fullmatch(value):
            raise invalid(f'Label value "{value}" has invalid characters.')


class Job:
    """One query job.  state is what jobs.get says; held means that it runs until somebody releases it."""

    def __init__(self, project, job_id, location, config, account=None):
        self.project, self.id, self.location, self.config = project, job_id, location, config
        self.account = account
        self.plan = None
        self.cache_key = None
        self.error = None
        self.state = "RUNNING"
        self.held = False
        self.cancel_requested = False
        self.created, self.ended = now_ms(), None
        self.started_at = time.monotonic()
        self.bytes_processed = self.bytes_billed = 0
        self.bill_failed = self.hide_cost = False
        self.held_by = None  # number of the rule that holds it

    def finish(self, error=None):
        if self.state != "DONE":
            self.state, self.held, self.ended = "DONE", False, now_ms()
            self.error = error or self.error

    def reference(self):
        return {"projectId": self.project, "jobId": self.id, "location": self.location}

    def status(self, state=None):
        status = {"state": state or self.state}
        if self.error and self.state == "DONE":
            status["errorResult"] = self.error.error_proto()
            status["errors"] = [self.error.error_proto()]
        return status

    def statistics(self):
        stats = {"creationTime": self.created, "startTime": self.created}
        stats["query"] = {"statementType": "SELECT"}
        if self.state == "DONE":
            stats["endTime"] = self.ended
            stats["totalBytesProcessed"] = str(self.bytes_processed)
            stats["query"].update(
                totalBytesProcessed=str(self.bytes_processed),
                totalBytesBilled="0" if self.error and not self.bill_failed else str(self.bytes_billed),
                totalSlotMs="42",
                cacheHit=False,
            )
            stats["totalSlotMs"] = "42"
            if self.hide_cost:
                del stats["totalBytesProcessed"], stats["query"]["totalBytesProcessed"]
                del stats["query"]["totalBytesBilled"]
        return stats

    def resource(self, state=None):
        """The Job as jobs.insert, jobs.get and jobs.cancel give it."""
        configuration = dict(self.config, jobType="QUERY")
        return {
            "kind": "bigquery#job",
            "etag": "c3RhbmRpbg==",
            "id": f"{self.project}:{self.location}.{self.id}",
            "selfLink": f"https://bigquery.googleapis.com/bigquery/v2/projects/{self.project}/jobs/{self.id}"
            f"?location={self.location}",
            "user_email": self.account or "standin",
            "configuration": configuration,
            "jobReference": self.reference(),
            "statistics": self.statistics(),
            "status": self.status(state),
        }

    def summary(self):
        """What the control interface tells."""
        return {
            "job": self.id, "project": self.project, "location": self.location, "account": self.account,
            "state": self.state,
            "held": self.held, "cancel_requested": self.cancel_requested,
            "error": self.error.error_proto() if self.error else None,
            "query": self.config["query"].get("query"), "bytes_billed": self.bytes_billed,
            "timeout_ms": self.config.get("jobTimeoutMs"), "age_ms": int((time.monotonic() - self.started_at) * 1000),
        }


class Jobs:
    """All jobs of all projects.  Every change is announced through `changed`."""

    def __init__(self, catalog, accounts):
        self.catalog = catalog
        self.accounts = accounts
        self.changed = threading.Condition()
        self.jobs = {}  # (project, location, id) → Job
        self.cache = ResultCache()

    def reset(self):
        with self.changed:
            self.jobs.clear()
            self.changed.notify_all()

    def check_project(self, account, project):
        if not self.accounts.may_bill(account, project):
            raise access_denied(
                f"Project {project}: User does not have bigquery.jobs.create permission in project {project}."
            )

    # -- jobs.insert ---------------------------------------------------------------------------------------------

    def insert(self, account, project, body, action):
        """jobs.insert; action is what a rule has in store for the job."""
        self.check_project(account, project)
        config = body.get("configuration") or {}
        if not (config.get("query") or {}).get("query"):
            raise invalid("Required parameter is missing: query")
        reference = body.get("jobReference") or {}
        if reference.get("projectId", project) != project:
            raise invalid("Value for field jobReference.projectId does not match the project of the request")
        job_id = reference.get("jobId") or "job_" + uuid.uuid4().hex
        if not JOB_ID_RE.fullmatch(job_id):
            raise invalid(f'Invalid job ID "{job_id}". Job IDs must be alphanumeric (plus underscores and dashes) and '
                          "must be at most 1024 characters long.")
        check_labels(config.get("labels") or {})
        cap = int64(config["query"], "maximumBytesBilled", "job.configuration.query")
        int64(config, "jobTimeoutMs", "job.configuration")
        job = Job(project, job_id, reference.get("location") or "US", config, account)
        job.bill_failed, job.hide_cost = bool(action.get("bill_failed")), bool(action.get("hide_cost"))
        if config.get("dryRun"):
            return self.dry_run(job)
        with self.changed:
            key = (project, job.location, job_id)
            if key in self.jobs:
                raise ApiError("duplicate", f"Already Exists: Job {project}:{job.location}.{job_id}")
            self.start(job, cap, action)
            self.jobs[key] = job
        return Answer(job.resource(self.first_state(job, action)))

    @staticmethod
    def first_state(job, action):
        """The state that jobs.insert tells: the service seldom has an answer at once."""
        return "DONE" if job.error and job.state == "DONE" else action.get("insert_state", "RUNNING")

    def dry_run(self, job):
        """The answer to dryRun: what the job would process and give; it is no job, costs nothing, knows no byte cap."""
        text = job.config["query"]["query"]
        if text != "SELECT 1":  # the one query here without a table: it tells who may make jobs
            self.bind(job, None)
        job.finish()
        job.bytes_billed = 0
        resource = job.resource()
        resource["id"] = f"{job.project}:{job.location}."
        del resource["jobReference"]["jobId"], resource["selfLink"]
        del resource["statistics"]["endTime"], resource["statistics"]["totalSlotMs"]
        del resource["statistics"]["query"]["totalSlotMs"]
        if job.plan is None:
            resource["statistics"]["query"]["schema"] = {"fields": [
                {"name": "f0_", "type": "INTEGER", "mode": "NULLABLE"}]}
            return Answer(resource)
        table = job.plan.source
        resource["statistics"]["query"].update(
            totalBytesProcessedAccuracy="PRECISE", schema={"fields": job.plan.fields},
            referencedTables=[{"projectId": table.project, "datasetId": table.dataset, "tableId": table.table}],
        )
        return Answer(resource)

    def start(self, job, cap, action):
        """Bind the job to its table, or fail it; then hold it, fail it later or let it be done."""
        try:
            self.bind(job, cap)
        except ApiError as problem:
            job.finish(problem)
            return
        wanted = action.get("job_error")
        if wanted:
            job.error = ApiError(wanted["reason"], wanted.get("message", "made to fail"), wanted.get("status"))
        if action.get("job_pending"):
            job.held, job.held_by = True, action.get("_rule")
        elif wanted and wanted.get("at") == "insert":
            job.finish()

    def bind(self, job, cap):
        config = job.config["query"]
        text = config["query"]
        if config.get("useLegacySql") is not False:
            name = re.search(r"`([^`]*\.[^`]*)`", text)
            legacy = re.sub(r"\.", ":", name.group(1), count=1) if name else text.split()[-1]
            raise ApiError("invalidQuery", f"Invalid table name: `{legacy}`\n{TRY_STANDARD}.",
                           location="query")
        select = parse(text)
        values = parameters.Parameters(config.get("parameterMode"), parameters.check(config))
        table = self.find_table(select.path, job)
        job.plan = plans.plan(select, table, values)
        job.cache_key = (table.name, table.version, text, values.key())
        job.bytes_processed = job.plan.bytes_processed()
        billed = -(-job.bytes_processed // MEGABYTE) * MEGABYTE
        job.bytes_billed = max(billed, MINIMUM_BILL) if billed else 0
        if cap is not None and job.bytes_billed > cap:
            raise ApiError("bytesBilledLimitExceeded", f"Query exceeded limit for bytes billed: {cap}. "
                           f"{job.bytes_billed} or higher required.")

    def find_table(self, path, job):
        if len(path) == 2:
            path = [job.project, *path]
        if len(path) != 3:
            raise invalid_query(f'Table "{".".join(path)}" must be qualified with a dataset (e.g. dataset.table).')
        project, dataset, name = path
        known = project in self.catalog.projects() | self.accounts.projects()
        if not known or not self.accounts.may_use(job.account, project):
            raise access_denied(
                f"Table {project}:{dataset}.{name}: User does not have permission to query table "
                f"{project}:{dataset}.{name}, or perhaps it does not exist."
            )
        if self.catalog.location(project, dataset) != job.location:
            raise not_found_dataset(project, dataset, job.location)
        table = self.catalog.get(".".join(path))
        if table is None:
            raise not_found_table(project, dataset, name, job.location)
        return table.snapshot()

    # -- jobs.get, jobs.cancel -----------------------------------------------------------------------------------

    def find(self, account, project, job_id, location):
        self.check_project(account, project)
        with self.changed:
            job = self.jobs.get((project, location, job_id))
        if job is None:
            raise not_found_job(project, job_id, location)
        self.settle(job)
        return job

    def settle(self, job):
        """Bring a job to the state that it has by now."""
        with self.changed:
            limit = int64(job.config, "jobTimeoutMs", "job.configuration")
            elapsed = (time.monotonic() - job.started_at) * 1000
            if job.state != "DONE" and job.held and limit and elapsed >= limit:
                job.finish(
                    ApiError("stopped", f"Job execution was cancelled: Job timed out after {limit / 1000:g} sec", 400)
                )
            elif not job.held:
                job.finish()

    def get(self, account, project, job_id, location):
        return Answer(self.find(account, project, job_id, location).resource())

    def cancel(self, account, project, job_id, location):
        job = self.find(account, project, job_id, location)
        with self.changed:
            job.cancel_requested = True
            job.finish(ApiError("stopped", "Job execution was cancelled: User requested cancellation", 400))
            self.changed.notify_all()
        return Answer({"kind": "bigquery#jobCancelResponse", "job": job.resource()})

    def release(self, rule=None):
        """Let held jobs end: those of one rule, or all."""
        with self.changed:
            for job in self.jobs.values():
                if job.held and rule in (None, job.held_by):
                    job.finish()
            self.changed.notify_all()

    def wait(self, job, timeout_ms):
        """Wait for a held job as getQueryResults does; True when it is done."""
        deadline = time.monotonic() + min(timeout_ms, LONGEST_WAIT_MS) / 1000
        limit = int64(job.config, "jobTimeoutMs", "job.configuration")
        if limit:
            deadline = min(deadline, job.started_at + limit / 1000)
        with self.changed:
            while job.state != "DONE" and time.monotonic() < deadline:
                self.changed.wait(deadline - time.monotonic())
        self.settle(job)
        return job.state == "DONE"

    # -- getQueryResults -----------------------------------------------------------------------------------------

    def results(self, account, project, job_id, options, action):
        job = self.find(account, project, job_id, options.get("location"))
        timeout_ms = number(options, "timeoutms", 10_000)
        if not self.wait(job, timeout_ms):
            return Answer({"kind": "bigquery#getQueryResultsResponse", "etag": "cnVubmluZw==",
                           "jobReference": job.reference(), "jobComplete": False})
        if job.error:
            raise job.error
        fields, rows = self.page(job, options, action)
        return Answer(dict({"kind": "bigquery#getQueryResultsResponse", "etag": "ZG9uZQ=="}, **fields), rows=rows)

    def page(self, job, options, action):
        """The fields of one page of a finished job, and its rows as JSON."""
        result = self.cache.get(job.cache_key, job.plan, timestamp_format(options))
        start = first_row(options)
        count = number(options, "maxresults", result.total)
        if "truncate_rows" in action:
            count = min(count, action["truncate_rows"])
        taken, rows = result.slice(min(start, result.total), count, action.get("page_bytes", PAGE_BYTES))
        fields = {
            "schema": {"fields": job.plan.fields},
            "jobReference": job.reference(),
            "totalRows": str(result.total),
        }
        if start + taken < result.total:
            fields["pageToken"] = page_token(start + taken)
        if taken:
            fields["rows"] = None
        if not job.hide_cost:
            fields.update(totalBytesProcessed=str(job.bytes_processed))
        fields.update(jobComplete=True, cacheHit=False)
        return fields, rows

    # -- jobs.query ----------------------------------------------------------------------------------------------

    def query(self, account, project, body, action):
        """jobs.query: the same in one call; errors of the query are errors of the call."""
        config = {key: body[key] for key in ("labels", "jobTimeoutMs", "dryRun") if key in body}
        config["query"] = {key: value for key, value in body.items() if key not in config}
        reference = {"projectId": project, "location": body.get("location") or "US"}
        inserted = self.insert(account, project, {"jobReference": reference, "configuration": config}, action).fields
        if body.get("dryRun"):
            statistics = inserted["statistics"]
            return Answer({"kind": "bigquery#queryResponse", "schema": statistics["query"]["schema"],
                           "jobReference": inserted["jobReference"], "jobComplete": True, "cacheHit": False,
                           "totalBytesProcessed": statistics["totalBytesProcessed"]})
        options = {"location": reference["location"], "timeoutms": str(body.get("timeoutMs", 10_000))}
        if "maxResults" in body:
            options["maxresults"] = str(body["maxResults"])
        for name, value in (body.get("formatOptions") or {}).items():
            options["formatoptions." + name.lower()] = str(value)
        answer = self.results(account, project, inserted["jobReference"]["jobId"], options, action)
        answer.fields["kind"] = "bigquery#queryResponse"
        return answer
