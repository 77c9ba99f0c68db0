"""PromQL's tokens: a query's text -> tokens with their places."""

from __future__ import annotations

import re
from typing import Literal, NamedTuple, TypeAlias, cast

from prom_probe.promql.result import QueryError

Kind: TypeAlias = Literal["identifier", "number", "duration", "string", "op", "end"]


class Token(NamedTuple):
    """`text` is as written; `start` its offset. The last token has the kind "end"."""

    kind: Kind
    text: str
    start: int


_TOKEN = r"""
    (?P<space> (?:[ \t\r\n]+|\#[^\r\n]*)+ )
  | (?P<number>
        (?: 0[xX]_?[0-9a-fA-F]+(?:_[0-9a-fA-F]+)*
          | (?:[0-9]+(?:_[0-9]+)*(?:\.[0-9]*(?:_[0-9]+)*)?|\.[0-9]+(?:_[0-9]+)*)(?:[eE][+-]?[0-9]+(?:_[0-9]+)*)?
        ) (?![\w.]) )
  | (?P<duration> (?:[0-9]+(?:ms|[smhdwy]))+ (?![\w.]) )
  | (?P<identifier> %s )
  | (?P<string> "(?:[^"\\\n]|\\[^\n])*" | '(?:[^'\\\n]|\\[^\n])*' | `[^`]*` )
  | (?P<op> ==|!=|=~|!~|<=|>=|[-+*/%%^<>=@(){},:[\]] )
"""
_OUTSIDE = re.compile(_TOKEN % "[A-Za-z_:][A-Za-z0-9_:]*", re.X)
_INSIDE = re.compile(_TOKEN % "[A-Za-z_][A-Za-z0-9_]*", re.X)  # in braces and brackets: no colons
_BAD_NUMBER = re.compile(r"\.?[0-9]\w*", re.ASCII)
_CLOSERS = {"(": ")", "[": "]", "{": "}"}
_UNCLOSED = {
    "(": "unclosed left parenthesis",
    "[": "unclosed left bracket",
    "{": "unexpected end of input inside braces",
}
_NAMES = {")": "right parenthesis", "]": "right bracket", "}": "right brace"}


def parse_error(text: str, start: int, message: str) -> QueryError:
    """The error that Prometheus gives: `1:5: parse error: message`."""
    return QueryError("bad_data", f"{place(text, start)}: parse error: {message}")


def place(text: str, start: int) -> str:
    """`line:column` of an offset, both from 1."""
    line = text.count("\n", 0, start) + 1
    return f"{line}:{start - text.rfind(chr(10), 0, start)}"


def lex(text: str) -> list[Token]:
    """The tokens of `text`, brackets matched; raises QueryError (bad_data) with the place."""
    tokens: list[Token] = []
    opened: list[str] = []
    at = 0
    while at < len(text):
        inside = opened[-1] if opened else ""
        found = (_INSIDE if inside in ("{", "[") else _OUTSIDE).match(text, at)
        if not found:
            raise parse_error(text, at, _why_no_token(text, at, inside))
        kind, word = found.lastgroup, found[0]
        if kind == "identifier" and inside != "{" and word.lower() in ("inf", "nan"):
            kind = "number"
        elif word in _CLOSERS:
            opened.append(word)
        elif word in _NAMES and (not opened or _CLOSERS[opened.pop()] != word):
            raise parse_error(text, at, f"unexpected {_NAMES[word]} '{word}'")
        if kind != "space":
            tokens.append(Token(cast(Kind, kind), word, at))
        at = found.end()
    if opened:
        raise parse_error(text, len(text), _UNCLOSED[opened[-1]])
    tokens.append(Token("end", "", len(text)))
    return tokens


def _why_no_token(text: str, at: int, inside: str) -> str:
    """Why no token starts at `at`."""
    char = text[at]
    if bad := _BAD_NUMBER.match(text, at):
        return f'bad number or duration syntax: "{bad[0]}"'
    if char in "\"'`":
        return f"unterminated {'raw' if char == '`' else 'quoted'} string"
    where = " inside braces" if inside == "{" else ""
    if char == "!":
        return f"unexpected character after '!'{where}: {text[at + 1 : at + 2]!r}"
    return f"unexpected character{where}: {char!r}"
