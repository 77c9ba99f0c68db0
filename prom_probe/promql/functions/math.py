"""Functions of each value of an instant vector: arithmetic, trigonometry, rounding, clamping."""

from __future__ import annotations

import numpy as np

from prom_probe.promql.ast import Call, Type
from prom_probe.promql.functions.base import Function, elementwise
from prom_probe.promql.query import Evaluation
from prom_probe.promql.values import Floats, Scalar, Value


def _sgn(values: Floats) -> Floats:
    return np.where(values < 0, -1.0, np.where(values > 0, 1.0, values))


def _round(ev: Evaluation, node: Call) -> Value:
    """Round to the nearest multiple of the second argument, halves up."""
    vector = ev.vector(node.args[0])
    inverse = 1.0 / (ev.scalar(node.args[1]) if len(node.args) > 1 else np.ones(ev.steps))
    rounded = ev.mapped(vector.values, lambda values: np.floor(values * inverse + 0.5) / inverse)
    return ev.query.unnamed(vector.replace(rounded))


def _clamped(ev: Evaluation, node: Call, least: Floats | float, most: Floats | float) -> Value:
    vector = ev.vector(node.args[0])
    present = vector.present & ~np.less(most, least)
    values = ev.mapped(vector.values, lambda values: np.maximum(least, np.minimum(most, values)))
    return ev.query.unnamed(vector.replace(values, present))


def _clamp(ev: Evaluation, node: Call) -> Value:
    return _clamped(ev, node, ev.scalar(node.args[1]), ev.scalar(node.args[2]))


def _clamp_min(ev: Evaluation, node: Call) -> Value:
    return _clamped(ev, node, ev.scalar(node.args[1]), np.inf)


def _clamp_max(ev: Evaluation, node: Call) -> Value:
    return _clamped(ev, node, -np.inf, ev.scalar(node.args[1]))


def _pi(ev: Evaluation, node: Call) -> Value:
    return Scalar(np.full(ev.steps, np.pi))


MATH = {
    "abs": elementwise(np.abs),
    "ceil": elementwise(np.ceil),
    "floor": elementwise(np.floor),
    "exp": elementwise(np.exp),
    "sqrt": elementwise(np.sqrt),
    "ln": elementwise(np.log),
    "log2": elementwise(np.log2),
    "log10": elementwise(np.log10),
    "sgn": elementwise(_sgn),
    "sin": elementwise(np.sin),
    "cos": elementwise(np.cos),
    "tan": elementwise(np.tan),
    "asin": elementwise(np.arcsin),
    "acos": elementwise(np.arccos),
    "atan": elementwise(np.arctan),
    "sinh": elementwise(np.sinh),
    "cosh": elementwise(np.cosh),
    "tanh": elementwise(np.tanh),
    "asinh": elementwise(np.arcsinh),
    "acosh": elementwise(np.arccosh),
    "atanh": elementwise(np.arctanh),
    "rad": elementwise(lambda values: values * np.pi / 180),
    "deg": elementwise(lambda values: values * 180 / np.pi),
    "pi": Function(_pi, (), Type.SCALAR),
    "round": Function(_round, (Type.VECTOR, Type.SCALAR), optional=1),
    "clamp": Function(_clamp, (Type.VECTOR, Type.SCALAR, Type.SCALAR)),
    "clamp_min": Function(_clamp_min, (Type.VECTOR, Type.SCALAR)),
    "clamp_max": Function(_clamp_max, (Type.VECTOR, Type.SCALAR)),
}
