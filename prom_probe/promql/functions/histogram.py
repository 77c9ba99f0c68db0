"""Functions of classic histograms, which are buckets with an `le` label. Native histograms are not stored."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from prom_probe.model.labels import METRIC_NAME, Labels, label_value, make_labels
from prom_probe.promql.ast import Call, Node, String, Type
from prom_probe.promql.functions.base import Function
from prom_probe.promql.literals import quote
from prom_probe.promql.quantile import go_float, note_bad_quantiles, openmetrics, outside
from prom_probe.promql.query import Evaluation
from prom_probe.promql.values import Bools, Floats, Value, Vector, empty

_WORKING = 100  # bytes of temporary arrays per histogram and step
_TOLERANCE = 1e-12  # smaller relative differences of counts are rounding errors


@dataclass(slots=True)
class _Histograms:
    """Histograms with the same bounds. `bounds`: ascending; `counts`, `present`: [histograms, bounds, steps]."""

    labels: list[Labels]
    bounds: list[float]
    counts: Floats
    present: Bools

    @property
    def complete(self) -> Bools:
        """Where the +Inf bucket is present: [histograms, steps]."""
        if self.bounds[-1] != np.inf:
            return np.zeros((len(self.labels), self.counts.shape[2]), np.bool_)
        found: Bools = self.present[:, -1]
        return found


def _bound(text: str) -> float | None:
    """The value of an `le` label, None if it is not a number."""
    try:
        return None if "_" in text or text != text.strip() else float(text)
    except ValueError:
        return None


def _of_metric(name: str) -> str:
    """The end of a note about a metric, whose name is known only where the removal of names is delayed."""
    return f" for metric name {quote(name)}" if name else ""


def _histograms(ev: Evaluation, vector: Vector, argument: Node) -> Iterator[_Histograms]:
    """The histograms in `vector`, those with the same bounds together."""
    rows: dict[Labels, dict[float, list[int]]] = {}
    for i, labels in enumerate(vector.labels):
        if not vector.present[i].any():
            continue
        text = label_value(labels, "le")
        bound = _bound(text)
        if bound is None:
            name = label_value(labels, METRIC_NAME) if ev.query.keeps_names else ""
            ev.query.warn(
                f'bucket label "le" is missing or has a malformed value of {quote(text)}{_of_metric(name)}',
                argument.start,
            )
            continue
        key = tuple(pair for pair in labels if pair[0] != "le")
        rows.setdefault(key, {}).setdefault(bound, []).append(i)
    alike: dict[tuple[float, ...], list[Labels]] = {}
    for key, buckets in rows.items():
        alike.setdefault(tuple(sorted(buckets)), []).append(key)
    for bounds, keys in alike.items():
        shape = (len(keys), len(bounds), ev.steps)
        ev.query.budget.hold((9 * len(bounds) + _WORKING) * len(keys) * ev.steps)
        counts, present = np.zeros(shape), np.zeros(shape, np.bool_)
        for i, key in enumerate(keys):
            ev.query.budget.check()
            for j, bound in enumerate(bounds):
                for row in rows[key][bound]:  # several, where both "1" and "1.0" occur
                    counts[i, j] += np.where(vector.present[row], vector.values[row], 0.0)
                    present[i, j] |= vector.present[row]
        yield _Histograms(keys, list(bounds), counts, present)


@dataclass(slots=True)
class _Correction:
    """Where a histogram's counts had to be raised to be monotonic."""

    name: str
    low: float
    high: float
    most: float
    samples: int
    first_ms: int
    last_ms: int


