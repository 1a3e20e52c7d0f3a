"""Memory and file descriptors of launcher and workers, sampled from /proc while a soak goes on."""
import os
import statistics
import threading
import time

INTERVAL = 0.5

# A process may grow by so much after its warm-up.
MAX_GROWTH_KB = 4096
MAX_GROWTH_FDS = 4


def median(values):
    return int(statistics.median(values))


class Watch(threading.Thread):
    """samples: (phase, role, pid, seconds since the start, RssAnon in kB, open descriptors)"""

    def __init__(self, data):
        super().__init__(daemon=True)
        self.pid_file = os.path.join(data, "postmaster.pid")
        self.phase = "start"
        self.sessions = {}  # pid -> the role of a session that is to be looked at, too
        self.samples = []
        self.began = time.monotonic()
        self.stopping = threading.Event()

    def run(self):
        while not self.stopping.wait(INTERVAL):
            try:
                with open(self.pid_file) as file:
                    postmaster = int(file.readline())
            except (OSError, ValueError):
                continue
            for entry in os.listdir("/proc"):
                if entry.isdigit():
                    self.look(int(entry), postmaster)

    def look(self, pid, postmaster):
        """A process that ends meanwhile is not counted."""
        try:
            with open(f"/proc/{pid}/cmdline") as file:
                title = file.read()
            role = next((role for role in ("launcher", "worker") if title.startswith(f"postgres: contratos {role}")),
                        None) or self.sessions.get(pid)
            if role is None:
                return
            with open(f"/proc/{pid}/status") as file:
                status = dict(line.rstrip("\n").split(":\t", 1) for line in file if ":\t" in line)
            if int(status["PPid"]) != postmaster:
                return
            fds = self.descriptors(pid)
        except (OSError, KeyError, ValueError):
            return
        self.samples.append((self.phase, role, pid, time.monotonic() - self.began, int(status["RssAnon"].split()[0]),
                             fds))

    def descriptors(self, pid):
        """How many a process has open, without the files of tables: PostgreSQL keeps a thousand of these."""
        links = [os.readlink(entry.path) for entry in os.scandir(f"/proc/{pid}/fd")]
        return sum(not link.startswith(os.path.dirname(self.pid_file) + "/base/") for link in links)

    def finish(self):
        self.stopping.set()
        self.join()

    def of_processes(self, phase, role):
        """pid -> [(RssAnon, descriptors), ...], in the order of the processes' first samples."""
        found = {}
        for its_phase, its_role, pid, _, rss, fds in self.samples:
            if (its_phase, its_role) == (phase, role):
                found.setdefault(pid, []).append((rss, fds))
        return found


def judge(title, series):
    """Compare the last quarter with the one after the warm-up; the complaints, after printing the figures."""
    if len(series) < 8:
        print(f"{title}: {len(series)} values are too few to compare")
        return []
    quarter = len(series) // 4
    complaints, texts = [], []
    for position, (name, limit) in enumerate((("RssAnon kB", MAX_GROWTH_KB), ("fds", MAX_GROWTH_FDS))):
        values = [sample[position] for sample in series]
        early, late = median(values[quarter:2 * quarter]), median(values[-quarter:])
        texts.append(f"{name} first {values[0]}, median {median(values)}, max {max(values)}, last {values[-1]} "
                     f"(2nd quarter {early}, 4th {late})")
        if late > early + limit:
            complaints.append(f"{title}: {name} grew from {early} to {late}")
    print(f"{title}: {len(series)} values; " + "; ".join(texts))
    return complaints


def report(watch):
    """Workers of the clock's phase live for one step each: their greatest values count.  The others live long."""
    short = watch.of_processes("clock", "worker")
    peaks = [(max(s[0] for s in samples), max(s[1] for s in samples)) for samples in short.values()]
    complaints = judge(f"peaks of {len(peaks)} short-lived workers", peaks)
    for phase, role in (("clock", "launcher"), ("queue", "worker"), ("queue", "launcher")):
        processes = watch.of_processes(phase, role)
        if not processes:
            complaints.append(f"no {role} was seen in the phase '{phase}'")
            continue
        longest = max(processes.values(), key=len)
        complaints += judge(f"{role} in phase '{phase}', the longest-lived of {len(processes)}", longest)
    return complaints
