"""Every answer late: pages fetched ahead against one after the other; and how many requests a small day takes."""
import report
from cluster import Session
from data import BIG_DAY, SMALL_DAY, load
from pairs import Pairs, timed


def measure(bench):
    sizes = bench.sizes
    bench.standin.fresh(delay_ms=sizes.delay_ms)
    session = Session()
    session.run(f"SET contratos.page_rows = {sizes.rows // sizes.pages}")

    def way(ahead):
        def run():
            session.run(f"SET contratos.parallel_pages = {ahead}")
            # one after the other means in one process, too
            session.run(f"SET contratos.min_parallel_load_size = {0 if ahead else -1}")
            bench.cluster.checkpoint(session, "plain")
            return timed(lambda: load(session, "plain", BIG_DAY), session)
        return run

    # once unmeasured: for the token, and for the stand-in to encode the rows
    way(4)()
    pairs = Pairs(bench, "pages ahead", way(4), way(0))
    runs = session.run("SELECT pages, rows_loaded FROM contratos_runs WHERE source = 'plain' ORDER BY id DESC LIMIT %s",
                       2 * bench.pairs)
    bench.checks.equal(set(runs), {(sizes.pages, sizes.rows)}, "pages ahead: every run read all rows in as many pages")
    session.close()
    title = f"{sizes.pages} pages, every answer {{delay}} ms late: 4 pages ahead ÷ one after the other"
    return [report.Result("latency", title, pairs.wall(), "<=", 0.30, None, pairs.cpu()), requests(bench)]


def requests(bench):
    """What a small day asks for, in a session that has no token yet, and in one that has."""
    bench.standin.fresh()
    session = Session()
    load(session, "plain", SMALL_DAY)
    first = bench.standin.requests()
    load(session, "plain", SMALL_DAY)
    second = bench.standin.requests()[len(first):]
    session.close()
    bench.say(f"  requests of a small day: {', '.join(first)}; with a token: {', '.join(second)}")
    bench.checks.equal(second, ["insert", "results"], "a small day takes a job and a page")
    bench.checks.equal(first, ["token", "insert", "results"], "and a token, the first time")
    return report.Result("requests", "requests of a day of {small} rows, the token's included",
                         report.single(len(first)), "<=", 3, form="{:.0f}")
