"""What the parts of a table cost a load: an index in the order of the rows, one in no order, a generated column."""
import report
from cluster import Session
from data import BIG_DAY, load
from pairs import Pairs, timed

# name of a table without the part -> (the table with it, what is left out)
WITHOUT = {
    "bare": ("plain", "DROP INDEX bare_block_timestamp_idx", "no index on block_timestamp, plain table"),
    "unsearched": ("tokens", "DROP INDEX unsearched_address_idx", "no index on address, `tokens`"),
    "ungenerated": ("tokens", "ALTER TABLE ungenerated DROP COLUMN block", "no generated column, `tokens`"),
}


def make(session, name, like, leave_out):
    """A table like another, without one of its parts; and its source."""
    session.run(f"CREATE TABLE {name} (LIKE {like} INCLUDING ALL)")
    session.run(leave_out)
    session.run("INSERT INTO contratos_sources (name, remote_table, target_table, timestamp_column) "
                "VALUES (%s, 'bigquery_tokens', %s, 'block_timestamp')", name, name)


def measure(bench):
    session, results = Session(), []
    # fewer pairs: these have no goal
    count = max(2, bench.pairs // 3)

    def way(table):
        def run():
            bench.cluster.checkpoint(session, table)
            before = bench.cluster.written(session)
            run = timed(lambda: load(session, table, BIG_DAY), session)
            wal[table] = bench.cluster.written(session) - before
            return run
        return run

    wal = {}
    for name, (like, leave_out, title) in WITHOUT.items():
        make(session, name, like, leave_out)
        way(name)()
        pairs = Pairs(bench, name, way(name), way(like), count)
        bench.checks.equal(session.one(f"SELECT count(*) FROM {name}"), (bench.sizes.rows,), f"{name}: all rows")
        results.append(report.Result(f"part_{name}", f"a load with {title} ÷ with it", pairs.wall(), cpu=pairs.cpu()))
        results.append(report.Result(f"part_wal_{name}", "the same, bytes of WAL", report.single(wal[name] / wal[like])))
        session.run(f"DROP TABLE {name}")
        session.run("DELETE FROM contratos_sources WHERE name = %s", name)
    session.close()
    return results
