"""Two ways side by side: alternating pairs of runs, and what their ratios say."""
import statistics
import time
from collections import namedtuple

# seconds, and of the backend's CPU (None where there is no one backend)
Run = namedtuple("Run", "wall cpu")
Spread = namedtuple("Spread", "median low high")


def timed(action, backend=None):
    """One run; backend is a Session whose CPU time counts."""
    before = backend.cpu() if backend else None
    began = time.perf_counter()
    action()
    wall = time.perf_counter() - began
    return Run(wall, backend.cpu() - before if backend else None)


def spread(values):
    """Median and quartiles."""
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return Spread(middle, low, high)


class Pairs:
    """Runs of two ways, each a function that gives a Run; which one goes first alternates."""

    def __init__(self, bench, title, one, other, count=None):
        self.pairs = []
        for number in range(count or bench.pairs):
            if number % 2 == 0:
                pair = one(), other()
            else:
                second = other()
                pair = one(), second
            self.pairs.append(pair)
            bench.say(f"  {title}: pair {number + 1} of {count or bench.pairs}, {pair[0].wall:.3f} s ÷ "
                      f"{pair[1].wall:.3f} s = {pair[0].wall / pair[1].wall:.2f}")

    def wall(self):
        """How long the first takes, the second being 1."""
        return spread([one.wall / other.wall for one, other in self.pairs])

    def cpu(self):
        return spread([one.cpu / other.cpu for one, other in self.pairs])
