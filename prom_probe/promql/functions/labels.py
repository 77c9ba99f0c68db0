"""Functions of labels and order: label_replace, label_join, sort and its variants."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np

from prom_probe.model.labels import METRIC_NAME, Labels, label_value, make_labels
from prom_probe.model.regex import RegexError, RegexTimeout, compile_anchored
from prom_probe.promql.ast import Call, String, Type
from prom_probe.promql.budget import timed_out
from prom_probe.promql.functions.base import Function
from prom_probe.promql.literals import is_utf8
from prom_probe.promql.query import Evaluation
from prom_probe.promql.result import QueryError
from prom_probe.promql.values import LABELS_BYTES, Value, Vector, merged

_STRING = Type.STRING
_DIGITS = re.compile(r"([0-9]+)")


def is_label_name(name: str) -> bool:
    """Whether `name` is a valid label name: any UTF-8 text that is not empty."""
    return name != "" and is_utf8(name)


def _strings(node: Call, first: int = 1) -> list[str]:
    return [argument.value for argument in node.args[first:] if isinstance(argument, String)]


def _relabelled(ev: Evaluation, vector: Vector, name: str, value_of: Callable[[Labels], str | None]) -> Vector:
    """`vector` with label `name` set to `value_of` each series' labels; None leaves a series as it is."""
    labels, drops = [], []
    ev.query.budget.hold(LABELS_BYTES * len(vector.labels))
    for one, drop in zip(vector.labels, vector.drop, strict=True):
        ev.query.budget.check()
        value = value_of(one)
        if value is None:
            labels.append(one)
            drops.append(drop)
        else:
            labels.append(make_labels("", {**dict(one), name: value}))
            drops.append(drop and name != METRIC_NAME)
    return merged(Vector(labels, vector.values, vector.present, drops), ev.query.budget)


def _label_replace(ev: Evaluation, node: Call) -> Value:
    target, replacement, source, pattern = _strings(node)
    try:
        found = compile_anchored(pattern)
    except RegexError:
        raise QueryError("execution", f"invalid regular expression in label_replace(): {pattern}") from None
    if not is_label_name(target):
        raise QueryError("execution", f"invalid destination label name in label_replace(): {target}")

    def value_of(labels: Labels) -> str | None:
        match = found.fullmatch(label_value(labels, source), ev.query.budget.deadline)
        return None if match is None else found.expand(replacement, match)

    try:
        return _relabelled(ev, ev.vector(node.args[0]), target, value_of)
    except RegexTimeout:
        raise timed_out() from None


def _label_join(ev: Evaluation, node: Call) -> Value:
    target, separator, *sources = _strings(node)
    for source in sources:
        if not is_label_name(source):
            raise QueryError("execution", f"invalid source label name in label_join(): {source}")
    if not is_label_name(target):
        raise QueryError("execution", f"invalid destination label name in label_join(): {target}")

    def value_of(labels: Labels) -> str:
        pairs = dict(labels)
        return separator.join(pairs.get(source, "") for source in sources)

    return _relabelled(ev, ev.vector(node.args[0]), target, value_of)


def _warn_of_range(ev: Evaluation, node: Call) -> None:
    if ev.steps > 1:
        ev.query.warn("sort is ineffective for range queries since results are always ordered by labels", node.start)


def _sorted(sign: float) -> Function:
    """Sort by value, NaN last. Only an instant query has an order."""

    def call(ev: Evaluation, node: Call) -> Value:
        vector = ev.vector(node.args[0])
        _warn_of_range(ev, node)
        return vector if ev.steps > 1 else vector.rows(np.argsort(vector.values[:, 0] * sign, kind="stable"))

    return Function(call, (Type.VECTOR,))


def _natural(text: str) -> list[Any]:
    """A key by which "9" comes before "10"."""
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in _DIGITS.split(text) if part]


def _sorted_by_label(descending: bool) -> Function:
    """Sort by the given labels, then by all of them."""

    def call(ev: Evaluation, node: Call) -> Value:
        vector = ev.vector(node.args[0])
        _warn_of_range(ev, node)
        names = _strings(node)
        if ev.steps > 1:
            return vector

        def key(i: int) -> Any:
            labels = vector.labels[i]
            return [_natural(label_value(labels, name)) for name in names], labels

        return vector.rows(sorted(range(len(vector.labels)), key=key, reverse=descending))

    return Function(call, (Type.VECTOR, _STRING), optional=-1, experimental=True)


LABELS = {
    "label_replace": Function(_label_replace, (Type.VECTOR, _STRING, _STRING, _STRING, _STRING)),
    "label_join": Function(_label_join, (Type.VECTOR, _STRING, _STRING, _STRING), optional=-1),
    "sort": _sorted(1.0),
    "sort_desc": _sorted(-1.0),
    "sort_by_label": _sorted_by_label(False),
    "sort_by_label_desc": _sorted_by_label(True),
}
