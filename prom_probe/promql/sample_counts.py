"""How many samples a query has read, step by step: Prometheus's `totalQueryableSamples` and `samplesRead`."""

from __future__ import annotations

import numpy as np

from prom_probe.promql.values import Bools, Ints
from prom_probe.promql.windows import Windows


class SampleCounts:
    """Of an evaluation at the steps `times`. `total` counts a sample at each step that uses it, `read` at the first."""

    __slots__ = ("read", "times", "total")

    def __init__(self, times: Ints) -> None:
        self.times = times
        self.total: Ints = np.zeros(len(times), np.int64)
        self.read: Ints = np.zeros(len(times), np.int64)

    def add_latest(self, present: Bools, series: int) -> None:
        """An instant selector's samples. `present`: [series, steps], or [steps] for all series."""
        found = present.sum(axis=0) if present.ndim > 1 else present * series
        self.total += found
        self.read += found

    def add_windows(self, windows: Windows) -> None:
        """A range selector's samples."""
        times = windows.series if len(windows.count) == 1 else 1
        self.total += windows.count.sum(axis=0) * times
        self.read += _fresh(windows.first, windows.end).sum(axis=0) * times

    def add_samples(self, first: Ints, end: Ints) -> None:
        """Of one series, at each step those from `first` up to, not including, `end` (indexes that ascend)."""
        self.total += end - first
        self.read += _fresh(first[np.newaxis], end[np.newaxis])[0]

    def add_repeated(self, once: SampleCounts) -> None:
        """Those of an expression that was evaluated for the first step and stands for all."""
        self.total += once.total[0]
        self.read[0] += once.read[0]

    def add_subquery(self, inner: SampleCounts, ends: Ints, range_ms: int) -> None:
        """Those of the evaluations that fall into the windows (end - range, end]."""
        bounds = inner.times.searchsorted(np.stack([ends - range_ms, ends]), "right")
        first, end = bounds[:1], bounds[1:]
        total, read = (np.concatenate(([0], np.cumsum(counts))) for counts in (inner.total, inner.read))
        self.total += (total[end] - total[first])[0]
        start = np.concatenate((first[:, :1], np.maximum(first[:, 1:], end[:, :-1])), axis=1)
        self.read += (read[np.maximum(end, start)] - read[start])[0]


def _fresh(first: Ints, end: Ints) -> Ints:
    """How many of each window's samples were not in the one before it. The windows ascend."""
    fresh = end - first
    fresh[:, 1:] = np.maximum(end[:, 1:] - np.maximum(first[:, 1:], end[:, :-1]), 0)
    return fresh
