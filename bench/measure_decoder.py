"""The decoder alone against yajl and jansson, over one page in memory; instructions by callgrind."""
import os
import re
import subprocess

import report
from data import BIG_DAY, SQL, bounds
from pairs import spread

PAGE_ROWS = 30_000
GOALS = {"yajl": 5, "jansson": 50}
# callgrind is some fifty times slower, and counts the same for less
CALLGRIND_ROWS = 2_000


def fetch(bench, rows, name):
    """A page as a file."""
    path = os.path.join(bench.work, name)
    connection = bench.standin.reader()
    address = bench.standin.ask(connection, SQL, *bounds(BIG_DAY))
    connection.request("GET", f"{address}&startIndex=0&maxResults={rows}")
    with open(path, "wb") as file:
        file.write(connection.getresponse().read())
    connection.close()
    return path


def instructions(bench, program, page, decoder):
    """Per byte of the page, of the decoding alone."""
    out = os.path.join(bench.work, f"callgrind.{decoder}")
    done = subprocess.run(["valgrind", "--tool=callgrind", f"--toggle-collect=decode_{decoder}",
                           f"--callgrind-out-file={out}", program, page, "1", decoder],
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8")
    collected = re.search(r"Collected : (\d+)", done.stderr)
    if done.returncode != 0 or collected is None:
        raise RuntimeError(f"callgrind: {done.stderr}")
    return int(collected.group(1)) / os.path.getsize(page)


def measure(bench):
    program = os.path.join(bench.source, "bench", "decoder", "decoder")
    page = fetch(bench, min(bench.sizes.rows, PAGE_ROWS), "page.json")
    done = subprocess.run([program, page, str(bench.sizes.decoder_rounds)], stdout=subprocess.PIPE, encoding="utf-8",
                          check=True)
    lines = [line.split() for line in done.stdout.splitlines()]
    counted = [line[1:] for line in lines if line[0] == "found"]
    # each line: a decoder, rows, cells, bytes of values
    bench.checks.that(len(counted) == 3 and len({tuple(each[1:]) for each in counted}) == 1,
                      f"decoder: all three find the same: {counted}")
    bench.checks.equal(int(counted[0][1]), min(bench.sizes.rows, PAGE_ROWS), "decoder: and all rows")
    rounds = [{name: float(seconds) for name, seconds in zip(line[1::2], line[2::2])} for line in lines
              if line[0] == "round"]
    small = fetch(bench, min(bench.sizes.rows, CALLGRIND_ROWS), "small.json")
    results = []
    for name, goal in GOALS.items():
        ratios = spread([each[name] / each["rows"] for each in rounds])
        results.append(report.Result(f"decoder_{name}", f"decoder alone: {name} ÷ ours", ratios, ">=", goal))
    per_byte = {name: instructions(bench, program, small, name) for name in ("rows", *GOALS)}
    size = os.path.getsize(page)
    bench.say(f"  {size / min(each['rows'] for each in rounds) / 1e9:.2f} GB/s at best; instructions per byte: " +
              ", ".join(f"{name} {count:.2f}" for name, count in per_byte.items()))
    results.append(report.Result("instructions", "decoder: instructions per byte (yajl: {:.1f}, jansson: {:.0f})".format(
        per_byte["yajl"], per_byte["jansson"]), report.single(per_byte["rows"])))
    return results
