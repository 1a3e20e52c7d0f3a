"""The data: tables with a schema and rows, from CSV, from JSON, or generated.

A table is a list of parts.  A part knows how to give its rows again and again, so 500,000 generated rows are never held
as Python objects; every change of a table gives it a new version, by which prepared results are cached.
"""
import copy
import csv
import hashlib
import io
import itertools
from collections import namedtuple
from datetime import date, timedelta

from partitions import EVERYTHING, PSEUDO_COLUMNS, Partitioning
from values import (
    DAY_US,
    SCALAR_TYPES,
    Wire,
    from_json,
    from_text,
    legacy_name,
    parse_timestamp,
    record_from_json,
    size_of,
)

TOKENS_NAME = "bigquery-public-data.crypto_ethereum.tokens"
TOKENS_SCHEMA = [
    {"name": "address", "type": "STRING", "mode": "REQUIRED"},
    {"name": "symbol", "type": "STRING", "mode": "NULLABLE"},
    {"name": "name", "type": "STRING", "mode": "NULLABLE"},
    {"name": "decimals", "type": "STRING", "mode": "NULLABLE"},
    {"name": "total_supply", "type": "STRING", "mode": "NULLABLE"},
    {"name": "block_timestamp", "type": "TIMESTAMP", "mode": "REQUIRED"},
    {"name": "block_number", "type": "INTEGER", "mode": "REQUIRED"},
    {"name": "block_hash", "type": "STRING", "mode": "REQUIRED"},
]
# The sample's block of days with about 55 rows each ends here.
DENSE_LAST_DAY = date(2024, 3, 7)

# A column as queries see it: its place in a row, its field.
Column = namedtuple("Column", "position field")

_versions = itertools.count(1)


def day_start(day):
    """Microseconds since 1970 of the UTC midnight that begins a day given as YYYY-MM-DD."""
    return parse_timestamp(day)


def normal_field(field):
    """A field of a schema with the API's type name and a mode, its inner fields likewise."""
    kind = legacy_name(field["type"])
    if kind not in SCALAR_TYPES and kind != "RECORD":
        raise ValueError(f"Invalid value for type: {field['type']} is not a valid value")
    field = dict(field, type=kind, mode=field.get("mode") or "NULLABLE")
    if kind == "RECORD":
        field["fields"] = [normal_field(inner) for inner in field["fields"]]
    if kind == "RANGE":
        field["rangeElementType"] = {"type": legacy_name(field["rangeElementType"]["type"])}
    return field


class ListPart:
    """Rows held as tuples in the order of the schema, behind them the ingestion time if the table has one."""

    def __init__(self, rows):
        self.rows = rows

    def __iter__(self):
        return iter(self.rows)

    def __len__(self):
        return len(self.rows)

    def rows_between(self, window):
        """An iterable of at least the rows in the window's partitions."""
        return self.rows

    def bytes_between(self, fields, positions, partitioning, window):
        """Logical bytes of the columns in the window's partitions."""
        chosen = [(fields[position], position) for position in positions]
        return sum(
            size_of(field, row[position])
            for row in self.rows
            if partitioning is None or partitioning.reads(partitioning.tick(row), window)
            for field, position in chosen
        )

    def without(self, tick, low, high):
        """The rest after the rows of low <= tick < high are gone."""
        kept = [row for row in self.rows if tick(row) is None or not low <= tick(row) < high]
        return ListPart(kept)


class GeneratedPart:
    """N token rows spread evenly over one day; the same rows each time they are asked for."""

    def __init__(self, day, count, seed=0):
        self.start = day_start(day)
        self.count = count
        self.seed = seed

    def __len__(self):
        return self.count

    def __iter__(self):
        step = DAY_US // max(self.count, 1)
        first_block = 10_000_000 + self.start // 12_000_000 % 80_000_000
        for number in range(self.count):
            offset = number * step
            digest = hashlib.blake2b(b"%d/%d/%d" % (self.seed, self.start, number), digest_size=52).hexdigest()
            yield (
                "0x" + digest[:40],
                "TK" + digest[1:3].upper(),
                "Token " + digest[40 : 52 + number % 11],
                "18" if number % 5 else "6",
                str(int(digest[:8], 16) + 1) + "0" * (11 + number % 5),
                self.start + offset,
                first_block + offset // 12_000_000,
                "0x" + digest[40:104],
            )

    def rows_between(self, window):
        low, high = window
        before = low is not None and self.start + DAY_US <= low
        return () if before or (high is not None and self.start >= high) else self

    def bytes_between(self, fields, positions, partitioning, window):
        row = next(iter(self.rows_between(window if partitioning else EVERYTHING)), None)
        return self.count * sum(size_of(fields[p], row[p]) for p in positions) if row else 0

    def without(self, tick, low, high):
        # Days are deleted whole, and this part is one day.
        return ListPart([]) if low <= self.start < high else self


