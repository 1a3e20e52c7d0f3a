#!/usr/bin/env python3
"""First contact with BigQuery: what script/real runs.  See there, and docs/real-service.md."""
import argparse
import json
import os
import subprocess
import sys
import time
import urllib.request

from client import Key, Problem, Service
from questions import QUESTIONS, Asker, answer
from report import Report
from steps import STEPS, Context, Database, run_step


def arguments():
    parser = argparse.ArgumentParser(description="Questions to BigQuery, by a service account's key.")
    parser.add_argument("--key", required=True)
    parser.add_argument("--project", required=True)
    parser.add_argument("--endpoint", default="https://bigquery.googleapis.com")
    parser.add_argument("--ca-file")
    parser.add_argument("--location", default="US")
    parser.add_argument("--cap", type=int, default=10**9, help="bytes that may be billed")
    parser.add_argument("--control", help="URL of the stand-in's control calls: it is the stand-in")
    parser.add_argument("--psql", help="the command line of psql in the cluster, as JSON")
    parser.add_argument("--output", help="file for the tables")
    parser.add_argument("--login", action="store_true", help="ask for a token, make a dry run, and nothing else")
    return parser.parse_args()


def control_of(url):
    def control(method, name, body):
        request = urllib.request.Request(f"{url}/_control/{name}", json.dumps(body).encode(), method=method)
        with urllib.request.urlopen(request, timeout=60) as reply:
            return json.load(reply)
    return control


def login(service):
    """A token, and the right to make jobs: or a Problem that says what is wrong."""
    service.login()
    reply = service.dry_run("SELECT 1")
    if reply.status != 200:
        raise Problem(f'the project "{service.project}" cannot be used: {reply.outcome()}')


def make_service(options):
    return Service(Key(options.key), options.project, options.endpoint, options.ca_file, options.location, options.cap)


def tell_steps(report, asker, psql):
    report.heading("What contratos does", "step", "result", "status")
    context = Context(asker, Database(psql, asker.service))
    for title, function in STEPS:
        status, text = run_step(context, function)
        report.row(status, title, text)


def tell_answers(report, asker, questions=QUESTIONS):
    section = None
    for item in questions:
        if item.section != section:
            section = item.section
            report.heading(section, "open point", "assumed", "answer", "status")
        status, text = answer(asker, item)
        report.row(status, item.point, item.assumed, text)


def run(options, service, report):
    report.service = service
    control = control_of(options.control) if options.control else None
    where = "the stand-in" if control else service.endpoint
    report.say(f"# contratos at {where}, {time.strftime('%Y-%m-%d %H:%M', time.gmtime())} UTC")
    report.say()
    report.say(f"Location {service.location}. At most {service.budget.total:,} bytes may be billed.")
    login(service)
    asker = Asker(service, f"contratos_real_{time.strftime('%Y%m%d%H%M%S', time.gmtime())}_{os.getpid()}", control)
    if options.psql:
        tell_steps(report, asker, json.loads(options.psql))
    tell_answers(report, asker)
    report.say()
    report.say(f"Billed: {service.budget.spent:,} bytes of at most {service.budget.total:,}"
               + (f"; {sum(service.budget.reserved.values()):,} more are not known" if service.budget.reserved else "") + ".")
    report.say(", ".join(f"{count} {status if status != '-' else 'to read'}" for status, count in sorted(report.counts.items())) + ".")


def main():
    options = arguments()
    report = Report(options.output)
    try:
        service = make_service(options)
        if options.login:
            login(service)
            return 0
        run(options, service, report)
    except (Problem, ConnectionError) as problem:
        print(f"real: {report.clean(str(problem))}", file=sys.stderr)
        return 1
    finally:
        report.write()
    if report.secrets_found:
        print(f"real: {report.secrets_found} lines had a secret in them, which was removed: please report this", file=sys.stderr)
    return 1 if report.counts.get("failed") or report.secrets_found else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (KeyboardInterrupt, subprocess.SubprocessError) as end:
        sys.exit(f"real: {type(end).__name__}")
