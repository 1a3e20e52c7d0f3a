"""The rows: days at the stand-in, the same as CSV files, and the tables they go into."""
import csv
import os
import sys
from datetime import date, datetime, timedelta, timezone

from cluster import Session

EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
NAMES = ["address", "symbol", "name", "decimals", "total_supply", "block_timestamp", "block_number", "block_hash"]
COLUMNS = ", ".join(NAMES)
SQL = (f"SELECT {COLUMNS} FROM `bigquery-public-data.crypto_ethereum.tokens` "
       "WHERE block_timestamp >= @low AND block_timestamp < @high")

BIG_DAY = "2024-01-15"
SMALL_DAY = "2024-01-17"
HUGE_DAY = "2024-02-01"
FIRST_OF_MANY = date(2022, 1, 1)
# what the worker finds, by its own clock
WORKER_NOW = "2024-06-15 12:00:00+00"
WORKER_DAYS = ("2024-06-12", "2024-06-13", "2024-06-14")

# plain: what COPY is usually measured with.  tokens: as the extension makes it,
# with two indexes and a generated column.
PLAIN = """
CREATE TABLE plain (address text NOT NULL, symbol text, name text, decimals numeric, total_supply numeric,
	block_timestamp timestamptz NOT NULL, block_number bigint NOT NULL, block_hash text NOT NULL);
CREATE INDEX ON plain (block_timestamp);
INSERT INTO contratos_sources (name, remote_table, target_table, timestamp_column)
	VALUES ('plain', 'bigquery_tokens', 'plain', 'block_timestamp');
"""
# what is compared of each, beside the eight
GENERATED = {"plain": "", "tokens": ", block"}


class Sizes:
    """How much of everything."""

    def __init__(self, quick, rows):
        self.rows = rows or (2_000 if quick else 500_000)
        self.huge_rows = self.rows * (2 if quick else 10)
        self.small_rows = 50 if quick else 5_000
        self.days = 4 if quick else 365
        self.pages = 10 if quick else 50
        self.delay_ms = 5 if quick else 300
        self.page_bytes = 50_000 if quick else 10_000_000
        # as many as are never cut short
        self.page_rows = self.page_bytes // 300
        self.decoder_rounds = 2 if quick else 15
        self.idle_seconds = 1 if quick else 30


class Days:
    def __init__(self, bench):
        self.bench = bench
        self.sizes = bench.sizes
        self.csv = os.path.join(bench.work, "rows.csv")
        self.many = [str(FIRST_OF_MANY + timedelta(days=number)) for number in range(self.sizes.days)]

    def prepare(self):
        """The days at the stand-in, all before the first job: a change of the table makes its results anew."""
        for day, rows in self.amounts():
            self.bench.standin.generate(day, rows)
        self.write(self.csv, BIG_DAY, self.sizes.rows)
        session = Session()
        session.run("CREATE EXTENSION contratos")
        session.run("SELECT contratos_setup()")
        session.run(PLAIN)
        session.close()

    def amounts(self):
        wanted = self.bench.options.only
        yield BIG_DAY, self.sizes.rows
        yield SMALL_DAY, self.sizes.small_rows
        if "memory" in wanted:
            yield HUGE_DAY, self.sizes.huge_rows
        if "worker" in wanted:
            yield from ((day, 10) for day in WORKER_DAYS)
        if "backfill" in wanted:
            yield from ((day, self.sizes.small_rows) for day in self.many)

    def write(self, path, day, rows):
        """What the stand-in has of a day, as a file that COPY reads."""
        sys.path.insert(0, os.path.join(self.bench.source, "test", "standin"))
        from tables import GeneratedPart

        timestamp = NAMES.index("block_timestamp")
        with open(path, "w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            for row in GeneratedPart(day, rows):
                row = list(row)
                row[timestamp] = EPOCH + timedelta(microseconds=row[timestamp])
                writer.writerow(row)
        # the server reads it, who may be somebody else
        os.chmod(path, 0o644)


def copy(session, table, path):
    session.run(f"COPY {table} ({COLUMNS}) FROM '{path}' (FORMAT csv)")


def load(session, source, day):
    """(status, rows) of a load."""
    return session.one("SELECT status, rows_loaded FROM contratos_run(%s, %s)", day, source)


def bounds(day):
    return day + " 00:00:00+00", str(date.fromisoformat(day) + timedelta(days=1)) + " 00:00:00+00"
