"""What no public source settles about BigQuery, as questions that its REST API can answer.

A question is a function that takes an Asker and returns its answer as text.  It raises NotAsked with the reason where it
cannot be asked, and lets OverCap through.  `assumed` is what contratos is written for, `match` a regular expression that
the answer has if that is right; without one the answer is only for reading.
"""
import hashlib
import json
import re
import ssl
import time

from client import MEGABYTE, OverCap, connect

PUBLIC = "bigquery-public-data"
ETHEREUM = PUBLIC + ".crypto_ethereum"
TOKENS = ETHEREUM + ".tokens"
GA4 = PUBLIC + ".ga4_obfuscated_sample_ecommerce"
SHARD = GA4 + ".events_20210131"
GENERATED_DAY = "2020-01-01"  # of the stand-in's tokens: enough rows for more than a page

QUESTIONS = []


class NotAsked(Exception):
    """Why a question has no answer."""


class Question:
    def __init__(self, section, point, assumed, match, ask):
        self.section, self.point, self.assumed, self.match, self.ask = section, point, assumed, match, ask


def question(section, point, assumed="", match=None):
    def add(function):
        QUESTIONS.append(Question(section, point, assumed, match, function))
        return function
    return add


class Asker:
    """The service, and what is different where it is the stand-in."""

    def __init__(self, service, name, control=None):
        self.service, self.name = service, name  # name begins the ids of jobs
        self.control = control  # the stand-in's control call, or None
        self.call, self.query, self.dry_run = service.call, service.query, service.dry_run
        self.results, self.insert, self.table = service.results, service.insert, service.table

    def job(self, purpose):
        return f"{self.name}_{purpose}"

    def real_only(self, what):
        if self.control:
            raise NotAsked(f"the stand-in does not know {what}")

    def literals(self, text, **more):
        """A query without a table, which costs nothing."""
        self.real_only("queries without a table")
        return self.query(text, **more)

    def cell(self, text, **more):
        """The type, mode and wire value of the only cell of such a query, or its error."""
        reply = self.literals(text, **more)
        if reply.status != 200:
            return reply.outcome()
        fields, rows = reply.at("schema.fields"), reply.rows()
        if not fields or not rows or not rows[0]:
            return f"200, jobComplete {reply.at('jobComplete')}, but no row"
        told = {name: value for name, value in fields[0].items() if name not in ("name", "type", "mode", "fields")}
        extra = f" {json.dumps(told, sort_keys=True)}" if told else ""
        return f"{fields[0].get('type')} {fields[0].get('mode')}{extra} {shown(rows[0][0])}"

    def long_query(self):
        return ("SELECT SUM(MOD(a * b, 7)) FROM UNNEST(GENERATE_ARRAY(1, 1000000)) AS a, UNNEST(GENERATE_ARRAY(1, 1000000)) AS b"
                if not self.control else self.day())

    def day(self, columns=None):
        """A query of one day that has rows."""
        return day_query(GENERATED_DAY if self.control else "2024-03-01", columns)

    def wide(self):
        """(query, what its rows are): 60 MB in rows of about 1 kB."""
        if self.control:
            return self.day(), "rows of tokens"
        return "SELECT REPEAT('x', 1000) AS x FROM UNNEST(GENERATE_ARRAY(1, 60000))", "rows of 1,000 characters"

    def narrow(self):
        if self.control:
            return self.day("`block_number`"), "rows of one number"
        return "SELECT n FROM UNNEST(GENERATE_ARRAY(1, 300000)) AS n", "rows of one number"

    def cap(self):
        """For a query that is free on the real service; the stand-in's has a table."""
        return self.service.budget.allowance(64 * MEGABYTE) if self.control else 10 * MEGABYTE

    def done(self, job, text, **more):
        """A finished job; anything else is the answer."""
        reply = self.insert(text, job, cap=self.cap(), **more)
        if reply.status != 200:
            raise NotAsked(f"its query was refused: {reply.outcome()}")
        reply = self.results(job, maxResults=0)
        if reply.status != 200 or not reply.at("jobComplete"):
            raise NotAsked(f"its query has not finished: {reply.outcome()}, jobComplete {reply.at('jobComplete')}")
        return reply


def shown(value):
    """A wire value as JSON, cut."""
    text = json.dumps(value, ensure_ascii=True)
    return text if len(text) <= 200 else f"{text[:200]}… ({len(text)} characters)"


def day_query(day, columns=None):
    """Tokens of one UTC day, as a text."""
    columns = columns or ("`address`, `symbol`, `name`, `decimals`, `total_supply`, `block_timestamp`, `block_number`, "
                          "`block_hash`")
    return (f"SELECT {columns} FROM `{TOKENS}` WHERE `block_timestamp` >= TIMESTAMP '{day} 00:00:00+00:00' "
            f"AND `block_timestamp` < TIMESTAMP '{day} 23:59:59.999999+00:00'")


def kilobytes(count):
    return f"{count:,} bytes"


def bytes_of(reply):
    """What a dry run would process."""
    told = reply.at("totalBytesProcessed")
    return f"{int(told):,} bytes" if reply.status == 200 and told is not None else reply.outcome()


# ---- the service and the connection

@question("Connection", "token endpoint: form of its answer, time", "expires_in as number or text, below an hour", r"expires_in \"?35\d\d|expires_in \"?3600")
def token(a):
    if a.service.token_reply is None:
        a.service.login()
    reply = a.service.token_reply
    fields = ", ".join(sorted(reply.json))
    return f"fields {fields}; expires_in {json.dumps(reply.at('expires_in'))}; {reply.milliseconds} ms"


@question("Connection", "token endpoint: an assertion that has expired", "400 invalid_grant", r"^400 invalid_grant")
def token_expired(a):
    now = int(time.time())
    return a.service.ask_token(iat=now - 7200, exp=now - 3600).outcome()