def _make_monotonic(ev: Evaluation, found: _Histograms) -> list[_Correction]:
    """Make the counts ascend in place, absent buckets taking the count before them; gives the changes that were more
    than rounding errors.
    """
    counts = found.counts
    forced = np.zeros((len(found.labels), counts.shape[2]), np.bool_)
    low = np.full(len(found.labels), np.inf)
    high = np.full(len(found.labels), -np.inf)
    most = np.zeros(len(found.labels))
    before = np.where(found.present[:, 0], counts[:, 0], 0.0)
    counts[:, 0] = before
    started = np.zeros(forced.shape, np.bool_)
    for j in range(1, len(found.bounds)):
        ev.query.budget.check()
        now, here = counts[:, j], found.present[:, j]
        started |= found.present[:, j - 1]
        close = started & (np.abs(now - before) < _TOLERANCE * (np.abs(now) + np.abs(before)))
        fell = here & started & ~close & (now < before)
        if fell.any():
            forced |= fell
            which = fell.any(axis=1)
            low = np.where(which, np.minimum(low, found.bounds[j]), low)
            high = np.where(which, np.maximum(high, found.bounds[j]), high)
            most = np.maximum(most, np.where(fell, before - now, 0.0).max(axis=1))
        before = np.where(here & ~close & ~fell, now, before)
        counts[:, j] = before
    forced &= found.complete
    out = []
    for i in np.flatnonzero(forced.any(axis=1)):
        steps = np.flatnonzero(forced[i])
        name = label_value(found.labels[i], METRIC_NAME) if ev.query.keeps_names else ""
        times = int(ev.times[steps[0]]), int(ev.times[steps[-1]])
        out.append(_Correction(name, float(low[i]), float(high[i]), float(most[i]), len(steps), *times))
    return out


