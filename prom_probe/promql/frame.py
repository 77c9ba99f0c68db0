"""The windows of a range selector as index ranges of the samples' timestamps."""

from __future__ import annotations

from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from prom_probe.promql.values import Floats, Ints


class Reach(NamedTuple):
    """For each window, in seconds: from its first sample to its last, and how far to extrapolate beyond them."""

    covered: Floats
    to_start: Floats
    to_end: Floats


class Frame:
    """Windows (end - range, end] over the samples of some series, which may share one row.

    `times`: [series or 1, n], ms. Window w has the samples `first[i, w]` up to, not including, `end[i, w]`
    ([series or 1, steps]); `count` is their number. `bounds`: [2, steps], ms, the windows' left ends (exclusive) and
    right ends. Read-only.
    """

    def __init__(self, times: Ints, first: Ints, end: Ints, bounds: Ints) -> None:
        self.times = times
        self.first = first
        self.end = end
        self.count: Ints = end - first
        self.bounds = bounds

    @cached_property
    def edges(self) -> Ints:
        """The indexes of each window's first and last sample, arbitrary where it has none: [2, series or 1, steps]."""
        return clipped(np.array([self.first, self.end - 1]), self.times.shape[1] - 1)

    def reach(self) -> Reach:
        """How far rate and its family extrapolate, as in Prometheus.

        To an end that is closer than 1.1 times the mean distance of samples, otherwise by half that distance.
        """
        edges = np.array([pick(self.times, places) for places in self.edges])
        covered = (edges[1] - edges[0]) / 1000
        spacing = covered / (self.count - 1)
        gaps = np.abs(edges - self.bounds[:, np.newaxis]) / 1000
        to_start, to_end = np.where(gaps >= spacing * 1.1, spacing / 2, gaps)
        return Reach(covered, to_start, to_end)


def frame_of(times: Ints, ends: Ints, range_ms: int) -> Frame:
    """The frame of samples that all series have at `times` (ms, ascending)."""
    bounds = ends + np.array([[-range_ms], [0]])
    found = times.searchsorted(bounds, "right")
    return Frame(times[np.newaxis], found[:1], found[1:], bounds)


def clipped(index: Ints, limit: int) -> Ints:
    """`index` clipped to 0 and `limit`; for small arrays np.clip takes three times as long."""
    within: Ints = np.minimum(np.maximum(index, 0), limit)
    return within


def pick(rows: Any, index: Ints) -> Any:
    """`rows[i, index[i, w]]` for all i and w; rows or index may have one row for all."""
    if len(index) == 1:
        return rows.take(index[0], axis=1)
    if len(rows) == 1:
        return rows[0].take(index)
    return np.take_along_axis(rows, index, axis=1)