@question("Connection", "token endpoint: a scope that does not exist", "400 invalid_scope", r"^400 invalid_scope")
def token_scope(a):
    return a.service.ask_token(scope="https://www.googleapis.com/auth/contratos.none").outcome()


@question("Connection", "a self-signed JWT in place of a token")
def self_signed(a):
    claims = a.service.key.claims(sub=a.service.key.email)
    del claims["aud"]
    token = a.service.key.sign(claims)
    a.service.tokens.append(token)
    return a.call("POST", "queries", dict(a.service.body("SELECT 1"), dryRun=True), token=token).outcome()


@question("Connection", "scope bigquery.readonly: dry run, jobs.insert, jobs.cancel")
def readonly_scope(a):
    reply = a.service.ask_token(scope="https://www.googleapis.com/auth/bigquery.readonly")
    token = reply.at("access_token")
    if not token:
        return f"no token: {reply.outcome()}"
    body = dict(a.service.body("SELECT 1"), dryRun=True)
    insert = {"configuration": {"query": {"query": "SELECT 1", "useLegacySql": False}, "dryRun": True}}
    return "; ".join((
        "jobs.query " + a.call("POST", "queries", body, token=token).outcome(),
        "jobs.insert " + a.call("POST", "jobs", insert, token=token).outcome(),
        "jobs.cancel " + a.call("POST", f"jobs/{a.job('none')}/cancel", options={"location": a.service.location}, token=token).outcome()))


@question("Connection", "a token that is wrong", "401 authError", r"^401 authError")
def wrong_token(a):
    reply = a.call("POST", "queries", dict(a.service.body("SELECT 1"), dryRun=True), token="wrong")
    return f"{reply.outcome()}; WWW-Authenticate: {reply.headers.get('WWW-Authenticate', 'none')}"


@question("Connection", "ALPN: HTTP/2 offered by the endpoint")
def alpn(a):
    return negotiated(a, a.service.endpoint)


@question("Connection", "ALPN: HTTP/2 offered by the Storage Read host")
def alpn_storage(a):
    a.real_only("Storage Read")
    return negotiated(a, "https://bigquerystorage.googleapis.com")


def negotiated(a, url):
    if not url.startswith("https:"):
        raise NotAsked("the endpoint is not https")
    context = ssl.create_default_context(cafile=a.service.ca_file or None)
    context.set_alpn_protocols(["h2", "http/1.1"])
    connection = connect(url, context, 30)
    try:
        connection.connect()
        return f"{connection.sock.selected_alpn_protocol() or 'no ALPN'}, {connection.sock.version()}"
    except OSError as problem:
        return f"{type(problem).__name__}: {problem}"
    finally:
        connection.close()


@question("Connection", "headers of an answer; Retry-After among them?")
def header_names(a):
    reply = a.dry_run("SELECT 1")
    return f"{reply.outcome()}: " + ", ".join(sorted({name.lower() for name in reply.headers}))


@question("Connection", "difference of the clocks", "less than 5 minutes", r"^-?[0-2]?\d?\d s$")
def clock(a):
    from email.utils import parsedate_to_datetime
    told = a.dry_run("SELECT 1").headers.get("Date")
    return f"{round(parsedate_to_datetime(told).timestamp() - time.time())} s" if told else "no Date in the answer"


@question("Connection", "gzip: the answer is packed if User-Agent has the word gzip", "packed with it, not without", r"^with it gzip.*; without it identity")
def packing(a):
    a.real_only("gzip")
    path = f"datasets/{TOKENS.split('.')[1]}/tables/{TOKENS.split('.')[2]}"
    packed = a.call("GET", path, project=PUBLIC)
    bare = a.call("GET", path, project=PUBLIC, headers={"User-Agent": "contratos/real"})
    return "; ".join(f"{label} {reply.encoding or 'identity'} ({reply.wire_bytes:,} of {len(reply.body):,} bytes)"
                     for label, reply in (("with it", packed), ("without it", bare)))


@question("Connection", "prettyPrint is the default", "yes", r"^yes")
def pretty(a):
    reply = a.call("POST", "queries", dict(a.service.body("SELECT 1"), dryRun=True), plain=True)
    return ("yes" if b"\n" in reply.body.strip() else "no") + f", {len(reply.body)} bytes"


@question("Connection", "ETag of tables.get, and If-None-Match with it")
def etag(a):
    first = a.table(TOKENS)
    told = first.headers.get("ETag") or first.at("etag")
    if not told:
        return f"{first.outcome()}, no ETag"
    path = f"datasets/{TOKENS.split('.')[1]}/tables/{TOKENS.split('.')[2]}"
    second = a.call("GET", path, project=PUBLIC, headers={"If-None-Match": told})
    where = "in a header" if first.headers.get("ETag") else "in the body only"
    return f"ETag {where}; with If-None-Match: {second.status}, {second.wire_bytes:,} bytes"


# ---- errors: HTTP status, reason and message

def errors_of(a, text, purpose, **more):
    """How a query fails as a dry run, by jobs.query and by jobs.insert and its results."""
    job = a.job(purpose)
    cap = a.service.budget.allowance(10 * MEGABYTE)
    answers = [("dry run", a.dry_run(text, **more).outcome()), ("jobs.query", a.query(text, cap=cap, **more).outcome())]
    inserted = a.insert(text, job, cap=cap, query=more)
    answers.append(("jobs.insert", inserted.outcome() + told_error(inserted)))
    if inserted.status == 200:
        answers.append(("getQueryResults", a.results(job, maxResults=0).outcome()))
    together = {}
    for where, answer in answers:
        together.setdefault(answer, []).append(where)
    return "; ".join(f"{', '.join(where)}: {answer}" for answer, where in together.items())


def told_error(reply):
    reason = reply.at("status.errorResult.reason")
    return f", status.errorResult {reason}: {reply.at('status.errorResult.message')}" if reason else ""