def _note_corrections(ev: Evaluation, forced: list[_Correction], argument: Node) -> None:
    for name in {one.name for one in forced}:
        all_of = [one for one in forced if one.name == name]
        times = [
            time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(ms // 1000))
            for ms in (min(one.first_ms for one in all_of), max(one.last_ms for one in all_of))
        ]
        ev.query.inform(
            "input to histogram_quantile needed to be fixed for monotonicity"
            " (see https://prometheus.io/docs/prometheus/latest/querying/functions/#histogram_quantile)"
            f"{_of_metric(name)}, from buckets {go_float(min(one.low for one in all_of))}"
            f" to {go_float(max(one.high for one in all_of))},"
            f" with a max diff of {max(one.most for one in all_of):.2g},"
            f" over {sum(one.samples for one in all_of)} samples from {times[0]} to {times[1]}",
            argument.start,
        )


def _quantile(found: _Histograms, q: Floats) -> Floats:
    """The q-quantile of each histogram: [histograms, steps]. The counts must ascend."""
    counts, present, bounds = found.counts, found.present, found.bounds
    total = counts[:, -1]
    rank = np.clip(np.nan_to_num(q), 0.0, 1.0) * total
    shape = rank.shape
    out = np.full(shape, np.nan)
    open_ = np.ones(shape, np.bool_)  # steps whose bucket has not been found yet
    below = np.zeros(shape)  # bound and count of the previous bucket
    below_count = np.zeros(shape)
    any_below = np.zeros(shape, np.bool_)
    for j, bound in enumerate(bounds):
        here = present[:, j]
        if j == len(bounds) - 1:  # the highest bucket has no upper end: the bound below it is the answer
            out = np.where(open_ & any_below, below, out)
            break
        hit = open_ & here & (counts[:, j] >= rank)
        start = np.where(any_below, below, 0.0)
        inside = start + (bound - start) * ((rank - below_count) / (counts[:, j] - below_count))
        out = np.where(hit, np.where(~any_below & (bound <= 0), bound, inside), out)
        open_ &= ~hit
        below = np.where(here, bound, below)
        below_count = np.where(here, counts[:, j], below_count)
        any_below |= here
    valid = found.complete & (present.sum(axis=1) >= 2) & (total != 0)
    return outside(q, np.where(valid, out, np.nan))


def _fraction(found: _Histograms, lower: Floats, upper: Floats) -> Floats:
    """The share of observations between two values: [histograms, steps]. The counts need not ascend."""
    counts, present, bounds = found.counts, found.present, found.bounds
    total = counts[:, -1]
    shape = total.shape

    def rank_of(value: Floats) -> Floats:
        out = total.copy()
        open_ = np.ones(shape, np.bool_)
        below = np.full(shape, -np.inf)
        below_count = np.zeros(shape)
        for j, bound in enumerate(bounds):
            here = present[:, j] & open_
            start = np.where(np.isinf(below) & (bound > 0), 0.0, below)
            before = here & (start >= value)
            out = np.where(before, below_count, out)
            inside = here & (start < value) & (value < bound)
            part = (counts[:, j] - below_count) * ((value - start) / (bound - start))
            part = np.where(np.isinf(start), counts[:, j] - below_count, np.where(bound == np.inf, 0.0, part))
            out = np.where(inside, below_count + part, out)
            open_ &= ~(before | inside)
            below = np.where(present[:, j], bound, below)
            below_count = np.where(present[:, j], counts[:, j], below_count)
        return np.minimum(out, total)

    share = np.where(lower >= upper, 0.0, (rank_of(upper) - rank_of(lower)) / total)
    valid = found.complete & (total != 0) & ~np.isnan(lower) & ~np.isnan(upper)
    return np.where(valid, share, np.nan)


def _joined(ev: Evaluation, parts: list[tuple[_Histograms, Floats]]) -> Vector:
    if not parts:
        return empty(ev.steps)
    labels = [one for found, _ in parts for one in found.labels]
    present = np.concatenate([found.present.any(axis=1) for found, _ in parts])
    return ev.query.unnamed(Vector(labels, np.concatenate([values for _, values in parts]), present))


def _histogram_quantile(ev: Evaluation, node: Call) -> Value:
    q = ev.scalar(node.args[0])
    vector = ev.vector(node.args[1])
    note_bad_quantiles(ev, q, node.args[0])
    parts, forced = [], []
    for found in _histograms(ev, vector, node.args[1]):
        forced += _make_monotonic(ev, found)
        parts.append((found, _quantile(found, q)))
    _note_corrections(ev, forced, node.args[1])
    return _joined(ev, parts)


def _histogram_quantiles(ev: Evaluation, node: Call) -> Value:
    """The quantiles of several ranks, each with its rank in a label."""
    vector, name = ev.vector(node.args[0]), node.args[1]
    assert isinstance(name, String)
    ranks = [ev.scalar(argument) for argument in node.args[2:]]
    for q, argument in zip(ranks, node.args[2:], strict=True):
        note_bad_quantiles(ev, q, argument)
    parts, forced = [], []
    for found in _histograms(ev, vector, node.args[0]):
        forced += _make_monotonic(ev, found)
        for q in ranks:
            values = _quantile(found, q)
            for one in np.unique(q):
                rank = {name.value: openmetrics(float(one))}
                labels = [make_labels("", {**dict(labels), **rank}) for labels in found.labels]
                there = found.present & ((q == one) | (np.isnan(q) & np.isnan(one)))
                parts.append((replace(found, labels=labels, present=there), values))
    _note_corrections(ev, forced, node.args[1])
    return _joined(ev, parts)


def _histogram_fraction(ev: Evaluation, node: Call) -> Value:
    lower, upper = ev.scalar(node.args[0]), ev.scalar(node.args[1])
    vector = ev.vector(node.args[2])
    return _joined(ev, [(found, _fraction(found, lower, upper)) for found in _histograms(ev, vector, node.args[2])])


def _of_native(ev: Evaluation, node: Call) -> Value:
    """histogram_sum and others apply to native histograms only, and leave out floats."""
    ev.vector(node.args[0])
    return empty(ev.steps)


HISTOGRAM = {
    "histogram_quantile": Function(_histogram_quantile, (Type.SCALAR, Type.VECTOR)),
    "histogram_fraction": Function(_histogram_fraction, (Type.SCALAR, Type.SCALAR, Type.VECTOR)),
    "histogram_quantiles": Function(
        _histogram_quantiles, (Type.VECTOR, Type.STRING, Type.SCALAR, Type.SCALAR), optional=8, experimental=True
    ),
    "histogram_avg": Function(_of_native, (Type.VECTOR,)),
    "histogram_count": Function(_of_native, (Type.VECTOR,)),
    "histogram_sum": Function(_of_native, (Type.VECTOR,)),
    "histogram_stddev": Function(_of_native, (Type.VECTOR,)),
    "histogram_stdvar": Function(_of_native, (Type.VECTOR,)),
}
