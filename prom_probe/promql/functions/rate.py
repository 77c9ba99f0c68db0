"""Functions of the change within a range vector: rate and its family, resets, changes, trends."""

from __future__ import annotations

import numpy as np

from prom_probe.model.labels import METRIC_NAME, label_value
from prom_probe.model.picking import pick
from prom_probe.promql.ast import Call, Type
from prom_probe.promql.functions.base import Function, Kernel, over_windows, windowed
from prom_probe.promql.query import Evaluation
from prom_probe.promql.result import QueryError
from prom_probe.promql.values import Bools, Floats, Ints, Value
from prom_probe.promql.windows import BLOCK, Windows, sums_between

_COUNTER_ENDINGS = ("_total", "_sum", "_count", "_bucket")


def _drops(windows: Windows) -> Floats | float:
    """What counter resets removed within each window: the sum of the values before them."""
    begin = np.minimum(windows.first + 1, windows.end)  # a window's first sample has no predecessor in it
    found: Floats | None = None
    height = max(1, BLOCK // windows.values.shape[1])
    for top in range(0, windows.series, height):
        rows = slice(top, top + height)
        values = windows.values[rows]
        fell = values[:, 1:] < values[:, :-1]
        if fell.any():
            found = np.zeros(windows.shape) if found is None else found
            own = rows if len(begin) > 1 else slice(None)
            found[rows] = _lost(values, fell, begin[own], windows.end[own])
    return 0.0 if found is None else found


def _lost(values: Floats, fell: Bools, begin: Ints, end: Ints) -> Floats:
    """The sum of the values before those that `fell` ([series, n - 1]) between `begin` and `end`."""
    lost = np.zeros(values.shape)
    lost[:, 1:][fell] = values[:, :-1][fell]
    endless = np.isinf(lost)
    if not endless.any():
        return sums_between(lost, begin, end)
    total = sums_between(np.where(endless, 0.0, lost), begin, end)
    return np.where(sums_between(endless.astype(np.float64), begin, end) > 0, np.inf, total)


def _extrapolated(windows: Windows, *, counter: bool, per_second: bool) -> tuple[Floats, Bools]:
    """The change over each window, extrapolated towards its ends; a counter's not below zero."""
    first, last, (covered, to_start, to_end) = windows.edges()
    change = last - first
    rising = counter and windows.monotonic
    if counter and not rising:
        change += _drops(windows)
    if counter:
        to_zero = first / change
        to_zero *= covered
        if not rising or not (first[:, 0] >= 0).all():
            to_zero[~((change > 0) & (first >= 0))] = np.nan
        to_start = np.fmin(to_zero, to_start)  # NaN, such as 0 / 0, has no effect
    factor = to_start + covered
    factor += to_end
    factor /= covered
    if per_second:
        factor /= windows.range_ms / 1000
    change *= factor
    return change, windows.having(2)


def _rate(windows: Windows) -> tuple[Floats, Bools]:
    return _extrapolated(windows, counter=True, per_second=True)


def _increase(windows: Windows) -> tuple[Floats, Bools]:
    return _extrapolated(windows, counter=True, per_second=False)


def _delta(windows: Windows) -> tuple[Floats, Bools]:
    return _extrapolated(windows, counter=False, per_second=False)


def _irate(windows: Windows) -> tuple[Floats, Bools]:
    times, (last, before) = windows.samples_at(windows.frame.end - 1, windows.frame.end - 2)
    seconds = (times[0] - times[1]) / 1000
    return np.where(last < before, last, last - before) / seconds, windows.having(2)


def _idelta(windows: Windows) -> tuple[Floats, Bools]:
    last, before = windows.values_at(windows.frame.end - 1, windows.frame.end - 2)
    return last - before, windows.having(2)


def _counted(windows: Windows, events: Bools) -> tuple[Floats, Bools]:
    """The number of `events` ([series, n - 1], between a sample and the one before it) in each window."""
    running = np.zeros(windows.values.shape, np.int64)
    np.cumsum(events, axis=1, out=running[:, 1:])
    limit = windows.values.shape[1] - 1
    last = np.minimum(np.maximum(windows.end - 1, windows.first), limit)
    found = pick(running, last) - pick(running, np.minimum(windows.first, limit))
    return found.astype(np.float64), windows.having(1)


def _resets(windows: Windows) -> tuple[Floats, Bools]:
    values = windows.values
    return _counted(windows, values[:, 1:] < values[:, :-1])


def _changes(windows: Windows) -> tuple[Floats, Bools]:
    now, before = windows.values[:, 1:], windows.values[:, :-1]
    return _counted(windows, (now != before) & ~(np.isnan(now) & np.isnan(before)))


def _regression(windows: Windows, now: Ints | None = None, seconds_ahead: Floats | None = None) -> tuple[Floats, Bools]:
    """The slope of the least-squares line through each window, or its value `seconds_ahead` of `now` (ms).

    Equal values give a flat line, equal infinities NaN.
    """
    out = np.zeros(windows.shape)
    for block in windows.blocks(2):
        steps = block.place[1]
        y = block.values
        x = (block.times - block.times[..., :1]) / 1000
        x_mean, y_mean = x.mean(axis=-1), y.mean(axis=-1)
        x_off = x - x_mean[..., None]
        slope = (x_off * (y - y_mean[..., None])).sum(axis=-1) / (x_off * x_off).sum(axis=-1)
        flat = (y == y[..., :1]).all(axis=-1)
        slope = np.where(flat, np.where(np.isinf(y[..., 0]), np.nan, 0.0), slope)
        if now is None or seconds_ahead is None:
            out[block.place] = slope
        else:
            level = np.where(flat, y[..., 0], y_mean)
            ahead = (now[steps] - block.times[..., 0]) / 1000 - x_mean
            out[block.place] = level + slope * ahead + slope * seconds_ahead[steps]
    return out, windows.having(2)


def _predict_linear(ev: Evaluation, node: Call) -> Value:
    return over_windows(ev, node, lambda windows, seconds: _regression(windows, ev.times, seconds))


def _double_exponential_smoothing(windows: Windows, smoothing: Floats, trend: Floats) -> tuple[Floats, Bools]:
    out = np.zeros(windows.shape)
    for block in windows.blocks(2):
        steps = block.place[1]
        sf, tf, values = smoothing[steps], trend[steps], block.values
        older, newer = np.zeros(values.shape[:-1]), values[..., 0]
        slope = values[..., 1] - values[..., 0]
        for i in range(1, values.shape[-1]):
            if i > 1:
                slope = tf * (newer - older) + (1 - tf) * slope
            older, newer = newer, sf * values[..., i] + (1 - sf) * (newer + slope)
        out[block.place] = newer
    return out, windows.having(2)


def _double_exponential_smoothing_call(ev: Evaluation, node: Call) -> Value:
    for argument, word in ((node.args[1], "smoothing"), (node.args[2], "trend")):
        for factor in np.unique(ev.scalar(argument)):
            if not 0 < factor < 1:
                short = "sf" if word == "smoothing" else "tf"
                raise QueryError("execution", f"invalid {word} factor. Expected: 0 < {short} < 1, got: {factor:f}")
    return over_windows(ev, node, _double_exponential_smoothing)


def _of_counter(kernel: Kernel) -> Function:
    """rate and increase, which note metrics whose names are not those of counters."""

    def call(ev: Evaluation, node: Call) -> Value:
        vector = over_windows(ev, node, kernel, keep_name=True, sparse=True)
        for name in sorted({label_value(labels, METRIC_NAME) for labels in vector.labels}):
            if name and not name.endswith(_COUNTER_ENDINGS):
                ev.query.inform(
                    f'metric might not be a counter, name does not end in _total/_sum/_count/_bucket: "{name}"',
                    node.args[0].start,
                )
        return ev.query.unnamed(vector, merge=False)

    return Function(call, (Type.MATRIX,))


RATE = {
    "rate": _of_counter(_rate),
    "increase": _of_counter(_increase),
    "delta": windowed(_delta, sparse=True),
    "irate": windowed(_irate, sparse=True),
    "idelta": windowed(_idelta, sparse=True),
    "resets": windowed(_resets),
    "changes": windowed(_changes),
    "deriv": windowed(_regression),
    "predict_linear": Function(_predict_linear, (Type.MATRIX, Type.SCALAR)),
    "double_exponential_smoothing": Function(
        _double_exponential_smoothing_call, (Type.MATRIX, Type.SCALAR, Type.SCALAR), experimental=True
    ),
}
