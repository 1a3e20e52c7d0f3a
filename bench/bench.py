#!/usr/bin/env python3
"""What bench/run measures, in which order, and where the results go."""
import argparse
import os
import sys
import time

import measure_backfill
import measure_copy
import measure_decoder
import measure_latency
import measure_memory
import measure_parts
import measure_tools
import measure_worker
import report
from checks import Checks
from cluster import Cluster, Standin
from data import Days, Sizes

# by the order in which they are reported
MEASUREMENTS = {
    "copy": measure_copy, "parts": measure_parts, "tools": measure_tools, "latency": measure_latency,
    "memory": measure_memory, "decoder": measure_decoder, "worker": measure_worker, "backfill": measure_backfill,
}


class Bench:
    """What every measurement needs."""

    def __init__(self, options):
        self.options = options
        self.work = options.work
        self.source = os.path.join(options.work, "src")
        self.bindir = options.bindir
        self.sizes = Sizes(options.quick, options.rows)
        self.pairs = options.pairs or (2 if options.quick else 9)
        self.checks = Checks(options.quick)
        self.standin = Standin(options.work)
        self.cluster = Cluster(options.work)
        self.days = Days(self)
        self.began = time.monotonic()

    def say(self, text):
        """Progress; in TAP it is a comment."""
        mark = "# " if self.options.quick else f"{time.monotonic() - self.began:6.0f} s  "
        print(mark + text, flush=True)


def arguments():
    parser = argparse.ArgumentParser(description="How fast a load is; called by bench/run.")
    parser.add_argument("--work", required=True)
    parser.add_argument("--bindir", required=True)
    parser.add_argument("--out", required=True, help="the checkout")
    parser.add_argument("--commit", required=True)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--pairs", type=int)
    parser.add_argument("--rows", type=int)
    parser.add_argument("--only", default="", help="names, with commas: " + " ".join(MEASUREMENTS))
    options = parser.parse_args()
    options.only = options.only.split(",") if options.only else list(MEASUREMENTS)
    unknown = set(options.only) - set(MEASUREMENTS)
    if unknown:
        parser.error(f"no such measurement: {', '.join(sorted(unknown))}")
    if options.pairs is not None and options.pairs < 2:
        parser.error("quartiles need two pairs")
    return options


def main():
    options = arguments()
    bench = Bench(options)
    bench.say("preparing the days")
    bench.days.prepare()
    results = []
    for name, measurement in MEASUREMENTS.items():
        if name not in options.only:
            continue
        bench.say(name + ": " + measurement.__doc__.splitlines()[0])
        bench.standin.fresh()
        results += measurement.measure(bench)
    whole = len(options.only) == len(MEASUREMENTS) and options.rows is None
    if not options.quick:
        print("\n" + report.terminal(bench, results))
    report.write(bench, results, options.out if whole and not options.quick else bench.work)
    if options.quick:
        report.check(bench, options.out)
    bench.checks.finish()


if __name__ == "__main__":
    sys.exit(main())