@question("Errors", "unknown column", "400 invalidQuery, location q", r"400 invalidQuery")
def unknown_column(a):
    return errors_of(a, a.day("`no_such_column`"), "column")


@question("Errors", "syntax error", "400 invalidQuery", r"400 invalidQuery")
def syntax_error(a):
    return errors_of(a, "SELECT FROM WHERE", "syntax")


@question("Errors", "unknown function", "400 invalidQuery", r"400 invalidQuery")
def unknown_function(a):
    return errors_of(a, a.day("NO_SUCH_FUNCTION(`address`) AS x"), "function")


@question("Errors", "unknown table", "404 notFound", r"404 notFound")
def unknown_table(a):
    return errors_of(a, f"SELECT `x` FROM `{ETHEREUM}.no_such_table`", "table")


@question("Errors", "unknown dataset", "404 notFound", r"404 notFound")
def unknown_dataset(a):
    return errors_of(a, f"SELECT `x` FROM `{PUBLIC}.no_such_dataset.no_such_table`", "dataset")


@question("Errors", "unknown project of a table", "403 accessDenied", r"403 accessDenied")
def unknown_project(a):
    return errors_of(a, "SELECT `x` FROM `contratos-no-such-project.d.t`", "project")


@question("Errors", "unknown billed project")
def unknown_billed(a):
    return a.dry_run("SELECT 1", project="contratos-no-such-project").outcome()


@question("Errors", "a wildcard that no table matches")
def no_shard(a):
    return errors_of(a, f"SELECT * FROM `{ETHEREUM}.no_such_*`", "wildcard")


@question("Errors", "tables.get: unknown table, unknown dataset, unknown project", "404, 404, 403 or 404", r"table 404.*dataset 404.*project 40[34]")
def get_unknown(a):
    return "; ".join((f"table {a.table(ETHEREUM + '.no_such_table').outcome()}",
                      f"dataset {a.table(PUBLIC + '.no_such_dataset.no_such_table').outcome()}",
                      f"project {a.table('contratos-no-such-project.d.t').outcome()}"))


@question("Errors", "the wrong location for a query", "404 notFound", r"404 notFound")
def wrong_location(a):
    other = "EU" if a.service.location == "US" else "US"
    return a.dry_run(a.day(), location=other).outcome()


@question("Errors", "unknown job: jobs.get, getQueryResults, jobs.cancel", "404 notFound each", r"get 404 notFound.*results 404 notFound.*cancel 404 notFound")
def unknown_job(a):
    job, options = a.job("none"), {"location": a.service.location}
    return "; ".join((f"get {a.call('GET', 'jobs/' + job, options=options).outcome()}",
                      f"results {a.results(job).outcome()}",
                      f"cancel {a.call('POST', f'jobs/{job}/cancel', options=options).outcome()}"))


@question("Errors", "a job in another location than its own, and without one", "404 notFound in another", r"other 404 notFound")
def job_elsewhere(a):
    job = a.job("located")
    a.done(job, a.narrow()[0])
    other = "EU" if a.service.location == "US" else "US"
    return "; ".join((f"other {a.results(job, location=other, maxResults=0).outcome()}",
                      f"none {a.call('GET', f'queries/{job}', options={'maxResults': '0'}).outcome()}"))


@question("Errors", "the id of a job twice", "409 duplicate", r"409 duplicate")
def duplicate_job(a):
    job = a.job("twice")
    a.done(job, a.narrow()[0])
    return a.insert(a.narrow()[0], job, cap=a.cap()).outcome()


@question("Errors", "over maximumBytesBilled", "reason bytesBilledLimitExceeded", r"bytesBilledLimitExceeded")
def over_the_cap(a):
    text = f"SELECT `address` FROM `{TOKENS}`"
    job, answers = a.job("cap"), []
    answers.append("jobs.query " + a.query(text, cap=MEGABYTE).outcome())
    inserted = a.insert(text, job, cap=MEGABYTE)
    answers.append(f"jobs.insert {inserted.outcome()}{told_error(inserted)}")
    if inserted.status == 200:
        answers.append(f"getQueryResults {a.results(job, maxResults=0).outcome()}")
        got = a.call("GET", f"jobs/{job}", options={"location": a.service.location})
        answers.append(f"jobs.get {got.outcome()}{told_error(got)}, totalBytesBilled {got.at('statistics.query.totalBytesBilled')}")
    return "; ".join(answers)


@question("Errors", "a canceled job: jobs.cancel, getQueryResults, jobs.get", "reason stopped, in any status", r"stopped")
def canceled_job(a):
    job, location = a.job("canceled"), {"location": a.service.location}
    if a.control:
        a.control("POST", "rule", {"match": {"kind": "insert", "job": job}, "action": {"job_pending": True}})
    inserted = a.insert(a.long_query(), job, cap=a.cap())
    if inserted.status != 200:
        return f"jobs.insert {inserted.outcome()}"
    canceled = a.call("POST", f"jobs/{job}/cancel", options=location)
    answers = [f"jobs.cancel {canceled.outcome()} {canceled.at('job.status.state')}"]
    ended = a.results(job, maxResults=0)
    for _ in range(6):  # each waits up to a minute
        if ended.status != 200 or ended.at("jobComplete") is not False:
            break
        ended = a.results(job, maxResults=0)
    got = a.call("GET", f"jobs/{job}", options=location)
    answers.append(f"getQueryResults {ended.outcome()}")
    answers.append(f"jobs.get {got.outcome()} {got.at('status.state')}{told_error(got)}, "
                   f"totalBytesBilled {got.at('statistics.query.totalBytesBilled')}")
    return "; ".join(answers)