class Table:
    """A table: its full name, its schema, its rows, and what tables.get tells besides."""

    def __init__(self, name, schema, partitioning=None, ranges=None, require_filter=False, about=None):
        self.name = name
        self.project, self.dataset, self.table = name.split(".", 2)
        self.declared = schema
        self.fields = [normal_field(field) for field in schema]
        self.partitioning = Partitioning(self.fields, partitioning, ranges) if partitioning or ranges else None
        self.require_filter = require_filter
        self.about = dict(about or {})  # type, description, labels, …, as listing.py takes them
        self.parts = []
        self.bytes_processed = None  # set by a test that wants an expensive table
        self.touch()

    def touch(self):
        self.version = next(_versions)
        self.position = {field["name"].lower(): number for number, field in enumerate(self.fields)}

    def column(self, name):
        """The Column of a name, whatever its case, or None."""
        name = name.lower()
        if name in self.position:
            return Column(self.position[name], self.fields[self.position[name]])
        if self.partitioning and name in self.partitioning.names():
            return Column(len(self.fields), {"name": name.upper(), "type": PSEUDO_COLUMNS[name]})
        return None

    def rows(self, window=EVERYTHING):
        """All rows, but perhaps those outside of the window's partitions."""
        window = window if self.partitioning else EVERYTHING
        return itertools.chain.from_iterable(part.rows_between(window) for part in self.parts)

    def bytes_of(self, positions, window=EVERYTHING):
        """What a query of these columns processes."""
        if self.bytes_processed is not None:
            return self.bytes_processed
        positions = [position for position in positions if position < len(self.fields)]
        return sum(part.bytes_between(self.fields, positions, self.partitioning, window) for part in self.parts)

    def snapshot(self):
        """The table as it is now: what a job reads, whatever happens to the table afterwards."""
        twin = copy.copy(self)
        twin.parts = list(self.parts)
        return twin

    def row_count(self):
        return sum(len(part) for part in self.parts)

    def add_json(self, rows, partition=None):
        """Rows as objects by column name, or as arrays in the order of the schema.

        partition is the ingestion time of rows that do not give their own as _PARTITIONTIME.
        """
        self.parts.append(ListPart([self._row(row, partition) for row in rows]))
        self.touch()

    def _row(self, row, partition):
        if not (self.partitioning and self.partitioning.by_ingestion):
            return record_from_json(self.fields, row)
        if isinstance(row, dict) and "_PARTITIONTIME" in row:
            partition = row["_PARTITIONTIME"]
            row = {name: value for name, value in row.items() if name != "_PARTITIONTIME"}
        if partition is not None:
            partition = self.partitioning.bucket(parse_timestamp(partition))
        return (*record_from_json(self.fields, row), partition)

    def add_generated(self, day, count, seed=0):
        if [field["name"] for field in self.fields] != [field["name"] for field in TOKENS_SCHEMA]:
            raise ValueError("only a table with the columns of tokens can be generated")
        self.parts.append(GeneratedPart(day, count, seed))
        self.touch()

    def delete_day(self, day):
        """Delete a day's rows, as upstream does before it loads the day again."""
        by = self.partitioning
        if by is None:
            if "block_timestamp" not in self.position:
                raise ValueError(f"table {self.name} has no column to tell a day by")
            by = Partitioning(self.fields, {"field": "block_timestamp"})
        low = day_start(day)
        parts = [part.without(by.tick, low, low + DAY_US) for part in self.parts]
        self.parts = [part for part in parts if len(part)]
        self.touch()

    def delete_all(self):
        self.parts = []
        self.touch()

    def alter(self, add=(), drop=(), change=None):
        """Change the schema, as upstream may at any time: fields added at the end, dropped, changed.

        change has a type's name, or attributes of the field, by column; values are converted by their texts.
        """
        fields = [dict(field) for field in self.declared]
        gone = {name.lower() for name in drop}
        changes = {name.lower(): {"type": how} if isinstance(how, str) else how for name, how in (change or {}).items()}
        unknown = (gone | set(changes)) - set(self.position)
        if unknown:
            raise ValueError(f"no such column: {min(unknown)}")
        kept = [number for number, field in enumerate(fields) if field["name"].lower() not in gone]
        after = [dict(fields[number], **changes.get(fields[number]["name"].lower(), {})) for number in kept] + list(add)
        twin = Table(self.name, after, *self._partitioned())
        rows = [tuple(converted(self.fields[number], twin.fields[at], row[number]) for at, number in enumerate(kept))
                + tuple([] if field.get("mode") == "REPEATED" else None for field in add) + row[len(fields) :]
                for part in self.parts for row in part]
        self.declared, self.fields, self.partitioning = twin.declared, twin.fields, twin.partitioning
        self.parts = [ListPart(rows)]
        self.touch()

    def _partitioned(self):
        return (self.partitioning.time, self.partitioning.ranges) if self.partitioning else (None, None)


