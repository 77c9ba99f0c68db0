"""An expression at other times than its own: with `@` at each selector, its value must stay the same."""

from __future__ import annotations

from dataclasses import replace

from prom_probe.promql.ast import Aggregate, Binary, Call, Matrix, Negate, Node, Selector, Subquery, Wrapped
from prom_probe.promql.functions import VARYING
from prom_probe.promql.parser import parse_written
from prom_probe.promql.syntax import write


def pinned(expr: str, t_ms: int) -> str | None:
    """`expr` with `@` at its selectors and subqueries that have none; None if its value still depends on the time."""
    node = parse_written(expr)
    return None if _varies(node) else write(_at(node, t_ms)).text


def other_times(t_ms: int) -> list[int]:
    """The times at which Prometheus's own tests ask for it."""
    return [-10 * t_ms, 0, t_ms // 5, t_ms, 10 * t_ms] if t_ms else [-1000, 0, 1000]


def _children(node: Node) -> list[Node]:
    match node:
        case Wrapped() | Negate() | Subquery():
            return [node.expr]
        case Call():
            return list(node.args)
        case Aggregate():
            return [node.expr] if node.param is None else [node.param, node.expr]
        case Binary():
            return [node.lhs, node.rhs]
        case _:
            return []


def _varies(node: Node) -> bool:
    """Whether a function's value depends on the time itself, as that of info() does on when info metrics are."""
    if isinstance(node, Call) and node.name in {*VARYING, "info"}:
        return True
    return any(map(_varies, _children(node)))


def _at(node: Node, t_ms: int) -> Node:
    match node:
        case Selector():
            return node if isinstance(node.at, int) else replace(node, at=t_ms)
        case Matrix():
            selector = node.selector
            return node if isinstance(selector.at, int) else replace(node, selector=replace(selector, at=t_ms))
        case Subquery():  # what is in it is evaluated at its own times
            return node if isinstance(node.at, int) else replace(node, at=t_ms)
        case Wrapped() | Negate():
            return replace(node, expr=_at(node.expr, t_ms))
        case Call():
            return replace(node, args=tuple(_at(one, t_ms) for one in node.args))
        case Aggregate():
            param = None if node.param is None else _at(node.param, t_ms)
            return replace(node, param=param, expr=_at(node.expr, t_ms))
        case Binary():
            return replace(node, lhs=_at(node.lhs, t_ms), rhs=_at(node.rhs, t_ms))
        case _:
            return node
