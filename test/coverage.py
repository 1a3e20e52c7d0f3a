#!/usr/bin/env python3
"""The lines of src/ that a build with --coverage has executed; called by script/coverage.

A table of files, then the lines that no test reaches, by kind: test/coverage.tsv has a pattern for each kind, which is
held against "file:function: text of the line", and the reason why such lines are not reached.
"""
import argparse
import collections
import json
import os
import re
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
BATCH = 50


def gcov(tree):
    """What gcov says about each object: one JSON document for each."""
    notes = [os.path.join(folder, name) for folder, _, names in os.walk(tree) for name in names
             if name.endswith(".gcno")]
    for start in range(0, len(notes), BATCH):
        done = subprocess.run(["gcov", "--json-format", "--stdout", *notes[start:start + BATCH]], check=True,
                              stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, cwd=tree)
        for line in done.stdout.splitlines():
            if line.strip():
                yield json.loads(line)


def read(tree):
    """file -> line -> count, and file -> [(first line, last line, function)].  A file is in many objects."""
    lines, functions = collections.defaultdict(dict), collections.defaultdict(set)
    for document in gcov(tree):
        for file in document["files"]:
            path = os.path.join(document["current_working_directory"], file["file"])
            name = os.path.relpath(os.path.realpath(path), os.path.realpath(tree))
            if not name.startswith("src/"):
                continue
            for line in file["lines"]:
                number = line["line_number"]
                lines[name][number] = max(lines[name].get(number, 0), line["count"])
            for function in file["functions"]:
                functions[name].add((function["start_line"], function["end_line"], function["name"]))
    return lines, functions


def missing(lines, functions):
    """(file, function) -> its lines that were not executed."""
    found = collections.defaultdict(list)
    for name, counts in lines.items():
        for number in sorted(number for number, count in counts.items() if count == 0):
            inside = [f for f in functions[name] if f[0] <= number <= f[1]]
            found[name, max(inside)[2] if inside else "-"].append(number)
    return found


def kinds():
    """[(kind, pattern)] of test/coverage.tsv, in its order: the first that fits counts."""
    with open(os.path.join(HERE, "coverage.tsv"), encoding="utf-8") as file:
        rows = [line.rstrip("\n").split("\t") for line in file][1:]
    return [(kind, re.compile(pattern)) for kind, pattern, _ in rows]


def ratio(counts):
    return sum(1 for count in counts if count), len(counts)


def percent(reached, total):
    return 100 * reached / total if total else 100


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("tree")
    parser.add_argument("--minimum", type=float, default=92)
    parser.add_argument("--missing", action="store_true", help="print each line that was not executed")
    options = parser.parse_args()
    lines, functions = read(options.tree)
    if not lines:
        sys.exit("coverage.py: nothing was counted")
    for name in sorted(lines):
        reached, total = ratio(lines[name].values())
        print(f"{name:44} {reached:6} of {total:5} lines {percent(reached, total):6.1f} %")
    reached, total = ratio([count for counts in lines.values() for count in counts.values()])
    print(f"{'src/':44} {reached:6} of {total:5} lines {percent(reached, total):6.1f} %")

    known, per_kind, rest = kinds(), collections.Counter(), collections.Counter()
    for (name, function), numbers in sorted(missing(lines, functions).items()):
        with open(os.path.join(options.tree, name), encoding="utf-8") as file:
            text = file.read().splitlines()
        for number in numbers:
            line = f"{name}:{function}: {text[number - 1].strip()}"
            kind = next((kind for kind, pattern in known if pattern.search(line)), None)
            if kind:
                per_kind[kind] += 1
            else:
                rest[name, function] += 1
            if options.missing:
                print(f"{name}:{number}: {function}: {kind or '-'}: {text[number - 1].strip()}")
    for kind, _ in known:
        print(f"not executed, {kind + ':':20} {per_kind[kind]:5} lines")
    print(f"not executed, of no kind:       {sum(rest.values()):5} lines of {len(rest)} functions; the longest:")
    for (name, function), count in rest.most_common(20):
        print(f"  {count:4} {name} {function}")
    verdict = percent(reached, total) >= options.minimum
    print(f"{'ok' if verdict else 'not ok'} - {percent(reached, total):.1f} % of the lines of src/ are executed, "
          f"{options.minimum:g} % or more")
    return 0 if verdict else 1


if __name__ == "__main__":
    sys.exit(main())
