"""The data: tables with a schema and rows, from CSV, from JSON, or generated.

A table is a list of parts.  A part knows how to give its rows again and again, so 500,000 generated rows are never held
as Python objects; every change of a table gives it a new version, by which prepared results are cached.
"""
import copy
import csv
import hashlib
import io
import itertools
from datetime import date, timedelta

from values import DAY_US, from_json, from_text, legacy_name, parse_timestamp, size_of

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

_versions = itertools.count(1)


def day_start(day):
    """Microseconds since 1970 of the UTC midnight that begins a day given as YYYY-MM-DD."""
    return parse_timestamp(day)


def _inside(value, low, high):
    """Is the value's day one of those that low <= value < high touches?  That is what partition pruning reads."""
    if not isinstance(value, int):
        return True
    day = value // DAY_US
    return (low is None or day >= low // DAY_US) and (high is None or day * DAY_US < high)


class ListPart:
    """Rows held as tuples in the order of the schema."""

    def __init__(self, rows):
        self.rows = rows

    def __iter__(self):
        return iter(self.rows)

    def __len__(self):
        return len(self.rows)

    def rows_between(self, position, low, high):
        """An iterable of at least the rows with low <= value < high; a bound may be None."""
        return self.rows

    def bytes_between(self, fields, positions, position, low, high):
        """Logical bytes of the columns in the partitions that hold low <= value < high."""
        return sum(
            size_of(fields[p]["type"], row[p])
            for row in self.rows
            if position is None or _inside(row[position], low, high)
            for p in positions
        )

    def without(self, position, low, high):
        return ListPart([row for row in self.rows if row[position] is None or not low <= row[position] < high])


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

    def rows_between(self, position, low, high):
        return self if position is None or _inside(self.start, low, high) else ()

    def bytes_between(self, fields, positions, position, low, high):
        row = next(iter(self.rows_between(position, low, high)), None)
        return self.count * sum(size_of(fields[p]["type"], row[p]) for p in positions) if row else 0

    def without(self, position, low, high):
        # Days are deleted whole, and this part is one day.
        return ListPart([]) if low <= self.start < high else self


class Table:
    """A table: its full name, its schema, its rows."""

    def __init__(self, name, schema, location="US", partition_column=None):
        self.name = name
        self.project, self.dataset, self.table = name.split(".", 2)
        self.fields = [dict(field, type=legacy_name(field["type"]), mode=field.get("mode") or "NULLABLE")
                       for field in schema]
        self.location = location
        self.partition_column = partition_column
        self.position = {field["name"].lower(): number for number, field in enumerate(self.fields)}
        self.parts = []
        self.bytes_processed = None  # set by a test that wants an expensive table
        self.touch()

    def touch(self):
        self.version = next(_versions)

    def rows(self, low=None, high=None):
        """All rows, but perhaps those outside of the days of low <= partition column < high."""
        position = self.partition_position()
        return itertools.chain.from_iterable(part.rows_between(position, low, high) for part in self.parts)

    def partition_position(self):
        return self.position.get(self.partition_column.lower()) if self.partition_column else None

    def bytes_of(self, positions, low=None, high=None):
        """What a query of these columns processes."""
        if self.bytes_processed is not None:
            return self.bytes_processed
        position = self.partition_position()
        return sum(part.bytes_between(self.fields, positions, position, low, high) for part in self.parts)

    def snapshot(self):
        """The table as it is now: what a job reads, whatever happens to the table afterwards."""
        twin = copy.copy(self)
        twin.parts = list(self.parts)
        return twin

    def row_count(self):
        return sum(len(part) for part in self.parts)

    def add_json(self, rows):
        """Rows as objects by column name, or as arrays in the order of the schema."""
        self.parts.append(ListPart([self._row(row) for row in rows]))
        self.touch()

    def _row(self, row):
        if isinstance(row, dict):
            unknown = [name for name in row if name.lower() not in self.position]
            if unknown:
                raise ValueError(f"no such column: {unknown[0]}")
            row = [row.get(field["name"]) for field in self.fields]
        if len(row) != len(self.fields):
            raise ValueError(f"a row of {len(row)} values for {len(self.fields)} columns")
        return tuple(from_json(field, value) for field, value in zip(self.fields, row))

    def add_generated(self, day, count, seed=0):
        if [field["name"] for field in self.fields] != [field["name"] for field in TOKENS_SCHEMA]:
            raise ValueError("only a table with the columns of tokens can be generated")
        self.parts.append(GeneratedPart(day, count, seed))
        self.touch()

    def delete_day(self, day):
        """Delete a day's rows, as upstream does before it loads the day again."""
        column = (self.partition_column or "block_timestamp").lower()
        if column not in self.position:
            raise ValueError(f"table {self.name} has no column {column} to tell a day by")
        low = day_start(day)
        parts = [part.without(self.position[column], low, low + DAY_US) for part in self.parts]
        self.parts = [part for part in parts if len(part)]
        self.touch()

    def delete_all(self):
        self.parts = []
        self.touch()


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
    end.
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


class Catalog:
    """All tables by full name."""

    def __init__(self):
        self.tables = {}

    def create(self, name, schema=None, location="US", partition_column=None):
        if schema is None:
            schema, partition_column = TOKENS_SCHEMA, "block_timestamp"
        table = Table(name, schema, location, partition_column)
        self.tables[name] = table
        return table

    def get(self, name):
        return self.tables.get(name)

    def datasets(self):
        return {(table.project, table.dataset): table.location for table in self.tables.values()}

    def projects(self):
        return {table.project for table in self.tables.values()}
