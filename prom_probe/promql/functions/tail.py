"""High quantiles of overlapping windows, from the largest values of the stretches that windows share."""

from __future__ import annotations

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from prom_probe.promql.values import Floats, Ints
from prom_probe.promql.windows import BLOCK, Windows

# Fewer windows than that are not worth it, nor are stretches of which more than half would be kept.
_LEAST_WINDOWS = 8


def fill_high_quantiles(windows: Windows, q: Floats, out: Floats) -> Ints | None:
    """Write the q-quantiles of the windows of the most common length into `out`; gives these steps, None if none are.

    Windows of L samples that begin every s samples are made of stretches of s. Where the quantile lies among the k
    largest values of a window, these are among the k largest of each stretch, so k / s of the samples are looked at.
    """
    counts = windows.count
    if len(counts) > 1 or not 0.5 < q[0] <= 1 or (q != q[0]).any():
        return None
    length = int(np.bincount(counts[0]).argmax())
    steps = np.flatnonzero(counts[0] == length)
    first = windows.first[0, steps]
    if len(steps) < _LEAST_WINDOWS or steps[-1] - steps[0] >= len(steps):
        return None
    stride = int(first[1] - first[0])
    rank = float(q[0]) * (length - 1)
    below = int(rank)
    kept = length - below
    if not 0 < 2 * kept <= stride or 2 * stride > length or (np.diff(first) != stride).any():
        return None
    values = windows.values
    if np.isnan(values).any():
        return None
    several, rest = divmod(length, stride)
    begin, stretches = int(first[0]), len(steps) - 1 + several
    weight = rank - below
    height = max(1, BLOCK // (len(steps) * (several * kept + rest)))
    for top in range(0, len(values), height):
        windows.check()
        rows = values[top : top + height]
        parts = rows[:, begin : begin + stretches * stride].reshape(len(rows), stretches, stride)
        largest = np.partition(parts, stride - kept, axis=-1)[..., stride - kept :]
        some = sliding_window_view(largest, several, axis=1).copy().reshape(len(rows), len(steps), several * kept)
        if rest:
            ends = sliding_window_view(rows[:, begin + several * stride :], rest, axis=1)[:, ::stride]
            some = np.concatenate((some, ends[:, : len(steps)]), axis=-1)
        lower = some.shape[-1] - kept
        some.partition(lower, axis=-1)
        low = some[..., lower]
        high = some[..., lower + 1 :].min(axis=-1) if kept > 1 else low
        out[top : top + height, steps[0] : steps[-1] + 1] = low * (1 - weight) + high * weight
    return steps
