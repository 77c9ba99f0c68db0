"""Aggregations: the series of a vector -> one per group, or some of each group."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from prom_probe.model.labels import METRIC_NAME, Labels, make_labels
from prom_probe.promql.ast import Aggregate, String
from prom_probe.promql.functions.labels import is_label_name
from prom_probe.promql.lexer import quote
from prom_probe.promql.quantile import go_float, note_bad_quantiles, quantile
from prom_probe.promql.result import QueryError
from prom_probe.promql.values import Bools, Floats, Ints, Vector, empty

if TYPE_CHECKING:
    from prom_probe.promql.evaluation import Evaluator

_HUGE = 2.0**1000
_SCALE = 2.0**-64
_CANCELLED = 4.0  # a sum this much smaller than that of its parts' magnitudes is computed again, compensated
_INT64 = 2.0**63


class Groups:
    """The series of a vector, those of a group together. `values` and `present` are in that order: [series, steps]."""

    def __init__(self, vector: Vector, grouping: tuple[str, ...], without: bool) -> None:
        numbers: dict[Labels, int] = {}
        key = group_key(grouping, without)
        group = np.array([numbers.setdefault(key(one), len(numbers)) for one in vector.labels], np.int64)
        self.labels = list(numbers)
        self.order = np.argsort(group, kind="stable")
        ordered = len(numbers) == 1 or bool((self.order[1:] > self.order[:-1]).all())
        self.sizes = np.bincount(group, minlength=len(numbers))
        self.starts = np.concatenate(([0], np.cumsum(self.sizes)[:-1]))
        self.values = vector.values if ordered else vector.values[self.order]
        self.present = vector.present if ordered else vector.present[self.order]
        drop = np.array(vector.drop)[self.order]
        self.drop: list[bool] = np.logical_or.reduceat(drop, self.starts).tolist()

    def reduce(self, operation: Any, rows: Any) -> Any:
        """`operation` (a ufunc) over each group's rows: [groups, steps]."""
        if len(self.starts) == 1:
            return operation.reduce(rows, axis=0, keepdims=True)
        return operation.reduceat(rows, self.starts, axis=0)

    def each(self) -> Iterator[slice]:
        """The rows of each group."""
        for start, size in zip(self.starts, self.sizes, strict=True):
            yield slice(int(start), int(start + size))

    @property
    def count(self) -> Ints:
        """Present series of each group: [groups, steps]."""
        found: Ints = self.reduce(np.add, self.present.astype(np.int64))
        return found

    def spread(self, rows: Floats) -> Floats:
        """A row of each group, repeated for its series."""
        return np.repeat(rows, self.sizes, axis=0)


def group_key(grouping: tuple[str, ...], without: bool) -> Callable[[Labels], Labels]:
    """Gives the labels of the group that a series is in."""
    if without:
        left_out = {*grouping, METRIC_NAME}
        return lambda labels: tuple(pair for pair in labels if pair[0] not in left_out)
    if not grouping:
        return lambda labels: ()
    kept = frozenset(grouping)
    return lambda labels: tuple(pair for pair in labels if pair[0] in kept)


def aggregate(ev: Evaluator, node: Aggregate) -> Vector:
    """The value of an aggregation."""
    if node.op == "count_values":
        return _count_values(ev, node)
    param = ev.scalar(node.param) if node.param is not None else None
    vector = ev.vector(node.expr)
    if param is not None:
        if node.op in _CHOICES:
            return _choose(ev, node, param, vector)
        note_bad_quantiles(ev, param, node.param or node)
    if not vector.labels:
        return empty(ev.steps)
    ev.query.budget.hold(3 * vector.values.nbytes)
    groups = Groups(vector, node.grouping, node.without)
    values = _REDUCTIONS[node.op](groups) if param is None else _quantiles(groups, param)
    present = groups.reduce(np.logical_or, groups.present)
    return Vector(groups.labels, values, present, groups.drop)


# -- one value a group


def _sum(groups: Groups) -> Floats:
    return _sums(groups, np.where(groups.present, groups.values, 0.0))


