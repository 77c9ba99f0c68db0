"""What a query will take, guessed from its selectors: whether it may run on the loop."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import NamedTuple

from prom_probe.model.matcher import Matcher
from prom_probe.model.regex import RegexTimeout, compile_anchored
from prom_probe.promql.ast import Aggregate, Binary, Call, Matrix, Negate, Node, Selector, Subquery
from prom_probe.promql.parser import parse
from prom_probe.promql.queryable import Queryable
from prom_probe.promql.result import QueryError

# Longer expressions are not even parsed on the loop.
_MAX_CHARS = 500

_CHEAP_US = 1000.0

# Microseconds, measured: a node; a selector; then for each timestamp, sample, and point of the result (its JSON
# included); and for a point of a range function, each sample under its window.
_NODE, _SELECTOR, _TIMESTAMP, _SAMPLE, _POINT, _WINDOW_SAMPLE = 20.0, 120.0, 0.01, 0.006, 0.14, 0.003


class _Outline(NamedTuple):
    """What of an expression says what it costs. `raw`: each sample is a point of the result."""

    nodes: int
    selectors: Sequence[tuple[Selector, int]]  # each with its range, 0 for none
    raw: bool
    heavy: bool  # whatever its selectors find


@lru_cache(256)
def _outline(expr: str) -> _Outline:
    """Raises QueryError (bad_data)."""
    nodes = list(_walk(parse(expr)))
    selectors = [(node, range_ms) for node, range_ms in nodes if isinstance(node, Selector)]
    heavy = any(
        isinstance(node, Subquery)  # multiplies
        or (isinstance(node, Call) and node.name == "label_replace")  # its regex may backtrack
        or (isinstance(node, Selector) and any(map(_wide, node.matchers)))
        for node, _ in nodes
    )
    return _Outline(len(nodes), selectors, isinstance(nodes[0][0], Matrix), heavy)


def _wide(matcher: Matcher) -> bool:
    """Whether it may match against every value there is."""
    return matcher.op in ("=~", "!~") and compile_anchored(matcher.value).literals is None


def is_cheap(queryable: Queryable, expr: str, start_ms: int, end_ms: int, step_ms: int, lookback_ms: int) -> bool:
    """Whether the query should take less than about a millisecond; an expression with an error in it does."""
    if len(expr) > _MAX_CHARS:
        return False
    try:
        nodes, selectors, raw, heavy = _outline(expr)
    except QueryError:
        return True
    steps = (end_ms - start_ms) // step_ms + 1
    end_ms = start_ms + (steps - 1) * step_ms
    cost = _NODE * nodes + _POINT * steps
    if heavy or cost > _CHEAP_US:
        return False
    for node, range_ms in selectors:
        cost += _selector_cost(queryable, node, range_ms, start_ms, end_ms, steps, lookback_ms, raw)
        if cost > _CHEAP_US:
            return False
    return True


def _selector_cost(
    queryable: Queryable,
    node: Selector,
    range_ms: int,
    start_ms: int,
    end_ms: int,
    steps: int,
    lookback_ms: int,
    raw: bool,
) -> float:
    if node.at is None:
        start_ms, end_ms = start_ms - node.offset_ms, end_ms - node.offset_ms
    elif isinstance(node.at, str):
        start_ms = end_ms = (start_ms if node.at == "start" else end_ms) - node.offset_ms
    else:
        start_ms = end_ms = node.at - node.offset_ms
    mint = start_ms - (range_ms or lookback_ms) + 1  # as the engine asks, so that the snapshot need not look twice
    try:
        series, samples = queryable.count(mint, end_ms, node.matchers, deadline=time.monotonic() + _CHEAP_US / 1e6)
    except RegexTimeout:
        return _CHEAP_US + 1
    if not series:
        return _SELECTOR
    timestamps = samples / series
    if raw:
        return _SELECTOR + _TIMESTAMP * timestamps + (_SAMPLE + _POINT) * samples
    window = timestamps * range_ms / (end_ms - mint)
    return (
        _SELECTOR
        + _TIMESTAMP * timestamps
        + _SAMPLE * samples
        + (_POINT + _WINDOW_SAMPLE * window) * series * (steps if node.at is None else 1)
    )


def _walk(node: Node, range_ms: int = 0) -> Iterator[tuple[Node, int]]:
    """All nodes, and the range of a selector that has one."""
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
