"""What a PromQL function is, and the two common ways to make one: value by value, and window by window."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from prom_probe.model.labels import Labels
from prom_probe.promql.ast import Call, Type
from prom_probe.promql.values import Bools, Floats, Value, Vector, empty

if TYPE_CHECKING:
    from prom_probe.promql.evaluation import Evaluator

Evaluate: TypeAlias = "Callable[[Evaluator, Call], Value]"
# (windows, the scalar arguments: [steps]) -> values and which there are, both [series, steps].
Kernel: TypeAlias = Callable[..., tuple[Floats, Bools]]


@dataclass(frozen=True, slots=True)
class Function:
    """A row of the table. `optional`: how many more arguments of the last type there may be (-1: any number),
    the last one in `args` being then optional itself.
    """

    call: Evaluate
    args: tuple[Type, ...]
    returns: Type = Type.VECTOR
    optional: int = 0
    experimental: bool = False


def elementwise(compute: Callable[[Floats], Floats]) -> Function:
    """A function of a vector's values; names are dropped."""

    def call(ev: Evaluator, node: Call) -> Value:
        vector = ev.vector(node.args[0])
        return vector.replace(compute(vector.values), drop=True)

    return Function(call, (Type.VECTOR,))


def windowed(kernel: Kernel, *scalars: Type, keep_name: bool = False, experimental: bool = False) -> Function:
    """A function of a range vector and then of scalars."""

    def call(ev: Evaluator, node: Call) -> Value:
        return over_windows(ev, node, kernel, keep_name=keep_name)

    return Function(call, (Type.MATRIX, *scalars), experimental=experimental)


def over_windows(ev: Evaluator, node: Call, kernel: Kernel, *, keep_name: bool = False) -> Vector:
    """`kernel` over the windows of the call's range vector, batch by batch; series without any value are left out."""
    scalars = [ev.scalar(argument) for argument in node.args if argument.type == Type.SCALAR]
    matrix = next(argument for argument in node.args if argument.type == Type.MATRIX)
    budget = ev.query.budget
    labels: list[Labels] = []
    drops: list[bool] = []
    values, present = [], []
    for names, drop, windows in ev.windows(matrix):
        working = 6 * windows.values.nbytes  # what a kernel's own arrays come to
        budget.hold(working)
        found, here = kernel(windows, *scalars)
        budget.hold(-working)
        rows = np.flatnonzero(here.any(axis=1)).tolist()
        if not rows:
            continue
        if len(rows) < len(names):
            found, here = found[rows], here[rows]
        labels += [names[i] for i in rows]
        drops += [drop[i] for i in rows] if keep_name else [True] * len(rows)
        budget.hold(found.nbytes + here.nbytes)
        values.append(found)
        present.append(here)
    if not labels:
        return empty(ev.steps)
    if len(values) == 1:
        return Vector(labels, values[0], present[0], drops)
    budget.hold(sum(found.nbytes for found in values))
    return Vector(labels, np.concatenate(values), np.concatenate(present), drops)
