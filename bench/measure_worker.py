"""A worker with nothing to do, between two days that are queued: how often does it wake?"""
import time

import report
from cluster import Session, status
from data import WORKER_DAYS, WORKER_NOW

DATABASE = "idle"
DEADLINE_SECONDS = 60
POLL_SECONDS = 0.2


def until(what, question):
    deadline = time.monotonic() + DEADLINE_SECONDS
    while True:
        answer = question()
        if answer:
            return answer
        if time.monotonic() > deadline:
            raise RuntimeError(f"in vain: {what}")
        time.sleep(POLL_SECONDS)


def switches(pid):
    return status(pid, "voluntary_ctxt_switches")


def settled(pid):
    """The worker has not woken for a second: what it had to do is done."""
    before = switches(pid)
    time.sleep(1)
    return switches(pid) == before


def queued(session, day):
    """Have the worker load a day; its process afterwards."""
    session.run("SELECT contratos_enqueue(%s, %s, only_missing => false)", day, day)
    until(f"the worker loads {day}", lambda: session.run(
        "SELECT 1 FROM contratos_runs WHERE day = %s AND cause = 'queue' AND status = 'succeeded'", day))
    (pid,), = session.run("SELECT pid FROM pg_stat_activity WHERE backend_type = 'contratos worker' AND datname = %s",
                          DATABASE)
    until("the worker sleeps", lambda: settled(pid))
    return pid


def start(bench):
    """A database of its own, in which it is always noon: nothing gets due by itself."""
    admin = Session()
    admin.run(f"CREATE DATABASE {DATABASE}")
    admin.run(f"ALTER DATABASE {DATABASE} SET contratos.now = '{WORKER_NOW}'")
    session = Session(DATABASE)
    session.run("CREATE EXTENSION contratos")
    session.run("SELECT contratos_setup()")
    admin.run(f"ALTER SYSTEM SET contratos.databases = '{DATABASE}'")
    admin.run("SELECT pg_reload_conf()")
    until("the worker loads yesterday", lambda: session.run(
        "SELECT 1 FROM contratos_runs WHERE day = %s AND status = 'succeeded'", WORKER_DAYS[-1]))
    return admin, session


def measure(bench):
    admin, session = start(bench)
    pid = queued(session, WORKER_DAYS[0])
    before = switches(pid)
    time.sleep(bench.sizes.idle_seconds)
    woken = switches(pid) - before
    bench.checks.equal(queued(session, WORKER_DAYS[1]), pid, "worker: the same one loads what comes next")
    bench.checks.that(switches(pid) > before + woken, "worker: and wakes for it")
    session.close()
    admin.run("ALTER SYSTEM RESET contratos.databases")
    admin.run("SELECT pg_reload_conf()")
    admin.close()
    return [report.Result("worker", f"idle worker: times it wakes in {bench.sizes.idle_seconds} s",
                          report.single(woken), "<=", 0, form="{:.0f}")]
