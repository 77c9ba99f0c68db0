"""High quantiles of overlapping windows, from the largest values of the stretches that windows share."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from prom_probe.promql.values import Floats, Ints
from prom_probe.promql.windows import BLOCK, Windows

# Fewer windows than that are not worth it, nor are stretches of which more than half would be kept.
_LEAST_WINDOWS = 8

# So many missing samples are made good for; windows behind more of them are taken one by one.
_MOST_PLANS = 8


class _Plan(NamedTuple):
    """Windows of `length` samples that end every `stride` samples, of which the series may lack some at its ends.

    `steps`: those whose windows are such. `first_end`: where that of `steps[0]` ends; `windows`: how many there are up
    to that of `steps[-1]`. `kept`: so many of a window's largest values are needed, rounded up to a power of two.
    """

    steps: Ints
    length: int
    stride: int
    first_end: int
    windows: int
    kept: int


def fill_high_quantiles(windows: Windows, q: Floats, out: Floats) -> Ints | None:
    """Write the q-quantiles of windows that overlap regularly into `out`; gives their steps, None if none are.

    Windows of L samples that end every s samples are made of stretches of s. Where the quantile lies among the k
    largest values of a window, these are among the k largest of each stretch: those are sorted out once, and merged for
    2, 4, 8… stretches, then for as many as a window has.
    """
    if len(windows.count) > 1 or not 0.5 < q[0] <= 1 or (q != q[0]).any():
        return None
    plans = list(_plans(windows, float(q[0])))
    if not plans or np.isnan(windows.values).any():
        return None
    for plan in plans:
        _fill(windows, plan, float(q[0]), out)
    return np.concatenate([plan.steps for plan in plans])


def _plans(windows: Windows, q: float) -> Iterator[_Plan]:
    """As many as it takes: samples that are missing move the windows behind them."""
    counts, first, ends = windows.count[0], windows.first[0], windows.end[0]
    length = int(np.bincount(counts).argmax())
    kept = length - int(q * (length - 1))
    left = counts > 0
    for _ in range(_MOST_PLANS):
        whole = np.flatnonzero(left & (counts == length))
        if len(whole) < _LEAST_WINDOWS:
            return
        stride = int(ends[whole[1]] - ends[whole[0]]) // int(whole[1] - whole[0])
        if not 0 < 2 * kept <= stride or 2 * stride > length:
            return
        # Where each window would end if the series had samples before its first and after its last.
        expected = ends[whole[0]] + stride * (np.arange(len(ends)) - whole[0])
        alike = (ends == np.minimum(expected, windows.times.shape[1])) & (first == np.maximum(expected - length, 0))
        steps = np.flatnonzero(alike & left)
        left[steps] = left[whole[0]] = False
        if len(steps) >= _LEAST_WINDOWS:
            number, largest = int(steps[-1] - steps[0]) + 1, 1 << (kept - 1).bit_length()
            yield _Plan(steps, length, stride, int(expected[steps[0]]), number, largest)


def _fill(windows: Windows, plan: _Plan, q: float, out: Floats) -> None:
    counts = windows.count[0, plan.steps]
    rank = q * (counts - 1)
    below = np.floor(rank)
    weight = rank - below
    from_top = (counts - 1 - below).astype(np.int64)
    place = plan.steps - plan.steps[0]
    several = plan.length // plan.stride
    height = max(1, BLOCK // ((plan.windows + several) * max(plan.stride, 2 * plan.kept)))
    for top in range(0, windows.series, height):
        windows.check()
        largest = _largest(windows.values[top : top + height], plan)
        low = largest[from_top, :, place]
        high = largest[np.maximum(from_top - 1, 0), :, place]
        out[top : top + height, plan.steps] = (low * (1 - weight)[:, None] + high * weight[:, None]).T


def _largest(values: Floats, plan: _Plan) -> Floats:
    """The `kept` largest values of each window, descending: [kept, series, windows]; -Inf where it has fewer."""
    _, length, stride, first_end, windows, kept = plan
    several, rest = divmod(length, stride)
    begin = first_end - length
    padded = np.full((len(values), length + (windows - 1) * stride), -np.inf)
    have = slice(max(begin, 0), min(begin + padded.shape[1], values.shape[1]))
    padded[:, have.start - begin : have.stop - begin] = values[:, have]
    found = None
    if rest:  # the samples of a window before its first whole stretch
        ends = np.full((len(values), windows, max(rest, kept)), -np.inf)
        ends[..., :rest] = sliding_window_view(padded, rest, axis=1)[:, ::stride][:, :windows]
        found = _sorted_top(ends, kept)
    tops = _sorted_top(padded[:, rest:].reshape(len(values), -1, stride), kept)  # of `width` stretches from each one on
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
    """The largest of the last axis, which is sorted in place: [kept, ...]."""
    values.sort(axis=-1)
    return np.ascontiguousarray(np.moveaxis(values[..., : -kept - 1 : -1], -1, 0))


def _merged(a: Floats, b: Floats) -> Floats:
    """The largest of two lists each, [kept, ...], which descend along the first axis."""
    found = np.maximum(a, b[::-1])  # the largest ones, rising and then falling or the other way round
    half = len(found) // 2
    while half:
        pairs = found.reshape(-1, 2, half, *a.shape[1:])
        found = np.empty_like(pairs)
        np.maximum(pairs[:, 0], pairs[:, 1], out=found[:, 0])
        np.minimum(pairs[:, 0], pairs[:, 1], out=found[:, 1])
        half //= 2
    return found.reshape(a.shape)