def converted(before, after, value):
    """A value of one field as one of another type."""
    if value is None or type(value) is Wire or (before["type"], before["mode"]) == (after["type"], after["mode"]):
        return value
    if after["mode"] == "REPEATED" and before["mode"] != "REPEATED":
        return [converted(dict(before, mode=""), dict(after, mode=""), value)]
    if before["type"] == after["type"] and before["mode"] != "REPEATED":
        return value
    return from_json(after, str(value))


def parse_csv(text):
    """Records of a CSV text in which an unquoted empty field is NULL and a quoted one the empty string.

    Python's csv module cannot tell the two apart before 3.12, so quoted empty fields are marked first: a pair of
    quotes that is a whole field can only be an empty string.
    """
    mark = "\ue000empty"
    out, at, inside = [], 0, False
    while at < len(text):
        whole_field = not inside and text.startswith('""', at)
        if whole_field and (at == 0 or text[at - 1] in ",\r\n") and (at + 2 == len(text) or text[at + 2] in ",\r\n"):
            out.append(mark)
            at += 2
            continue
        if text[at] == '"':
            inside = not inside
        out.append(text[at])
        at += 1
    reader = csv.reader(io.StringIO("".join(out), newline=""))
    return [[None if cell == "" else "" if cell == mark else cell for cell in record] for record in reader]


def load_csv(table, path, shift_days=0, dense_ends=None):
    """Put a CSV file with a header into the table; columns the table does not have are left out.

    shift_days moves every timestamp by whole days; dense_ends says instead on which day the sample's dense block is to
    end.  Returns that day.
    """
    if dense_ends:
        shift_days = (date.fromisoformat(dense_ends) - DENSE_LAST_DAY) // timedelta(days=1)
    with open(path, encoding="utf-8", newline="") as file:
        header, *records = parse_csv(file.read())
    where = [header.index(field["name"]) for field in table.fields]
    rows = []
    for record in records:
        row = [None if record[at] is None else from_text(field["type"], record[at])
               for field, at in zip(table.fields, where)]
        for position, field in enumerate(table.fields):
            if field["type"] == "TIMESTAMP" and row[position] is not None:
                row[position] += shift_days * DAY_US
        rows.append(tuple(row))
    table.parts.append(ListPart(rows))
    table.touch()
    return DENSE_LAST_DAY + timedelta(days=shift_days)


class Catalog:
    """All datasets with their locations, and all tables by full name."""

    def __init__(self):
        self.tables = {}
        self.locations = {}  # (project, dataset) → location

    def clear(self):
        self.tables.clear()
        self.locations.clear()

    def create_dataset(self, project, dataset, location="US"):
        self.locations[project, dataset] = location

    def create(self, name, schema=None, location=None, **how):
        """A new empty table in place of any of that name; how is what Table takes.  Without a schema: the tokens'."""
        if schema is None:
            schema, how["partitioning"] = TOKENS_SCHEMA, {"type": "DAY", "field": "block_timestamp"}
        table = Table(name, schema, **how)
        self.locations[table.project, table.dataset] = location or self.location(table.project, table.dataset) or "US"
        self.tables[name] = table
        return table

    def get(self, name):
        return self.tables.get(name)

    def location(self, project, dataset):
        """Where a dataset is; None: there is no such dataset."""
        return self.locations.get((project, dataset))

    def tables_of(self, project, dataset):
        """The dataset's tables by name."""
        found = [each for each in list(self.tables.values()) if (each.project, each.dataset) == (project, dataset)]
        return sorted(found, key=lambda each: each.table)

    def projects(self):
        return {project for project, _ in self.locations}
