"""Functions of GoogleSQL: which arguments they take, what they give.

A function of a row gives NULL as soon as an argument is NULL, IFNULL() and COALESCE() excepted; an aggregate leaves
NULLs out.
"""
import base64
import hashlib
import re
from collections import namedtuple

from casts import cast, days_of
from errors import ApiError
from values import SCALAR_TYPES

# The kinds it takes, for each argument a set (the last again and again when it is variadic); how many arguments there
# must be; the kind it gives, or None for that of its arguments.
Function = namedtuple("Function", "takes least most gives call")

TEXT, BINARY, NUMBER = {"STRING"}, {"BYTES"}, {"INTEGER"}
ANY = SCALAR_TYPES | {"RECORD", "ARRAY"}
ORDERED = {"STRING", "BYTES", "INTEGER", "FLOAT", "NUMERIC", "BIGNUMERIC", "BOOLEAN", "TIMESTAMP", "DATE", "TIME",
           "DATETIME"}
MANY = 1000


def octets(value):
    return value.encode() if isinstance(value, str) else value


def substr(text, start, length=None):
    """GoogleSQL's: positions from 1, negative ones from the end."""
    if length is not None and length < 0:
        raise ApiError("invalidQuery", "Third argument in SUBSTR() cannot be negative")
    first = max(len(text) + start, 0) if start < 0 else max(start - 1, 0)
    return text[first:] if length is None else text[first : first + length]


def overloaded(function):
    """A function that must know what kinds its arguments are."""
    function.wants_kind = True
    return function


def conversion(target):
    """DATE(), DATETIME(), TIMESTAMP() of what can be cast; a time zone may be said, if it is UTC."""
    takes = {kind for kind in ("DATE", "DATETIME", "TIMESTAMP") if kind != target}
    takes |= {"STRING"} if target == "TIMESTAMP" else set()

    def convert(value, *more):
        *zone, kind = more[: len(more) // 2 + 1]
        if zone and zone[0] not in ("UTC", "+00:00", "Etc/UTC"):
            raise ApiError("invalidQuery", f"The stand-in knows no time zone but UTC: {zone[0]}")
        return cast(kind, target)(value)

    return Function([takes, TEXT], 1, 2, target, overloaded(convert))


SCALARS = {
    "ABS": Function([NUMBER | {"FLOAT", "NUMERIC", "BIGNUMERIC"}], 1, 1, None, abs),
    "CONCAT": Function([TEXT], 1, MANY, "STRING", lambda *texts: "".join(texts)),
    "COALESCE": Function([ANY], 1, MANY, None, None),
    "IFNULL": Function([ANY], 2, 2, None, None),
    "BYTE_LENGTH": Function([TEXT | BINARY], 1, 1, "INTEGER", lambda value: len(octets(value))),
    "LENGTH": Function([TEXT | BINARY], 1, 1, "INTEGER", len),
    "LOWER": Function([TEXT], 1, 1, "STRING", str.lower),
    "UPPER": Function([TEXT], 1, 1, "STRING", str.upper),
    "REGEXP_REPLACE": Function([TEXT], 3, 3, "STRING", lambda text, pattern, new: re.sub(pattern, new, text)),
    "REPLACE": Function([TEXT], 3, 3, "STRING", lambda text, old, new: text.replace(old, new) if old else text),
    "SHA256": Function([TEXT | BINARY], 1, 1, "BYTES", lambda value: hashlib.sha256(octets(value)).digest()),
    "STARTS_WITH": Function([TEXT], 2, 2, "BOOLEAN", str.startswith),
    "SUBSTR": Function([TEXT, NUMBER], 2, 3, "STRING", substr),
    "TO_BASE64": Function([BINARY], 1, 1, "STRING", lambda value: base64.b64encode(value).decode()),
    "TO_HEX": Function([BINARY], 1, 1, "STRING", bytes.hex),
    "FROM_HEX": Function([TEXT], 1, 1, "BYTES", bytes.fromhex),
    "UNIX_DATE": Function([{"DATE"}], 1, 1, "INTEGER", days_of),
    "UNIX_MICROS": Function([{"TIMESTAMP"}], 1, 1, "INTEGER", lambda value: value),
    "UNIX_MILLIS": Function([{"TIMESTAMP"}], 1, 1, "INTEGER", lambda value: value // 1000),
    "UNIX_SECONDS": Function([{"TIMESTAMP"}], 1, 1, "INTEGER", lambda value: value // 1_000_000),
    "DATE": conversion("DATE"),
    "DATETIME": conversion("DATETIME"),
    "TIMESTAMP": conversion("TIMESTAMP"),
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
        if value is not None and (self.result is None or self.better(value, self.result)):
            self.result = value

    @staticmethod
    def better(one, other):
        return one > other


class Min(Max):
    """MIN()."""

    @staticmethod
    def better(one, other):
        return one < other


class Any(Max):
    """ANY_VALUE(): here the last one; NULL without any."""

    @staticmethod
    def better(one, other):
        return True


AGGREGATES = {
    "ANY_VALUE": Function([ANY], 1, 1, None, Any),
    "COUNT": Function([ANY], 0, 1, "INTEGER", Count),
    "SUM": Function([NUMBER], 1, 1, "INTEGER", Sum),
    "MAX": Function([ORDERED], 1, 1, None, Max),
    "MIN": Function([ORDERED], 1, 1, None, Min),
}


def takes(function, kinds):
    """Whether there is such a function of arguments of these kinds (None: NULL, which fits all)."""
    if not function.least <= len(kinds) <= function.most:
        return False
    if function.gives is None and len(set(kinds) - {None}) > 1:
        return False
    wanted = [function.takes[min(at, len(function.takes) - 1)] for at in range(len(kinds))]
    return all(kind is None or kind in choices for kind, choices in zip(kinds, wanted))


def bad_value(text, kind):
    return ApiError("invalidQuery", f"Bad {kind} value: {text}")
