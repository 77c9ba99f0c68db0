"""Functions of each window of a range vector: sum_over_time and the other `_over_time` functions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from prom_probe.model.picking import pick
from prom_probe.promql.ast import Call, Matrix, Type
from prom_probe.promql.functions.base import Function, over_windows, windowed
from prom_probe.promql.functions.high_quantiles import fill_high_quantiles
from prom_probe.promql.functions.scalars import labels_of_absent
from prom_probe.promql.quantile import note_bad_quantiles, quantile
from prom_probe.promql.query import Evaluation
from prom_probe.promql.values import Bools, Floats, Value, Vector, empty
from prom_probe.promql.windows import Windows, sums_between

_HUGE = 2.0**1000  # larger values are scaled down before they are summed
_SCALE = 2.0**64


def _sums(windows: Windows) -> tuple[Floats, float]:
    """The sum of each window, and the power of two to multiply it by (1 unless values are huge)."""
    values = windows.values
    finite = np.isfinite(values)
    special = not finite.all()
    if special:
        values = np.where(finite, values, 0.0)
    scale = _SCALE if values.size and np.abs(values).max() > _HUGE else 1.0
    sums = sums_between(values if scale == 1.0 else values / scale, windows.first, windows.end)
    return (_with_infinities(windows, sums) if special else sums), scale


def _with_infinities(windows: Windows, sums: Floats) -> Floats:
    """`sums`, corrected for windows that contain infinities or NaN."""

    def holding(which: Bools) -> Bools:
        running = np.zeros((len(which), which.shape[1] + 1), np.int64)
        np.cumsum(which, axis=1, out=running[:, 1:])
        found: Bools = windows.over(running) > 0
        return found

    values = windows.values
    up, down, nan = holding(values == np.inf), holding(values == -np.inf), holding(np.isnan(values))
    sums = np.where(up, np.inf, np.where(down, -np.inf, sums))
    return np.where(nan | (up & down), np.nan, sums)


def _sum(windows: Windows) -> tuple[Floats, Bools]:
    sums, scale = _sums(windows)
    return sums * scale, windows.having(1)


def _avg(windows: Windows) -> tuple[Floats, Bools]:
    sums, scale = _sums(windows)
    return sums / windows.count * scale, windows.having(1)


def _count(windows: Windows) -> tuple[Floats, Bools]:
    return np.broadcast_to(windows.count.astype(np.float64), windows.shape), windows.having(1)


def _present(windows: Windows) -> tuple[Floats, Bools]:
    return np.ones(windows.shape), windows.having(1)


def _first(windows: Windows) -> tuple[Floats, Bools]:
    return windows.value_at(windows.frame.first), windows.having(1)


def _last(windows: Windows) -> tuple[Floats, Bools]:
    return windows.value_at(windows.frame.end - 1), windows.having(1)


def _first_time(windows: Windows) -> tuple[Floats, Bools]:
    return np.broadcast_to(windows.time_at(windows.frame.first) / 1000, windows.shape), windows.having(1)


def _last_time(windows: Windows) -> tuple[Floats, Bools]:
    return np.broadcast_to(windows.time_at(windows.frame.end - 1) / 1000, windows.shape), windows.having(1)


def _extreme(choose: Any) -> Callable[[Windows], tuple[Floats, Bools]]:
    """The minimum or maximum of each window (NaN only where all are), by `choose`: np.fmin or np.fmax.

    A window of 2^k to 2^(k+1) - 1 samples is covered by two runs of 2^k, whose extremes are those of pairs of shorter
    runs. Fewer windows than there are such k are looked through one by one.
    """

    def kernel(windows: Windows) -> tuple[Floats, Bools]:
        out = np.zeros(windows.shape)
        run, size = windows.values, 1
        counts = windows.count
        most = int(counts.max(initial=0))
        if len(counts) == 1 and counts.shape[1] < most.bit_length():
            for step, (first, end) in enumerate(zip(windows.first[0].tolist(), windows.end[0].tolist(), strict=True)):
                windows.check()
                if first < end:
                    out[:, step] = choose.reduce(run[:, first:end], axis=1)
            return out, windows.having(1)
        while size <= most:
            level = np.broadcast_to((counts >= size) & (counts < 2 * size), out.shape)
            if level.any():
                limit = run.shape[1] - 1
                left = pick(run, np.clip(windows.first, 0, limit))
                right = pick(run, np.clip(windows.end - size, 0, limit))
                out = np.where(level, choose(left, right), out)
            windows.check()
            if 2 * size > most:
                break
            run = choose(run[:, :-size], run[:, size:])
            size *= 2
        return out, windows.having(1)

    return kernel


def _extreme_time(sign: float) -> Callable[[Windows], tuple[Floats, Bools]]:
    """The last time of each window's extreme, in seconds."""

    def kernel(windows: Windows) -> tuple[Floats, Bools]:
        out = np.zeros(windows.shape)
        for block in windows.blocks():
            values = np.where(np.isnan(block.values), -np.inf, block.values * sign)
            # NaN is ignored unless all values are: then the last one counts.
            last = values.shape[-1] - 1 - values[..., ::-1].argmax(axis=-1)
            times = np.broadcast_to(block.times, values.shape)
            out[block.place] = np.take_along_axis(times, last[..., None], axis=-1)[..., 0] / 1000
        return out, windows.having(1)

    return kernel


