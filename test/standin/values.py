"""BigQuery's types: text to value, value to comparison key, value to wire.

A value is held as its wire text (str), except INTEGER and TIMESTAMP (int; microseconds since 1970), FLOAT (float),
BOOLEAN (bool) and NULL (None).  A value of any column may also be a Wire: JSON to be sent exactly as it is, for tests
of what a broken service might send.
"""
import json
import math
import re
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal, InvalidOperation
from json.encoder import encode_basestring

EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
DAY_US = 86_400_000_000

# What the API calls a type in a result's schema, whatever name was given.
LEGACY_NAMES = {"INT64": "INTEGER", "FLOAT64": "FLOAT", "BOOL": "BOOLEAN", "STRUCT": "RECORD"}
GOOGLESQL_NAMES = {"INTEGER": "INT64", "FLOAT": "FLOAT64", "BOOLEAN": "BOOL", "RECORD": "STRUCT"}

SCALAR_TYPES = {
    "STRING", "BYTES", "INTEGER", "FLOAT", "BOOLEAN", "TIMESTAMP", "DATE", "TIME", "DATETIME",
    "NUMERIC", "BIGNUMERIC", "JSON", "GEOGRAPHY", "INTERVAL", "RANGE",
}

TIMESTAMP_RE = re.compile(
    r"(\d{4})-(\d{1,2})-(\d{1,2})(?:[ Tt](\d{1,2}):(\d{1,2}):(\d{1,2})(?:\.(\d{1,6}))?)?"
    r"(?:([+-])(\d{1,2})(?::?(\d{2}))?|[Zz]| UTC)?"
)


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


def parse_timestamp(text):
    """Microseconds since 1970 of a timestamp literal; ValueError when BigQuery would not read it."""
    match = TIMESTAMP_RE.fullmatch(text)
    if not match:
        raise ValueError(f"Invalid timestamp: '{text}'")
    year, month, day, hour, minute, second, fraction, sign, zone_hour, zone_minute = match.groups()
    try:
        moment = datetime(
            int(year), int(month), int(day), int(hour or 0), int(minute or 0), int(second or 0), tzinfo=timezone.utc
        )
    except ValueError:
        raise ValueError(f"Invalid timestamp: '{text}'") from None
    micros = (moment - EPOCH) // timedelta(microseconds=1) + int((fraction or "").ljust(6, "0"))
    if sign:
        offset = (int(zone_hour) * 60 + int(zone_minute or 0)) * 60_000_000
        micros -= offset if sign == "+" else -offset
    return micros


def _integer(text):
    value = int(text)
    if not -(2**63) <= value < 2**63:
        raise ValueError(f"Integer out of range: {text}")
    return value


def _boolean(text):
    if text.lower() not in ("true", "false"):
        raise ValueError(f"Invalid BOOL value: {text}")
    return text.lower() == "true"


def _date(text):
    return date.fromisoformat(text).isoformat()


def _decimal(text):
    try:
        Decimal(text)
    except InvalidOperation:
        raise ValueError(f"Invalid NUMERIC value: {text}") from None
    return text


PARSERS = {
    "INTEGER": _integer,
    "FLOAT": float,
    "BOOLEAN": _boolean,
    "TIMESTAMP": parse_timestamp,
    "DATE": _date,
    "NUMERIC": _decimal,
    "BIGNUMERIC": _decimal,
}


def from_text(type_name, text):
    """The value of a CSV field, a query parameter or a literal; ValueError when the text does not fit the type."""
    return PARSERS.get(legacy_name(type_name), str)(text)


def from_json(field, value):
    """The value of a cell in rows given through the control interface."""
    if isinstance(value, dict) and set(value) == {"wire"}:
        return Wire(value["wire"])
    if value is None:
        return Wire([]) if field.get("mode") == "REPEATED" else None
    if field.get("mode") == "REPEATED" or legacy_name(field["type"]) == "RECORD":
        return Wire(value)
    if isinstance(value, bool):
        value = "true" if value else "false"
    if isinstance(value, int) and legacy_name(field["type"]) in ("INTEGER", "TIMESTAMP"):
        return value
    return from_text(field["type"], str(value))


def comparable(type_name, value):
    """What two values of this type are compared by; None when a comparison gives NULL."""
    if value is None or isinstance(value, Wire):
        return None
    if legacy_name(type_name) in ("NUMERIC", "BIGNUMERIC"):
        return Decimal(value)
    return value


def size_of(type_name, value):
    """Logical bytes of a value, as BigQuery bills them."""
    if value is None:
        return 0
    kind = legacy_name(type_name)
    if kind in ("INTEGER", "FLOAT", "TIMESTAMP", "DATE", "TIME", "DATETIME"):
        return 8
    if kind == "BOOLEAN":
        return 1
    if kind in ("NUMERIC", "BIGNUMERIC"):
        return 16 if kind == "NUMERIC" else 32
    text = value.json if isinstance(value, Wire) else str(value)
    return 2 + len(text.encode())


def float_text(value):
    """A double as the service writes it: shortest digits, exponent from 1E7 on and below 1E-3."""
    if math.isnan(value):
        return "NaN"
    if value in (float("inf"), float("-inf")):
        return "Infinity" if value > 0 else "-Infinity"
    if value == 0 or 1e-3 <= abs(value) < 1e7:
        return repr(float(value))
    sign, digits, exponent = Decimal(repr(value)).as_tuple()
    text = "".join(map(str, digits)).rstrip("0")
    power = len(digits) - 1 + exponent
    return f"{'-' if sign else ''}{text[0]}.{text[1:] or '0'}E{power}"


def iso8601_text(micros):
    moment = EPOCH + timedelta(microseconds=micros)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond:06d}000000Z"


def _quoted(value):
    return encode_basestring(value)


def _int_wire(value):
    return f'"{value}"'


TIMESTAMP_WIRE = {
    "INT64": _int_wire,
    "FLOAT64": lambda micros: f'"{float_text(micros / 1e6)}"',
    "ISO8601_STRING": lambda micros: f'"{iso8601_text(micros)}"',
}


def encoder(type_name, timestamps):
    """A function from a value of this type (not None, not Wire) to the JSON text of a cell's "v"."""
    kind = legacy_name(type_name)
    if kind == "TIMESTAMP":
        return TIMESTAMP_WIRE[timestamps]
    if kind == "INTEGER":
        return _int_wire
    if kind == "FLOAT":
        return lambda value: f'"{float_text(value)}"'
    if kind == "BOOLEAN":
        return lambda value: '"true"' if value else '"false"'
    return _quoted
