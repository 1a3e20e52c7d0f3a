"""A year of small days in one call, against a COPY a day, each with its DELETE and its commit."""
import os

import report
from cluster import Session
from data import COLUMNS, GENERATED, copy
from pairs import Pairs, timed


def measure(bench):
    days, session, results = bench.days, Session(), []
    bench.standin.fresh()
    files = {day: os.path.join(bench.work, f"day-{day}.csv") for day in days.many}
    for day, path in files.items():
        days.write(path, day, bench.sizes.small_rows)
    # progress is not for us
    session.run("SET client_min_messages = warning")
    for table in ("plain", "tokens"):
        results.append(one_table(bench, session, table, files))
    session.close()
    for path in files.values():
        os.unlink(path)
    return results


def one_table(bench, session, table, files):
    first, last = bench.days.many[0], bench.days.many[-1]
    wanted = len(files) * bench.sizes.small_rows
    found = {}

    def backfill():
        done = session.one("SELECT count(*), sum(rows_loaded) FROM contratos_backfill_range(%s, %s, %s) "
                           "WHERE status = 'succeeded'", first, last, table)
        bench.checks.equal(done, (len(files), wanted), f"backfill: {table}: every day, every row")

    def copies():
        for day, path in files.items():
            with session.connection.transaction():
                session.run(f"DELETE FROM {table} WHERE block_timestamp >= '{day} 00:00+00' "
                            f"AND block_timestamp < timestamptz '{day} 00:00+00' + interval '1 day'")
                copy(session, table, path)

    def way(name, action):
        def run():
            bench.cluster.checkpoint(session, table)
            run = timed(action, session)
            if name not in found:
                found[name] = bench.cluster.contents(session, table, COLUMNS + GENERATED[table])
            return run
        return run

    ours, theirs = way("backfill", backfill), way("copy", copies)
    ours()
    pairs = Pairs(bench, f"backfill, {table}", ours, theirs)
    bench.checks.equal(found["backfill"], found["copy"], f"backfill: {table}: the same rows")
    title = f"{len(files)} days × {{small}} rows, one call ÷ a DELETE and a COPY a day, `{table}`"
    return report.Result(f"backfill_{table}", title, pairs.wall(), "<=", 1.3, None, pairs.cpu())
