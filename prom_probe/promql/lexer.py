"""PromQL's tokens: a query's text -> tokens with their places."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple, cast

from prom_probe.promql.literals import quote, quote_char
from prom_probe.promql.result import QueryError


class Token(NamedTuple):
    """`kind`: identifier, number, duration, string, op, end, or error: then `text` says what is wrong there.

    `text` is as written, `start` its offset.
    """

    kind: str
    text: str
    start: int


_NUMBER = r"""
    (?P<number>
        (?: 0[xX]_?[0-9a-fA-F]+(?:_[0-9a-fA-F]+)*
          | (?:[0-9]+(?:_[0-9]+)*(?:\.[0-9]*(?:_[0-9]+)*)?|\.[0-9]+(?:_[0-9]+)*)(?:[eE][+-]?[0-9]+(?:_[0-9]+)*)?
        ) (?![\w.]) )
  | (?P<duration> (?:[0-9]+[smhdwy]s?)+ (?![\w.]) )
"""
_STRING = r""" (?P<string> "(?:[^"\\\n]|\\[^\n])*" | '(?:[^'\\\n]|\\[^\n])*' | `[^`]*` ) """
_SPACE = r"[ \t\r\n]*(?:\#[^\r\n]*[ \t\r\n]*)*"


def _pattern(*kinds: str) -> re.Pattern[str]:
    return re.compile(f"{_SPACE}(?:{'|'.join(kinds)})", re.X | re.A)


# What a token may be depends on whether it stands in the braces of a selector or in the brackets of a range.
_PLAIN = _pattern(
    r" (?P<identifier> [A-Za-z_:][A-Za-z0-9_:]* ) ",
    r" (?P<op> ==|!=|<=|>=|</|>/|=(?!~)|[-+*/%^<>@(){},[\]] ) ",
    _NUMBER,
    _STRING,
    r" (?P<end> \Z ) ",
)
_BRACES = _pattern(r" (?P<identifier> [A-Za-z_]\w* ) ", _STRING, r" (?P<op> =~|!~|!=|[=,}] ) ")
_BRACKETS = _pattern(_NUMBER, r" (?P<identifier> [A-Za-z_]+ ) ", r" (?P<op> [-+*/%^(),:\]] ) ")
_new = tuple.__new__  # makes a Token in half the time
_GAP = re.compile(_SPACE)
# What Prometheus has read of a number when it gives up: two dots, a unit and one character more, or all of it.
_BAD_NUMBER = re.compile(r"(?=\.?[0-9])[0-9_]*\.[0-9_]*[._]|(?:[0-9]+[smhdwy]s?)+\w?|\.?[0-9]\w*", re.A)
_WORD = re.compile(r"\w")
_NOT_UTF8 = re.compile("[\ud800-\udfff]")


def parse_error(text: str, start: int, message: str) -> QueryError:
    """The error that Prometheus gives: `1:5: parse error: message`."""
    return QueryError("bad_data", f"{place(text, start)}: parse error: {message}")


def place(text: str, start: int) -> str:
    """`line:column` of an offset, both from 1; columns are bytes, as in Prometheus."""
    line = text.count("\n", 0, start) + 1
    before = text[text.rfind("\n", 0, start) + 1 : start]
    return f"{line}:{len(before.encode(errors='surrogatepass')) + 1}"


def lex(text: str) -> Iterator[Token]:
    """The tokens of `text`, as they are asked for; the last one is of the kind "end" or "error"."""
    at = parentheses = 0
    pattern, inside = _PLAIN, ""
    while True:
        found = pattern.match(text, at)
        if found is None:
            at = cast(re.Match[str], _GAP.match(text, at)).end()
            yield Token("error", _why_no_token(text, at, inside), at)
            return
        kind = found.lastgroup or "end"
        word, at = found[kind], found.end()
        start = at - len(word)
        if kind == "op" and word in "()[]{}":
            if word == "(":
                parentheses += 1
            elif word == ")":
                parentheses -= 1
                if parentheses < 0:
                    yield Token("error", "unexpected right parenthesis ')'", start)
                    return
            elif word == "{":
                pattern, inside = _BRACES, word
            elif word == "[":
                pattern, inside = _BRACKETS, word
            elif inside:
                pattern, inside = _PLAIN, ""
            else:
                what = "character: '}'" if word == "}" else "right bracket ']'"
                yield Token("error", f"unexpected {what}", start)
                return
        elif kind == "identifier" and inside != "{" and word.lower() in ("inf", "nan"):
            kind = "number"
        elif kind == "string" and not word.isascii() and _NOT_UTF8.search(word):
            yield Token("error", "invalid UTF-8 rune", start)
            return
        elif kind == "end":
            yield Token("error", "unclosed left parenthesis", start) if parentheses else Token(kind, "", start)
            return
        yield _new(Token, (kind, word, start))


def _why_no_token(text: str, at: int, inside: str) -> str:
    """Why no token starts at `at`."""
    if at == len(text):
        if inside == "{":
            return "unexpected end of input inside braces"
        begun = _WORD.search(text, text.rindex("["))
        return "unclosed left bracket" if begun else "unexpected end of input in duration expression"
    char, where = text[at], " inside braces" if inside == "{" else ""
    if char in "\"'`" and inside != "[":
        if char != "`" and (len(text) - len(text.rstrip("\\"))) % 2:
            return "escape sequence not terminated"
        return f"unterminated {'raw' if char == '`' else 'quoted'} string"
    if inside != "{" and (bad := _BAD_NUMBER.match(text, at)):
        return f"bad number or duration syntax: {quote(bad[0])}"
    if char in "!=" and inside != "[" and at + 1 < len(text):
        return f"unexpected character after '{char}'{where}: {quote_char(text[at + 1])}"
    if char == inside:
        return f"unexpected left {'brace' if char == '{' else 'bracket'} '{char}'"
    return f"unexpected character{' in duration expression' if inside == '[' else where}: {quote_char(char)}"
