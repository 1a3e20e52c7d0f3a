"""Results as a table on the terminal, as RESULTS.md, and as README's table and picture."""
import os
import platform
import re
import subprocess
import xml.etree.ElementTree
from collections import namedtuple
from datetime import datetime, timezone
from importlib import metadata

import picture
from pairs import Spread

MARKS = ("<!-- speed: written by bench/run -->", "<!-- /speed -->")
PACKAGES = ("google-cloud-bigquery", "orjson", "pandas", "psycopg", "pyarrow", "SQLAlchemy", "urllib3")
# the rows that README shows; all of them are in RESULTS.md
SHOWN = ("copy_plain", "copy_tokens", "tool_dag", "memory_growth")
HEAD = "| what | median | quartiles | goal | met | CPU of the backend |\n|---|---|---|---|---|---|\n"
SHORT_HEAD = "| what | median | quartiles |\n|---|---|---|\n"

# value is a Spread; relation to the goal "<=", ">=", "within" (± goal) or ""; cpu the Spread of the same in CPU time
Result = namedtuple("Result", "key title value relation goal stretch cpu form")
Result.__new__.__defaults__ = ("", None, None, None, "{:.2f}")


def single(value):
    """A Spread of what was measured once."""
    return Spread(value, None, None)


def holds(result, goal):
    value = result.value.median
    return {"<=": value <= goal, ">=": value >= goal, "within": abs(value) <= goal}[result.relation]


def verdict(result):
    if not result.relation:
        return ""
    if not holds(result, result.goal):
        return "no"
    return "yes, stretch too" if result.stretch is not None and holds(result, result.stretch) else "yes"


def wanted(result):
    if not result.relation:
        return ""
    sign = {"<=": "≤", ">=": "≥", "within": "±"}[result.relation]
    text = f"{sign} {result.goal:g}"
    return text if result.stretch is None else f"{text} (stretch {result.stretch:g})"


def quartiles(result, spread):
    if spread is None or spread.low is None:
        return ""
    return f"{result.form.format(spread.low)} … {result.form.format(spread.high)}"


def cells(result):
    cpu = "" if result.cpu is None else f"{result.cpu.median:.2f} ({result.cpu.low:.2f} … {result.cpu.high:.2f})"
    return [result.title, result.form.format(result.value.median), quartiles(result, result.value), wanted(result),
            verdict(result), cpu]


def titled(bench, results):
    """The sizes put into the titles."""
    sizes = bench.sizes
    names = {"rows": f"{sizes.rows:,}", "huge": f"{sizes.huge_rows:,}", "small": f"{sizes.small_rows:,}",
             "delay": sizes.delay_ms}
    return [each._replace(title=each.title.format_map(names)) for each in results]


def markdown(results, columns=6):
    return "".join("| " + " | ".join(cells(each)[:columns]) + " |\n" for each in results)


def terminal(bench, results):
    rows = [["", "median", "quartiles", "goal", "met", "CPU"], *map(cells, titled(bench, results))]
    widths = [max(len(row[column]) for row in rows) for column in range(6)]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in rows)


# ------------------------------------------------------------------------------------------------- where it ran


def first_match(path, pattern):
    try:
        with open(path, encoding="utf-8") as file:
            return re.search(pattern, file.read(), re.M).group(1)
    except (OSError, AttributeError):
        return "unknown"


def output(*command):
    try:
        return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, encoding="utf-8",
                              check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def machine(bench):
    from cluster import Session

    session = Session()
    ours, = session.one("SELECT string_agg(component || ' ' || version, ', ') FROM contratos_version() v(component, version)")
    server, = session.one("SHOW server_version")
    settings = session.run("SELECT name, current_setting(name) FROM pg_settings WHERE name IN ('fsync', "
                           "'synchronous_commit', 'shared_buffers', 'max_wal_size', 'autovacuum', 'wal_level') ORDER BY 1")
    session.close()
    memory = int(first_match("/proc/meminfo", r"^MemTotal:\s+(\d+)")) / 2**20
    packages = ", ".join(f"{name} {metadata.version(name)}" for name in PACKAGES)
    return [
        ("processor", f"{first_match('/proc/cpuinfo', r'^model name.*: (.*)$')}, {os.cpu_count()} cores"),
        ("memory", f"{memory:.0f} GiB"),
        ("system", f"{first_match('/etc/os-release', r'^PRETTY_NAME=.(.*).$')}, Linux {platform.release()}"),
        ("PostgreSQL", f"{server}; " + ", ".join(f"{name} = {value}" for name, value in settings)),
        ("contratos", ours),
        ("commit", bench.options.commit),
        ("yajl", output("pkg-config", "--modversion", "yajl")),
        ("Python", f"{platform.python_version()}; {packages}"),
    ]


