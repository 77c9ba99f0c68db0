"""Aggregations: a vector's series -> one series per group, or some series of each group."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

import numpy as np

from prom_probe.model.labels import METRIC_NAME, Labels, make_labels
from prom_probe.promql.ast import Aggregate, String
from prom_probe.promql.budget import Budget
from prom_probe.promql.functions.labels import is_label_name
from prom_probe.promql.label_hash import label_hash
from prom_probe.promql.literals import quote
from prom_probe.promql.quantile import go_float, note_worst_quantiles, quantile
from prom_probe.promql.query import Evaluation
from prom_probe.promql.result import QueryError
from prom_probe.promql.values import LABELS_BYTES, Bools, Floats, Ints, Vector, empty
from prom_probe.promql.windows import BLOCK

Reduction: TypeAlias = "Callable[[Groups, Floats, Bools], Floats]"
Choice: TypeAlias = Callable[[Floats, Bools, Floats], tuple[Bools, Ints | None]]

_HUGE = 2.0**1000
_SCALE = 2.0**-64
_CANCELLATION = 4.0  # a sum smaller than its parts' magnitudes by this factor is recomputed, compensated
_INT64 = 2.0**63
_WORKING = 64  # bytes of temporary arrays per point


class Groups:
    """The groups of a vector's series (it is not empty); `order` puts the series of a group together.

    `rows`: the order of the vector's series, and so that within a group, if it is not their own.
    """

    def __init__(
        self, vector: Vector, grouping: tuple[str, ...], without: bool, budget: Budget, rows: list[int] | None = None
    ) -> None:
        numbers: dict[Labels, int] = {}
        key = group_key(grouping, without)
        series = vector.labels if rows is None else map(vector.labels.__getitem__, rows)
        group = np.array([numbers.setdefault(key(one), len(numbers)) for one in series], np.int64)
        self.labels = list(numbers)
        self.sizes = np.bincount(group)
        self.starts = np.concatenate(([0], np.cumsum(self.sizes)[:-1]))
        self.order = np.argsort(group, kind="stable")
        if rows is not None:
            self.order = np.array(rows)[self.order]
        self._ordered = bool((self.order[1:] > self.order[:-1]).all())
        drop = np.array(vector.drop)[self.order]
        self._budget = budget
        self.drop: list[bool] = np.logical_or.reduceat(drop, self.starts).tolist()

    def slices(self, vector: Vector) -> Iterator[tuple[slice, Floats, Bools]]:
        """(steps, values, presence) in the groups' order, some steps at a time so that temporary arrays stay small."""
        width = max(1, BLOCK // len(vector.labels))
        steps = vector.values.shape[1]
        self._budget.hold(_WORKING * min(width, steps) * len(vector.labels))
        for left in range(0, steps, width):
            self._budget.check()
            some = slice(left, left + width)
            values, present = vector.values[:, some], vector.present[:, some]
            yield (some, values, present) if self._ordered else (some, values[self.order], present[self.order])

    def reduce(self, operation: Any, rows: Any) -> Any:
        """`operation` (a ufunc) over each group's rows: [groups, steps]."""
        if len(self.starts) == 1:
            return operation.reduce(rows, axis=0, keepdims=True)
        return operation.reduceat(rows, self.starts, axis=0)

    def each(self) -> Iterator[slice]:
        """The rows of each group; checks the deadline for each, as there may be many."""
        for start, size in zip(self.starts.tolist(), self.sizes.tolist(), strict=True):
            self._budget.check()
            yield slice(start, start + size)

    def count(self, present: Bools) -> Ints:
        """The number of present series in each group: [groups, steps]."""
        found: Ints = self.reduce(np.add, present.astype(np.int64))
        return found

    def spread(self, rows: Any) -> Any:
        """Each group's row repeated for every series in it."""
        return np.repeat(rows, self.sizes, axis=0)


def group_key(grouping: tuple[str, ...], without: bool) -> Callable[[Labels], Labels]:
    """A function from a series' labels to those of its group."""
    if without:
        left_out = {*grouping, METRIC_NAME}
        return lambda labels: tuple(pair for pair in labels if pair[0] not in left_out)
    if not grouping:
        return lambda labels: ()
    kept = frozenset(grouping)
    return lambda labels: tuple(pair for pair in labels if pair[0] in kept)


def aggregate(ev: Evaluation, node: Aggregate) -> Vector:
    """The value of an aggregation."""
    if node.op == "count_values":
        return _count_values(ev, node)
    param = ev.scalar(node.param) if node.param is not None else None
    vector = ev.vector(node.expr).found(ev.query.budget)
    if param is not None and node.op in _CHOICES:
        return _choose(ev, node, param, vector)
    if param is not None:
        note_worst_quantiles(ev, param, node.param or node)
    if not vector.labels:
        return empty(ev.steps)
    groups = Groups(vector, node.grouping, node.without, ev.query.budget)
    ev.query.budget.hold(9 * len(groups.labels) * ev.steps)
    values = np.empty((len(groups.labels), ev.steps))
    present = np.empty(values.shape, np.bool_)
    for steps, given, there in groups.slices(vector):
        if param is None:
            values[:, steps] = _REDUCTIONS[node.op](groups, given, there)
        else:
            values[:, steps] = _quantiles(groups, given, there, param[steps])
        present[:, steps] = groups.reduce(np.logical_or, there)
    return Vector(groups.labels, values, present, groups.drop)


# -- one value per group: (groups, values, presence), both [series, steps] in the groups' order -> [groups, steps]


def _sum(groups: Groups, values: Floats, present: Bools) -> Floats:
    return _sums(groups, np.where(present, values, 0.0))


def _sums(groups: Groups, values: Floats) -> Floats:
    """The sum of each group's rows, compensated where much cancels out."""
    total: Floats = groups.reduce(np.add, values)
    size = groups.reduce(np.add, np.abs(values))
    doubtful = np.isfinite(size) & (size > _CANCELLATION * np.abs(total))
    if doubtful.any():
        total = np.where(doubtful, _compensated(groups, values), total)
    return total


def _compensated(groups: Groups, values: Floats) -> Floats:
    """Neumaier's sum, for the nth rows of all groups at once."""
    total = np.zeros((len(groups.labels), values.shape[1]))
    error = np.zeros(total.shape)
    for n in range(int(groups.sizes.max())):
        some = np.flatnonzero(groups.sizes > n)
        row = values[groups.starts[some] + n]
        before = total[some]
        after = before + row
        larger = np.abs(before) >= np.abs(row)
        error[some] += np.where(larger, (before - after) + row, (row - after) + before)
        total[some] = after
    return total + error


def _avg(groups: Groups, values: Floats, present: Bools) -> Floats:
    values = np.where(present, values, 0.0)
    count = groups.count(present)
    finite = np.where(np.isfinite(values), values, 0.0)
    if np.abs(finite).max(initial=0.0) > _HUGE:  # the sum may overflow although the mean does not
        return _sums(groups, values * _SCALE) / count / _SCALE
    return _sums(groups, values) / count


def _extreme(choose: Any) -> Reduction:
    """Minimum or maximum; NaN only where all values are."""

    def reduction(groups: Groups, values: Floats, present: Bools) -> Floats:
        found: Floats = groups.reduce(choose, np.where(present, values, np.nan))
        return found

    return reduction


def _count(groups: Groups, values: Floats, present: Bools) -> Floats:
    return groups.count(present).astype(np.float64)


def _group(groups: Groups, values: Floats, present: Bools) -> Floats:
    return np.ones((len(groups.labels), values.shape[1]))


def _variance(groups: Groups, values: Floats, present: Bools) -> Floats:
    """The variance of the differences from the group's first value: exactly zero for equal values."""
    base = np.empty((len(groups.labels), values.shape[1]))
    for i, rows in enumerate(groups.each()):
        first = present[rows].argmax(axis=0)[None, :]
        base[i] = np.take_along_axis(values[rows], first, axis=0)[0]
    count = groups.count(present)
    off = np.where(present, values - groups.spread(base), 0.0)
    mean = groups.reduce(np.add, off) / count
    off = np.where(present, off - groups.spread(mean), 0.0)
    found: Floats = groups.reduce(np.add, off * off) / count
    return found


def _deviation(groups: Groups, values: Floats, present: Bools) -> Floats:
    return np.sqrt(_variance(groups, values, present))


def _quantiles(groups: Groups, values: Floats, present: Bools, q: Floats) -> Floats:
    out = np.zeros((len(groups.labels), values.shape[1]))
    for i, rows in enumerate(groups.each()):
        columns, there = values[rows].T, present[rows].T  # [steps, series]
        sizes = there.sum(axis=1)
        for size in np.unique(sizes[sizes > 0]):
            steps = np.flatnonzero(sizes == size)
            some = columns[steps][there[steps]].reshape(len(steps), size)
            out[i, steps] = quantile(some, q[steps])
    return out


_REDUCTIONS: dict[str, Reduction] = {
    "sum": _sum,
    "avg": _avg,
    "min": _extreme(np.fmin),
    "max": _extreme(np.fmax),
    "count": _count,
    "group": _group,
    "stddev": _deviation,
    "stdvar": _variance,
}


# -- some series of each group: (groups, vector) -> (values, presence, parameter) -> which ones, and maybe their order


def _choose(ev: Evaluation, node: Aggregate, param: Floats, vector: Vector) -> Vector:
    if not _check_choice(ev, node, param):
        return empty(ev.steps)
    if not vector.labels:
        return vector
    order = vector.order_of_labels() if ev.steps > 1 else None  # an instant vector may be in an order of its own
    groups = Groups(vector, node.grouping, node.without, ev.query.budget, order)
    choice = _CHOICES[node.op](groups, vector)
    ev.query.budget.hold(len(vector.labels) * ev.steps)
    chosen = np.empty((len(vector.labels), ev.steps), np.bool_)
    rank = None
    for steps, values, present in groups.slices(vector):
        chosen[:, steps], rank = choice(values, present, param[steps])
    rows = np.flatnonzero(chosen.any(axis=1))
    if ev.steps == 1 and rank is not None:  # an instant query's result is ordered within each group
        number = np.repeat(np.arange(len(groups.sizes)), groups.sizes)
        rows = rows[np.lexsort((rank[rows, 0], number[rows]))]
    ev.query.budget.hold(9 * len(rows) * ev.steps)
    found = vector.rows(groups.order[rows])
    return found.replace(found.values, chosen[rows])


def _check_choice(ev: Evaluation, node: Aggregate, param: Floats) -> bool:
    """Whether the parameter selects anything; raises QueryError where it is invalid."""
    start = node.param.start if node.param is not None else node.start
    if node.op == "limit_ratio":
        if (param == 0).all():
            return False
        if np.isnan(param).any():
            raise QueryError("execution", "Ratio value is NaN")
        for worst, limit in ((float(param.max()), 1.0), (float(param.min()), -1.0)):
            if worst * limit > 1:
                ev.query.warn(
                    f"ratio value should be between -1 and 1, got {go_float(worst)}, capping to {go_float(limit)}",
                    start,
                )
        return True
    if (param < 1).all():
        return False
    if np.isnan(param).any():
        raise QueryError("execution", "Parameter value is NaN")
    if param.min() <= -_INT64:
        raise QueryError("execution", f"Scalar value {go_float(float(param.min()))} underflows int64")
    if param.max() >= _INT64:
        raise QueryError("execution", f"Scalar value {go_float(float(param.max()))} overflows int64")
    return True


def _top(sign: float) -> Callable[[Groups, Vector], Choice]:
    """The k largest (or smallest) of each group; NaN comes last, and the first of equal ones wins."""

    def prepare(groups: Groups, vector: Vector) -> Choice:
        def choice(values: Floats, present: Bools, k: Floats) -> tuple[Bools, Ints | None]:
            nan = np.isnan(values)
            key = np.where(nan | ~present, 0.0, values * -sign)
            kind = np.where(present, np.where(nan, 1, 0), 2)  # absent after NaN after numbers
            rank = np.empty(key.shape, np.int64)
            for rows in groups.each():
                order = np.lexsort((key[rows], kind[rows]), axis=0)
                places = np.broadcast_to(np.arange(len(order))[:, None], order.shape)
                np.put_along_axis(rank[rows], order, places, axis=0)
            return present & (rank < np.trunc(k)), rank

        return choice

    return prepare


def _limitk(groups: Groups, vector: Vector) -> Choice:
    """The first k of each group."""

    def choice(values: Floats, present: Bools, k: Floats) -> tuple[Bools, Ints | None]:
        seen = np.cumsum(present, axis=0)
        before: Ints = seen[groups.starts] - present[groups.starts]
        return present & (seen - groups.spread(before) <= np.trunc(k)), None

    return choice


def _limit_ratio(groups: Groups, vector: Vector) -> Choice:
    """A share of the series, always the same ones, by a hash of their labels. A negative share is the complement."""
    offset = np.array([label_hash(vector.labels[i]) / (2**64 - 1) for i in groups.order])[:, None]

    def choice(values: Floats, present: Bools, ratio: Floats) -> tuple[Bools, Ints | None]:
        ratio = np.clip(ratio, -1.0, 1.0)
        return present & np.where(ratio >= 0, offset < ratio, offset >= 1 + ratio), None

    return choice


_CHOICES: dict[str, Callable[[Groups, Vector], Choice]] = {
    "topk": _top(1.0),
    "bottomk": _top(-1.0),
    "limitk": _limitk,
    "limit_ratio": _limit_ratio,
}


# -- count_values


def _count_values(ev: Evaluation, node: Aggregate) -> Vector:
    """For each group and value, the number of the group's series with that value, which goes into a label."""
    assert isinstance(node.param, String)
    label = node.param.value
    if not is_label_name(label):
        raise QueryError("execution", f"invalid label name {quote(label)}")
    vector = ev.vector(node.expr).found(ev.query.budget)
    grouping = node.grouping if node.without else (*node.grouping, label)
    key = group_key(grouping, node.without)
    rows: dict[Labels, Ints] = {}
    for i, labels in enumerate(vector.labels):
        ev.query.budget.check()
        present = vector.present[i]
        bits, where = np.unique(vector.values[i].view(np.int64), return_inverse=True)
        for j, value in enumerate(bits.view(np.float64)):
            ev.query.budget.check()
            here = present & (where == j)
            if here.any():
                group = key(make_labels("", {**dict(labels), label: _plain(float(value))}))
                row = rows.get(group)
                if row is None:
                    ev.query.budget.hold(LABELS_BYTES + 25 * ev.steps)  # the row, and its part of the result
                    row = rows[group] = np.zeros(ev.steps, np.int64)
                row += here
    if not rows:
        return empty(ev.steps)
    counts = np.stack(list(rows.values()))
    return Vector(list(rows), counts.astype(np.float64), counts > 0)


def _plain(value: float) -> str:
    """The shortest decimal text of a float, without an exponent."""
    if value != value:
        return "NaN"
    if value in (np.inf, -np.inf):
        return "+Inf" if value > 0 else "-Inf"
    return np.format_float_positional(value, trim="-")
