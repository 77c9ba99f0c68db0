"""The windows of a range selector as index ranges of the samples' timestamps."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from prom_probe.model.picking import pick
from prom_probe.promql.values import Floats, Ints


class Reach(NamedTuple):
    """For each window, in seconds: from its first sample to its last, and how far to extrapolate beyond them."""

    covered: Floats
    to_start: Floats
    to_end: Floats


class Frame:
    """Windows (end - range, end] over the samples of some series, which may share timelines.

    `times`: [timelines, n], ms; `line[i]` is the timeline of series i. Without it, there is one timeline for all, or
    one for each. Window w has the samples `first[t, w]` up to, not including, `end[t, w]`; `count` is their number.
    `bounds`: [2, steps], ms, the windows' left ends (exclusive) and right ends. Read-only.
    """

    def __init__(self, times: Ints, first: Ints, end: Ints, bounds: Ints, line: Ints | None = None) -> None:
        self.times = times
        self.first = first
        self.end = end
        self.count: Ints = end - first
        self.bounds = bounds
        self.line = line

    def spread(self, rows: Any) -> Any:
        """The row of each series' timeline."""
        return rows if self.line is None else rows.take(self.line, axis=0)

    def only(self, line: int, length: int) -> Frame:
        """The windows of one timeline, of which only the first `length` timestamps are samples."""
        one = slice(line, line + 1)
        return Frame(self.times[one, :length], self.first[one], self.end[one], self.bounds)

    def edges(self) -> Ints:
        """The indexes of each window's first and last sample, arbitrary where it has none: [2, timelines, steps]."""
        return clipped(np.array([self.first, self.end - 1]), self.times.shape[1] - 1)

    def reach(self, edges: Ints) -> Reach:
        """How far rate and its family extrapolate, as in Prometheus, for each series; `edges` are the frame's.

        To an end that is closer than 1.1 times the mean distance of samples, otherwise by half that distance.
        """
        times = np.array([pick(self.times, places) for places in edges])
        covered = (times[1] - times[0]) / 1000
        spacing = covered / (self.count - 1)
        gaps = np.abs(times - self.bounds[:, np.newaxis]) / 1000
        to_start, to_end = np.where(gaps >= spacing * 1.1, spacing / 2, gaps)
        return Reach(self.spread(covered), self.spread(to_start), self.spread(to_end))


def frame_of(times: Ints, ends: Ints, range_ms: int, line: Ints | None = None) -> Frame:
    """The frame of series that have samples at `times` ([timelines, n]); see `Frame`."""
    bounds = ends + np.array([[-range_ms], [0]])
    found = np.array([one.searchsorted(bounds, "right") for one in times])
    return Frame(times, found[:, 0], found[:, 1], bounds, line)


def clipped(index: Ints, limit: int) -> Ints:
    """`index` clipped to 0 and `limit`; for small arrays np.clip takes three times as long."""
    within: Ints = np.minimum(np.maximum(index, 0), limit)
    return within