@question("Errors", "jobTimeoutMs of 3 s on a longer query")
def job_timeout(a):
    job = a.job("timeout")
    if a.control:
        a.control("POST", "rule", {"match": {"kind": "insert", "job": job}, "action": {"job_pending": True}})
    inserted = a.insert(a.long_query(), job, cap=a.cap(), jobTimeoutMs="3000")
    if inserted.status != 200:
        return f"jobs.insert {inserted.outcome()}"
    began = time.monotonic()
    reply = a.results(job, maxResults=0, timeoutMs=30000)
    answer = f"after {time.monotonic() - began:.0f} s: {reply.outcome()}, jobComplete {reply.at('jobComplete')}"
    if not reply.at("jobComplete"):
        a.call("POST", f"jobs/{job}/cancel", options={"location": a.service.location})
    return answer


@question("Errors", "a partition filter is required", "400 invalidQuery, Cannot query over table … without a filter", r"400 invalidQuery.*without a filter")
def partition_filter(a):
    a.real_only("wikipedia.pageviews_2024")
    return a.dry_run(f"SELECT `title` FROM `{PUBLIC}.wikipedia.pageviews_2024`").outcome()


@question("Errors", "a query of more than 1 MB of text")
def long_text(a):
    a.real_only("a limit on the text")
    return a.dry_run("SELECT 1 -- " + "x" * 1_100_000).outcome()


@question("Errors", "useLegacySql is true unless told", "400 invalidQuery", r"400 invalid")
def legacy(a):
    body = dict(a.service.body(a.day()), dryRun=True)
    del body["useLegacySql"]
    return a.call("POST", "queries", body).outcome()


# ---- requests: fields and options

@question("Requests", "an unknown field of the request is ignored", "yes: 200", r"^200")
def unknown_field(a):
    return a.dry_run("SELECT 1", maximumBytesBiled="1").outcome()


@question("Requests", "a cap of 1 byte on a query that costs nothing", "200", r"^200")
def cap_of_one(a):
    return a.literals("SELECT 1", cap=1).outcome()


@question("Requests", "useInt64Timestamp and timestampOutputFormat together", "an error", r"^400")
def both_formats(a):
    job = a.job("formats")
    a.done(job, a.day("`block_timestamp`"))
    return a.results(job, maxResults=1, **{"formatOptions_timestampOutputFormat": "INT64"}).outcome()


@question("Requests", "the timestamp format is remembered from page to page", "no: asked for on each page", r"not asked \"[^\"]*E")
def format_remembered(a):
    job = a.job("formats_again")
    a.done(job, a.day("`block_timestamp`"))
    first = a.results(job, maxResults=1)
    options = {"location": a.service.location, "maxResults": "1"}
    if first.at("pageToken"):
        options["pageToken"] = first.at("pageToken")
    second = a.call("GET", f"queries/{job}", options=options)
    return "; ".join(f"{label} {shown(reply.rows()[0][0]) if reply.rows() else reply.outcome()}"
                     for label, reply in (("asked", first), ("not asked", second)))


@question("Requests", "dry run: jobId, accuracy, modes of the result's columns", "no jobId; totalBytesProcessedAccuracy", r"no jobId")
def dry_run_facts(a):
    body = {"configuration": {"query": {"query": a.day(), "useLegacySql": False}, "dryRun": True},
            "jobReference": {"projectId": a.service.project, "location": a.service.location}}
    reply = a.call("POST", "jobs", body)
    if reply.status != 200:
        return reply.outcome()
    fields = reply.at("statistics.query.schema.fields") or []
    modes = " ".join(f"{field.get('name')}:{field.get('type')}:{field.get('mode')}" for field in fields)
    return (f"{'jobId' if reply.at('jobReference.jobId') else 'no jobId'}; "
            f"{reply.at('statistics.query.totalBytesProcessedAccuracy')}; {modes}")


@question("Requests", "dry run: does it heed maximumBytesBilled?", "no", r"^200")
def dry_run_cap(a):
    return a.dry_run(f"SELECT `address` FROM `{TOKENS}`", cap=1).outcome()


@question("Requests", "requestId twice: the same job?")
def request_id(a):
    jobs = [a.literals("SELECT 1 AS again", requestId=f"{a.name}-1").at("jobReference.jobId") for _ in range(2)]
    return f"{'the same job' if jobs[0] == jobs[1] else 'two jobs'}"


@question("Requests", "JOB_CREATION_OPTIONAL: is there a job?")
def optional_job(a):
    reply = a.literals("SELECT 1", jobCreationMode="JOB_CREATION_OPTIONAL")
    return (f"{reply.outcome()}; jobId {'yes' if reply.at('jobReference.jobId') else 'no'}, "
            f"queryId {'yes' if reply.at('queryId') else 'no'}, jobCreationReason {reply.at('jobCreationReason.code')}, "
            f"totalBytesBilled {reply.at('totalBytesBilled')}")


@question("Requests", "queryResultsFormat ARROW: rows as Arrow?")
def arrow(a):
    reply = a.literals("SELECT 1 AS n", queryResultsFormat="ARROW", jobCreationMode="JOB_CREATION_OPTIONAL")
    return f"{reply.outcome()}; fields {', '.join(sorted(reply.json))}"


@question("Requests", "timeoutMs 0: is there an answer at once?", "jobComplete false", r"jobComplete False")
def no_wait(a):
    reply = a.literals("SELECT COUNT(*) FROM UNNEST(GENERATE_ARRAY(1, 1000000)) AS n", timeoutMs=0)
    return f"{reply.outcome()}, jobComplete {reply.at('jobComplete')}, {reply.milliseconds} ms"


@question("Requests", "the same query again: from the cache, free?")
def cache(a):
    text = a.day("`block_number`")
    first = a.query(text, cap=a.service.budget.allowance(64 * MEGABYTE))
    second = a.query(text, cap=a.service.budget.allowance(64 * MEGABYTE))
    return "; ".join(f"{label} {reply.outcome()}, cacheHit {reply.at('cacheHit')}, totalBytesProcessed "
                     f"{reply.at('totalBytesProcessed')}, totalBytesBilled {reply.at('totalBytesBilled')}"
                     for label, reply in (("first", first), ("again", second)))


