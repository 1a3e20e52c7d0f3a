"""Running a query: syntax tree, table and parameters to rows.

GROUP BY takes names of the select list; without it a query with aggregates gives one row.
"""
from casts import DECIMAL_KINDS, held
from errors import invalid_query
from partitions import EVERYTHING
from pruning import Pruner
from query import Compiler
from syntax import Select
from tables import Column

RESERVED_PREFIXES = ("_PARTITION", "_TABLE_", "_FILE_", "_ROW_TIMESTAMP", "__ROOT__", "_COLIDENTIFIER")


class Plan:
    """A query ready to run: what it returns, what it reads."""

    def __init__(self, table, fields, picks, predicate, compiler, window):
        self.table = table
        self.fields = fields
        self.picks = picks  # for each output: a position in the table's rows, or a function of a row
        self.predicate = predicate
        self.used = compiler.used
        self.aggregates = compiler.aggregates
        self.keys = compiler.keys
        self.window = window

    @property
    def source(self):
        """The Table that is read in the end."""
        return self.table.inner.source if isinstance(self.table, Derived) else self.table

    def rows(self):
        """The result's rows as tuples, in the order of the table."""
        rows = self.table.rows(self.window)
        predicate, picks = self.predicate, self.picks
        if predicate:
            rows = (row for row in rows if predicate(row))
        if self.keys:
            rows = self.grouped(rows)
        elif self.aggregates:
            rows = [self.folded(rows)]
        elif picks == list(range(len(self.table.fields))):
            return rows
        return (tuple(row[pick] if isinstance(pick, int) else pick(row) for pick in picks) for row in rows)

    def grouped(self, rows):
        """The results over each group, and behind them its keys; the service promises no order, so not the table's."""
        groups = {}
        for row in rows:
            groups.setdefault(tuple(key(row) for key in self.keys), []).append(row)
        return [self.folded(members) + list(keys) for keys, members in reversed(groups.items())]

    def folded(self, rows):
        """The results of the aggregates over these rows."""
        states = [(state(), argument) for state, argument in self.aggregates]
        for row in rows:
            for state, argument in states:
                state.add(argument(row))
        return [state.result for state, _ in states]

    def bytes_processed(self):
        return self.table.bytes_of(sorted(self.used), self.window)


class Derived:
    """A query in parentheses as a table."""

    partitioning = None

    def __init__(self, inner):
        self.inner = inner
        self.fields = inner.fields
        self.columns = {field["name"].lower(): Column(number, field) for number, field in enumerate(inner.fields)}

    def column(self, name):
        return self.columns.get(name.lower())

    def rows(self, window=EVERYTHING):
        return self.inner.rows()

    def bytes_of(self, positions, window=EVERYTHING):
        return self.inner.bytes_processed()


def result_field(field):
    """A column's field as a result's schema has it: everything NULLABLE, but arrays are kept; no descriptions."""
    result = {"name": field["name"], "type": field["type"],
              "mode": "REPEATED" if field.get("mode") == "REPEATED" else "NULLABLE"}
    if "fields" in field:
        result["fields"] = [result_field(inner) for inner in field["fields"]]
    if "rangeElementType" in field:
        result["rangeElementType"] = field["rangeElementType"]
    return result


def pick_of(compiled):
    """A function of a row to the held value of an expression."""
    if compiled.type in DECIMAL_KINDS or compiled.type == "BYTES":
        return lambda row: held(compiled.type, compiled.call(row))
    return compiled.call


def outputs(select, table, compiler):
    """Output fields and picks of a select list."""
    if select.items is None:
        compiler.used.update(range(len(table.fields)))
        return [result_field(field) for field in table.fields], list(range(len(table.fields)))
    fields, picks = [], []
    wanted = {node.args[0].lower(): node for node in select.group}
    for number, item in enumerate(select.items):
        name = item.alias or (item.node.args[0] if item.node.kind == "column" else f"f{number}_")
        if wanted.pop(name.lower(), None):
            compiled = compiler.key(item.node, len(select.group))
            fields.append(result_field({"name": name, "type": compiled.type or "INTEGER"}))
            picks.append(pick_of(compiled))
            continue
        compiled = compiler.compile(item.node)
        column = table.column(item.node.args[0]) if item.node.kind == "column" else None
        if column and column.position < len(table.fields):
            fields.append(result_field(dict(column.field, name=name)))
            picks.append(column.position)
        else:
            fields.append(result_field({"name": name, "type": compiled.type or "INTEGER"}))
            picks.append(pick_of(compiled))
    for name, node in wanted.items():
        compiler.fail(f"Unrecognized name: {name}", node.position)
    if (compiler.aggregates or compiler.keys) and compiler.bare:
        name = compiler.bare.args[0]
        compiler.fail(f"SELECT list expression references column {name} which is neither grouped nor aggregated",
                      compiler.bare.position)
    check_twice([field["name"].lower() for field in fields])
    return fields, picks


def check_twice(names):
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise invalid_query(
            f"Duplicate column names in the result are not supported. Found duplicate(s): {', '.join(twice)}"
        )


def check_names(fields):
    """A result is stored as a table, whose columns may not have every name."""
    for field in fields:
        if field["name"].upper().startswith(RESERVED_PREFIXES):
            raise invalid_query(
                f'Invalid field name "{field["name"]}". Field names are not allowed to start with the '
                f"(case-insensitive) prefixes {', '.join(RESERVED_PREFIXES[:-1])} and {RESERVED_PREFIXES[-1]}"
            )


def window_of(select, table, compiler):
    """The window of partitions that is read; ApiError when the table wants a condition and there is none."""
    if table.partitioning is None:
        return EVERYTHING
    pruner = Pruner(table, compiler)
    if table.require_filter:
        table.partitioning.check_filter(table.name, bool(select.where) and pruner.usable(select.where))
    return pruner.window(select.where) if select.where else EVERYTHING


def bind(select, table, parameters):
    if isinstance(select.source, Select):
        table = Derived(bind(select.source, table, parameters))
    compiler = Compiler(select.text, table, parameters)
    fields, picks = outputs(select, table, compiler)
    compiler.level = "WHERE"
    predicate = compiler.condition(select.where).call if select.where else None
    return Plan(table, fields, picks, predicate, compiler, window_of(select, table, compiler))


def plan(select, table, parameters):
    """Bind a query to its table and parameters; ApiError invalidQuery when a name or a type does not fit."""
    bound = bind(select, table, parameters)
    check_names(bound.fields)
    return bound
