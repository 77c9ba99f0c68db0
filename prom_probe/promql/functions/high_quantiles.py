"""High quantiles of overlapping windows, from the largest values of the stretches that the windows share.

Windows of L samples that end every s samples consist of stretches of s samples, each shared by up to L / s windows. If
a quantile is among a window's k largest values, these are among the k largest of its stretches. So the k largest are
sorted once per stretch, and merged for 2, 4, 8… stretches by a bitonic network. Without this, the 0.99-quantile over
5 minutes takes three times as long, for 100 series or one, on each kind of data in `bench.query`.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from prom_probe.promql.values import Floats, Ints
from prom_probe.promql.windows import BLOCK, Windows

# Fewer windows are not worth it.
_LEAST_WINDOWS = 8


class _Run(NamedTuple):
    """`windows` windows of `length` samples that end every `stride` samples, the first of them before sample `end`.

    `steps`: the steps whose windows are among them. Samples before a series' first one count as -Inf.
    """

    steps: Ints
    windows: int
    end: int
    length: int
    stride: int


def fill_high_quantiles(windows: Windows, q: Floats, out: Floats) -> Ints | None:
    """Write the q-quantiles of windows that overlap regularly into `out`; gives their steps, None if there are none."""
    if len(windows.count) > 1 or not 0.5 < q[0] <= 1 or (q != q[0]).any():
        return None
    counts, first, ends = windows.count[0], windows.first[0], windows.end[0]
    length = int(np.bincount(counts).argmax())
    steps = np.flatnonzero((counts > 0) & (first == np.maximum(ends - length, 0)))
    if len(steps) < _LEAST_WINDOWS:
        return None
    apart = np.diff(ends[steps])
    stride, kept = int(np.bincount(apart).argmax()), length - int(q[0] * (length - 1))
    if not 0 < 2 * kept <= stride or 2 * stride > length or np.isnan(windows.values).any():
        return None
    runs = []
    offsets = ends[steps] - stride * steps  # a missing or late sample shifts the windows after it
    for some in (steps[offsets == each] for each in np.unique(offsets)):
        number = int(some[-1] - some[0]) + 1
        if len(some) >= _LEAST_WINDOWS and 4 * len(some) >= number:
            runs.append(_Run(some, number, int(ends[some[0]]), length, stride))
    for run in runs:
        _fill(windows, run, float(q[0]), 1 << (kept - 1).bit_length(), out)
    return np.concatenate([run.steps for run in runs]) if runs else None


def _fill(windows: Windows, run: _Run, q: float, kept: int, out: Floats) -> None:
    """Write one run's quantiles. `kept`: how many of a window's largest values are needed, as a power of two."""
    last = windows.count[0, run.steps] - 1
    rank = q * last
    below = np.floor(rank)
    weight, from_top, place = rank - below, last - below.astype(np.int64), run.steps - run.steps[0]
    samples = run.length + (run.windows - 1) * run.stride
    height = max(1, BLOCK // (2 * samples))
    for top in range(0, windows.series, height):
        windows.check()
        rows = windows.values[top : top + height]
        padded = np.concatenate([np.full((len(rows), run.length), -np.inf), rows], axis=1)
        largest = _largest(padded[:, run.end : run.end + samples], run, kept)
        low = largest[from_top, :, place]
        high = largest[np.maximum(from_top - 1, 0), :, place]
        out[top : top + height, run.steps] = (low * (1 - weight)[:, None] + high * weight[:, None]).T


def _largest(values: Floats, run: _Run, kept: int) -> Floats:
    """The `kept` largest values of each window, descending: [kept, series, windows]."""
    several, rest = divmod(run.length, run.stride)
    windows = run.windows
    found = None
    if rest:  # the samples of a window before its first complete stretch
        begins = np.full((len(values), windows, max(rest, kept)), -np.inf)
        begins[..., :rest] = sliding_window_view(values, rest, axis=1)[:, :: run.stride][:, :windows]
        found = _sorted_top(begins, kept)
    stretches = values[:, rest:].reshape(len(values), -1, run.stride)
    tops = _sorted_top(stretches, kept)  # of the `width` stretches that begin with each one
    width, at = 1, 0
    while 2 * width <= several:
        if several & width:
            some = tops[..., at : at + windows]
            found = some if found is None else _merged(found, some)
            at += width
        tops = _merged(tops[..., :-width], tops[..., width:])
        width *= 2
    some = tops[..., at : at + windows]
    return some if found is None else _merged(found, some)


def _sorted_top(values: Floats, kept: int) -> Floats:
    """The `kept` largest along the last axis, descending: [kept, ...]. Sorts `values` in place."""
    values.sort(axis=-1)
    return np.ascontiguousarray(np.moveaxis(values[..., : -kept - 1 : -1], -1, 0))


def _merged(a: Floats, b: Floats) -> Floats:
    """The largest of each two lists: [kept, ...], descending along the first axis like `a` and `b`."""
    found = np.maximum(a, b[::-1])  # the largest ones as a bitonic sequence
    half = len(found) // 2
    while half:
        pairs = found.reshape(-1, 2, half, *a.shape[1:])
        found = np.empty_like(pairs)
        np.maximum(pairs[:, 0], pairs[:, 1], out=found[:, 0])
        np.minimum(pairs[:, 0], pairs[:, 1], out=found[:, 1])
        half //= 2
    return found.reshape(a.shape)
