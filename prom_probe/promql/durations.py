"""Durations that are computed, such as `5m * 2` or `step() + 1`: their value, and the nodes that have them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

from prom_probe.promql.ast import (
    Aggregate,
    Binary,
    Call,
    Duration,
    Length,
    Matrix,
    Negate,
    Node,
    Number,
    Selector,
    Subquery,
    Wrapped,
)
from prom_probe.promql.lexer import parse_error

LONGEST_S = 2.0**63 / 1e9  # of Go's durations, which count nanoseconds


class QueryTimes(NamedTuple):
    """When a query is evaluated; an instant query has a step of 0."""

    start_ms: int
    end_ms: int
    step_ms: int

    def seconds(self, name: str) -> float:
        """What `start()`, `end()`, `step()` or `range()` stands for."""
        if name == "range":
            return (self.end_ms - self.start_ms) / 1000
        found: int = getattr(self, f"{name}_ms")
        return found / 1000


def _power(base: float, exponent: float) -> float:
    try:
        return math.pow(base, exponent)
    except OverflowError:
        return math.inf
    except ValueError:  # of a negative base, or zero to a negative exponent
        return math.inf if base == 0 else math.nan


_BINARY: dict[str, Callable[[float, float], float]] = {
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "*": lambda a, b: a * b,
    "/": lambda a, b: a / b,
    "%": math.fmod,
    "^": _power,
    "min_of": min,
    "max_of": max,
}
_BY_ZERO = {"/": "division by zero", "%": "modulo by zero"}


def length_ms(text: str, length: Length, times: QueryTimes, *, negative: bool) -> int:
    """The milliseconds of a range, a step, or, if it may be `negative`, an offset; raises QueryError (bad_data)."""
    seconds = _seconds(text, length, times)
    if not negative and seconds <= 0:
        raise parse_error(text, length.start, "duration must be greater than 0")
    if not abs(seconds) <= LONGEST_S:
        raise parse_error(text, length.start, "duration out of range")
    return literal_ms(seconds) if isinstance(length, Number) else int(seconds * 1000)


def literal_ms(seconds: float) -> int:
    """A literal's milliseconds; a fraction of one is cut off, after rounding to nanoseconds."""
    return int(round(seconds * 1e9) / 1e6)


def _seconds(text: str, length: Length, times: QueryTimes) -> float:
    if isinstance(length, Number):
        return length.value
    if not length.operands:
        return times.seconds(length.op)
    values = [_seconds(text, one, times) for one in length.operands]
    if len(values) == 1:
        return -values[0] if length.op == "-" else values[0]
    if length.op in _BY_ZERO and values[1] == 0:
        raise parse_error(text, length.start, _BY_ZERO[length.op])
    return _BINARY[length.op](values[0], values[1])


def bind(text: str, node: Node, times: QueryTimes) -> Node:
    """`node` with the durations that vary with the query's times put in; raises QueryError (bad_data)."""

    def ms(length: Duration | None, known: int, *, negative: bool = False) -> int:
        return length_ms(text, length, times, negative=negative) if length and length.varies else known

    def bound(node: Node) -> Node:
        match node:
            case Selector():
                return replace(node, offset_ms=ms(node.offset, node.offset_ms, negative=True))
            case Matrix():
                offset_ms = ms(node.selector.offset, node.selector.offset_ms, negative=True)
                selector = replace(node.selector, offset_ms=offset_ms)
                return replace(node, selector=selector, range_ms=ms(node.range, node.range_ms))
            case Subquery():
                return replace(
                    node,
                    expr=bound(node.expr),
                    range_ms=ms(node.range, node.range_ms),
                    step_ms=ms(node.step, node.step_ms),
                    offset_ms=ms(node.offset, node.offset_ms, negative=True),
                )
            case Call():
                return replace(node, args=tuple(map(bound, node.args)))
            case Aggregate():
                return replace(node, expr=bound(node.expr), param=node.param and bound(node.param))
            case Binary():
                return replace(node, lhs=bound(node.lhs), rhs=bound(node.rhs))
            case Negate() | Wrapped():
                return replace(node, expr=bound(node.expr))
            case _:
                return node

    return bound(node)
