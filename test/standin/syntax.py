"""GoogleSQL text to a syntax tree: SELECT expressions FROM one table, or such a query in parentheses, [WHERE condition]
[GROUP BY names].

Everything else is refused as the real service refuses bad SQL.
"""
from collections import namedtuple

from errors import invalid_query
from lexer import KEYWORDS, describe, place, tokens

# A node of a condition: what it is, where it stands, its parts.
Node = namedtuple("Node", "kind position args")
Item = namedtuple("Item", "node alias")

COMPARISONS = ("=", "<", "<=", ">", ">=", "<>", "!=")
TYPED_LITERALS = {"TIMESTAMP", "DATE", "DATETIME", "TIME", "NUMERIC", "BIGNUMERIC"}


class Select:
    """A parsed query."""

    def __init__(self, text, items, source, where, group):
        self.text = text
        self.items = items  # None stands for *
        self.source = source  # the parts of a table's name, or a Select
        self.where = where
        self.group = group  # nodes of kind column: names of items

    @property
    def path(self):
        """The table that is read in the end."""
        return self.source.path if isinstance(self.source, Select) else self.source


class Parser:
    """Recursive descent over the tokens of one text."""

    def __init__(self, text):
        self.text = text
        self.tokens = tokens(text)
        self.at = 0

    @property
    def token(self):
        return self.tokens[self.at]

    def advance(self):
        self.at += 1
        return self.tokens[self.at - 1]

    def fail(self, expected=None):
        token = self.token
        where = place(self.text, token.position)
        if expected:
            raise invalid_query(f"Syntax error: Expected {expected} but got {describe(token)} at {where}")
        raise invalid_query(f"Syntax error: Unexpected {describe(token)} at {where}")

    def accept(self, *words):
        """Take the token when it is one of these keywords or operators."""
        if self.token.kind in ("name", "op") and self.token.text.upper() in words:
            return self.advance()
        return None

    def expect(self, word):
        return self.accept(word) or self.fail(f'keyword {word}' if word.isalpha() else f'"{word}"')

    def identifier(self):
        if self.token.kind == "quoted" or (self.token.kind == "name" and self.token.text.upper() not in KEYWORDS):
            return self.advance()
        return self.fail()

    def statement(self):
        select = self.select()
        if self.token.kind != "end":
            self.fail("end of input")
        return select

    def select(self):
        self.expect("SELECT")
        items = self.select_list()
        self.expect("FROM")
        source = self.source()
        where = self.disjunction() if self.accept("WHERE") else None
        return Select(self.text, items, source, where, self.group_by())

    def group_by(self):
        if not self.accept("GROUP"):
            return []
        self.expect("BY")
        tokens = [self.identifier()]
        while self.accept(","):
            tokens.append(self.identifier())
        return [Node("column", token.position, (token.value,)) for token in tokens]

    def source(self):
        if self.accept("("):
            select = self.select()
            self.expect(")")
            if self.accept("AS"):
                self.identifier()
            return select
        path = self.identifier().value.split(".")
        while self.accept("."):
            path.extend(self.identifier().value.split("."))
        return path

    def select_list(self):
        if self.accept("*"):
            return None
        items = [self.select_item()]
        while self.accept(","):
            items.append(self.select_item())
        return items

    def select_item(self):
        node = self.operand()
        alias = self.identifier().value if self.accept("AS") else None
        return Item(node, alias)

    def disjunction(self):
        return self.chain("OR", self.conjunction)

    def conjunction(self):
        return self.chain("AND", self.negation)

    def chain(self, word, part):
        node = part()
        while self.token.text.upper() == word and self.token.kind == "name":
            position = self.advance().position
            node = Node(word, position, (node, part()))
        return node

    def negation(self):
        token = self.accept("NOT")
        return Node("NOT", token.position, (self.negation(),)) if token else self.predicate()

    def predicate(self):
        left = self.operand()
        position = self.token.position
        comparison = self.accept(*COMPARISONS)
        if comparison:
            return Node("compare", position, (comparison.text, left, self.operand()))
        if self.accept("IS"):
            negated = self.accept("NOT")
            self.expect("NULL")
            return self.negated(negated, Node("is null", position, (left,)))
        negated = self.accept("NOT")
        if self.accept("IN"):
            return self.negated(negated, Node("in", position, (left, self.in_list())))
        if self.accept("BETWEEN"):
            low = self.operand()
            self.expect("AND")
            high = Node("compare", position, ("<=", left, self.operand()))
            return self.negated(negated, Node("AND", position, (Node("compare", position, (">=", left, low)), high)))
        if self.accept("LIKE"):
            return self.negated(negated, Node("like", position, (left, self.operand())))
        return self.fail() if negated else left

    @staticmethod
    def negated(token, node):
        return Node("NOT", token.position, (node,)) if token else node

    def in_list(self):
        if self.accept("UNNEST"):
            self.expect("(")
            parameter = self.advance() if self.token.kind == "param" else self.fail()
            self.expect(")")
            return Node("array", parameter.position, (parameter.value,))
        self.expect("(")
        nodes = [self.operand()]
        while self.accept(","):
            nodes.append(self.operand())
        self.expect(")")
        return tuple(nodes)

    def operand(self):
        token = self.token
        if self.accept("("):
            node = self.disjunction()
            self.expect(")")
            return node
        if self.accept("-") and self.token.kind == "number":
            return Node("number", token.position, ("-" + self.advance().text,))
        if self.accept("+") and self.token.kind == "number":
            return Node("number", token.position, (self.advance().text,))
        if token.kind in ("string", "number", "param"):
            self.advance()
            return Node(token.kind, token.position, (token.value,))
        if self.accept("TRUE", "FALSE", "NULL"):
            return Node("constant", token.position, (token.text.upper(),))
        return self.name_or_call(self.identifier())

    def name_or_call(self, token):
        if self.token.text == "(" and token.kind == "name":
            return self.call(token)
        if token.kind == "name" and token.text.upper() in TYPED_LITERALS and self.token.kind == "string":
            return Node("typed", token.position, (token.text.upper(), self.advance().value))
        return Node("column", token.position, (token.value,))

    def call(self, name):
        self.expect("(")
        if name.text.upper() in ("CAST", "SAFE_CAST"):
            value = self.disjunction()
            self.expect("AS")
            node = Node("cast", name.position, (value, self.identifier(), name.text.upper() == "SAFE_CAST"))
        elif self.accept("*"):
            node = Node("call", name.position, (name.text, None))
        else:
            arguments = [self.disjunction()] if self.token.text != ")" else []
            while arguments and self.accept(","):
                arguments.append(self.disjunction())
            node = Node("call", name.position, (name.text, tuple(arguments)))
        self.expect(")")
        return node


def parse(text):
    """The syntax tree of a query; ApiError invalidQuery when it is not one that can be run here."""
    return Parser(text).statement()
