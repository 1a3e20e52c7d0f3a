"""The control interface under /_control/: data, rules, the log, waiting, stopping.  See README.md."""
import json

MAX_WAIT_SECONDS = 180
# What tables.get tells about a table and no query needs.
ABOUT = ("type", "description", "labels", "last_modified", "attributes")


class Refused(Exception):
    """A control request that makes no sense; the message goes back to the test."""


class Control:
    """Requests of tests, as opposed to those of the client under test."""

    def __init__(self, standin):
        self.standin = standin

    def handle(self, method, path, query, body):
        """(status, JSON) for a control request."""
        name = path.rsplit("/", 1)[-1].lower()
        call = getattr(self, f"{method.lower()}_{name}", None)
        if call is None:
            return 404, {"error": f"no such control call: {method} {path}"}
        try:
            return 200, call(query if method == "GET" else json.loads(body or b"{}"))
        except (Refused, ValueError, KeyError, TypeError) as problem:
            return 400, {"error": f"{type(problem).__name__}: {problem}"}
        except TimeoutError as problem:
            return 408, {"error": str(problem)}

    def post_reset(self, body):
        """Forget log, rules, jobs and tokens; the tables go back to what they were at the start."""
        self.standin.reset(tables=body.get("tables", True), tokens=body.get("tokens", True))
        return {}

    def get_requests(self, query):
        return {"requests": self.standin.board.log(query.get("kind"))}

    def get_jobs(self, query):
        with self.standin.jobs.changed:
            for job in self.standin.jobs.jobs.values():
                self.standin.jobs.settle(job)
            return {"jobs": [job.summary() for job in self.standin.jobs.jobs.values()]}

    def get_rules(self, query):
        return {"rules": [rule.as_json() for rule in self.standin.board.rules]}

    def post_rule(self, body):
        rule = self.standin.board.add_rule(body.get("match", {}), body.get("action", {}))
        return {"id": rule.number}

    def delete_rule(self, body):
        """Nothing goes wrong any more: requests that are stalled go on.  Jobs that are held stay so."""
        self.standin.board.release()
        self.standin.board.forget_rules()
        return {}

    def post_release(self, body):
        rule = body.get("rule")
        self.standin.board.release(rule)
        self.standin.jobs.release(rule)
        return {}

    def post_wait(self, body):
        timeout = min(float(body.get("timeout", 60)), MAX_WAIT_SECONDS)
        entry = self.standin.board.wait(body, timeout)
        if entry is None:
            raise TimeoutError(f"not reached within {timeout:g} s: {json.dumps(body)}")
        return {"request": entry}

    def post_account(self, body):
        """One more service account, with a key file for it."""
        email, path = self.standin.add_account(body["account"], body.get("project", self.standin.options.project))
        return {"account": email, "key_file": path}

    def post_subject(self, body):
        """Another subject token from now on: the URL gives it, and it alone can be exchanged."""
        self.standin.identity.subject_token = body["token"]
        return {}

    def post_project(self, body):
        """A project that may be billed (or not), open to all accounts or to some."""
        self.standin.accounts.open_project(body["project"], body.get("accounts"), body.get("billed", True))
        return {}

    def post_dataset(self, body):
        """Create a dataset, or move it to a location."""
        self.standin.catalog.create_dataset(*body["dataset"].split(".", 1), body.get("location", "US"))
        return {}

    def post_table(self, body):
        """Create or replace a table, or change its rows."""
        table = self.standin.catalog.get(body["table"])
        if table is None or "schema" in body:
            table = self.create_table(body)
        elif "replace_day" in body:
            table.delete_day(body["replace_day"])
        elif not body.get("append"):
            table.delete_all()
        if "generate" in body:
            table.add_generated(body["generate"]["day"], body["generate"]["rows"], body["generate"].get("seed", 0))
        if body.get("rows"):
            table.add_json(body["rows"], body.get("partition"))
        if "bytes_processed" in body:
            table.bytes_processed = body["bytes_processed"]
        table.about.update({name: body[name] for name in ABOUT if name in body})
        table.touch()
        return {"rows": table.row_count()}

    def create_table(self, body):
        """The new empty table of a request."""
        time = body.get("time_partitioning")
        if "partition_column" in body:
            time = {"type": "DAY", "field": body["partition_column"]}
        return self.standin.catalog.create(
            body["table"], body.get("schema"), body.get("location"), partitioning=time,
            ranges=body.get("range_partitioning"), require_filter=bool(body.get("require_partition_filter")),
        )

    def post_schema(self, body):
        """Change a table's schema as upstream may: its rows stay."""
        table = self.known_table(body)
        table.alter(body.get("add", ()), body.get("drop", ()), body.get("change"))
        return {"rows": table.row_count()}

    def known_table(self, body):
        table = self.standin.catalog.get(body["table"])
        if table is None:
            raise Refused(f"no such table: {body['table']}")
        return table

    def delete_table(self, body):
        """Delete the rows of a day, or without a day the table itself."""
        table = self.known_table(body)
        if "day" not in body:
            del self.standin.catalog.tables[body["table"]]
            return {"rows": 0}
        table.delete_day(body["day"])
        return {"rows": table.row_count()}

    def post_quit(self, body):
        self.standin.stop()
        return {}