def _sums(groups: Groups, values: Floats) -> Floats:
    """The sum of each group's rows, compensated where much cancels out."""
    total: Floats = groups.reduce(np.add, values)
    size = groups.reduce(np.add, np.abs(values))
    doubtful = np.isfinite(size) & (size > _CANCELLED * np.abs(total))
    if doubtful.any():
        total = np.where(doubtful, _compensated(groups, values), total)
    return total


def _compensated(groups: Groups, values: Floats) -> Floats:
    """Neumaier's sum, the n-th rows of all groups at once."""
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


def _avg(groups: Groups) -> Floats:
    values = np.where(groups.present, groups.values, 0.0)
    finite = np.where(np.isfinite(values), values, 0.0)
    if np.abs(finite).max(initial=0.0) > _HUGE:  # the sum may overflow where the mean does not
        return _sums(groups, values * _SCALE) / groups.count / _SCALE
    return _sums(groups, values) / groups.count


def _extreme(choose: Any) -> Callable[[Groups], Floats]:
    """NaN only where there is nothing else."""

    def reduction(groups: Groups) -> Floats:
        found: Floats = groups.reduce(choose, np.where(groups.present, groups.values, np.nan))
        return found

    return reduction


def _count(groups: Groups) -> Floats:
    return groups.count.astype(np.float64)


def _group(groups: Groups) -> Floats:
    return np.ones((len(groups.labels), groups.values.shape[1]))


def _variance(groups: Groups) -> Floats:
    """Of the differences from the group's first value: exactly zero for equal values."""
    present = groups.present
    shown = np.where(present, groups.values, np.nan)
    base = np.empty((len(groups.labels), shown.shape[1]))
    for i, rows in enumerate(groups.each()):
        base[i] = np.take_along_axis(shown[rows], present[rows].argmax(axis=0)[None, :], axis=0)[0]
    off = np.where(present, shown - groups.spread(base), 0.0)
    mean = groups.reduce(np.add, off) / groups.count
    off = np.where(present, off - groups.spread(mean), 0.0)
    found: Floats = groups.reduce(np.add, off * off) / groups.count
    return found


def _deviation(groups: Groups) -> Floats:
    return np.sqrt(_variance(groups))


def _quantiles(groups: Groups, q: Floats) -> Floats:
    out = np.zeros((len(groups.labels), groups.values.shape[1]))
    for i, rows in enumerate(groups.each()):
        values, present = groups.values[rows].T, groups.present[rows].T  # [steps, series]
        sizes = present.sum(axis=1)
        for size in np.unique(sizes[sizes > 0]):
            steps = np.flatnonzero(sizes == size)
            some = values[steps][present[steps]].reshape(len(steps), size)
            out[i, steps] = quantile(some, q[steps])
    return out


_REDUCTIONS: dict[str, Callable[[Groups], Floats]] = {
    "sum": _sum,
    "avg": _avg,
    "min": _extreme(np.fmin),
    "max": _extreme(np.fmax),
    "count": _count,
    "group": _group,
    "stddev": _deviation,
    "stdvar": _variance,
}


# -- some series of each group


def _choose(ev: Evaluator, node: Aggregate, param: Floats, vector: Vector) -> Vector:
    assert node.param is not None
    if node.op == "limit_ratio":
        if (param == 0).all():
            return empty(ev.steps)
        if np.isnan(param).any():
            raise QueryError("execution", "Ratio value is NaN")
        for worst, limit in ((param.max(), 1.0), (param.min(), -1.0)):
            if worst * limit > 1:
                ev.query.warn(
                    f"ratio value should be between -1 and 1, got {go_float(float(worst))},"
                    f" capping to {go_float(limit)}",
                    node.param.start,
                )
    else:
        if (param < 1).all():
            return empty(ev.steps)
        if np.isnan(param).any():
            raise QueryError("execution", "Parameter value is NaN")
        if param.min() <= -_INT64:
            raise QueryError("execution", f"Scalar value {go_float(float(param.min()))} underflows int64")
        if param.max() >= _INT64:
            raise QueryError("execution", f"Scalar value {go_float(float(param.max()))} overflows int64")
    if not vector.labels:
        return vector
    ev.query.budget.hold(4 * vector.values.nbytes)
    groups = Groups(vector, node.grouping, node.without)
    chosen, rank = _CHOICES[node.op](groups, vector, param)
    rows = np.flatnonzero(chosen.any(axis=1))
    if ev.steps == 1 and rank is not None:  # an instant query's answer is in order, group by group
        number = np.repeat(np.arange(len(groups.sizes)), groups.sizes)
        rows = rows[np.lexsort((rank[rows, 0], number[rows]))]
    found = vector.rows(groups.order[rows])
    return found.replace(found.values, chosen[rows])


