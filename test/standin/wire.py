"""Held values to the JSON text of a cell's "v"."""
import math
from datetime import timedelta
from decimal import Decimal
from json.encoder import encode_basestring

from values import EPOCH, Wire


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
    return moment.replace(tzinfo=None).isoformat(timespec="microseconds") + "000000Z"


TIMESTAMP_TEXT = {
    "INT64": str,
    "FLOAT64": lambda micros: float_text(micros / 1e6),
    "ISO8601_STRING": iso8601_text,
}


def text_of(kind, timestamps):
    """A function from a value whose text needs no quoting in JSON to that text; None for the other types."""
    if kind == "TIMESTAMP":
        return TIMESTAMP_TEXT[timestamps]
    return {"INTEGER": str, "FLOAT": float_text, "BOOLEAN": lambda value: "true" if value else "false"}.get(kind)


def encoder(field, timestamps):
    """A function from a value of this field (not None, not Wire) to the JSON text of a cell's "v"."""
    if field.get("mode") == "REPEATED":
        return array_encoder(dict(field, mode="NULLABLE"), timestamps)
    kind = field["type"]
    if kind == "RECORD":
        return record_encoder(field["fields"], timestamps)
    if kind == "RANGE":
        return range_encoder(field, timestamps)
    if kind == "INTEGER" or (kind == "TIMESTAMP" and timestamps == "INT64"):
        return lambda value: f'"{value}"'
    text = text_of(kind, timestamps)
    return encode_basestring if text is None else lambda value: f'"{text(value)}"'


def cell(encode, value):
    """A whole cell."""
    if value is None:
        return '{"v":null}'
    return '{"v":' + (value.json if type(value) is Wire else encode(value)) + "}"


def array_encoder(element, timestamps):
    encode = encoder(element, timestamps)
    return lambda value: "[" + ",".join([cell(encode, each) for each in value]) + "]"


def record_encoder(fields, timestamps):
    encoders = [encoder(field, timestamps) for field in fields]
    return lambda value: '{"f":[' + ",".join([cell(*pair) for pair in zip(encoders, value)]) + "]}"


def range_encoder(field, timestamps):
    text = text_of(field["rangeElementType"]["type"], timestamps) or str

    def encode(value):
        start, end = ("UNBOUNDED" if bound is None else text(bound) for bound in value)
        return f'"[{start}, {end})"'

    return encode
