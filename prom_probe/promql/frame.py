"""Where the windows of a range selector lie over the samples' timestamps, kept for the next that ask for the same.

The panels of a page have the same steps and intervals, and most of them show series of the same collector.
"""

from __future__ import annotations

from threading import Lock
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from prom_probe.promql.values import Floats, Ints

# So many are kept; of so many bytes at most, which an hour of a sample a second and some hundred steps take half of.
_MOST = 8
_LARGEST = 1 << 17
_STEP_BYTES = 100  # of a frame's arrays for a step

_Key: TypeAlias = tuple[int, int, int, int, int, int, int]


class Reach(NamedTuple):
    """Of each window, in seconds: from its first sample to its last, and how far to go on beyond them at its ends."""

    covered: Floats
    to_start: Floats
    to_end: Floats


class Frame:
    """Windows (end - range, end] over the samples of some series, or of all of them alike.

    `times`: [series or 1, n], ms. Window w has the samples `first[i, w]` up to, not including, `end[i, w]`
    ([series or 1, steps]). `count`: as many. `bounds`: [2, steps], ms, the windows' left ends, which are not in them,
    and their right ends. Read-only.
    """

    __slots__ = ("_edges", "_reach", "bounds", "count", "end", "first", "times")

    def __init__(self, times: Ints, first: Ints, end: Ints, bounds: Ints) -> None:
        self.times = times
        self.first = first
        self.end = end
        self.count: Ints = end - first
        self.bounds = bounds
        self._edges: Ints | None = None
        self._reach: Reach | None = None

    @property
    def edges(self) -> Ints:
        """The places of each window's first and last sample, some place where it has none: [2, series or 1, steps]."""
        if self._edges is None:
            self._edges = clipped(np.array([self.first, self.end - 1]), self.times.shape[1] - 1)
        return self._edges

    @property
    def reach(self) -> Reach:
        """How far rate and its family extrapolate, as upstream does.

        To an end that is closer than 1.1 times the mean distance of samples, else by half that distance.
        """
        if self._reach is None:
            edges = np.array([pick(self.times, places) for places in self.edges])
            covered = (edges[1] - edges[0]) / 1000
            spacing = covered / (self.count - 1)
            gaps = np.abs(edges - self.bounds[:, np.newaxis]) / 1000
            to_start, to_end = np.where(gaps >= spacing * 1.1, spacing / 2, gaps)
            self._reach = Reach(covered, to_start, to_end)
        return self._reach


class _Frames:
    """The last ones made."""

    def __init__(self) -> None:
        self._frames: dict[_Key, Frame] = {}
        self._lock = Lock()

    def get(self, key: _Key, times: Ints) -> Frame | None:
        frame = self._frames.get(key)
        return frame if frame is not None and np.logical_and.reduce(frame.times[0] == times) else None

    def put(self, key: _Key, frame: Frame) -> None:
        with self._lock:
            self._frames.pop(key, None)
            if len(self._frames) >= _MOST:
                del self._frames[next(iter(self._frames))]
            self._frames[key] = frame


_kept = _Frames()


def frame_of(times: Ints, ends: Ints, range_ms: int) -> Frame:
    """The frame of samples that all series have at `times` (ms, ascending). `ends` have one step, maybe 0."""
    if times.nbytes + _STEP_BYTES * len(ends) > _LARGEST or not len(times):
        return _make(times, ends, range_ms)
    key = (len(times), int(times[0]), int(times[-1]), len(ends), int(ends[0]), int(ends[-1]), range_ms)
    frame = _kept.get(key, times)
    if frame is None:
        frame = _make(times.copy(), ends, range_ms)
        _kept.put(key, frame)
    return frame


def _make(times: Ints, ends: Ints, range_ms: int) -> Frame:
    bounds = ends + np.array([[-range_ms], [0]])
    found = times.searchsorted(bounds, "right")
    return Frame(times[np.newaxis], found[:1], found[1:], bounds)


def clipped(index: Ints, limit: int) -> Ints:
    """`index` within 0 and `limit`: what np.clip does, which takes three times as long over a few."""
    within: Ints = np.minimum(np.maximum(index, 0), limit)
    return within


def pick(rows: Any, index: Ints) -> Any:
    """`rows[i, index[i, w]]` for all i and w; rows or index may have one row for all."""
    if len(index) == 1:
        return rows.take(index[0], axis=1)
    if len(rows) == 1:
        return rows[0].take(index)
    return np.take_along_axis(rows, index, axis=1)