# -------------------------------------------------------------------------------------------------------- writing

TEXT = """# How fast it is

Written by `bench/run`; {when}. Medians of {pairs} alternating pairs, with their quartiles; only ratios, since times say more
about the machine. What is compared ran side by side in one run.

{table}
What is what:

- The server is `test/standin`, on the same machine, over https, pages of at most {page:.0f} MB; its own rate is in the first line.
- A load is `contratos_run()`: token, job, pages, fingerprint, DELETE, INSERT, count, ledger, commit. COPY is
  `COPY … FROM 'rows.csv' (FORMAT csv)` of the same rows, read by the server itself, and its commit. Each begins with an empty table, after a
  checkpoint; what they leave is compared by a hash of all rows.
- The Python programs are in `bench/tools`. They and `psql` are measured as whole processes.
- The DAG is there twice: its last task written with `to_sql()` of pandas, as it comes to hand first, and with COPY, as one writes it who has
  waited for that.
- Of a large day a second process fetches and decodes the rows (`contratos.min_parallel_load_size`); “in one process” is without it.
- Why a load writes more WAL than COPY: the executor inserts row by row, a WAL record each with about 50 bytes of its own, where COPY has one for all
  the rows of a page. It is the price of being a plain INSERT, which triggers, rules, partitions, views and other wrappers understand. An index
  costs a record and a descent for each row either way; one in no order, such as that on address, touches another page each time.
- “CPU of the backend” is the same ratio in CPU time of the backend alone; what a second process has used is not in it.
- Memory is private memory (RssAnon) at its highest while the day is loaded, in a backend that has loaded a small day before.

| machine | |
|---|---|
{machine}"""


def results_text(bench, results):
    about = "".join(f"| {name} | {value} |\n" for name, value in machine(bench))
    return TEXT.format(when=datetime.now(timezone.utc).strftime("%Y-%m-%d"), pairs=bench.pairs,
                       table=HEAD + markdown(results), page=bench.sizes.page_bytes / 1e6, machine=about)


def readme_block(results):
    shown = [each for each in results if each.key in SHOWN]
    return "\n![time to load a day](bench/speed.svg)\n\n" + SHORT_HEAD + markdown(shown, 3) + "\n"


def into_readme(text, block):
    start, end = (text.index(mark) for mark in MARKS)
    return text[:start + len(MARKS[0])] + "\n" + block + text[end:]


def write(bench, results, out):
    """All that is kept of a run, in a checkout, or of the quick one in its own folder."""
    results = titled(bench, results)
    os.makedirs(os.path.join(out, "bench"), exist_ok=True)
    readme = os.path.join(out, "README.md")
    with open(readme if os.path.exists(readme) else os.path.join(bench.source, "README.md"), encoding="utf-8") as file:
        text = into_readme(file.read(), readme_block(results))
    for name, content in (("bench/RESULTS.md", results_text(bench, results)), ("bench/speed.svg", picture.draw(results)),
                          ("README.md", text)):
        if content is not None:
            with open(os.path.join(out, name), "w", encoding="utf-8") as file:
                file.write(content)


def block_of(text):
    start, end = (text.index(mark) for mark in MARKS)
    return [line for line in text[start + len(MARKS[0]):end].splitlines() if line.startswith("| ") and "---" not in line]


def read(folder, name):
    with open(os.path.join(folder, name), encoding="utf-8") as file:
        return file.read()


def check(bench, checkout):
    """What was written can be read; and the checkout's README says what its RESULTS.md says."""
    if {"copy", "tools"} <= set(bench.options.only):
        root = xml.etree.ElementTree.parse(os.path.join(bench.work, "bench", "speed.svg")).getroot()
        bench.checks.equal(len(root.findall("{http://www.w3.org/2000/svg}rect")), 7, "the picture has six bars")
    for title, folder in (("of this run", bench.work), ("of the checkout", checkout)):
        if not os.path.exists(os.path.join(folder, "bench", "RESULTS.md")):
            bench.checks.equal(block_of(read(folder, "README.md")), [], f"README {title} has no figures without results")
            continue
        lines = read(folder, "bench/RESULTS.md").splitlines()
        block = block_of(read(folder, "README.md"))
        unknown = [each for each in block if not any(line.startswith(each) for line in lines)]
        bench.checks.that(not unknown, f"README's figures {title} are those of RESULTS.md: {unknown}")
        if folder == checkout or {"copy", "tools", "memory"} <= set(bench.options.only):
            bench.checks.equal(len(block), 1 + len(SHOWN), f"README {title} shows {len(SHOWN)} figures")