def _top(sign: float) -> Callable[[Groups, Vector, Floats], tuple[Bools, Ints | None]]:
    """The k largest (or smallest) of each group, NaN only where nothing else is left; the first of equal ones."""

    def choice(groups: Groups, vector: Vector, k: Floats) -> tuple[Bools, Ints | None]:
        # Absent after NaN after numbers: three keys, the last one first.
        nan = np.isnan(groups.values)
        key = np.where(nan | ~groups.present, 0.0, groups.values * -sign)
        kind = np.where(groups.present, np.where(nan, 1, 0), 2)
        rank = np.empty(key.shape, np.int64)
        for rows in groups.each():
            order = np.lexsort((key[rows], kind[rows]), axis=0)
            places = np.broadcast_to(np.arange(len(order))[:, None], order.shape)
            np.put_along_axis(rank[rows], order, places, axis=0)
        return groups.present & (rank < np.trunc(k)), rank

    return choice


def _limitk(groups: Groups, vector: Vector, k: Floats) -> tuple[Bools, Ints | None]:
    """The first k of each group."""
    seen = np.cumsum(groups.present, axis=0)
    before: Floats = seen[groups.starts] - groups.present[groups.starts]
    return groups.present & (seen - groups.spread(before) <= np.trunc(k)), None


def _limit_ratio(groups: Groups, vector: Vector, ratio: Floats) -> tuple[Bools, Ints | None]:
    """A share of the series, always the same ones: by a hash of their labels. A negative share is the others."""
    ratio = np.clip(ratio, -1.0, 1.0)
    offset = np.array([_unit_hash(vector.labels[i]) for i in groups.order])[:, None]
    return groups.present & np.where(ratio >= 0, offset < ratio, offset >= 1 + ratio), None


def _unit_hash(labels: Labels) -> float:
    """0 up to 1, evenly spread and the same in every process."""
    import zlib

    text = "\xff".join(part for pair in labels for part in pair).encode(errors="surrogateescape")
    mixed = (zlib.crc32(text) * 0x9E3779B1) & 0xFFFFFFFF
    return mixed / 2**32


_CHOICES: dict[str, Callable[[Groups, Vector, Floats], tuple[Bools, Ints | None]]] = {
    "topk": _top(1.0),
    "bottomk": _top(-1.0),
    "limitk": _limitk,
    "limit_ratio": _limit_ratio,
}


# -- count_values


def _count_values(ev: Evaluator, node: Aggregate) -> Vector:
    """For each group and value a series that counts the group's series with that value, the value in a label."""
    assert isinstance(node.param, String)
    label = node.param.value
    if not is_label_name(label):
        raise QueryError("execution", f"invalid label name {quote(label)}")
    vector = ev.vector(node.expr)
    grouping = node.grouping if node.without else (*node.grouping, label)
    key = group_key(grouping, node.without)
    rows: dict[Labels, Ints] = {}
    for i, labels in enumerate(vector.labels):
        ev.query.budget.check()
        present = vector.present[i]
        bits, where = np.unique(vector.values[i].view(np.int64), return_inverse=True)
        for j, value in enumerate(bits.view(np.float64)):
            here = present & (where == j)
            if here.any():
                group = key(make_labels("", {**dict(labels), label: _plain(float(value))}))
                row = rows.get(group)
                if row is None:
                    ev.query.budget.hold(9 * ev.steps)
                    row = rows[group] = np.zeros(ev.steps, np.int64)
                row += here
    if not rows:
        return empty(ev.steps)
    counts = np.stack(list(rows.values()))
    return Vector(list(rows), counts.astype(np.float64), counts > 0)


def _plain(value: float) -> str:
    """A float without an exponent, as short as it goes."""
    if value != value:
        return "NaN"
    if value in (np.inf, -np.inf):
        return "+Inf" if value > 0 else "-Inf"
    return np.format_float_positional(value, trim="-")
