"""The GoogleSQL that the stand-in understands: expressions of the syntax tree to functions of a row.

Conditions may use AND, OR, NOT, comparisons, IS NULL, IN, BETWEEN, LIKE, literals, columns and @parameters, with SQL's
three-valued logic.  Functions and aggregates are those of functions.py.
"""
import operator
import re
from collections import namedtuple

from errors import invalid_query
from functions import AGGREGATES, SCALARS, bad_value, cast, cast_kind, takes
from lexer import place
from syntax import Node
from values import comparable, from_text, googlesql_name, legacy_name

# A compiled expression: its type, a function of a row, and its value if it is a literal.
Compiled = namedtuple("Compiled", "type call literal")

COMPARISONS = {
    "=": operator.eq, "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge,
    "<>": operator.ne, "!=": operator.ne,
}
NUMBERS = {"INTEGER", "FLOAT", "NUMERIC", "BIGNUMERIC"}


class Parameters:
    """Named query parameters, checked: name → (type, value), value a list for an ARRAY."""

    def __init__(self, mode, items):
        self.values = {}
        for item in items if mode == "NAMED" else ():
            self.values[item["name"].lower()] = self.one(item["name"], item["parameterType"], item["parameterValue"])

    def one(self, name, kind, value):
        if kind.get("type", "").upper() == "ARRAY":
            element = kind["arrayType"]
            return "ARRAY", [self.one(name, element, each) for each in value.get("arrayValues", [])]
        type_name = kind.get("type", "")
        text = value.get("value")
        if text is None:
            return legacy_name(type_name), None
        try:
            return legacy_name(type_name), from_text(type_name, text)
        except ValueError as problem:
            raise invalid_query(
                f"Unparseable query parameter `{name}` in type `TYPE_{googlesql_name(type_name)}`, "
                f"{problem} value: '{text}'"
            ) from None

    def get(self, name):
        return self.values.get(name.lower())