# ---- pages

def page_facts(reply):
    rows = len(reply.at("rows") or [])
    return (f"{rows:,} of {reply.at('totalRows')} rows, {kilobytes(len(reply.body))} ({kilobytes(reply.wire_bytes)} on the wire"
            f"{', ' + reply.encoding if reply.encoding else ''}), {'more' if reply.at('pageToken') else 'no more'}, "
            f"{reply.milliseconds} ms") if reply.status == 200 else reply.outcome()


@question("Pages", "jobs.query: bytes of the largest first page", "10 or 20 MB: pageToken is followed")
def first_page(a):
    text, kind = a.wide()
    return f"{kind}: {page_facts(a.query(text, cap=a.cap()))}"


@question("Pages", "getQueryResults: bytes of the largest page", "20 MB: pageToken is followed")
def largest_page(a):
    text, kind = a.wide()
    job = a.job("wide")
    a.done(job, text)
    return f"{kind}: {page_facts(a.results(job))}"


@question("Pages", "getQueryResults: rows of the largest page")
def most_rows(a):
    text, kind = a.narrow()
    job = a.job("narrow")
    a.done(job, text)
    return f"{kind}: {page_facts(a.results(job, maxResults=1000000))}"


@question("Pages", "tabledata.list of a result: rows and bytes of the largest page", "100,000 rows, or no limit")
def table_data(a):
    a.real_only("tabledata.list")
    answers = []
    for (text, kind), purpose in ((a.narrow(), "list_narrow"), (a.wide(), "list_wide")):
        job = a.job(purpose)
        a.done(job, text)
        place = a.call("GET", f"jobs/{job}", options={"location": a.service.location}).at("configuration.query.destinationTable")
        if not place:
            return "jobs.get has no destinationTable"
        path = f"datasets/{place['datasetId']}/tables/{place['tableId']}/data"
        answers.append(f"{kind}: {page_facts(a.call('GET', path, project=place['projectId'], options={'maxResults': '1000000'}))}")
    return "; ".join(answers)


@question("Pages", "pages by startIndex are the rows of pages by pageToken", "yes", r"^yes")
def start_index(a):
    text, _ = a.narrow()
    job = a.job("index")
    a.done(job, text)
    whole, part = a.results(job, maxResults=2000), a.results(job, maxResults=1000, startIndex=1000)
    same = whole.rows()[1000:] == part.rows() and len(part.rows()) == 1000
    return "yes" if same else f"no: {page_facts(whole)}; {page_facts(part)}"


@question("Pages", "startIndex beyond the last row", "200, no rows, no pageToken", r"^0 of .*no more")
def beyond(a):
    job = a.job("beyond")
    a.done(job, a.narrow()[0])
    return page_facts(a.results(job, startIndex=10_000_000))


@question("Pages", "maxResults 0", "totalRows, no rows, pageToken", r"^0 of \d+ rows.* more")
def no_rows(a):
    job = a.job("zero")
    return page_facts(a.done(job, a.narrow()[0]))


@question("Pages", "one row of 12 MB and of 30 MB")
def large_row(a):
    a.real_only("queries without a table")
    return "; ".join(page_facts(a.query(f"SELECT REPEAT('x', {size * MEGABYTE}) AS x")) for size in (12, 30))


@question("Pages", "`fields` leaves the schema out", "yes", r"^pageToken, rows, totalRows$|^rows, totalRows$")
def mask(a):
    job = a.job("mask")
    a.done(job, a.narrow()[0])
    return ", ".join(sorted(a.results(job, maxResults=1, fields="rows,totalRows,pageToken").json))


# ---- types: what a value looks like in JSON

def wire(point, expression, assumed, match, **more):
    @question("Types", point, assumed, match)
    def ask(a):
        return a.cell(f"SELECT {expression} AS x", **more)


