"""The grammar of durations: of ranges and steps in brackets, and after `offset`."""

from __future__ import annotations

from typing import NamedTuple

from prom_probe.promql.ast import QUERY_TIMES, Duration, Length, Number
from prom_probe.promql.durations import LONGEST_S
from prom_probe.promql.tokens import Tokens

_BINDING = {"+": 1, "-": 1, "*": 2, "/": 2, "%": 2, "^": 3}
_POWER = _BINDING["^"]
_CHOICES = frozenset(("min_of", "max_of"))
_BY_ZERO = {"/": "division by zero", "%": "modulo by zero"}


class _Where(NamedTuple):
    """What a duration belongs to and what may stand there, for errors."""

    context: str
    expected: str


RANGE = _Where("subquery or range selector", "number, duration, step(), or range()")
STEP = _Where("subquery selector", 'number, duration, step(), range(), or "]"')
OFFSET = _Where("offset", "number, duration, step(), or range()")


def parse_length(tokens: Tokens, where: _Where, least: int = 1) -> Length:
    """A duration of operators that bind at least as tightly as `least`."""
    start = tokens.token.start
    length = _parse_operand(tokens, where)
    while (binding := _BINDING.get(tokens.word, 0)) >= least:
        op, at = tokens.word, tokens.token.start
        tokens.count_operator()
        tokens.advance()
        right = parse_length(tokens, where, binding + (op != "^"))
        if op in _BY_ZERO and isinstance(right, Number) and right.value == 0:
            tokens.fail(at, _BY_ZERO[op])
        length = Duration(op, (length, right), start)
    return length


def parse_offset(tokens: Tokens) -> Length:
    """What follows `offset`: of several terms only the first, unless they are in parentheses."""
    start = tokens.token.start
    sign = _parse_sign(tokens)
    return _signed(tokens, sign, _parse_primary(tokens, OFFSET), start)


def _parse_operand(tokens: Tokens, where: _Where) -> Length:
    start = tokens.token.start
    sign = _parse_sign(tokens)
    if not sign:
        return _parse_primary(tokens, where)
    tokens.nest()
    length = parse_length(tokens, where, _POWER)
    tokens.leave()
    return _signed(tokens, sign, length, start)


def _parse_sign(tokens: Tokens) -> str:
    """The next token, consumed, if it is a sign."""
    if tokens.word not in ("+", "-"):
        return ""
    tokens.count_operator()
    return tokens.advance().text


def _signed(tokens: Tokens, sign: str, length: Length, start: int) -> Length:
    if not sign:
        return length
    if isinstance(length, Number):
        return Number(-length.value if sign == "-" else length.value, start, length.as_duration)
    return Duration(sign, (length,), start) if sign == "-" else length


def _parse_primary(tokens: Tokens, where: _Where) -> Length:
    kind, _, start = tokens.token
    word = tokens.word
    if kind in ("number", "duration"):
        seconds = tokens.seconds()
        if not seconds <= LONGEST_S:
            tokens.fail(start, "duration out of range")
        return Number(seconds, start, kind == "duration")
    if word in QUERY_TIMES:
        tokens.advance()
        tokens.expect("(", *where)
        tokens.expect(")", *where)
        return Duration(word, (), start)
    if word not in _CHOICES and word != "(":
        tokens.unexpected(*where)
    if word != "(":
        tokens.advance()
    tokens.nest()
    tokens.expect("(", *where)
    length = parse_length(tokens, where)
    if word == "(":
        if isinstance(length, Duration):
            length = Duration(length.op, length.operands, start, parenthesized=True)
    else:
        tokens.expect(",", *where)
        length = Duration(word, (length, parse_length(tokens, where)), start)
    tokens.expect(")", *where)
    tokens.leave()
    return length
