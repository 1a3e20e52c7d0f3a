"""BigQuery's types: names, what text they read, and the form a value is held in.

A value is held as int (INTEGER; TIMESTAMP: microseconds since 1970), float (FLOAT), bool (BOOLEAN), or the text that goes
over the wire (all others); NULL as None, an array as a list, a record as a tuple of its fields, a range as a Range of two
values (None: unbounded).  A value of any column may also be a Wire: JSON to be sent exactly as it is, for tests of what
a broken service might send.
"""
import base64
import binascii
import json
import re
from collections import namedtuple
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal

EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
DAY_US = 86_400_000_000

# What the API calls a type in a schema, whatever name was given.
LEGACY_NAMES = {"INT64": "INTEGER", "FLOAT64": "FLOAT", "BOOL": "BOOLEAN", "STRUCT": "RECORD", "DECIMAL": "NUMERIC",
                "BIGDECIMAL": "BIGNUMERIC", "INT": "INTEGER", "SMALLINT": "INTEGER", "BIGINT": "INTEGER"}
GOOGLESQL_NAMES = {"INTEGER": "INT64", "FLOAT": "FLOAT64", "BOOLEAN": "BOOL", "RECORD": "STRUCT"}

SCALAR_TYPES = {
    "STRING", "BYTES", "INTEGER", "FLOAT", "BOOLEAN", "TIMESTAMP", "DATE", "TIME", "DATETIME",
    "NUMERIC", "BIGNUMERIC", "JSON", "GEOGRAPHY", "INTERVAL", "RANGE",
}
# Digits after the point, and the bounds of the number without its point.
DECIMALS = {"NUMERIC": (9, 1 - 10**38, 10**38 - 1), "BIGNUMERIC": (38, -(2**255), 2**255 - 1)}
TIMESTAMP_LOW, TIMESTAMP_HIGH = -62_135_596_800_000_000, 253_402_300_799_999_999  # the years 1 to 9999

DATE_PART = r"(\d{4})-(\d{1,2})-(\d{1,2})"
TIME_PART = r"(\d{1,2}):(\d{1,2}):(\d{1,2})(?:\.(\d{1,6}))?"
DATE_RE = re.compile(DATE_PART + "()")  # the last group is that of the microseconds
TIME_RE = re.compile(TIME_PART)
DATETIME_RE = re.compile(f"{DATE_PART}(?:[ Tt]{TIME_PART})?")
TIMESTAMP_RE = re.compile(rf"{DATE_PART}(?:[ Tt]{TIME_PART})?(?:([+-])(\d{{1,2}})(?::?(\d{{2}}))?|[Zz]| UTC)?")
INTEGER_RE = re.compile(r"[+-]?\d{1,19}")
DECIMAL_RE = re.compile(r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d{1,3})?")
FLOAT_RE = re.compile(DECIMAL_RE.pattern + r"|[+-]?(?:inf|infinity)|nan", re.IGNORECASE)
INTERVAL_RE = re.compile(r"-?\d+-\d+ -?\d+ -?\d+:\d+:\d+(?:\.\d{1,9})?")
RANGE_RE = re.compile(r"\[([^,]+), ([^,]+)\)")

Range = namedtuple("Range", "start end")


class Wire:
    """A cell that is sent exactly as given."""

    __slots__ = ("json",)

    def __init__(self, value):
        self.json = json.dumps(value, ensure_ascii=False)


def legacy_name(type_name):
    name = type_name.upper()
    return LEGACY_NAMES.get(name, name)


def googlesql_name(type_name):
    name = type_name.upper()
    return GOOGLESQL_NAMES.get(name, name)


def bad(kind, text):
    return ValueError(f"Invalid {kind}: '{text}'")


# -- texts ---------------------------------------------------------------------------------------------------------


def _fields(kind, pattern, text):
    """The parts of a text as numbers, the last of them microseconds; what is missing is 0."""
    match = pattern.fullmatch(text)
    if not match or not text.isascii():
        raise bad(kind, text)
    *parts, fraction = match.groups()
    return [int(part or 0) for part in parts] + [int((fraction or "").ljust(6, "0"))]


def parse_timestamp(text):
    """Microseconds since 1970 of a timestamp literal; ValueError when BigQuery would not read it."""
    match = TIMESTAMP_RE.fullmatch(text)
    if not match or not text.isascii():
        raise bad("timestamp", text)
    *parts, fraction, sign, zone_hour, zone_minute = match.groups()
    try:
        moment = datetime(*[int(part or 0) for part in parts], tzinfo=timezone.utc)
        moment += timedelta(microseconds=int((fraction or "").ljust(6, "0")))
        if sign:
            offset = timedelta(hours=int(zone_hour), minutes=int(zone_minute or 0))
            moment = moment - offset if sign == "+" else moment + offset
    except (ValueError, OverflowError):
        raise bad("timestamp", text) from None
    return (moment - EPOCH) // timedelta(microseconds=1)


def _integer(text):
    if not INTEGER_RE.fullmatch(text) or not -(2**63) <= int(text) < 2**63:
        raise ValueError(f"Bad int64 value: {text}")
    return int(text)


def _float(text):
    if not FLOAT_RE.fullmatch(text):
        raise ValueError(f"Bad double value: {text}")
    return float(text)