INT64_FORMAT = {"formatOptions": {"useInt64Timestamp": True}}
wire("INT64, the least", "CAST('-9223372036854775808' AS INT64)", '"-9223372036854775808"', r'^INTEGER .*"-9223372036854775808"$')
wire("FLOAT64 0.1", "0.1", '"0.1"', r'^FLOAT .*"0\.1"$')
wire("FLOAT64 1e23", "CAST('1e23' AS FLOAT64)", "a number in a string", r'^FLOAT .*"1[.0]*[eE]\+?23"$')
wire("FLOAT64 NaN", "CAST('NaN' AS FLOAT64)", '"NaN"', r'^FLOAT .*"NaN"$')
wire("FLOAT64 infinity", "CAST('inf' AS FLOAT64)", '"Infinity" or "inf"', r'^FLOAT .*"(Infinity|[Ii]nf)"$')
wire("FLOAT64 -infinity", "CAST('-inf' AS FLOAT64)", '"-Infinity" or "-inf"', r'^FLOAT .*"-(Infinity|[Ii]nf)"$')
wire("FLOAT64 -0", "CAST('-0.0' AS FLOAT64)", '"-0.0" or "0.0"', r'^FLOAT .*"-?0(\.0)?"$')
wire("NUMERIC", "NUMERIC '-12345678901234567890123456789.123456789'", "exact", r'^NUMERIC .*"-12345678901234567890123456789\.123456789"$')
wire("BIGNUMERIC", "BIGNUMERIC '1.00000000000000000000000000000000000001'", "exact", r'^BIGNUMERIC .*"1\.0{37}1"$')
wire("BOOL", "TRUE", '"true"', r'^BOOLEAN .*"true"$')
wire("STRING with U+0000, a quote and U+1F600", r"'a\u0000\"\U0001F600'", "escaped JSON", r'^STRING .*"a\\u0000\\"\\ud83d\\ude00"$')
wire("BYTES", r"b'\x00\xff\xfe'", "base64", r'^BYTES .*"AP/\+"$')
wire("DATE", "DATE '0001-01-01'", '"0001-01-01"', r'^DATE .*"0001-01-01"$')
wire("DATETIME, whole seconds", "DATETIME '2024-02-29 01:02:03'", '"2024-02-29T01:02:03"', r'^DATETIME .*"2024-02-29T01:02:03"$')
wire("DATETIME, microseconds", "DATETIME '2024-02-29 01:02:03.000001'", '"….000001"', r'^DATETIME .*"2024-02-29T01:02:03\.000001"$')
wire("TIME, whole seconds", "TIME '01:02:03'", '"01:02:03"', r'^TIME .*"01:02:03"$')
wire("TIME, microseconds", "TIME '01:02:03.5'", '"01:02:03.500000"', r'^TIME .*"01:02:03\.500000"$')
STAMP = "TIMESTAMP '2024-02-29 01:02:03.000001+00'"
wire("TIMESTAMP, no format", STAMP, "seconds as a float", r'^TIMESTAMP .*"1\.709168523000001E9"$')
wire("TIMESTAMP, useInt64Timestamp", STAMP, '"1709168523000001"', r'^TIMESTAMP .*"1709168523000001"$', **INT64_FORMAT)
wire("TIMESTAMP, timestampOutputFormat INT64", STAMP, '"1709168523000001"', r'^TIMESTAMP .*"1709168523000001"$', formatOptions={"timestampOutputFormat": "INT64"})
wire("TIMESTAMP, timestampOutputFormat ISO8601_STRING", STAMP, "12 digits and Z", r'^TIMESTAMP .*"2024-02-29T01:02:03\.000001000000Z"$', formatOptions={"timestampOutputFormat": "ISO8601_STRING"})
wire("TIMESTAMP, the least", "TIMESTAMP '0001-01-01 00:00:00+00'", '"-62135596800000000"', r'^TIMESTAMP .*"-62135596800000000"$', **INT64_FORMAT)
wire("TIMESTAMP(12), useInt64Timestamp", "CAST('2024-02-29 01:02:03.123456789012+00' AS TIMESTAMP(12))", "timestampPrecision 12 in the schema; microseconds", r'timestampPrecision.*"1709168523123456"$', **INT64_FORMAT)
wire("TIMESTAMP(12), ISO8601_STRING", "CAST('2024-02-29 01:02:03.123456789012+00' AS TIMESTAMP(12))", "12 digits", r'123456789012Z"$', formatOptions={"timestampOutputFormat": "ISO8601_STRING"})
wire("JSON: white space, order of keys, numbers", """JSON '{"b": 1.50, "a": [1, 2], "c": null, "n": 12345678901234567890}'""", "JSON in a string", r'^JSON .*"\{')
wire("GEOGRAPHY", "ST_GEOGPOINT(-122.4, 37.8)", '"POINT(-122.4 37.8)"', r'^GEOGRAPHY .*"POINT ?\(-122\.4 37\.8\)"$')
wire("INTERVAL", "MAKE_INTERVAL(year => -1, month => -2, day => 3, hour => -4, minute => -5, second => -6)", '"-1-2 3 -4:5:6"', r'^INTERVAL .*"-1-2 3 -4:5:6"$')
wire("RANGE<DATE>", "RANGE<DATE> '[2024-01-01, UNBOUNDED)'", '"[2024-01-01, UNBOUNDED)"', r'^RANGE .*"\[2024-01-01, UNBOUNDED\)"$')
wire("RANGE<TIMESTAMP>, useInt64Timestamp", "RANGE(TIMESTAMP '2024-01-01 00:00:00+00', NULL)", "microseconds inside", r'^RANGE .*"\[1704067200000000, UNBOUNDED\)"$', **INT64_FORMAT)
wire("STRUCT", "STRUCT(1 AS a, NULL AS b)", '{"f": [{"v": "1"}, {"v": null}]}', r'^RECORD .*\{"f": \[\{"v": "1"\}, \{"v": null\}\]\}$')
wire("ARRAY", "[1, 2]", '[{"v": "1"}, {"v": "2"}]', r'^INTEGER REPEATED \[\{"v": "1"\}, \{"v": "2"\}\]$')
wire("ARRAY that is NULL", "CAST(NULL AS ARRAY<INT64>)", "[]", r"^INTEGER REPEATED \[\]$")
wire("ARRAY of STRUCT", "[STRUCT('k' AS key, STRUCT(1 AS i) AS value)]", "nested f and v", r'^RECORD REPEATED \[\{"v": \{"f": ')
wire("NULL", "CAST(NULL AS STRING)", "null", r"^STRING .*null$")


@question("Types", "parameters: TIMESTAMP, DATE, NULL as contratos sends them", "200", r'^200.*\["1709168523000001", "2024-02-29", null')
def parameter_forms(a):
    a.real_only("queries without a table")
    given = [("t", "TIMESTAMP", "2024-02-29 01:02:03.000001+00:00"), ("d", "DATE", "2024-02-29"), ("n", "STRING", None)]
    reply = a.query("SELECT @t AS t, @d AS d, @n AS n", parameterMode="NAMED", queryParameters=[
        {"name": name, "parameterType": {"type": kind}, "parameterValue": {"value": value} if value else {}}
        for name, kind, value in given], **INT64_FORMAT)
    return f"{reply.outcome()} {shown(reply.rows()[0]) if reply.rows() else ''}"


# ---- functions that a comparison relies on, or could

def function(point, expression, assumed="", match=None):
    @question("Functions", point, assumed, match)
    def ask(a):
        return a.cell(f"SELECT {expression} AS x")


def floats(form):
    return f"[{', '.join(form.format(text) for text in ('0.1', '1e23', '-0.0', 'nan', 'inf', '5e-324', '1.7976931348623157e308'))}]"


