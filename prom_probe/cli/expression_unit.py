"""The unit of a query's values: bytes, seconds, a point in time, bytes a second, or none that is known."""

from __future__ import annotations

import re
from typing import Literal, TypeAlias

from prom_probe.model.labels import METRIC_NAME
from prom_probe.promql.ast import (
    COMPARISONS,
    SET_OPERATORS,
    Aggregate,
    Binary,
    Call,
    Matrix,
    Negate,
    Node,
    Selector,
    Subquery,
    Type,
)

Unit: TypeAlias = Literal["", "bytes", "seconds", "time", "bytes/s"]

# A name belongs to the first suffix that fits. Buckets and counts have no unit.
_SUFFIXES: tuple[tuple[str, Unit], ...] = (
    (r"(?:.*_)?(?:timestamp|start_time|boot_time|created)_seconds", "time"),
    (r".*_bytes(?:_total|_sum)?", "bytes"),
    (r".*_seconds(?:_total|_sum)?", "seconds"),
)
_KEEPING_AGGREGATIONS = re.compile(r"sum|min|max|avg|topk|bottomk|limitk|limit_ratio|quantile|stddev")
_KEEPING_FUNCTIONS = re.compile(
    r"(max|min|avg|last|first|quantile|stddev|mad)_over_time|increase|i?delta|abs|ceil|floor|round|clamp(_min|_max)?|"
    r"sort(_by_label)?(_desc)?|label_(replace|join)|scalar|vector"
)
_OF_TIMES: dict[str, Unit] = {
    **dict.fromkeys(("time", "start", "end"), "time"),
    **dict.fromkeys(("step", "range"), "seconds"),
}
_RATES = frozenset({"rate", "irate", "deriv"})
_OF_RATES: dict[Unit, Unit] = {"bytes": "bytes/s"}


def unit_of_name(name: str) -> Unit:
    """The unit that a metric's name tells."""
    return next((unit for suffix, unit in _SUFFIXES if re.fullmatch(suffix, name)), "")


def unit_of_expression(expr: str) -> Unit:
    """The unit of the values of `expr`, "" for a bad expression too."""
    from prom_probe.promql.parser import parse
    from prom_probe.promql.result import QueryError

    try:
        return _unit(parse(expr))
    except QueryError:
        return ""


def _unit(node: Node) -> Unit:
    match node:
        case Selector():
            names = [each.value for each in node.matchers if (each.name, each.op) == (METRIC_NAME, "=")]
            return unit_of_name(names[0]) if names else ""
        case Matrix():
            return _unit(node.selector)
        case Subquery() | Negate():
            return _unit(node.expr)
        case Aggregate():
            return _unit(node.expr) if _KEEPING_AGGREGATIONS.fullmatch(node.op) else ""
        case Call():
            return _unit_of_call(node)
        case Binary():
            return _unit_of_binary(node)
        case _:
            return ""


def _unit_of_call(call: Call) -> Unit:
    if call.name in _OF_TIMES:
        return _OF_TIMES[call.name]
    units: list[Unit] = [_unit(each) for each in call.args if each.type in (Type.VECTOR, Type.MATRIX)]
    inner = units[0] if units else ""
    if _KEEPING_FUNCTIONS.fullmatch(call.name):
        return inner
    return _OF_RATES.get(inner, "") if call.name in _RATES else ""


def _unit_of_binary(node: Binary) -> Unit:
    left, right = _unit(node.lhs), _unit(node.rhs)
    if node.op in COMPARISONS:
        return "" if node.returns_bool else left
    if node.op in ("and", "unless"):
        return left
    if node.op == "-" and left == right == "time":
        return "seconds"
    return left if left == right and node.op in ("+", "-", *SET_OPERATORS) else ""
