"""What a PromQL function is, and the two common kinds: of each value, and of each window."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from prom_probe.promql.ast import Call, Matrix, Type
from prom_probe.promql.functions.extended import over_extended
from prom_probe.promql.query import Evaluation
from prom_probe.promql.values import Bools, Floats, Value, Vector, VectorBuilder
from prom_probe.promql.windows import BLOCK

Evaluate: TypeAlias = Callable[[Evaluation, Call], Value]
# (windows, the scalar arguments: [steps]) -> values and presence, both [series, steps].
Kernel: TypeAlias = Callable[..., tuple[Floats, Bools]]


@dataclass(frozen=True, slots=True)
class Function:
    """A row of the table. `optional`: how many more arguments of the last type there may be (-1: any number); if not
    0, the last one in `args` is optional too.
    """

    call: Evaluate
    args: tuple[Type, ...]
    returns: Type = Type.VECTOR
    optional: int = 0
    experimental: bool = False


def elementwise(compute: Callable[[Floats], Floats]) -> Function:
    """A function of each value of a vector; names are dropped."""

    def call(ev: Evaluation, node: Call) -> Value:
        vector = ev.vector(node.args[0])
        return ev.query.unnamed(vector.replace(ev.mapped(vector.values, compute)))

    return Function(call, (Type.VECTOR,))


def windowed(
    kernel: Kernel, *scalars: Type, keep_name: bool = False, sparse: bool = False, experimental: bool = False
) -> Function:
    """A function of each window of a range vector, with scalar arguments after it."""

    def call(ev: Evaluation, node: Call) -> Value:
        return over_windows(ev, node, kernel, keep_name=keep_name, sparse=sparse)

    return Function(call, (Type.MATRIX, *scalars), experimental=experimental)


def over_windows(
    ev: Evaluation, node: Call, kernel: Kernel, *, keep_name: bool = False, sparse: bool = False
) -> Vector:
    """`kernel` over the windows of the call's range vector, batch by batch; series without any value are left out.

    `sparse`: the kernel uses few values of each window (`Windows.values_at`), or works on slices.
    """
    scalars = [ev.scalar(argument) for argument in node.args if argument.type == Type.SCALAR]
    matrix = next(argument for argument in node.args if argument.type == Type.MATRIX)
    if isinstance(matrix, Matrix) and matrix.selector.extension:
        vector = over_extended(ev, node.name, matrix)
        return vector if keep_name else ev.query.unnamed(vector, merge=False)
    budget = ev.query.budget
    most, batches = ev.windows(matrix, sparse=sparse)
    rows = VectorBuilder(most, ev.steps, budget.hold)
    for labels, drop, windows in batches:
        # An estimate of the kernel's own arrays.
        working = 4 * (min(8 * BLOCK, windows.nbytes) if sparse else windows.nbytes) + 64 * len(labels) * ev.steps
        budget.hold(working)
        values, present = kernel(windows, *scalars)
        budget.hold(-working)
        rows.add(labels, drop, values, present)
    vector = rows.vector()
    if ev.steps == 1:
        vector = vector.sorted()
    return vector if keep_name else ev.query.unnamed(vector, merge=False)