function("FORMAT('%.17g') of 0.1, 1e23, -0, NaN, infinity, the smallest and the largest", floats("FORMAT('%.17g', CAST('{}' AS FLOAT64))"),
         "as printf() has it", r"0\.10000000000000001.*9\.9999999999999992e\+22.*-0.*nan.*inf.*4\.9406564584124654e-324.*1\.7976931348623157e\+308")
function("CAST(FLOAT64 AS STRING) of the same", floats("CAST(CAST('{}' AS FLOAT64) AS STRING)"))
function("TO_JSON_STRING of the same", floats("TO_JSON_STRING(CAST('{}' AS FLOAT64))"), 'shortest text; "NaN" and "Infinity" quoted', r'\\"NaN\\"')
function("TO_JSON_STRING of NUMERIC, INT64 above 2^53, BYTES, DATETIME, INTERVAL, RANGE", "TO_JSON_STRING(STRUCT(NUMERIC '123.56' AS n, 9007199254740993 AS i, b'\\xff' AS b, DATETIME '2024-01-02 03:04:05.5' AS d, MAKE_INTERVAL(day => 1) AS v, RANGE<DATE> '[2024-01-01, UNBOUNDED)' AS r))")
function("TO_JSON_STRING of GEOGRAPHY", "TO_JSON_STRING(ST_GEOGPOINT(1.5, 2.5))")
function("TO_JSON_STRING of SQL NULL and of JSON null", "[TO_JSON_STRING(CAST(NULL AS JSON)), TO_JSON_STRING(JSON 'null')]", "the same text", r'"null".*"null"')
function("CAST of INTERVAL and RANGE to STRING", "[CAST(MAKE_INTERVAL(1, 2, 3, 4, 5, 6) AS STRING), CAST(RANGE<DATE> '[2024-01-01, UNBOUNDED)' AS STRING)]")
function("ST_ASTEXT", "ST_ASTEXT(ST_GEOGPOINT(-122.4, 37.8))", "POINT(-122.4 37.8)", r"POINT ?\(-122\.4 37\.8\)")
function("FORMAT_DATETIME and FORMAT_TIME with %E6S", "[FORMAT_DATETIME('%Y-%m-%dT%H:%M:%E6S', DATETIME '2024-01-02 03:04:05'), FORMAT_TIME('%H:%M:%E6S', TIME '03:04:05')]", "six digits", r"03:04:05\.000000.*03:04:05\.000000")
function("FARM_FINGERPRINT('hello')", "FARM_FINGERPRINT('hello')", "-5436999610281751320", r'"-5436999610281751320"')
function("TO_HEX(SHA256('abc'))", "TO_HEX(SHA256('abc'))", hashlib.sha256(b"abc").hexdigest(), hashlib.sha256(b"abc").hexdigest())
function("the halves of a hash as INT64", "CAST(CONCAT('0x', SUBSTR(TO_HEX(SHA256('abc')), 1, 8)) AS INT64)", str(int(hashlib.sha256(b"abc").hexdigest()[:8], 16)), str(int(hashlib.sha256(b"abc").hexdigest()[:8], 16)))


@question("Functions", "TO_JSON_STRING: the largest text")
def json_string_limit(a):
    answers = []
    for size in (1 << 20, 4 << 20, 16 << 20, 64 << 20):
        answer = a.cell(f"SELECT LENGTH(TO_JSON_STRING(STRUCT(REPEAT('x', {size}) AS s))) AS n")
        answers.append(f"{size >> 20} MB: {answer}")
        if not answer.startswith("INTEGER"):
            break
    return "; ".join(answers)


# ---- the tables

@question("Tables", "crypto_ethereum.tokens: partitions, clustering, size", "by DAY on block_timestamp", r'"DAY".*block_timestamp|block_timestamp.*"DAY"')
def tokens_table(a):
    reply = a.table(TOKENS)
    wanted = ("type", "location", "timePartitioning", "requirePartitionFilter", "clustering", "numRows", "numBytes",
              "lastModifiedTime", "streamingBuffer", "expirationTime")
    facts = {name: reply.at(name) for name in wanted if reply.at(name) is not None}
    return json.dumps(facts) if reply.status == 200 else reply.outcome()


@question("Tables", "crypto_ethereum.tokens: names, types and modes of its columns")
def tokens_columns(a):
    reply = a.table(TOKENS)
    fields = reply.at("schema.fields") or []
    return " ".join(f"{f.get('name')}:{f.get('type')}:{f.get('mode')}" for f in fields) or reply.outcome()


