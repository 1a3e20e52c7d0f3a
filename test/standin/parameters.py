"""Query parameters: what the service accepts of them, and their values."""
from collections import namedtuple

from casts import live
from errors import invalid, invalid_query
from values import SCALAR_TYPES, from_text, googlesql_name, legacy_name

# Live values; kind is that of an array's elements.
Scalar = namedtuple("Scalar", "kind value")
Array = namedtuple("Array", "kind values")


def check(config):
    """The request's queryParameters, each with every key that Parameters needs; ApiError invalid for a bad shape."""
    checked = []
    for at, item in enumerate(config.get("queryParameters") or []):
        if not item.get("name"):
            raise invalid(f"Named parameter expected, but parameter {at} has no name")
        kind = item.get("parameterType") or {}
        check_type(item["name"], kind)
        value = item.get("parameterValue") or {}
        where = f"query_parameters[{at}].parameter_value"
        check_value(where, kind, value)
        checked.append({"name": item["name"], "parameterType": kind, "parameterValue": value})
    return checked


def check_type(name, kind):
    type_name = kind.get("type")
    if not type_name:
        raise invalid(f"Missing type for query parameter {name}")
    if type_name.upper() == "ARRAY":
        element = kind.get("arrayType") or {}
        if element.get("type", "").upper() == "ARRAY":
            raise invalid(f"Array of arrays is not allowed for query parameter {name}")
        return check_type(name, element)
    if legacy_name(type_name) not in SCALAR_TYPES:
        raise invalid(f"Invalid value for type: {type_name} is not a valid value")
    return None


def check_value(where, kind, value):
    """Every value is a string (or left out for NULL), an array's in arrayValues."""
    if kind["type"].upper() != "ARRAY":
        if "arrayValues" in value:
            raise invalid(f"Query parameter of type {kind['type']} has arrayValues")
        if not isinstance(value.get("value", ""), (str, type(None))):
            raise invalid(f"Invalid value at '{where}.value' (TYPE_STRING), {value['value']}")
        return
    if "value" in value:
        raise invalid("Query parameter of type ARRAY has a value, not arrayValues")
    for at, each in enumerate(value.get("arrayValues") or []):
        if not isinstance(each, dict):
            raise invalid(f"Invalid value at '{where}.array_values[{at}]' (type.googleapis.com/QueryParameterValue)")
        check_value(f"{where}.array_values[{at}]", kind["arrayType"], each)


class Parameters:
    """Named query parameters: name → Scalar or Array."""

    def __init__(self, mode, items):
        self.values = {}
        for item in items if mode == "NAMED" else ():
            self.values[item["name"].lower()] = one(item["name"], item["parameterType"], item["parameterValue"])

    def get(self, name):
        return self.values.get(name.lower())

    def key(self):
        """What tells two sets of parameters apart."""
        return repr(sorted(self.values.items()))


def one(name, kind, value):
    """The value of one parameter, or of one element of an array."""
    if kind["type"].upper() == "ARRAY":
        elements = [one(name, kind["arrayType"], each).value for each in value.get("arrayValues") or []]
        return Array(legacy_name(kind["arrayType"]["type"]), elements)
    scalar, text = legacy_name(kind["type"]), value.get("value")
    if text is None:
        return Scalar(scalar, None)
    try:
        return Scalar(scalar, live(scalar, from_text(scalar, text)))
    except ValueError as problem:
        raise invalid_query(
            f"Unparseable query parameter `{name}` in type `TYPE_{googlesql_name(scalar)}`, {problem} value: '{text}'"
        ) from None
