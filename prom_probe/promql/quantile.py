"""Quantiles, interpolated as in Prometheus."""

from __future__ import annotations

import numpy as np

from prom_probe.promql.ast import Node
from prom_probe.promql.query import Evaluation
from prom_probe.promql.values import Floats


def quantile(values: Floats, q: Floats) -> Floats:
    """The `q`-quantile over the last axis of `values`, which may be reordered in place.

    `q` is broadcast to the other axes. NaN counts as the smallest value. A q below 0 gives -Inf, above 1 +Inf.
    """
    size = values.shape[-1]
    nan = np.isnan(values)
    smallest = nan.sum(axis=-1) if nan.any() else None
    if smallest is not None:
        values = np.where(nan, -np.inf, values)
    sane = np.clip(np.nan_to_num(q), 0.0, 1.0)
    rank = np.broadcast_to(sane * (size - 1), values.shape[:-1])
    below = np.floor(rank)
    weight = rank - below
    if rank.size and (rank == rank.flat[0]).all():
        lower = int(below.flat[0])
        values.partition(lower, axis=-1)
        low = values[..., lower]
        high = values[..., lower + 1 :].min(axis=-1) if lower + 1 < size else low
    else:
        values.sort(axis=-1)
        index = below.astype(np.int64)[..., None]
        low = np.take_along_axis(values, index, axis=-1)[..., 0]
        high = np.take_along_axis(values, np.minimum(index + 1, size - 1), axis=-1)[..., 0]
    if smallest is not None:
        low = np.where(below < smallest, np.nan, low)
        high = np.where(np.minimum(below + 1, size - 1) < smallest, np.nan, high)
    found = low * (1 - weight) + high * weight
    return outside(q, found)


def outside(q: Floats, found: Floats) -> Floats:
    """`found`, but NaN or an infinity where `q` is not between 0 and 1."""
    return np.where(np.isnan(q), np.nan, np.where(q < 0, -np.inf, np.where(q > 1, np.inf, found)))


def note_worst_quantiles(ev: Evaluation, q: Floats, argument: Node) -> None:
    """Warn of the largest and the smallest quantile outside 0..1, and of NaN: what the aggregation warns of."""
    note_bad_quantiles(
        ev, np.array([*q[np.isnan(q)][:1], q[q > 1].max(initial=1.0), q[q < 0].min(initial=0.0)]), argument
    )


def note_bad_quantiles(ev: Evaluation, q: Floats, argument: Node) -> None:
    """Warn of each quantile outside 0..1."""
    for one in np.unique(q[~((q >= 0) & (q <= 1))]).tolist():
        ev.query.warn(f"quantile value should be between 0 and 1, got {go_float(one)}", argument.start)


def go_float(value: float) -> str:
    """A float as Go's %g prints it."""
    if value != value:
        return "NaN"
    if value in (np.inf, -np.inf):
        return "+Inf" if value > 0 else "-Inf"
    text = repr(value)
    digits = text.partition("e")[0].replace(".", "").lstrip("-0").rstrip("0")
    scientific = f"{value:.{max(len(digits) - 1, 0)}e}"
    return text.removesuffix(".0") if -4 <= int(scientific.partition("e")[2]) < 6 else scientific


def openmetrics(value: float) -> str:
    """A float as OpenMetrics writes it: a whole number with a decimal."""
    text = go_float(value)
    return text if set(text) & set(".eNI") else f"{text}.0"
