"""The values of expressions: arrays over all steps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from operator import le
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from prom_probe.model.labels import METRIC_NAME, Labels
from prom_probe.promql.budget import Budget
from prom_probe.promql.result import QueryError

Floats: TypeAlias = NDArray[np.float64]
Ints: TypeAlias = NDArray[np.int64]
Bools: TypeAlias = NDArray[np.bool_]

LABELS_BYTES = 500  # about what a new set of labels takes


@dataclass(slots=True)
class Vector:
    """Series over the steps. `values`, `present`: [series, steps]; receivers must not write to them.

    `drop[i]`: series i loses its name at the end of the query; until then matching can use it. Only where the removal
    of names is delayed.
    """

    labels: list[Labels]
    values: Floats
    present: Bools
    drop: list[bool] = field(default_factory=list)

    def __post_init__(self) -> None:
        if not self.drop:
            self.drop = [False] * len(self.labels)

    @property
    def nbytes(self) -> int:
        return held(self.values) + held(self.present) + 64 * len(self.labels)

    def replace(self, values: Floats, present: Bools | None = None) -> Vector:
        """The same series with other values."""
        return Vector(self.labels, values, self.present if present is None else present, self.drop)

    def sorted(self) -> Vector:
        """The series in the order of their labels."""
        order = self.order_of_labels()
        return self if order is None else self.rows(order)

    def order_of_labels(self) -> list[int] | None:
        """The rows in the order of their labels, None if that is as they are."""
        if all(map(le, self.labels, self.labels[1:])):
            return None
        return sorted(range(len(self.labels)), key=self.labels.__getitem__)

    def found(self, budget: Budget) -> Vector:
        """The series that have a sample at some step: a group's first series, and its place, are one of these."""
        there = self.present.any(axis=1)
        if there.all():
            return self
        rows = np.flatnonzero(there)
        budget.hold(9 * len(rows) * self.values.shape[1])
        return self.rows(rows)

    def rows(self, index: Sequence[int] | Ints) -> Vector:
        """The series in these rows."""
        return Vector(
            [self.labels[i] for i in index], self.values[index], self.present[index], [self.drop[i] for i in index]
        )


@dataclass(slots=True)
class Scalar:
    """A number at each step. `values`: [steps]."""

    values: Floats

    @property
    def nbytes(self) -> int:
        return held(self.values)


@dataclass(slots=True)
class Text:
    """A string."""

    value: str
    nbytes: int = 0


@dataclass(slots=True)
class Samples:
    """A range vector at one time: each series' samples as (int64[n] ms, float64[n])."""

    labels: list[Labels]
    samples: list[tuple[Ints, Floats]]

    @property
    def nbytes(self) -> int:
        return sum(t.nbytes + v.nbytes for t, v in self.samples)


# The labels that say what a metric is: they do not apply to a function's result.
NAMING = frozenset({METRIC_NAME, "__type__", "__unit__"})
_LAST_OF_NAMING = max(NAMING)

_SAME_LABELS = "vector cannot contain metrics with the same labelset"

Value: TypeAlias = Vector | Scalar | Text | Samples


class VectorBuilder:
    """Builds a vector batch by batch, in arrays with room for `most` rows: nothing is copied at the end.

    `hold` books memory as rows are added.
    """

    def __init__(self, most: int, steps: int, hold: Callable[[int], None]) -> None:
        self._shape = (most, steps)
        self._values: Floats | None = None
        self._present: Bools | None = None
        self._labels: list[Labels] = []
        self._drop: list[bool] = []
        self._hold = hold

    def add(self, labels: Sequence[Labels], drop: Sequence[bool], values: Floats, present: Bools) -> list[int]:
        """Add the series that have any value, and return their rows. `present`: [series, steps] or [steps].

        Takes ownership of the arrays.
        """
        if present.ndim == 1:
            keep = list(range(len(labels))) if np.count_nonzero(present) else []
        else:
            keep = np.flatnonzero(np.logical_or.reduce(present, axis=1)).tolist()
        if len(keep) == len(labels):
            self._labels += labels
            self._drop += drop
        elif keep:
            self._labels += [labels[i] for i in keep]
            self._drop += [drop[i] for i in keep]
            values, present = values[keep], present[keep]
        if not keep:
            return keep
        stop = len(self._labels)
        self._hold(9 * len(keep) * values.shape[1])
        if self._present is None:
            self._present = np.empty(self._shape, np.bool_)
        self._present[stop - len(keep) : stop] = present
        if self._values is None and values.shape == self._shape:
            self._values = values  # the only batch
            return keep
        if self._values is None:
            self._values = np.empty(self._shape)
        self._values[stop - len(keep) : stop] = values
        return keep

    def vector(self) -> Vector:
        if self._values is None or self._present is None:
            return empty(self._shape[1])
        size = len(self._labels)
        return Vector(self._labels, self._values[:size], self._present[:size], self._drop)


def held(array: NDArray[Any]) -> int:
    """The bytes that an array occupies; one broadcast over the steps occupies a single step."""
    if array.ndim and array.strides[-1] == 0:
        return int(array.nbytes // max(array.shape[-1], 1))
    return int(array.nbytes)


def empty(steps: int) -> Vector:
    return Vector([], np.empty((0, steps)), np.empty((0, steps), np.bool_))


def without_name(labels: Labels) -> Labels:
    """`labels` without the name, and the type and unit that go with it."""
    return tuple(pair for pair in labels if pair[0] not in NAMING)


def without_names(series: Sequence[Labels]) -> tuple[list[Labels], bool]:
    """Each of `series` without its name, and whether it is known that they are still distinct."""
    found = []
    dropped: set[Labels | tuple[str, str]] = set()
    for labels in series:
        if labels and labels[0][0] == METRIC_NAME and (len(labels) == 1 or labels[1][0] > _LAST_OF_NAMING):
            dropped.add(labels[0])
            found.append(labels[1:])
        else:
            rest = without_name(labels)
            dropped.add(labels if len(rest) < len(labels) else ())
            found.append(rest)
    return found, len(dropped) < 2


def merged(vector: Vector, budget: Budget, *, merge: bool = True) -> Vector:
    """`vector` with series of equal labels merged, if they also agree on dropping the name.

    Raises QueryError where two of them have a value at the same step, and for any of them without `merge`.
    """
    places: dict[tuple[Labels, bool], int] = {}
    target = [places.setdefault(key, len(places)) for key in zip(vector.labels, vector.drop, strict=True)]
    if len(places) == len(target):
        return vector
    if not merge:
        raise QueryError("execution", _SAME_LABELS)
    budget.hold(9 * len(places) * vector.values.shape[1])
    values = np.zeros((len(places), vector.values.shape[1]))
    present = np.zeros(values.shape, np.bool_)
    for i, place in enumerate(target):
        budget.check()
        here = vector.present[i]
        if (present[place] & here).any():
            raise QueryError("execution", _SAME_LABELS)
        values[place][here] = vector.values[i][here]
        present[place] |= here
    return Vector([labels for labels, _ in places], values, present, [drop for _, drop in places])


def named(vector: Vector, budget: Budget) -> Vector:
    """`vector` as the user sees it: marked names dropped, equal series merged."""
    if not any(vector.drop):
        return vector
    labels = [without_name(one) if drop else one for one, drop in zip(vector.labels, vector.drop, strict=True)]
    return merged(Vector(labels, vector.values, vector.present, [False] * len(labels)), budget)
