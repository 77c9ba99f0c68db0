"""Binary operators: arithmetic, comparison and set operations, and the matching of two vectors' series."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any, NoReturn

import numpy as np

from prom_probe.model.labels import Labels, label_value, make_labels
from prom_probe.promql.ast import COMPARISONS, SET_OPERATORS, Binary, Matching
from prom_probe.promql.budget import Budget
from prom_probe.promql.literals import quote
from prom_probe.promql.query import Evaluation
from prom_probe.promql.result import QueryError
from prom_probe.promql.values import NAMING, Bools, Floats, Ints, Scalar, Value, Vector, empty, merged
from prom_probe.promql.windows import BLOCK

_OPERATORS: dict[str, Callable[[Any, Any], Any]] = {
    "+": np.add,
    "-": np.subtract,
    "*": np.multiply,
    "/": np.divide,
    "%": np.fmod,
    "^": np.power,
    "atan2": np.arctan2,
    "==": np.equal,
    "!=": np.not_equal,
    "<": np.less,
    "<=": np.less_equal,
    ">": np.greater,
    ">=": np.greater_equal,
}

_WORKING = 32  # bytes of temporary arrays per point


def binary(ev: Evaluation, node: Binary) -> Value:
    """The value of a binary expression."""
    if node.op not in _OPERATORS and node.op not in SET_OPERATORS:
        raise QueryError("execution", f"operator {quote(node.op)} trims native histograms, which are not stored here")
    lhs, rhs = ev.eval(node.lhs), ev.eval(node.rhs)
    if isinstance(lhs, Scalar) and isinstance(rhs, Scalar):
        return Scalar(_OPERATORS[node.op](lhs.values, rhs.values).astype(np.float64))
    if isinstance(lhs, Vector) and isinstance(rhs, Scalar):
        return _with_scalar(ev, node, lhs, rhs.values, scalar_first=False)
    if isinstance(lhs, Scalar) and isinstance(rhs, Vector):
        return _with_scalar(ev, node, rhs, lhs.values, scalar_first=True)
    assert isinstance(lhs, Vector)
    assert isinstance(rhs, Vector)
    if node.op in SET_OPERATORS:
        return _set_operation(ev, node, lhs, rhs)
    return _matched(ev, node, lhs, rhs)


def _with_scalar(ev: Evaluation, node: Binary, vector: Vector, scalar: Floats, *, scalar_first: bool) -> Vector:
    operator = _OPERATORS[node.op]

    def compute(values: Floats) -> Any:
        return operator(scalar, values) if scalar_first else operator(values, scalar)

    if node.op in COMPARISONS and not node.returns_bool:
        return vector.replace(vector.values, vector.present & compute(vector.values))
    return ev.query.unnamed(vector.replace(ev.mapped(vector.values, compute)))


# -- matching


def _signature(matching: Matching) -> Callable[[Labels], Labels]:
    """A function from a series' labels to those by which it is matched."""
    names = frozenset(matching.labels)
    if matching.on:
        return lambda labels: tuple(pair for pair in labels if pair[0] in names)
    left_out = names | NAMING
    return lambda labels: tuple(pair for pair in labels if pair[0] not in left_out)


def _numbered(matching: Matching, *vectors: Vector) -> tuple[int, list[Ints]]:
    """The number of distinct signatures, and the signature's number for each series of each vector."""
    signature = _signature(matching)
    numbers: dict[Hashable, int] = {}
    found = [
        np.array([numbers.setdefault(signature(labels), len(numbers)) for labels in vector.labels], np.int64)
        for vector in vectors
    ]
    return len(numbers), found


def _any_present(size: int, signatures: Ints, present: Bools, budget: Budget) -> Bools:
    """Which signatures have a series at each step: [signatures, steps]."""
    found = np.zeros((size, present.shape[1]), np.bool_)
    for signature, here in zip(signatures.tolist(), present, strict=True):
        found[signature] |= here
        budget.check()
    return found


