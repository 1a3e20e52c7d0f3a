"""Functions of GoogleSQL: which arguments they take, what they give.

A function of a row gives NULL as soon as an argument is NULL, IFNULL() excepted; an aggregate leaves NULLs out.  BYTES are
held as the wire has them, as base64.
"""
import base64
import hashlib
import re
from collections import namedtuple

from errors import ApiError
from values import SCALAR_TYPES, from_text, legacy_name

# The kinds it takes, for each argument a set (the last again and again when it is variadic); how many arguments there
# must be; the kind it gives, or None for that of its arguments.
Function = namedtuple("Function", "takes least most gives call")

TEXT, BINARY, NUMBER = {"STRING"}, {"BYTES"}, {"INTEGER"}
ANY = SCALAR_TYPES
MANY = 1000


def octets(value, kind):
    return base64.b64decode(value) if kind == "BYTES" else value.encode()


def substr(text, start, length=None):
    """GoogleSQL's: positions from 1, negative ones from the end."""
    if length is not None and length < 0:
        raise ApiError("invalidQuery", "Third argument in SUBSTR() cannot be negative")
    first = max(len(text) + start, 0) if start < 0 else max(start - 1, 0)
    return text[first:] if length is None else text[first : first + length]


def overloaded(function):
    """A function that must know what kind its argument is."""
    function.wants_kind = True
    return function


@overloaded
def byte_length(value, kind):
    return len(octets(value, kind))


@overloaded
def sha256(value, kind):
    return base64.b64encode(hashlib.sha256(octets(value, kind)).digest()).decode()


SCALARS = {
    "CONCAT": Function([TEXT], 1, MANY, "STRING", lambda *texts: "".join(texts)),
    "IFNULL": Function([ANY], 2, 2, None, None),
    "BYTE_LENGTH": Function([TEXT | BINARY], 1, 1, "INTEGER", byte_length),
    "REGEXP_REPLACE": Function([TEXT], 3, 3, "STRING", lambda text, pattern, new: re.sub(pattern, new, text)),
    "SHA256": Function([TEXT | BINARY], 1, 1, "BYTES", sha256),
    "SUBSTR": Function([TEXT, NUMBER], 2, 3, "STRING", substr),
    "TO_BASE64": Function([BINARY], 1, 1, "STRING", lambda value: value),
    "TO_HEX": Function([BINARY], 1, 1, "STRING", lambda value: base64.b64decode(value).hex()),
    "UNIX_MICROS": Function([{"TIMESTAMP"}], 1, 1, "INTEGER", lambda value: value),
}


class Count:
    """COUNT(*) and COUNT(value)."""

    def __init__(self):
        self.result = 0

    def add(self, value):
        self.result += value is not None


class Sum:
    """SUM() of integers; NULL without any."""

    def __init__(self):
        self.total = None

    def add(self, value):
        if value is not None:
            self.total = value + (self.total or 0)

    @property
    def result(self):
        if self.total is not None and not -(2**63) <= self.total < 2**63:
            raise ApiError("invalidQuery", "int64 overflow: SUM")
        return self.total


class Max:
    """MAX(); NULL without any."""

    def __init__(self):
        self.result = None

    def add(self, value):
        if value is not None and (self.result is None or value > self.result):
            self.result = value


AGGREGATES = {
    "COUNT": Function([ANY], 0, 1, "INTEGER", Count),
    "SUM": Function([NUMBER], 1, 1, "INTEGER", Sum),
    "MAX": Function([{"STRING", "INTEGER", "TIMESTAMP", "DATE", "BOOLEAN"}], 1, 1, None, Max),
}


def takes(function, kinds):
    """Whether there is such a function of arguments of these kinds (None: NULL, which fits all)."""
    if not function.least <= len(kinds) <= function.most:
        return False
    if function.gives is None and len(set(kinds) - {None}) > 1:
        return False
    wanted = [function.takes[min(at, len(function.takes) - 1)] for at in range(len(kinds))]
    return all(kind is None or kind in choices for kind, choices in zip(kinds, wanted))


def _integer(text):
    """CAST of a STRING: decimal, or hexadecimal after 0x."""
    negative = text.startswith("-")
    digits = text[negative:]
    if not digits.lower().startswith("0x"):
        return from_text("INTEGER", text)
    return from_text("INTEGER", str(int(digits, 16) * (-1 if negative else 1)))


def _decimal_text(number):
    text = format(number, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


# From and to; kinds that are not here cannot be cast (here).
CASTS = {
    ("STRING", "INTEGER"): _integer,
    ("INTEGER", "STRING"): str,
    ("DATE", "STRING"): str,
    ("BOOLEAN", "STRING"): lambda value: "true" if value else "false",
    ("NUMERIC", "STRING"): _decimal_text,
}


def cast(source, target):
    """What turns a value into another kind; None when nothing does."""
    if source in (None, target):
        return lambda value: value
    return CASTS.get((source, target))


def cast_kind(name):
    """The kind a type's name after AS stands for; None when it is none."""
    kind = legacy_name(name)
    return kind if kind in SCALAR_TYPES else None


def bad_value(text, kind):
    return ApiError("invalidQuery", f"Bad {kind} value: {text}")