class Compiler:
    """Conditions to Python functions over the rows of one table."""

    def __init__(self, text, table, parameters):
        self.text = text
        self.table = table
        self.parameters = parameters
        self.used = set()
        self.aggregates = []  # (Count or the like, function of a row) of each call
        self.level = "row"  # what is compiled: "WHERE" or "row", an "aggregate"'s argument
        self.bare = None  # a column outside of aggregates

    def fail(self, message, position):
        raise invalid_query(f"{message} at {place(self.text, position)}")

    def compile(self, node):
        method = getattr(self, "_" + node.kind.lower().replace(" ", "_"))
        return method(node, *node.args)

    def condition(self, node):
        compiled = self.compile(node)
        if compiled.type not in ("BOOLEAN", None):
            returned = googlesql_name(compiled.type)
            self.fail(f"WHERE clause should return type BOOL, but returns {returned}", node.position)
        return compiled

    def _column(self, node, name):
        position = self.table.position.get(name.lower())
        if position is None:
            self.fail(f"Unrecognized name: {name}", node.position)
        self.used.add(position)
        if self.level == "row" and self.bare is None:
            self.bare = node
        kind = self.table.fields[position]["type"]
        return Compiled(kind, lambda row: comparable(kind, row[position]), None)

    def _constant_value(self, kind, value, literal=None):
        prepared = comparable(kind, value) if kind else None
        return Compiled(kind, lambda row: prepared, literal)

    def _string(self, node, value):
        return self._constant_value("STRING", value, literal=value)

    def _number(self, node, text):
        kind = "INTEGER" if text.lstrip("-").isdigit() else "FLOAT"
        return self._constant_value(kind, from_text(kind, text), literal=text)

    def _constant(self, node, word):
        return self._constant_value(None if word == "NULL" else "BOOLEAN", None if word == "NULL" else word == "TRUE")

    def _typed(self, node, kind, text):
        try:
            return self._constant_value(kind, from_text(kind, text))
        except ValueError:
            return self.fail(f"Invalid {kind} literal", node.position)

    def _param(self, node, name):
        parameter = self.parameters.get(name)
        if parameter is None:
            self.fail(f"Query parameter '{name}' not found", node.position)
        return self._constant_value(*parameter)

    def _and(self, node, left, right):
        left, right = self.condition(left).call, self.condition(right).call

        def both(row):
            one = left(row)
            if one is False:
                return False
            other = right(row)
            return other if one or other is False else None

        return Compiled("BOOLEAN", both, None)

    def _or(self, node, left, right):
        left, right = self.condition(left).call, self.condition(right).call

        def either(row):
            one = left(row)
            if one:
                return True
            other = right(row)
            return other if one is False or other else None

        return Compiled("BOOLEAN", either, None)

    def _not(self, node, inner):
        inner = self.condition(inner).call

        def negate(row):
            value = inner(row)
            return None if value is None else not value

        return Compiled("BOOLEAN", negate, None)

    def _is_null(self, node, inner):
        inner = self.compile(inner).call
        return Compiled("BOOLEAN", lambda row: inner(row) is None, None)

    def matched(self, node, symbol, left, right):
        """Both sides in a form that Python can compare; a string literal becomes what it is compared with."""
        for one, other in ((left, right), (right, left)):
            if one.literal is not None and one.type == "STRING" and other.type not in ("STRING", None):
                try:
                    converted = self._constant_value(other.type, from_text(other.type, one.literal))
                except ValueError:
                    wanted = googlesql_name(other.type)
                    self.fail(f"Could not cast literal {one.literal!r} to type {wanted}", node.position)
                return (converted, right) if one is left else (left, converted)
        kinds = {left.type, right.type} - {None}
        if len(kinds) > 1 and not kinds <= NUMBERS:
            names = ", ".join(googlesql_name(kind) for kind in (left.type, right.type))
            self.fail(f"No matching signature for operator {symbol} for argument types: {names}", node.position)
        return left, right

    def _compare(self, node, symbol, left, right):
        left, right = self.matched(node, symbol, self.compile(left), self.compile(right))
        left, right, compare = left.call, right.call, COMPARISONS[symbol]

        def run(row):
            one, other = left(row), right(row)
            return None if one is None or other is None else compare(one, other)

        return Compiled("BOOLEAN", run, None)

    def _in(self, node, left, choices):
        if isinstance(choices, Node):
            return self._in_array(node, left, choices)
        tree = None
        for choice in choices:
            test = Node("compare", node.position, ("=", left, choice))
            tree = Node("OR", node.position, (tree, test)) if tree else test
        return self.compile(tree)

    def _in_array(self, node, left, array):
        parameter = self.parameters.get(array.args[0])
        if parameter is None:
            self.fail(f"Query parameter '{array.args[0]}' not found", array.position)
        if parameter[0] != "ARRAY":
            self.fail("Values referenced in UNNEST must be arrays", array.position)
        left = self.compile(left)
        elements = [self.matched(node, "IN", left, self._constant_value(*each))[1].call(None) for each in parameter[1]]
        known = {each for each in elements if each is not None}
        miss = None if len(known) < len(elements) else False

        def run(row):
            value = left.call(row)
            return None if value is None else True if value in known else miss

        return Compiled("BOOLEAN", run if elements else lambda row: False, None)

    def _like(self, node, left, pattern):
        left, pattern = self.matched(node, "LIKE", self.compile(left), self.compile(pattern))

        def run(row):
            value, like = left.call(row), pattern.call(row)
            return None if value is None or like is None else bool(re.fullmatch(like_regex(like), value, re.DOTALL))

        return Compiled("BOOLEAN", run, None)

    # -- functions ---------------------------------------------------------------------------------------------------

    def _call(self, node, name, arguments):
        name = name.upper()
        if name in AGGREGATES and (arguments is not None or name == "COUNT"):
            return self.aggregate(node, name, arguments)
        function = SCALARS.get(name)
        if function is None or arguments is None:
            self.fail(f"Function not found: {node.args[0]}", node.position)
        compiled = [self.compile(argument) for argument in arguments]
        kinds = self.checked(node, name, function, compiled)
        calls = [each.call for each in compiled]
        if name == "IFNULL":
            first, second = calls
            return Compiled(next((kind for kind in kinds if kind), None),
                            lambda row: second(row) if first(row) is None else first(row), None)
        more = kinds if hasattr(function.call, "wants_kind") else []

        def run(row):
            values = [call(row) for call in calls]
            return None if None in values else function.call(*values, *more)

        return Compiled(function.gives, run, None)

    def checked(self, node, name, function, compiled):
        kinds = [each.type for each in compiled]
        if not takes(function, kinds):
            names = ", ".join(googlesql_name(kind) if kind else "NULL" for kind in kinds)
            self.fail(f"No matching signature for function {name} for argument types: {names}", node.position)
        return kinds

    def aggregate(self, node, name, arguments):
        """An aggregate's call; outside of it a row is the list of all aggregates' results."""
        if self.level != "row":
            where = "WHERE clause" if self.level == "WHERE" else "argument of an aggregate"
            self.fail(f"Aggregate function {name} not allowed in {where}", node.position)
        self.level = "aggregate"
        compiled = [self.compile(argument) for argument in arguments or ()]
        self.level = "row"
        kinds = self.checked(node, name, AGGREGATES[name], compiled)
        if name == "COUNT" and arguments == ():
            self.fail("No matching signature for function COUNT with no arguments", node.position)
        number = len(self.aggregates)
        self.aggregates.append((AGGREGATES[name].call, compiled[0].call if compiled else lambda row: True))
        return Compiled(AGGREGATES[name].gives or kinds[0], lambda results: results[number], None)

    def _cast(self, node, value, target):
        kind = cast_kind(target.value)
        if kind is None:
            self.fail(f"Type not found: {target.value}", target.position)
        compiled = self.compile(value)
        convert = cast(compiled.type, kind)
        if convert is None:
            self.fail(f"Invalid cast from {googlesql_name(compiled.type)} to {googlesql_name(kind)}", node.position)

        def run(row):
            one = compiled.call(row)
            try:
                return None if one is None else convert(one)
            except ValueError:
                raise bad_value(one, googlesql_name(kind)) from None

        return Compiled(kind, run, None)


def like_regex(pattern):
    parts = re.findall(r"\\.|[%_]|[^\\%_]+", pattern, re.DOTALL)
    special = {"%": ".*", "_": "."}
    return "".join(special.get(part) or re.escape(part[1:] if part[0] == "\\" else part) for part in parts)
