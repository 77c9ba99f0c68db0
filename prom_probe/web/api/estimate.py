"""Whether a query is small enough to run on the loop, judged by what its selectors match."""

from __future__ import annotations

import time
from collections.abc import Iterator

from prom_probe.model.feature import Feature
from prom_probe.model.matcher import Matcher
from prom_probe.model.regex import RegexTimeout, compile_anchored
from prom_probe.promql.ast import Aggregate, Binary, Call, Matrix, Negate, Node, Selector, Subquery
from prom_probe.promql.durations import QueryTimes
from prom_probe.promql.parser import parse_bound
from prom_probe.promql.queryable import Queryable
from prom_probe.promql.result import QueryError

# Longer expressions are not even parsed on the loop.
_MAX_CHARS = 500

# The most values of a query on the loop: samples read, and points made of them. They take a millisecond or two. Each
# node of the expression counts as 100 values, in addition to its points.
_MAX_VALUES = 10_000
_NODE_VALUES = 100

_LOOK_UP_S = 0.001  # for finding a selector's series


def is_small(
    queryable: Queryable,
    expr: str,
    start_ms: int,
    end_ms: int,
    step_ms: int,
    lookback_ms: int,
    features: frozenset[Feature] = frozenset(),
) -> bool:
    """Whether the query may run on the loop; an invalid expression may."""
    if len(expr) > _MAX_CHARS:
        return False
    try:
        nodes = list(_walk(parse_bound(expr, QueryTimes(start_ms, end_ms, step_ms), features)))
    except QueryError:
        return True
    steps = (end_ms - start_ms) // step_ms + 1
    end_ms = start_ms + (steps - 1) * step_ms
    raw = isinstance(nodes[0][0], Matrix)  # each sample is a point of the result
    values = len(nodes) * (_NODE_VALUES + steps)
    if values > _MAX_VALUES or any(map(_unbounded, (node for node, _ in nodes))):
        return False
    for node, range_ms in nodes:
        if isinstance(node, Selector):
            first_ms, last_ms = _span(node, start_ms, end_ms)
            first_ms -= (range_ms or lookback_ms) - 1  # as the engine asks, so that the snapshot can reuse the look-up
            try:
                deadline = time.monotonic() + _LOOK_UP_S
                series, samples = queryable.count(first_ms, last_ms, node.matchers, deadline=deadline)
            except RegexTimeout:
                return False
            values += samples + (samples if raw else series * steps)
            if values > _MAX_VALUES:
                return False
    return True


def _unbounded(node: Node) -> bool:
    """Whether the node may take long however few values it has."""
    match node:
        case Subquery():  # it multiplies the steps
            return True
        case Call():  # its regex may backtrack
            return node.name == "label_replace"
        case Selector():  # an extended one reads more than its range
            return node.extension != "" or any(map(_wide, node.matchers))
        case _:
            return False


def _wide(matcher: Matcher) -> bool:
    """Whether the matcher may have to look at every value of its label."""
    if matcher.op not in ("=~", "!~"):
        return False
    regex = compile_anchored(matcher.value)
    return regex.literals is None and not (matcher.op == "=~" and regex.matches_all)


def _span(node: Selector, start_ms: int, end_ms: int) -> tuple[int, int]:
    """The first and the last time that a selector refers to."""
    if node.at == "start":
        end_ms = start_ms
    elif node.at == "end":
        start_ms = end_ms
    elif node.at is not None:
        start_ms = end_ms = int(node.at)
    return start_ms - node.offset_ms, end_ms - node.offset_ms


def _walk(node: Node, range_ms: int = 0) -> Iterator[tuple[Node, int]]:
    """All nodes, with the range of a selector that has one."""
    yield node, range_ms
    match node:
        case Matrix():
            yield from _walk(node.selector, node.range_ms)
        case Subquery() | Negate():
            yield from _walk(node.expr)
        case Aggregate():
            yield from _walk(node.expr)
            if node.param is not None:
                yield from _walk(node.param)
        case Binary():
            yield from _walk(node.lhs)
            yield from _walk(node.rhs)
        case Call():
            for arg in node.args:
                yield from _walk(arg)