def _set_operation(ev: Evaluation, node: Binary, lhs: Vector, rhs: Vector) -> Vector:
    budget = ev.query.budget
    size, (left, right) = _numbered(node.matching, lhs, rhs)
    budget.hold((size + 2 * max(len(left), len(right))) * ev.steps)
    if node.op == "or":
        taken = _any_present(size, left, lhs.present, budget)
        present = rhs.present & ~taken[right]
        more = np.flatnonzero(present.any(axis=1))
        budget.hold(9 * (len(lhs.labels) + 2 * len(more)) * ev.steps)
        rest = rhs.replace(rhs.values, present).rows(more)
        return merged(
            Vector(
                lhs.labels + rest.labels,
                np.concatenate((lhs.values, rest.values)),
                np.concatenate((lhs.present, rest.present)),
                lhs.drop + rest.drop,
            ),
            budget,
        )
    there = _any_present(size, right, rhs.present, budget)[left]
    return lhs.replace(lhs.values, lhs.present & (there if node.op == "and" else ~there))


def _matched(ev: Evaluation, node: Binary, lhs: Vector, rhs: Vector) -> Vector:
    """The operator applied to each series of the "many" side and its match on the "one" side, step by step."""
    matching = node.matching
    many, one = (rhs, lhs) if matching.group == "right" else (lhs, rhs)
    if (matching.fill_left, matching.fill_right) != (None, None):
        many, one = _filled(ev, matching, many, one)
    if not many.labels or not one.labels:
        return empty(ev.steps)
    size, (many_signatures, one_signatures) = _numbered(matching, many, one)
    _check_unique(ev, node, many, one, one_signatures, size)
    pairs = _pairs(many, many_signatures, one, one_signatures, ev.query.budget)
    if not len(pairs):
        return empty(ev.steps)
    ev.query.budget.hold(10 * len(pairs) * ev.steps)
    there, found, kept = _computed(ev, node, many, one, pairs)
    signatures = many_signatures[pairs[:, 0]]
    if not matching.group:
        _check_single(there, signatures, ev.query.budget)
    drops_later = node.returns_bool and ev.query.keeps_names
    drops_name = node.op not in COMPARISONS or (node.returns_bool and not drops_later)
    labels = [_result_labels(many.labels[i], one.labels[j], matching, drops_name=drops_name) for i, j in pairs.tolist()]
    if matching.group:
        _check_distinct(there, signatures, labels, ev.query.budget)
    # As in Prometheus, a filter gives back the name that its left side was to lose.
    return merged(Vector(labels, found, kept, [drops_later] * len(labels)), ev.query.budget)


def _filled(ev: Evaluation, matching: Matching, many: Vector, one: Vector) -> tuple[Vector, Vector]:
    """Both sides with the fill modifiers' values where a match group has no series on that side at a step.

    A series that is filled in has the labels by which the group is matched. `fill_left` fills in the side that may have
    many: with group_right that is the right one, as in Prometheus.
    """
    budget = ev.query.budget
    size, (many_signatures, one_signatures) = _numbered(matching, many, one)
    budget.hold(6 * size * ev.steps)
    in_many = _any_present(size, many_signatures, many.present, budget)
    in_one = _any_present(size, one_signatures, one.present, budget)
    signature = _signature(matching)
    groups = list(dict.fromkeys(signature(labels) for labels in many.labels + one.labels))
    return (
        _with_series(many, groups, in_one & ~in_many, matching.fill_left, budget),
        _with_series(one, groups, in_many & ~in_one, matching.fill_right, budget),
    )


def _with_series(vector: Vector, groups: list[Labels], present: Bools, value: float | None, budget: Budget) -> Vector:
    """`vector`, and for each group its value where it is `present` ([groups, steps]); None adds nothing."""
    rows = np.flatnonzero(present.any(axis=1)).tolist()
    if value is None or not rows:
        return vector
    more = present[rows]
    budget.hold(9 * (len(vector.labels) + 2 * len(rows)) * more.shape[1])
    return Vector(
        vector.labels + [groups[i] for i in rows],
        np.concatenate((vector.values, np.full(more.shape, value))),
        np.concatenate((vector.present, more)),
        vector.drop + [False] * len(rows),
    )


