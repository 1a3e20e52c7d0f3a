"""What people use today, into the same plain table; whole processes, psql calling contratos_run() among them."""
import os
import subprocess
import sys

import report
from cluster import Session
from data import BIG_DAY, COLUMNS
from pairs import Pairs, timed

TITLES = {
    "http": ("Python: urllib3 + orjson → COPY", 4.3),
    "client": ("Python: google-cloud-bigquery rows → COPY", 13.0),
    "dag": ("Python: DAG, three tasks with Parquet between, to_sql()", 22.0),
    "dag_copy": ("the same DAG, its load by COPY", None),
}


def commands(bench):
    """The programs of each way, one after the other."""
    tools = os.path.join(bench.source, "bench", "tools")
    extracted, transformed = (os.path.join(bench.work, name + ".parquet") for name in ("extracted", "transformed"))

    def python(name, *arguments):
        return [sys.executable, os.path.join(tools, *name.split("/")), *arguments]

    return {
        "contratos": [[os.path.join(bench.bindir, "psql"), "-X", "-q", "-At", "-v", "ON_ERROR_STOP=1", "-c",
                       f"SELECT contratos_run('{BIG_DAY}', 'plain')"]],
        "http": [python("http_copy.py", BIG_DAY, "plain")],
        "client": [python("client_copy.py", BIG_DAY, "plain")],
        **{way: [python("dag/extract.py", BIG_DAY, extracted), python("dag/transform.py", extracted, transformed),
                 python(f"dag/{load}.py", BIG_DAY, "plain", transformed)]
           for way, load in (("dag", "load"), ("dag_copy", "load_copy"))},
    }


def environment(bench):
    standin = bench.standin
    # so that no request leaves this machine, whatever the environment says
    hidden = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    return dict(hidden, BIGQUERY_ENDPOINT=standin.url, GOOGLE_APPLICATION_CREDENTIALS=standin.key_file,
                REQUESTS_CA_BUNDLE=standin.ca_file, PYTHONWARNINGS="ignore", PYTHONDONTWRITEBYTECODE="")


def measure(bench):
    session, settings, found = Session(), environment(bench), {}

    def way(name, programs):
        def run():
            bench.cluster.checkpoint(session, "plain")
            run = timed(lambda: [program(each, settings) for each in programs])
            if name not in found:
                found[name] = bench.cluster.contents(session, "plain", COLUMNS)
            return run
        return run

    bench.standin.fresh(bench.sizes.page_bytes)
    ways = {name: way(name, programs) for name, programs in commands(bench).items()}
    ways["contratos"]()
    results = []
    for name, (title, goal) in TITLES.items():
        ways[name]()
        pairs = Pairs(bench, name, ways[name], ways["contratos"])
        bench.checks.equal(found[name], found["contratos"], f"{name}: its rows are contratos'")
        results.append(report.Result(f"tool_{name}", f"{title} ÷ contratos, plain table", pairs.wall(),
                                     ">=" if goal else "", goal))
    session.close()
    return results


def program(command, settings):
    done = subprocess.run(command, env=settings, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, encoding="utf-8")
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr}")
