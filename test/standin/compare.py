"""Which types can be compared with which, and how."""
import operator

from values import googlesql_name

COMPARISONS = {
    "=": operator.eq, "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge,
    "<>": operator.ne, "!=": operator.ne,
}
WORDS = {"=": "Equality", "<>": "Inequality", "!=": "Inequality", "<": "Less than", "<=": "Less than", ">": "Greater than",
         ">=": "Greater than", "IN": "Equality", "IN UNNEST": "Equality"}
NUMBERS = {"INTEGER", "FLOAT", "NUMERIC", "BIGNUMERIC"}
ORDERED = NUMBERS | {"STRING", "BYTES", "BOOLEAN", "TIMESTAMP", "DATE", "TIME", "DATETIME"}


def name_of(kind):
    return googlesql_name(kind) if kind else "NULL"


def problem(symbol, left, right):
    """Why values of these kinds (None: NULL) cannot be compared so, or None when they can."""
    for kind in (left, right):
        if kind is not None and kind not in ORDERED:
            return f"{WORDS.get(symbol, symbol)} is not defined for arguments of type {name_of(kind)}"
    kinds = {left, right} - {None}
    if len(kinds) < 2 or kinds <= NUMBERS or kinds == {"DATE", "DATETIME"}:
        return None
    other = f"ARRAY<{name_of(right)}>" if symbol == "IN UNNEST" else name_of(right)
    message = f"No matching signature for operator {symbol} for argument types: {name_of(left)}, {other}"
    return message + (". Supported signature: ANY " + symbol + " ANY" if symbol in COMPARISONS else "")


def common(kind, other):
    """What brings a live value of a kind to the form in which it is compared with the other; None: it stays."""
    if kind in NUMBERS - {"FLOAT"} and other == "FLOAT":
        return float
    if (kind, other) == ("DATE", "DATETIME"):
        return lambda value: value + "T00:00:00"
    return None


def common_kind(kind, other):
    """The kind in which both are compared."""
    if kind in NUMBERS and other == "FLOAT" or (kind, other) == ("DATE", "DATETIME"):
        return other
    return kind
