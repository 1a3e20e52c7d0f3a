"""How tables are partitioned, and which partitions a query reads.

The partition column's values are compared as ticks: microseconds since 1970, of days and datetimes as if in UTC, or the
integers themselves.  A window (low, high) stands for low <= tick < high; a bound may be None.
"""
from datetime import datetime, timedelta

from errors import invalid_query
from values import DAY_US, EPOCH, parse_timestamp

PSEUDO_COLUMNS = {"_partitiontime": "TIMESTAMP", "_partitiondate": "DATE"}
HOUR_US = DAY_US // 24
EVERYTHING = (None, None)


def tick_of(kind, value):
    """The tick of a held value; None for NULL and for what has none."""
    if isinstance(value, int) and kind in ("TIMESTAMP", "INTEGER"):
        return value
    return parse_timestamp(value) if isinstance(value, str) and kind in ("DATE", "DATETIME") else None


def step_of(kind):
    """From one value of the type to the next, in ticks."""
    return DAY_US if kind == "DATE" else 1


class Partitioning:
    """One table's: by day (hour, month, year) of a column, by ingestion time, or by ranges of integers."""

    def __init__(self, fields, time=None, ranges=None):
        """time and ranges are timePartitioning and rangePartitioning of the API."""
        self.time, self.ranges = time, ranges
        self.column = (time or ranges).get("field")
        self.unit = (time or {}).get("type", "DAY")
        if self.column is None:
            self.position, self.kind = len(fields), "TIMESTAMP"
        else:
            self.position = [field["name"].lower() for field in fields].index(self.column.lower())
            self.kind = fields[self.position]["type"]

    @property
    def by_ingestion(self):
        return self.column is None

    def names(self):
        """What a query may call the column, in small letters."""
        return set(PSEUDO_COLUMNS) if self.by_ingestion else {self.column.lower()}

    def tick(self, row):
        return tick_of(self.kind, row[self.position])

    def bucket(self, tick):
        """The tick at which a value's partition begins."""
        if self.ranges:
            bounds = {name: int(value) for name, value in self.ranges["range"].items()}
            return tick - (tick - bounds["start"]) % bounds["interval"]
        if self.unit in ("DAY", "HOUR"):
            return tick - tick % (DAY_US if self.unit == "DAY" else HOUR_US)
        day = datetime(1970, 1, 1) + timedelta(microseconds=tick)
        first = datetime(day.year, day.month if self.unit == "MONTH" else 1, 1)
        return (first - EPOCH.replace(tzinfo=None)) // timedelta(microseconds=1)

    def reads(self, tick, window):
        """Whether a query of this window reads the partition that the value is in."""
        low, high = window
        if tick is None:
            return window == EVERYTHING
        begin = self.bucket(tick)
        return (low is None or begin >= self.bucket(low)) and (high is None or begin < high)

    def check_filter(self, name, is_usable):
        """Refuse a query that has no usable condition on the partition column."""
        if is_usable:
            return
        pseudo = "'_PARTITION_LOAD_TIME', '_PARTITIONDATE', '_PARTITIONTIME'"
        columns = pseudo if self.by_ingestion else f"'{self.column}'"
        raise invalid_query(f"Cannot query over table '{name}' without a filter over column(s) {columns} that can be "
                            "used for partition elimination")
