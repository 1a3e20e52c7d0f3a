"""Private memory of a backend at its highest while it loads a day, and a day of ten times the rows."""
import threading

import report
from cluster import Session, status
from data import BIG_DAY, HUGE_DAY, SMALL_DAY, load

SAMPLE_SECONDS = 0.01


class Highest:
    """The most RssAnon that was seen of a backend, and of the process that reads for it, in MB."""

    def __init__(self, pid, postmaster):
        self.pid, self.postmaster, self.most, self.most_beside = pid, postmaster, 0, 0
        self.done = threading.Event()
        self.thread = threading.Thread(target=self.watch, daemon=True)

    def watch(self):
        while True:
            self.most = max(self.most, status(self.pid, "RssAnon") / 1024)
            for child in self.readers():
                self.most_beside = max(self.most_beside, child)
            if self.done.wait(SAMPLE_SECONDS):
                return

    def readers(self):
        """RssAnon of that process, while there is one."""
        try:
            with open(f"/proc/{self.postmaster}/task/{self.postmaster}/children") as file:
                # the newest children come last
                for child in file.read().split()[-3:]:
                    with open(f"/proc/{child}/cmdline") as title:
                        if f"contratos reader for process {self.pid}" in title.read():
                            yield status(child, "RssAnon") / 1024
        except OSError:
            return  # it has ended meanwhile

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.done.set()
        self.thread.join()


def most(bench, day, rows):
    """(idle, highest, highest of its reader) of a backend of its own, which has loaded a small day before."""
    session = Session()
    session.run("TRUNCATE plain")
    idle = status(session.pid, "RssAnon") / 1024
    load(session, "plain", SMALL_DAY)
    with Highest(session.pid, bench.cluster.postmaster()) as highest:
        bench.checks.equal(load(session, "plain", day), ("succeeded", rows), f"memory: {rows} rows loaded")
    session.run("TRUNCATE plain")
    session.close()
    bench.say(f"  {rows} rows: idle {idle:.1f} MB, highest {highest.most:.1f} MB, beside {highest.most_beside:.1f} MB")
    return idle, highest.most, highest.most_beside


def measure(bench):
    sizes = bench.sizes
    bench.standin.fresh()
    big = most(bench, BIG_DAY, sizes.rows)
    huge = most(bench, HUGE_DAY, sizes.huge_rows)
    above = max(highest - idle for idle, highest, _ in (big, huge))
    return [
        report.Result("memory_growth", "memory: {huge} rows − {rows} rows, MB (RssAnon, at its highest)",
                      report.single(huge[1] - big[1]), "within", 2, form="{:+.1f}"),
        report.Result("memory_idle", "memory: a load − an idle backend, MB", report.single(above), "<=", 16,
                      form="{:.1f}"),
        report.Result("memory_beside", "memory: the process that reads for the load, {huge} rows − {rows} rows, MB",
                      report.single(huge[2] - big[2]), form="{:+.1f}"),
    ]