@question("Tables", "crypto_ethereum.tokens: its latest row")
def latest_row(a):
    since = "2020-01-01" if a.control else "2024-01-01"
    text = f"SELECT UNIX_MICROS(MAX(`block_timestamp`)) AS `m` FROM `{TOKENS}` WHERE `block_timestamp` >= TIMESTAMP '{since} 00:00:00+00:00'"
    planned = a.dry_run(text)
    if planned.status != 200:
        return planned.outcome()
    reply = a.query(text, cap=a.service.budget.allowance(100 * MEGABYTE))
    rows = reply.rows()
    if reply.status != 200 or not rows or not rows[0][0]:
        return reply.outcome()
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(int(rows[0][0]) // 1_000_000)) + f" ({bytes_of(planned)})"


@question("Tables", "crypto_ethereum.tokens: bytes of a day by literals, by parameters, and of all", "a day prunes")
def pruning(a):
    where = "`block_timestamp` >= @t0 AND `block_timestamp` < @t1"
    days = ("2020-01-01", "2020-01-02") if a.control else ("2024-03-01", "2024-03-02")
    given = [{"name": name, "parameterType": {"type": "TIMESTAMP"}, "parameterValue": {"value": f"{day} 00:00:00+00:00"}}
             for name, day in zip(("t0", "t1"), days)]
    return "; ".join(("literals " + bytes_of(a.dry_run(a.day("`address`"))),
                      "parameters " + bytes_of(a.dry_run(f"SELECT `address` FROM `{TOKENS}` WHERE {where}",
                                                         parameterMode="NAMED", queryParameters=given)),
                      f"all {bytes_of(a.dry_run(f'SELECT `address` FROM `{TOKENS}`'))}"))


@question("Tables", "INFORMATION_SCHEMA.PARTITIONS of crypto_ethereum: can it be read?")
def partitions(a):
    a.real_only("INFORMATION_SCHEMA")
    text = (f"SELECT partition_id, total_rows, total_logical_bytes FROM `{ETHEREUM}.INFORMATION_SCHEMA.PARTITIONS` "
            "WHERE table_name = 'tokens' ORDER BY partition_id DESC LIMIT 10")
    planned = a.dry_run(text)
    if planned.status != 200:
        return f"dry run {planned.outcome()}"
    reply = a.query(text, cap=a.service.budget.allowance(50 * MEGABYTE))
    return f"{reply.outcome()} {shown_rows(reply)}"


def shown_rows(reply):
    return " ".join("/".join(str(value) for value in row) for row in reply.rows())


@question("Tables", "crypto_ethereum.load_metadata: can it be read?")
def load_metadata(a):
    reply = a.table(ETHEREUM + ".load_metadata")
    return f"{reply.outcome()} {' '.join(field.get('name', '') for field in reply.at('schema.fields') or [])}".strip()


@question("Tables", "tables.list of crypto_ethereum: page, names")
def listing(a):
    reply = a.call("GET", f"datasets/{ETHEREUM.split('.')[1]}/tables", project=PUBLIC, options={"maxResults": "1000"})
    names = [table.get("tableReference", {}).get("tableId", "") for table in reply.at("tables") or []]
    return f"{reply.outcome()}: {len(names)} of {reply.at('totalItems')}: {' '.join(names)}"


@question("Tables", "month partitions of crypto_bitcoin: bytes with the month as parameter, and without", "the month prunes")
def months(a):
    a.real_only("crypto_bitcoin")
    table = f"`{PUBLIC}.crypto_bitcoin.transactions`"
    day = [{"name": "d", "parameterType": {"type": "DATE"}, "parameterValue": {"value": "2024-03-01"}}]
    texts = (("timestamp only", f"SELECT `hash` FROM {table} WHERE DATE(block_timestamp) = @d"),
             ("month by expression", f"SELECT `hash` FROM {table} WHERE block_timestamp_month = DATE_TRUNC(@d, MONTH)"),
             ("month by parameter", f"SELECT `hash` FROM {table} WHERE block_timestamp_month = @d"))
    return "; ".join(f"{label} {bytes_of(a.dry_run(text, parameterMode='NAMED', queryParameters=day))}" for label, text in texts)


@question("Tables", "wildcard: bytes with _TABLE_SUFFIX as constant, as parameter, by name", "all prune alike")
def suffix(a):
    a.real_only("wildcard tables")
    given = [{"name": "s", "parameterType": {"type": "STRING"}, "parameterValue": {"value": "20210131"}}]
    dry, table = a.dry_run, f"`{GA4}.events_*`"
    return "; ".join((
        f"name {bytes_of(dry(f'SELECT event_name FROM `{SHARD}`'))}",
        f"constant {bytes_of(dry(f'SELECT event_name FROM {table} WHERE _TABLE_SUFFIX = ' + repr('20210131')))}",
        f"parameter {bytes_of(dry(f'SELECT event_name FROM {table} WHERE _TABLE_SUFFIX = @s', parameterMode='NAMED', queryParameters=given))}",
        f"all {bytes_of(dry(f'SELECT event_name FROM {table}'))}"))


@question("Tables", "wildcard: a suffix that no table has", "200, no rows", r"^200")
def no_suffix(a):
    a.real_only("wildcard tables")
    return a.dry_run(f"SELECT event_name FROM `{GA4}.events_*` WHERE _TABLE_SUFFIX = '19990101'").outcome()


@question("Tables", "tables.get of a wildcard")
def get_wildcard(a):
    a.real_only("wildcard tables")
    reply = a.table(GA4 + ".events_*")
    facts = {name: reply.at(name) for name in ("type", "numRows", "numBytes", "creationTime", "lastModifiedTime")}
    return f"{reply.outcome()} {json.dumps(facts) if reply.status == 200 else ''}".strip()


# ---- what a run cannot ask

def never(point, reason):
    @question("Not asked", point)
    def ask(a):
        raise NotAsked(reason)


never("a job's default stream, Storage Read (gRPC)", "not asked yet")
never("rows as Arrow by pages", "not asked yet: they come by Storage Read")
never("rate limits, quotas, Retry-After, 5xx", "a well-behaved client cannot provoke them")
never("policy tags, row access policies, KMS, VPC Service Controls, Drive", "they need tables and an organization of one's own")
never("a result that has expired", "it takes a day")
never("the API is not enabled, billing is off", "they need another project")


def answer(a, item):
    """(status, text): "ok", "differs", "-" (only for reading), "not asked" or "failed"."""
    try:
        text = item.ask(a)
    except NotAsked as reason:
        return "not asked", f"not asked: {reason}"
    except OverCap as reason:
        return "not asked", f"not asked: {reason}"
    except ConnectionError as problem:
        return "failed", f"failed: {problem}"
    except Exception as problem:  # an answer that nobody thought of must not end the run
        return "failed", f"failed: {type(problem).__name__}: {problem}"
    finally:
        try:
            a.service.settle()
        except ConnectionError:
            pass  # what is not known stays reserved
    text = text.strip()
    if not text:
        return "failed", "failed: no answer"
    if item.match is None:
        return "-", text
    return ("ok" if re.search(item.match, text, re.S) else "differs"), text
