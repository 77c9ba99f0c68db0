"""Functions between scalars and vectors: time, scalar, vector, timestamp, absent."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from prom_probe.model.labels import EMPTY, METRIC_NAME, Labels, make_labels
from prom_probe.promql.ast import QUERY_TIMES, Call, Node, Selector, Type
from prom_probe.promql.functions.base import Function
from prom_probe.promql.query import Evaluation
from prom_probe.promql.values import Floats, Scalar, Value, Vector, empty


def _time(ev: Evaluation, node: Call) -> Value:
    return Scalar(ev.times / 1000)


def _query_time(ev: Evaluation, node: Call) -> Value:
    """step(), start(), end() or range()."""
    return Scalar(np.broadcast_to(np.float64(ev.query.times.seconds(node.name)), ev.steps))


def _choice(choose: Callable[[Floats, Floats], Floats]) -> Function:
    """The smaller or the larger of two scalars, NaN if either is."""

    def call(ev: Evaluation, node: Call) -> Value:
        return Scalar(choose(ev.scalar(node.args[0]), ev.scalar(node.args[1])))

    return Function(call, (Type.SCALAR, Type.SCALAR), Type.SCALAR, experimental=True)


def _vector(ev: Evaluation, node: Call) -> Value:
    return Vector([EMPTY], ev.scalar(node.args[0])[None, :], np.ones((1, ev.steps), np.bool_))


def _scalar(ev: Evaluation, node: Call) -> Value:
    """The value of the only series at a step, NaN where there is none or more than one."""
    vector = ev.vector(node.args[0])
    ev.query.budget.hold(8 * vector.present.size)
    only = vector.present.sum(axis=0) == 1
    values = np.where(vector.present, vector.values, 0.0).sum(axis=0)
    return Scalar(np.where(only, values, np.nan))


def _timestamp(ev: Evaluation, node: Call) -> Value:
    """The times of a selector's samples, in seconds; for other vectors the steps' times."""
    argument = node.args[0]
    if isinstance(argument, Selector):
        vector = ev.timestamps(argument)
        return ev.query.unnamed(vector)
    vector = ev.vector(argument)
    return ev.query.unnamed(vector.replace(np.broadcast_to(ev.times / 1000, vector.values.shape)))


def _absent(ev: Evaluation, node: Call) -> Value:
    present = np.logical_or.reduce(ev.vector(node.args[0]).present, axis=0)
    if present.all():
        return empty(ev.steps)
    return Vector([labels_of_absent(node.args[0])], np.ones((1, ev.steps)), ~present[None, :])


def labels_of_absent(node: Node) -> Labels:
    """The labels that a selector matches by "=", unless it has several matchers for one; none for other expressions."""
    if not isinstance(node, Selector):
        return EMPTY
    found: dict[str, str] = {}
    seen: set[str] = set()
    for matcher in node.matchers:
        if matcher.name == METRIC_NAME:
            continue
        if matcher.op == "=" and matcher.name not in seen:
            found[matcher.name] = matcher.value
            seen.add(matcher.name)
        else:
            found.pop(matcher.name, None)
    return make_labels("", found)


SCALARS = {
    "time": Function(_time, (), Type.SCALAR),
    **dict.fromkeys(sorted(QUERY_TIMES), Function(_query_time, (), Type.SCALAR)),
    "min_of": _choice(np.minimum),
    "max_of": _choice(np.maximum),
    "vector": Function(_vector, (Type.SCALAR,)),
    "scalar": Function(_scalar, (Type.VECTOR,), Type.SCALAR),
    "timestamp": Function(_timestamp, (Type.VECTOR,)),
    "absent": Function(_absent, (Type.VECTOR,)),
}
