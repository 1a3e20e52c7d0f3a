"""The GoogleSQL that the stand-in understands: expressions of the syntax tree to functions of a row.

Conditions may use AND, OR, NOT, comparisons, IS NULL, IN, BETWEEN, LIKE, literals, columns and @parameters, with SQL's
three-valued logic.  Functions and aggregates are those of functions.py.
"""
import re
from collections import namedtuple

from casts import cast, cast_kind, live, reader
from compare import COMPARISONS, ORDERED, common, common_kind, name_of, problem
from errors import invalid_query
from functions import AGGREGATES, SCALARS, bad_value, takes
from lexer import place
from parameters import Array
from syntax import Node
from values import Wire, from_text, googlesql_name

# A compiled expression: its type (None: NULL), a function of a row to its live value, and its text if it is a literal.
Compiled = namedtuple("Compiled", "type call literal")


class Compiler:
    """Conditions to Python functions over the rows of one table."""

    def __init__(self, text, table, parameters):
        self.text = text
        self.table = table
        self.parameters = parameters
        self.used = set()
        self.aggregates = []  # (Count or the like, function of a row) of each call
        self.keys = []  # functions of a row: what rows are grouped by
        self.level = "row"  # what is compiled: "WHERE" or "row", an "aggregate"'s argument, what GROUP BY names
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
        column = self.table.column(name)
        if column is None:
            self.fail(f"Unrecognized name: {name}", node.position)
        self.used.add(column.position)
        if self.level == "row" and self.bare is None:
            self.bare = node
        if column.field.get("mode") == "REPEATED":
            return Compiled("ARRAY", reader("ARRAY", column.position), None)
        kind = column.field["type"]
        if column.field["name"] == "_PARTITIONDATE":
            read, to_date = reader("TIMESTAMP", column.position), cast("TIMESTAMP", "DATE")
            return Compiled(kind, lambda row: None if read(row) is None else to_date(read(row)), None)
        return Compiled(kind, reader(kind, column.position), None)

    @staticmethod
    def constant(kind, value, literal=None):
        """A live value."""
        return Compiled(kind, lambda row: value, literal)

    def _string(self, node, value):
        return self.constant("STRING", value, literal=value)

    def _number(self, node, text):
        kind = "INTEGER" if text.lstrip("-").isdigit() else "FLOAT"
        return self.constant(kind, from_text(kind, text), literal=text)

    def _constant(self, node, word):
        return self.constant(None if word == "NULL" else "BOOLEAN", None if word == "NULL" else word == "TRUE")

    def _typed(self, node, kind, text):
        try:
            return self.constant(kind, live(kind, from_text(kind, text)))
        except ValueError:
            return self.fail(f"Invalid {kind} literal", node.position)

    def _param(self, node, name):
        parameter = self.parameters.get(name)
        if parameter is None:
            self.fail(f"Query parameter '{name}' not found", node.position)
        return self.constant("ARRAY", parameter.values) if isinstance(parameter, Array) else self.constant(*parameter)

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
        compiled = self.compile(inner)
        if inner.kind == "column" and inner.args[0].lower() != "_partitiondate":
            # A raw cell has no value that could be compared, and yet is not NULL.
            position = self.table.column(inner.args[0]).position
            return Compiled("BOOLEAN", lambda row: row[position] is None or is_raw_null(row[position]), None)
        return Compiled("BOOLEAN", lambda row: compiled.call(row) is None, None)

    def matched(self, node, symbol, left, right):
        """Both sides in a form that Python can compare; a literal becomes what it is compared with."""
        for one, other in ((left, right), (right, left)):
            becomes = one.literal is not None and (
                other.type in ORDERED - {"STRING"} if one.type == "STRING" else
                (one.type, other.type) in (("FLOAT", "NUMERIC"), ("FLOAT", "BIGNUMERIC")))
            if becomes:
                try:
                    converted = self.constant(other.type, live(other.type, from_text(other.type, one.literal)))
                except ValueError:
                    wanted = googlesql_name(other.type)
                    self.fail(f"Could not cast literal {one.literal!r} to type {wanted}", node.position)
                return (converted, right) if one is left else (left, converted)
        reason = problem(symbol, left.type, right.type)
        if reason:
            self.fail(reason, node.position)
        return in_common(left, right), in_common(right, left)

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
        if not isinstance(parameter, Array):
            self.fail("Values referenced in UNNEST must be arrays", array.position)
        left = self.compile(left)
        elements = [self.constant(parameter.kind, each) for each in parameter.values or [None]]
        pairs = [self.matched(node, "IN UNNEST", left, each) for each in elements]
        values, value_of = [right.call(None) for _, right in pairs], pairs[0][0].call
        known = {each for each in values if each is not None}
        miss = None if None in values else False

        def run(row):
            value = value_of(row)
            return None if value is None else True if value in known else miss

        return Compiled("BOOLEAN", run if parameter.values else lambda row: False, None)

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
        kind = function.gives or next((kind for kind in kinds if kind), None)
        if function.call is None:
            return Compiled(kind, first_known(calls), None)
        more = kinds if hasattr(function.call, "wants_kind") else []

        def run(row):
            values = [call(row) for call in calls]
            return None if None in values else function.call(*values, *more)

        return Compiled(kind, run, None)

    def checked(self, node, name, function, compiled):
        kinds = [each.type for each in compiled]
        if not takes(function, kinds):
            names = ", ".join(map(name_of, kinds))
            self.fail(f"No matching signature for function {name} for argument types: {names}", node.position)
        return kinds

    def aggregate(self, node, name, arguments):
        """An aggregate's call; outside of it a row is the list of all aggregates' results."""
        if self.level != "row":
            where = {"WHERE": "WHERE clause", "GROUP BY": "GROUP BY"}.get(self.level, "argument of an aggregate")
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

    def key(self, node, number):
        """One of so many items that rows are grouped by; of a group's results the keys are the last."""
        self.level = "GROUP BY"
        compiled = self.compile(node)
        self.level = "row"
        if compiled.type not in ORDERED:
            self.fail(f"Grouping by expressions of type {name_of(compiled.type)} is not allowed", node.position)
        self.keys.append(compiled.call)
        at = len(self.keys) - 1 - number
        return Compiled(compiled.type, lambda results: results[at], None)

    def _cast(self, node, value, target, safe):
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
            except (ValueError, ArithmeticError):
                if safe:
                    return None
                raise bad_value(one, googlesql_name(kind)) from None

        return Compiled(kind, run, None)


def first_known(calls):
    """IFNULL() and COALESCE()."""

    def run(row):
        for call in calls:
            value = call(row)
            if value is not None:
                return value
        return None

    return run


def in_common(one, other):
    """An expression in the form in which it is compared with the other."""
    convert = common(one.type, other.type)
    if convert is None:
        return one

    def run(row):
        value = one.call(row)
        return None if value is None else convert(value)

    return Compiled(common_kind(one.type, other.type), run, None)


def is_raw_null(value):
    return type(value) is Wire and value.json == "null"


def like_regex(pattern):
    parts = re.findall(r"\\.|[%_]|[^\\%_]+", pattern, re.DOTALL)
    special = {"%": ".*", "_": "."}
    return "".join(special.get(part) or re.escape(part[1:] if part[0] == "\\" else part) for part in parts)
