"""GoogleSQL text to tokens, each with its place for messages like "at [1:8]"."""
import re
from collections import namedtuple

from errors import invalid_query

# kind: name, quoted (a name in backticks), string, number, param, op, end
Token = namedtuple("Token", "kind value text position")

TOKEN_RE = re.compile(
    r"""(?P<space>\s+|--[^\n]*|\#[^\n]*|/\*.*?\*/)
    |(?P<quoted>`(?:[^`\\]|\\.)+`)
    |(?P<string>'(?:[^'\\\n]|\\.)*'|"(?:[^"\\\n]|\\.)*")
    |(?P<number>\d+(?:\.\d*)?(?:[eE][+-]?\d+)?)
    |(?P<param>@[A-Za-z_]\w*)
    |(?P<name>[A-Za-z_]\w*)
    |(?P<op>>=|<=|<>|!=|[-+*/(),.=<>])""",
    re.VERBOSE | re.DOTALL,
)
ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "a": "\a", "b": "\b", "f": "\f", "v": "\v"}
ESCAPE_RE = re.compile(r"\\(?:u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|[xX]([0-9a-fA-F]{2})|(.))", re.DOTALL)


def place(text, offset):
    """An offset as the service tells it: [line:column]."""
    line = text.count("\n", 0, offset) + 1
    return f"[{line}:{offset - (text.rfind(chr(10), 0, offset) + 1) + 1}]"


def unescape(body):
    """The text between the quotes of a literal, or between backticks."""

    def one(match):
        code = match.group(1) or match.group(2) or match.group(3)
        return chr(int(code, 16)) if code else ESCAPES.get(match.group(4), match.group(4))

    return ESCAPE_RE.sub(one, body)


def tokens(text):
    """All tokens of a text, the last of kind "end"."""
    found, at = [], 0
    while at < len(text):
        match = TOKEN_RE.match(text, at)
        if not match:
            character = text[at]
            problem = "Unclosed string literal" if character in "'\"" else (
                "Unclosed identifier literal" if character == "`" else f'Illegal input character "{character}"')
            raise invalid_query(f"Syntax error: {problem} at {place(text, at)}")
        kind, raw = match.lastgroup, match.group()
        if kind != "space":
            value = unescape(raw[1:-1]) if kind in ("quoted", "string") else raw[1:] if kind == "param" else raw
            found.append(Token(kind, value, raw, at))
        at = match.end()
    found.append(Token("end", "", "", len(text)))
    return found


def describe(token):
    """How a syntax error names a token."""
    if token.kind == "end":
        return "end of input"
    if token.kind == "op":
        return f'"{token.text}"'
    names = {"name": "identifier", "quoted": "identifier", "string": "string literal", "number": "integer literal"}
    if token.kind == "name" and token.text.upper() in KEYWORDS:
        return f"keyword {token.text.upper()}"
    return f"{names.get(token.kind, 'query parameter')} {token.text}"


KEYWORDS = {
    "SELECT", "FROM", "WHERE", "AND", "OR", "NOT", "AS", "IS", "NULL", "IN", "BETWEEN", "LIKE", "TRUE", "FALSE",
    "UNNEST", "ORDER", "GROUP", "BY", "HAVING", "LIMIT", "JOIN", "UNION", "WITH",
}
