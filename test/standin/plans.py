"""Running a query: syntax tree, table and parameters to rows.

There is no GROUP BY: a query with aggregates gives one row.
"""
from errors import invalid_query
from query import Compiler
from syntax import Select

CONSTANTS = {"string", "number", "constant", "typed", "param"}


class Plan:
    """A query ready to run: what it returns, what it reads."""

    def __init__(self, table, fields, picks, predicate, compiler, window):
        self.table = table
        self.fields = fields
        self.picks = picks  # for each output: a position in the table's rows, or a function of a row
        self.predicate = predicate
        self.used = compiler.used
        self.aggregates = compiler.aggregates
        self.window = window

    def rows(self):
        """The result's rows as tuples, in the order of the table."""
        rows = self.table.rows(*self.window)
        predicate, picks = self.predicate, self.picks
        if predicate:
            rows = (row for row in rows if predicate(row))
        if self.aggregates:
            rows = [self.folded(rows)]
        elif picks == list(range(len(self.table.fields))):
            return rows
        return (tuple(row[pick] if isinstance(pick, int) else pick(row) for pick in picks) for row in rows)

    def folded(self, rows):
        """The results of the aggregates over these rows."""
        states = [(state(), argument) for state, argument in self.aggregates]
        for row in rows:
            for state, argument in states:
                state.add(argument(row))
        return [state.result for state, _ in states]

    def bytes_processed(self):
        return self.table.bytes_of(sorted(self.used), *self.window)


class Derived:
    """A query in parentheses as a table."""

    def __init__(self, inner):
        self.inner = inner
        self.fields = inner.fields
        self.position = {field["name"].lower(): number for number, field in enumerate(inner.fields)}

    def rows(self, low=None, high=None):
        return self.inner.rows()

    def bytes_of(self, positions, low=None, high=None):
        return self.inner.bytes_processed()

    @staticmethod
    def partition_position():
        return None


def outputs(select, table, compiler):
    """Output fields and picks of a select list."""
    if select.items is None:
        compiler.used.update(range(len(table.fields)))
        return [dict(field) for field in table.fields], list(range(len(table.fields)))
    fields, picks = [], []
    for number, item in enumerate(select.items):
        compiled = compiler.compile(item.node)
        if item.node.kind == "column":
            position = table.position[item.node.args[0].lower()]
            fields.append(dict(table.fields[position], name=item.alias or item.node.args[0]))
            picks.append(position)
        else:
            fields.append({"name": item.alias or f"f{number}_", "type": compiled.type or "INTEGER"})
            picks.append(compiled.call)
    if compiler.aggregates and compiler.bare:
        name = compiler.bare.args[0]
        compiler.fail(f"SELECT list expression references column {name} which is neither grouped nor aggregated",
                      compiler.bare.position)
    names = [field["name"].lower() for field in fields]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise invalid_query(
            f"Duplicate column names in the result are not supported. Found duplicate(s): {', '.join(twice)}"
        )
    return fields, picks


def window_of(node, table, compiler):
    """Bounds that the ANDed comparisons put on the partition column: what pruning can use."""
    low = high = None
    position = table.partition_position()
    pending = [node] if node and position is not None else []
    while pending:
        node = pending.pop()
        if node.kind == "AND":
            pending.extend(node.args)
        if node.kind != "compare" or node.args[1].kind != "column" or node.args[2].kind not in CONSTANTS:
            continue
        symbol, left, right = node.args
        if table.position.get(left.args[0].lower()) != position:
            continue
        bound = compiler.matched(node, symbol, compiler.compile(left), compiler.compile(right))[1].call(None)
        if not isinstance(bound, int):
            continue
        if symbol in (">", ">=", "="):
            low = bound if low is None else max(low, bound)
        if symbol in ("<", "<=", "="):
            bound += symbol != "<"
            high = bound if high is None else min(high, bound)
    return low, high


def plan(select, table, parameters):
    """Bind a query to its table and parameters; ApiError invalidQuery when a name or a type does not fit."""
    if isinstance(select.source, Select):
        table = Derived(plan(select.source, table, parameters))
    compiler = Compiler(select.text, table, parameters)
    fields, picks = outputs(select, table, compiler)
    # The service makes every column of a result NULLABLE, but keeps arrays.
    for field in fields:
        field["mode"] = "REPEATED" if field.get("mode") == "REPEATED" else "NULLABLE"
    compiler.level = "WHERE"
    predicate = compiler.condition(select.where).call if select.where else None
    return Plan(table, fields, picks, predicate, compiler, window_of(select.where, table, compiler))