def _boolean(text):
    if text.lower() not in ("true", "false"):
        raise ValueError(f"Bad bool value: {text}")
    return text.lower() == "true"


def _date(text):
    year, month, day = _fields("date", DATE_RE, text)[:3]
    try:
        return date(year, month, day).isoformat()
    except ValueError:
        raise bad("date", text) from None


def _time(text):
    try:
        return time(*_fields("time", TIME_RE, text)).isoformat()
    except ValueError:
        raise bad("time", text) from None


def _datetime(text):
    try:
        return datetime(*_fields("datetime", DATETIME_RE, text)).isoformat()
    except ValueError:
        raise bad("datetime", text) from None


def decimal_text(number):
    """A Decimal as the service writes it: no exponent, no zeros at the end of a fraction."""
    text = format(number, "f")
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return "0" if text == "-0" else text


def _decimal(kind):
    scale, least, most = DECIMALS[kind]

    def parse(text):
        if not DECIMAL_RE.fullmatch(text):
            raise ValueError(f"Invalid {kind} value: {text}")
        plain = decimal_text(Decimal(text))
        whole, _, fraction = plain.partition(".")
        if len(fraction) > scale or not least <= int(whole + fraction.ljust(scale, "0")) <= most:
            raise ValueError(f"Invalid {kind} value: {text}")
        return plain

    return parse


def _bytes(text):
    try:
        base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise ValueError(f"Invalid base64: {text}") from None
    return text


def _json(text):
    json.loads(text)
    return text


def _interval(text):
    if not INTERVAL_RE.fullmatch(text):
        raise bad("interval", text)
    return text


PARSERS = {
    "INTEGER": _integer,
    "FLOAT": _float,
    "BOOLEAN": _boolean,
    "BYTES": _bytes,
    "TIMESTAMP": parse_timestamp,
    "DATE": _date,
    "TIME": _time,
    "DATETIME": _datetime,
    "NUMERIC": _decimal("NUMERIC"),
    "BIGNUMERIC": _decimal("BIGNUMERIC"),
    "JSON": _json,
    "INTERVAL": _interval,
}


def from_text(type_name, text):
    """The value of a CSV field, a query parameter or a literal; ValueError when the text does not fit the type."""
    return PARSERS.get(legacy_name(type_name), str)(text)


# -- rows given through the control interface ------------------------------------------------------------------------


def from_json(field, value):
    """The held value of a cell: {"wire": x} raw, arrays as lists, records as objects (or lists in field order)."""
    if isinstance(value, dict) and set(value) == {"wire"}:
        return Wire(value["wire"])
    if field.get("mode") == "REPEATED":
        element = dict(field, mode="NULLABLE")
        return [from_json(element, each) for each in value or ()]
    if value is None:
        return None
    kind = legacy_name(field["type"])
    if kind == "RECORD":
        return record_from_json(field["fields"], value)
    if kind == "RANGE":
        return _range(field["rangeElementType"]["type"], value)
    if kind == "JSON" and not isinstance(value, str):
        return json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    if isinstance(value, (dict, list)):
        raise ValueError(f"not a value of {field['type']}: {json.dumps(value)}")
    if isinstance(value, bool):
        value = "true" if value else "false"
    if isinstance(value, int) and kind == "TIMESTAMP":
        if not TIMESTAMP_LOW <= value <= TIMESTAMP_HIGH:
            raise bad("timestamp", value)
        return value
    return from_text(kind, str(value))


def record_from_json(fields, value):
    """A tuple in the order of the fields; a name that is not among them is a ValueError."""
    if isinstance(value, dict):
        unknown = set(value) - {field["name"] for field in fields}
        if unknown:
            raise ValueError(f"no such column: {min(unknown)}")
        value = [value.get(field["name"]) for field in fields]
    if len(value) != len(fields):
        raise ValueError(f"a record of {len(value)} values for {len(fields)} fields")
    return tuple(from_json(field, each) for field, each in zip(fields, value))


def _range(kind, value):
    if isinstance(value, str):
        match = RANGE_RE.fullmatch(value)
        if not match:
            raise bad("range", value)
        value = dict(zip(("start", "end"), match.groups()))
    bounds = [value.get(name) for name in ("start", "end")]
    return Range(*[None if bound in (None, "UNBOUNDED", "NULL") else from_json({"type": kind}, bound)
                   for bound in bounds])


# -- sizes -----------------------------------------------------------------------------------------------------------

SIZES = {"INTEGER": 8, "FLOAT": 8, "TIMESTAMP": 8, "DATE": 8, "TIME": 8, "DATETIME": 8, "BOOLEAN": 1, "NUMERIC": 16,
         "BIGNUMERIC": 32, "INTERVAL": 16, "RANGE": 16}


def size_of(field, value):
    """Logical bytes of a value, as BigQuery bills them."""
    if value is None:
        return 0
    if type(value) is list:
        return sum(size_of(field, each) for each in value)
    if type(value) is tuple:
        return sum(size_of(inner, each) for inner, each in zip(field["fields"], value))
    size = SIZES.get(field["type"])
    if size:
        return size
    if type(value) is Wire:
        value = value.json
    if field["type"] == "BYTES":
        return 2 + len(value) * 3 // 4
    return 2 + len(value.encode("utf-8", "surrogatepass"))
