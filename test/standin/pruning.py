"""What a condition says about the partitions that a query reads, and whether it says anything at all."""
from partitions import EVERYTHING, step_of, tick_of
from syntax import Node

CONSTANTS = {"string", "number", "constant", "typed", "param"}
CONVERSIONS = {"DATE", "DATETIME", "TIMESTAMP"}
MIRRORED = {"<": ">", "<=": ">=", ">": "<", ">=": "<=", "=": "="}


class Pruner:
    """Conditions against one partitioned table, compiled by `compiler`."""

    def __init__(self, table, compiler):
        self.names = table.partitioning.names()
        self.compiler = compiler

    def usable(self, node, negated=False):
        """Whether the condition limits the partition column, as a table with a required filter wants it."""
        if node.kind == "NOT":
            return self.usable(node.args[0], not negated)
        if node.kind in ("AND", "OR"):
            every = (node.kind == "OR") != negated
            return (all if every else any)(self.usable(each, negated) for each in node.args)
        return self.leaf(node) is not None

    def window(self, node):
        """Bounds on the partition column's ticks, from the comparisons that are ANDed."""
        if node.kind != "AND":
            return self.leaf(node) or EVERYTHING
        (low, high), (other_low, other_high) = (self.window(each) for each in node.args)
        lows = [each for each in (low, other_low) if each is not None]
        highs = [each for each in (high, other_high) if each is not None]
        return max(lows, default=None), min(highs, default=None)

    def leaf(self, node):
        """The window of a condition on the partition column; None when it is none."""
        if node.kind == "is null":
            return EVERYTHING if self.is_partition(node.args[0]) else None
        if node.kind == "compare":
            return self.comparison(node, *node.args)
        return self.membership(node, *node.args) if node.kind == "in" else None

    def comparison(self, node, symbol, left, right):
        if self.is_partition(right) and is_constant(left):
            symbol, left, right = MIRRORED.get(symbol, symbol), right, left
        if not (self.is_partition(left) and is_constant(right)):
            return None
        if symbol not in MIRRORED:
            return EVERYTHING
        kind, bound = self.constant(node, left, right)
        tick = tick_of(kind, bound)
        if tick is None:
            return EVERYTHING
        after = tick + step_of(kind)
        return {"=": (tick, after), "<": (None, tick), "<=": (None, after), ">": (after, None), ">=": (tick, None)}[symbol]

    def membership(self, node, left, choices):
        if not self.is_partition(left):
            return None
        if isinstance(choices, Node):
            array = self.compiler.parameters.get(choices.args[0])
            found = [(array.kind, value) for value in array.values]
        elif all(is_constant(choice) for choice in choices):
            found = [self.constant(node, left, choice) for choice in choices]
        else:
            return None
        ticks = [(tick_of(*each), step_of(each[0])) for each in found]
        if not ticks or any(tick is None for tick, _ in ticks):
            return EVERYTHING
        return min(tick for tick, _ in ticks), max(tick + step for tick, step in ticks)

    def constant(self, node, left, right):
        """The right side, which is constant, as it is compared: kind and live value."""
        _, right = self.compiler.matched(node, "=", self.compiler.compile(left), self.compiler.compile(right))
        return right.type, right.call(None)

    def is_partition(self, node):
        """Is it the partition column, or a conversion of it that keeps the order?"""
        if node.kind == "call" and node.args[0].upper() in CONVERSIONS and node.args[1]:
            return self.is_partition(node.args[1][0])
        if node.kind == "cast" and node.args[1].value.upper() in CONVERSIONS:
            return self.is_partition(node.args[0])
        return node.kind == "column" and node.args[0].lower() in self.names


def is_constant(node):
    if node.kind == "call":
        return bool(node.args[1]) and all(is_constant(each) for each in node.args[1])
    return is_constant(node.args[0]) if node.kind == "cast" else node.kind in CONSTANTS
