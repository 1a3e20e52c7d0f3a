"""The form in which values are computed with, and CAST.

In expressions NUMERIC and BIGNUMERIC are Decimals and BYTES are bytes; all other types are as values.py holds them.
"""
import base64
from datetime import datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal

from values import EPOCH, SCALAR_TYPES, Wire, decimal_text, from_text, legacy_name, parse_timestamp

DECIMAL_KINDS = ("NUMERIC", "BIGNUMERIC")


def live(kind, value):
    """A held value as expressions compute with it; None for a Wire, of which nothing is known."""
    if value is None or type(value) is Wire:
        return None
    if kind in DECIMAL_KINDS:
        return Decimal(value)
    return base64.b64decode(value) if kind == "BYTES" else value


def held(kind, value):
    """The other way round."""
    if value is None:
        return None
    if kind in DECIMAL_KINDS:
        return decimal_text(value)
    return base64.b64encode(value).decode() if kind == "BYTES" else value


def reader(kind, position):
    """A function of a row to the live value of one of its columns."""
    if kind in DECIMAL_KINDS or kind == "BYTES":
        return lambda row: live(kind, row[position])

    def read(row):
        value = row[position]
        return None if type(value) is Wire else value

    return read


# -- texts as CAST writes them -----------------------------------------------------------------------------------------


def _fraction(text):
    """Without zeros at the end, in groups of three digits."""
    while text.endswith("000") and "." in text:
        text = text[:-3].rstrip(".")
    return text


def _moment(micros):
    return (EPOCH + timedelta(microseconds=micros)).replace(tzinfo=None)


def timestamp_text(micros):
    return _fraction(_moment(micros).isoformat(" ", "microseconds")) + "+00"


def double_text(value):
    """The shorter of 15 and 17 digits that reads back as the same double."""
    short = f"{value:.15g}"
    return short if value != value or float(short) == value else f"{value:.17g}"


def _integer(text):
    """Decimal, or hexadecimal after 0x."""
    negative = text.startswith("-")
    digits = text[negative:]
    if not digits.lower().startswith("0x"):
        return from_text("INTEGER", text)
    return from_text("INTEGER", str(int(digits, 16) * (-1 if negative else 1)))


def _rounded(number):
    return from_text("INTEGER", str(int(Decimal(number).to_integral_value(ROUND_HALF_UP))))


def _utf8(value):
    return value.decode()


def _micros(text):
    """A date or datetime as a timestamp, in UTC."""
    return parse_timestamp(text)


def _read(kind):
    return lambda text: live(kind, from_text(kind, text))


# From and to; kinds that are not here cannot be cast (here).
CASTS = {
    ("STRING", "INTEGER"): _integer,
    ("STRING", "BYTES"): str.encode,
    **{("STRING", kind): _read(kind) for kind in
       ("FLOAT", "BOOLEAN", "DATE", "TIME", "DATETIME", "TIMESTAMP", "NUMERIC", "BIGNUMERIC")},
    ("INTEGER", "STRING"): str,
    ("FLOAT", "STRING"): double_text,
    ("BOOLEAN", "STRING"): lambda value: "true" if value else "false",
    ("BYTES", "STRING"): _utf8,
    ("DATE", "STRING"): str,
    ("TIME", "STRING"): _fraction,
    ("DATETIME", "STRING"): lambda value: _fraction(value).replace("T", " "),
    ("TIMESTAMP", "STRING"): timestamp_text,
    ("NUMERIC", "STRING"): decimal_text,
    ("BIGNUMERIC", "STRING"): decimal_text,
    ("INTERVAL", "STRING"): str,
    ("BOOLEAN", "INTEGER"): int,
    ("INTEGER", "BOOLEAN"): bool,
    ("INTEGER", "FLOAT"): float,
    ("INTEGER", "NUMERIC"): Decimal,
    ("INTEGER", "BIGNUMERIC"): Decimal,
    ("NUMERIC", "BIGNUMERIC"): Decimal,
    ("NUMERIC", "INTEGER"): _rounded,
    ("BIGNUMERIC", "INTEGER"): _rounded,
    ("FLOAT", "INTEGER"): lambda value: _rounded(repr(value)),
    ("NUMERIC", "FLOAT"): float,
    ("BIGNUMERIC", "FLOAT"): float,
    ("DATE", "DATETIME"): lambda value: value + "T00:00:00",
    ("DATE", "TIMESTAMP"): _micros,
    ("DATETIME", "DATE"): lambda value: value[:10],
    ("DATETIME", "TIME"): lambda value: value[11:],
    ("DATETIME", "TIMESTAMP"): _micros,
    ("TIMESTAMP", "DATE"): lambda value: _moment(value).date().isoformat(),
    ("TIMESTAMP", "DATETIME"): lambda value: _moment(value).isoformat(),
    ("TIMESTAMP", "TIME"): lambda value: _moment(value).time().isoformat(),
}


def cast(source, target):
    """What turns a live value into another kind; None when nothing does."""
    if source in (None, target):
        return lambda value: value
    return CASTS.get((source, target))


def cast_kind(name):
    """The kind a type's name after AS stands for; None when it is none."""
    kind = legacy_name(name)
    return kind if kind in SCALAR_TYPES else None


def days_of(text):
    """UNIX_DATE()."""
    return (datetime.fromisoformat(text) - datetime(1970, 1, 1)).days
