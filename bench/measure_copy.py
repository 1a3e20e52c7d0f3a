"""A day over https, fingerprint and all, against COPY of the same rows from a file on the server.

Both begin with an empty table and a checkpoint, and end with their commit.
"""
import report
from data import BIG_DAY, COLUMNS, GENERATED, SQL, bounds, copy, load
from cluster import Session
from pairs import Pairs, timed

# of JSON, at least
ROW_BYTES = 240

SHAPES = {
    "plain": ("plain table (8 columns, one index)", 1.0, 0.9),
    "tokens": ("`tokens` (generated column, two indexes)", 1.05, 1.0),
}


def pair(bench, session, table):
    """The two ways to fill a table; what each filled it with at first; the bytes of WAL that it took at last."""
    sizes, columns, found, wal = bench.sizes, COLUMNS + GENERATED[table], {}, {}

    def way(name, action):
        def run():
            bench.cluster.checkpoint(session, table)
            before = bench.cluster.written(session)
            run = timed(action, session)
            wal[name] = bench.cluster.written(session) - before
            if name not in found:
                found[name] = bench.cluster.contents(session, table, columns)
            return run
        return run

    def by_load():
        bench.checks.equal(load(session, table, BIG_DAY), ("succeeded", sizes.rows), f"{table}: loaded")

    def by_copy():
        copy(session, table, bench.days.csv)

    return way("load", by_load), way("copy", by_copy), found, wal


def measure(bench):
    session, results = Session(), []
    bench.standin.fresh(bench.sizes.page_bytes)
    for table, (title, goal, stretch) in SHAPES.items():
        session.run("RESET contratos.min_parallel_load_size")
        ours, theirs, found, wal = pair(bench, session, table)
        # once unmeasured: the stand-in encodes the rows, caches fill
        theirs(), ours()
        pairs = Pairs(bench, table, ours, theirs)
        bench.checks.equal(found["load"], found["copy"], f"{table}: the load's rows are COPY's")
        bench.checks.equal(found["load"][0], bench.sizes.rows, f"{table}: and all of them")
        results.append(report.Result(f"copy_{table}", f"day of {{rows}} rows ÷ COPY from CSV, {title}", pairs.wall(), "<=",
                                     goal, stretch, pairs.cpu()))
        results.append(alone(bench, session, table, title, ours, theirs))
        results.append(report.Result(f"wal_{table}", f"the same, bytes of WAL, {title}",
                                     report.single(wal["load"] / wal["copy"])))
        if table == "plain":
            results.insert(0, raw_rate(bench, pairs))
    session.close()
    return results


def alone(bench, session, table, title, ours, theirs):
    """The same by one process, to tell what the second one gives."""
    session.run("SET contratos.min_parallel_load_size = -1")
    pairs = Pairs(bench, f"{table}, one process", ours, theirs)
    return report.Result(f"alone_{table}", f"the same in one process, {title}", pairs.wall(), cpu=pairs.cpu())


def raw_rate(bench, pairs):
    """How much faster the stand-in is than the load: it must not be the bottleneck."""
    sizes, (low, high) = bench.sizes, bounds(BIG_DAY)
    rates = [bench.standin.raw(SQL, low, high, sizes.rows, sizes.page_rows) for _ in range(3)]
    bench.checks.that(all(size > ROW_BYTES * sizes.rows for size, _ in rates), "the stand-in has sent all rows")
    seconds = sorted(seconds for _, seconds in rates)[1]
    wall = sorted(one.wall for one, _ in pairs.pairs)
    bench.say(f"  the stand-in: {rates[0][0] / 1e6:.0f} MB in {seconds:.3f} s, read on one connection and thrown away")
    return report.Result("raw", "(the stand-in alone: its pages read and thrown away ÷ the load of the plain table)",
                         report.single(seconds / wall[len(wall) // 2]))