def _variance(windows: Windows) -> tuple[Floats, Bools]:
    out = np.zeros(windows.shape)
    for block in windows.blocks():
        off = block.values - block.values[..., :1]  # exact zeros for a window of equal values
        off -= off.mean(axis=-1, keepdims=True)
        out[block.place] = (off * off).mean(axis=-1)
    return out, windows.having(1)


def _deviation(windows: Windows) -> tuple[Floats, Bools]:
    variance, present = _variance(windows)
    return np.sqrt(variance), present


def _quantile(windows: Windows, q: Floats) -> tuple[Floats, Bools]:
    out = np.zeros(windows.shape)
    done = np.zeros(windows.count.shape, np.bool_)
    for rows, some in windows.by_timeline():
        steps = fill_high_quantiles(some, q, out[rows])
        if steps is not None:
            done[rows, steps] = True
    for block in windows.blocks(without=done):
        out[block.place] = quantile(block.values, q[block.place[1]])
    return out, windows.having(1)


def _mad(windows: Windows) -> tuple[Floats, Bools]:
    """The median of the distances from the median; NaN where any value is."""
    half = np.full(windows.shape[1], 0.5)
    out = np.zeros(windows.shape)
    for block in windows.blocks():
        some = half[block.place[1]]
        median = quantile(block.values, some)
        distances = quantile(np.abs(block.values - median[..., None]), some)
        out[block.place] = np.where(np.isnan(block.values).any(axis=-1), np.nan, distances)
    return out, windows.having(1)


def _quantile_over_time(ev: Evaluation, node: Call) -> Value:
    vector = over_windows(ev, node, _quantile)
    note_bad_quantiles(ev, ev.scalar(node.args[0])[vector.present.any(axis=0)], node.args[0])
    return vector


def _absent_over_time(ev: Evaluation, node: Call) -> Value:
    found = np.zeros(ev.steps, np.bool_)
    for _, _, windows in ev.windows(node.args[0], sparse=True)[1]:
        there = windows.having(1)
        found |= there if there.ndim == 1 else there.any(axis=0)
    if found.all():
        return empty(ev.steps)
    matrix = node.args[0]
    labels = labels_of_absent(matrix.selector if isinstance(matrix, Matrix) else matrix)
    return Vector([labels], np.ones((1, ev.steps)), ~found[None, :], [ev.query.keeps_names])


OVER_TIME = {
    "sum_over_time": windowed(_sum),
    "avg_over_time": windowed(_avg),
    "count_over_time": windowed(_count, sparse=True),
    "min_over_time": windowed(_extreme(np.fmin)),
    "max_over_time": windowed(_extreme(np.fmax)),
    "stddev_over_time": windowed(_deviation),
    "stdvar_over_time": windowed(_variance),
    "last_over_time": windowed(_last, keep_name=True, sparse=True),
    "present_over_time": windowed(_present, sparse=True),
    "absent_over_time": Function(_absent_over_time, (Type.MATRIX,)),
    "quantile_over_time": Function(_quantile_over_time, (Type.SCALAR, Type.MATRIX)),
    "first_over_time": windowed(_first, keep_name=True, sparse=True),
    "mad_over_time": windowed(_mad, experimental=True),
    "ts_of_first_over_time": windowed(_first_time, sparse=True, experimental=True),
    "ts_of_last_over_time": windowed(_last_time, sparse=True, experimental=True),
    "ts_of_min_over_time": windowed(_extreme_time(-1.0), experimental=True),
    "ts_of_max_over_time": windowed(_extreme_time(1.0), experimental=True),
}
