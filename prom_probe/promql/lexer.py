"""PromQL's words: a query's text -> tokens with their places."""

from __future__ import annotations

import re
from typing import Literal, NamedTuple, TypeAlias

from prom_probe.promql.result import QueryError

Kind: TypeAlias = Literal["identifier", "number", "duration", "string", "op", "end"]


class Token(NamedTuple):
    """`text` is as written; `start` its offset. The last token has the kind "end"."""

    kind: Kind
    text: str
    start: int


_SPACE = re.compile(r"(?:[ \t\r\n]+|#[^\r\n]*)*")
_NUMBER = re.compile(
    r"0[xX]_?[0-9a-fA-F]+(?:_[0-9a-fA-F]+)*|"
    r"(?:[0-9]+(?:_[0-9]+)*(?:\.[0-9]*(?:_[0-9]+)*)?|\.[0-9]+(?:_[0-9]+)*)(?:[eE][+-]?[0-9]+(?:_[0-9]+)*)?"
)
_DURATION = re.compile(r"(?:[0-9]+(?:ms|[smhdwy]))+")
_WORD_END = re.compile(r"[A-Za-z0-9_]*")
_STRING = re.compile(r'"(?:[^"\\\n]|\\[^\n])*"|' r"'(?:[^'\\\n]|\\[^\n])*'|`[^`]*`")
_OP = re.compile(r"==|!=|=~|!~|<=|>=|[-+*/%^<>=@(){},\[\]]")
_METRIC = re.compile(r"[A-Za-z_:][A-Za-z0-9_:]*")
_LABEL = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
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
    opened: list[Token] = []
    at = _skip(text, 0)
    while at < len(text):
        token = _next(text, at, opened[-1].text if opened else "")
        if token.text in _CLOSERS:
            if token.text == "[" and opened and opened[-1].text == "[":
                raise parse_error(text, at, "unexpected left bracket '['")
            opened.append(token)
        elif token.text in _NAMES and token.kind == "op":
            if not opened or _CLOSERS[opened[-1].text] != token.text:
                raise parse_error(text, at, f"unexpected {_NAMES[token.text]} '{token.text}'")
            opened.pop()
        tokens.append(token)
        at = _skip(text, at + len(token.text))
    if opened:
        raise parse_error(text, len(text), _UNCLOSED[opened[-1].text])
    tokens.append(Token("end", "", len(text)))
    return tokens


def _skip(text: str, at: int) -> int:
    found = _SPACE.match(text, at)
    return found.end() if found else at


def _next(text: str, at: int, inside: str) -> Token:
    """The token at `at`; `inside` is the innermost open bracket, on which the role of a colon depends."""
    char = text[at]
    if char.isdecimal() or (char == "." and text[at + 1 : at + 2].isdecimal()):
        return _number(text, at)
    if char == ":" and inside == "[":
        return Token("op", ":", at)
    if found := (_LABEL if inside == "{" else _METRIC).match(text, at):
        word = found[0]
        if inside == "[" and ":" in word:
            word = word[: word.index(":")]
        if inside != "{" and word.lower() in ("inf", "nan"):
            return Token("number", word, at)
        return Token("identifier", word, at)
    if found := _STRING.match(text, at):
        return Token("string", found[0], at)
    if char in "\"'`":
        raise parse_error(text, at, f"unterminated {'raw' if char == '`' else 'quoted'} string")
    if found := _OP.match(text, at):
        return Token("op", found[0], at)
    where = " inside braces" if inside == "{" else ""
    if char == "!":
        raise parse_error(text, at, f"unexpected character after '!'{where}: {text[at + 1 : at + 2]!r}")
    raise parse_error(text, at, f"unexpected character{where}: {char!r}")


def _number(text: str, at: int) -> Token:
    for kind, pattern in (("number", _NUMBER), ("duration", _DURATION)):
        found = pattern.match(text, at)
        if found and not (text[found.end() : found.end() + 1].isalnum() or text.startswith(("_", "."), found.end())):
            return Token("number" if kind == "number" else "duration", found[0], at)
    bad = _WORD_END.match(text, at)
    raise parse_error(text, at, f'bad number or duration syntax: "{bad[0] if bad else text[at]}"')


_UNITS_MS = {
    "y": 365 * 86_400_000,
    "w": 7 * 86_400_000,
    "d": 86_400_000,
    "h": 3_600_000,
    "m": 60_000,
    "s": 1000,
    "ms": 1,
}
_PART = re.compile(r"([0-9]+)(ms|[smhdwy])")


def duration_ms(text: str) -> int:
    """`1h30m` in milliseconds; raises ValueError for units out of order or repeated, and for too long ones."""
    order = list(_UNITS_MS)
    last = -1
    total = 0
    for found in _PART.finditer(text):
        rank = order.index(found[2])
        if rank <= last:
            raise ValueError(f'not a valid duration string: "{text}"')
        last = rank
        total += int(found[1]) * _UNITS_MS[found[2]]
    if total > 1 << 53:
        raise ValueError("duration out of range")
    return total


_ESCAPE = re.compile(
    rb"\\(?:([abfnrtv\\'\"])|([0-7]{3})|x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|(.?))", re.S
)
_SIMPLE = {b"a": b"\a", b"b": b"\b", b"f": b"\f", b"n": b"\n", b"r": b"\r", b"t": b"\t", b"v": b"\v"}


def unquote(literal: str) -> str:
    """The value of a string token; bytes that are not UTF-8 become lone surrogates. Raises ValueError."""
    inside = literal[1:-1]
    if literal[0] == "`" or "\\" not in inside:
        return inside

    def one(found: re.Match[bytes]) -> bytes:
        simple, octal, byte, short, long, other = found.groups()
        if simple is not None:
            if simple in b"'\"" and simple != literal[0].encode():
                raise ValueError(f"unknown escape sequence \\{simple.decode()}")
            return _SIMPLE.get(simple, simple)
        if octal is not None or byte is not None:
            code = int(octal, 8) if octal is not None else int(byte, 16)
            if code > 255:
                raise ValueError("escape sequence is an invalid Unicode code point")
            return bytes([code])
        if other is not None:
            raise ValueError(f"unknown escape sequence \\{other.decode(errors='replace')}")
        code = int(short if short is not None else long, 16)
        if code > 0x10FFFF or 0xD800 <= code < 0xE000:
            raise ValueError("escape sequence is an invalid Unicode code point")
        return chr(code).encode()

    return _ESCAPE.sub(one, inside.encode(errors="surrogateescape")).decode(errors="surrogateescape")


def quote(value: str) -> str:
    """`value` between double quotes as Go prints it."""
    out = []
    for char in value:
        if char in '"\\':
            out.append("\\" + char)
        elif char in "\a\b\f\n\r\t\v":
            out.append("\\" + "abfnrtv"["\a\b\f\n\r\t\v".index(char)])
        elif "\udc80" <= char <= "\udcff":
            out.append(f"\\x{ord(char) - 0xDC00:02x}")
        elif char.isprintable():
            out.append(char)
        else:
            code = ord(char)
            out.append(f"\\x{code:02x}" if code < 0x80 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}")
    return f'"{"".join(out)}"'