def _computed(ev: Evaluation, node: Binary, many: Vector, one: Vector, pairs: Ints) -> tuple[Bools, Floats, Bools]:
    """For each pair and step: whether both are present, the result, and whether it is kept. Some pairs at a time."""
    operator = _OPERATORS[node.op]
    filters = node.op in COMPARISONS and not node.returns_bool
    there = np.empty((len(pairs), ev.steps), np.bool_)
    found = np.empty(there.shape)
    kept = np.empty(there.shape, np.bool_) if filters else there
    height = max(1, BLOCK // ev.steps)
    ev.query.budget.hold(_WORKING * min(height, len(pairs)) * ev.steps)
    for top in range(0, len(pairs), height):
        ev.query.budget.check()
        rows = slice(top, top + height)
        at_many, at_one = pairs[rows, 0], pairs[rows, 1]
        there[rows] = many.present[at_many] & one.present[at_one]
        left, right = many.values[at_many], one.values[at_one]
        if node.matching.group == "right":
            left, right = right, left
        if filters:
            found[rows] = left
            kept[rows] = there[rows] & operator(left, right)
        else:
            found[rows] = operator(left, right)
    return there, found, kept


def _pairs(many: Vector, many_signatures: Ints, one: Vector, one_signatures: Ints, budget: Budget) -> Ints:
    """The rows (many, one) of the series that match at some step: [pairs, 2]."""
    partners: dict[int, list[int]] = {}
    for j, signature in enumerate(one_signatures.tolist()):
        partners.setdefault(signature, []).append(j)
    found: list[tuple[int, int]] = []
    for i, signature in enumerate(many_signatures.tolist()):
        some = partners.get(signature, [])
        if len(some) > 1:  # at different steps
            budget.check()
            some = [j for j in some if (many.present[i] & one.present[j]).any()]
        found += [(i, j) for j in some]
    return np.array(found, np.int64).reshape(-1, 2)


def _result_labels(many: Labels, one: Labels, matching: Matching, *, drops_name: bool) -> Labels:
    pairs = dict(many)
    if drops_name:
        for name in NAMING:
            pairs.pop(name, None)
    if not matching.group:
        for name in list(pairs):
            if (name in matching.labels) != matching.on:
                del pairs[name]
    for name in matching.include:
        pairs[name] = label_value(one, name)
    return make_labels("", pairs)


def _check_unique(ev: Evaluation, node: Binary, many: Vector, one: Vector, signatures: Ints, size: int) -> None:
    """Raise QueryError if two series of the "one" side have the same signature at a step where anything can match."""
    if len(np.unique(signatures)) == len(signatures):
        return
    twice = _twice(size, signatures, one.present, ev.query.budget) & many.present.any(axis=0)
    if not twice.any():
        return
    signature, step = (int(found[0]) for found in np.nonzero(twice))
    first, second = (one.labels[i] for i in np.flatnonzero((signatures == signature) & one.present[:, step])[:2])
    _fail_many_to_many(node, first, second)


def _fail_many_to_many(node: Binary, first: Labels, second: Labels) -> NoReturn:
    side = "left" if node.matching.group == "right" else "right"
    pair = ", ".join(sorted((_braced(first), _braced(second))))
    raise QueryError(
        "execution",
        f"found duplicate series for the match group {_braced(_signature(node.matching)(first))} on the {side}"
        f" hand-side of the operation: [{pair}]"
        ";many-to-many matching not allowed: matching labels must be unique on one side",
    )


def _braced(labels: Labels) -> str:
    return "{" + ", ".join(f"{name}={quote(value)}" for name, value in labels) + "}"


def _twice(size: int, signatures: Ints, present: Bools, budget: Budget) -> Bools:
    """Which signatures have more than one series at each step: [signatures, steps]."""
    budget.hold(3 * size * present.shape[1])
    once = np.zeros((size, present.shape[1]), np.bool_)
    twice = np.zeros(once.shape, np.bool_)
    for signature, here in zip(signatures.tolist(), present, strict=True):
        budget.check()
        twice[signature] |= once[signature] & here
        once[signature] |= here
    return twice


def _check_single(there: Bools, signatures: Ints, budget: Budget) -> None:
    """One-to-one: raise QueryError if two series of the left side match in the same group at the same step."""
    if len(np.unique(signatures)) == len(signatures):
        return
    if _twice(int(signatures.max()) + 1, signatures, there, budget).any():
        raise QueryError(
            "execution",
            "multiple matches for labels: many-to-one matching must be explicit (group_left/group_right)",
        )


def _check_distinct(there: Bools, signatures: Ints, labels: list[Labels], budget: Budget) -> None:
    """Many-to-one: raise QueryError if two results of a group have the same labels at the same step."""
    seen: dict[tuple[int, Labels], Bools] = {}
    for signature, one, here in zip(signatures.tolist(), labels, there, strict=True):
        budget.check()
        before = seen.get((signature, one))
        if before is not None and (before & here).any():
            raise QueryError("execution", "multiple matches for labels: grouping labels must ensure unique matches")
        seen[signature, one] = here if before is None else before | here
