"""Range vectors: the samples of some series, and for each step the window that a function sees."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from prom_probe.model.picking import pick
from prom_probe.model.sample import STALE_BITS
from prom_probe.model.series import PADDING, Table, Whole
from prom_probe.promql.frame import Frame, Reach, clipped, frame_of
from prom_probe.promql.values import Bools, Floats, Ints

BLOCK = 1 << 17  # elements of a temporary array: 1 MiB, less than a millisecond in one numpy call


def is_stale(values: Floats) -> Bools:
    """Which values are the staleness marker, by their bits."""
    found: Bools = values.view(np.int64) == STALE_BITS
    return found


class Windows:
    """`values`: [series, n]. Window w of series i is its samples `first[i, w]` up to, not including, `end[i, w]`.

    `frame` has their timestamps, for each timeline: series have all those of their timeline, or each has a timeline of
    its own. `first`, `end` and `count` (samples in each window) are [series, steps], or [1, steps] where there is one
    timeline. `check` raises past the deadline.

    Functions that need only a few values of each window ask for those, so that the others are not decoded.
    """

    __slots__ = ("_table", "_values", "check", "count", "end", "first", "frame", "range_ms", "series")

    def __init__(self, table: Table, series: int, frame: Frame, range_ms: int, check: Callable[[], None]) -> None:
        self._table = table
        self._values: Floats | None = None
        self.series = series
        self.frame = frame
        self.first: Ints = frame.spread(frame.first)
        self.end: Ints = frame.spread(frame.end)
        self.count: Ints = frame.spread(frame.count)
        self.range_ms = range_ms
        self.check = check

    @property
    def values(self) -> Floats:
        if self._values is None:
            self._values = self._table.whole()
        return self._values

    @property
    def monotonic(self) -> bool:
        """Whether no series decreases anywhere; False if that is unknown."""
        return self._table.rising()

    @property
    def nbytes(self) -> int:
        """The size of the values."""
        samples: int = self.frame.times.shape[1]
        return 8 * self.series * samples

    @property
    def shape(self) -> tuple[int, int]:
        steps: int = self.first.shape[1]
        return self.series, steps

    def having(self, least: int) -> Bools:
        """Which windows have at least `least` samples: [series, steps], or [steps] for all series."""
        found: Bools = self.count >= least
        return found if len(found) > 1 else found[0]

    def values_at(self, *indexes: Ints) -> list[Floats]:
        """The values at each index ([timelines, steps], clipped to the samples there are): [series, steps]."""
        return self.samples_at(*indexes)[1]

    def samples_at(self, *indexes: Ints) -> tuple[list[Ints], list[Floats]]:
        """The timestamps ([series or 1, steps], ms) and the values at each index, as by `values_at`."""
        places = clipped(np.array(indexes), self.frame.times.shape[1] - 1)
        return [self.frame.spread(pick(self.frame.times, one)) for one in places], self._at(places)

    def edges(self) -> tuple[Floats, Floats, Reach]:
        """The values of each window's first and last sample, as by `values_at`, and how far they reach."""
        edges = self.frame.edges()
        first, last = self._at(edges)
        return first, last, self.frame.reach(edges)

    def _at(self, places: Ints) -> list[Floats]:
        """The values at each of `places`: [indexes, timelines, steps]."""
        if self._values is not None:
            return [pick(self._values, self.frame.spread(one)) for one in places]
        values = self._table.at(
            places.reshape(-1) if self.frame.line is None and places.shape[1] == 1 else np.concatenate(places, axis=1)
        )
        steps = places.shape[2]
        return [values[:, at : at + steps] for at in range(0, values.shape[1], steps)]

    def value_at(self, index: Ints) -> Floats:
        """The values at one index."""
        return self.values_at(index)[0]

    def time_at(self, index: Ints) -> Ints:
        """The timestamps at `index`: [series or 1, steps], ms."""
        times: Ints = self.frame.spread(pick(self.frame.times, clipped(index, self.frame.times.shape[1] - 1)))
        return times

    def samples_of(self, series: int) -> tuple[Ints, Floats]:
        """The timestamps and values in the first window of a series: copies."""
        row = min(series, len(self.first) - 1)
        window = slice(int(self.first[row, 0]), int(self.end[row, 0]))
        line = row if self.frame.line is None else self.frame.line[series]
        return self.frame.times[line, window].copy(), self.values[series, window].copy()

    def by_timeline(self) -> Iterator[tuple[slice, Windows]]:
        """The windows of the series of each timeline, with their rows, if several series share several timelines."""
        if self.frame.line is None:
            yield slice(None), self
            return
        bounds = self.frame.line.searchsorted(np.arange(len(self.frame.times) + 1)).tolist()
        for line, (begin, end) in enumerate(pairwise(bounds)):
            length = int(self.frame.times[line].searchsorted(PADDING))
            frame = self.frame.only(line, length)
            table = Whole(self.values[begin:end, :length])
            yield slice(begin, end), Windows(table, end - begin, frame, self.range_ms, self.check)

    def over(self, running: Any) -> Any:
        """The growth of a running total ([series, n + 1], 0 before the first sample) over each window."""
        return pick(running, self.end) - pick(running, self.first)

    def blocks(self, least: int = 1, *, without: Bools | None = None) -> Iterator[WindowBlock]:
        """Copies of the windows with at least `least` samples, those of equal length together.

        The windows `without` ([series or 1, steps]) are left out.
        """
        lengths = self.count if without is None else np.where(without, 0, self.count)
        for length in np.unique(lengths):
            if length < least:
                continue
            for block in (self._shared if len(lengths) == 1 else self._separate)(int(length), lengths):
                self.check()
                yield block

    def _shared(self, length: int, lengths: Ints) -> Iterator[WindowBlock]:
        steps = np.flatnonzero(lengths[0] == length)
        rows, width = len(self.values), max(1, BLOCK // length)
        views = sliding_window_view(self.values, length, axis=1)
        times = sliding_window_view(self.frame.times[0], length)
        for left in range(0, len(steps), width):
            some = steps[left : left + width]
            height = max(1, width // len(some))
            for top in range(0, rows, height):
                place = slice(top, top + height)
                starts = self.first[0, some]
                yield WindowBlock((place, some), views[place, starts], times[starts])

    def _separate(self, length: int, lengths: Ints) -> Iterator[WindowBlock]:
        rows, steps = np.nonzero(lengths == length)
        samples, line = self.values.shape[1], self.frame.line
        views = sliding_window_view(np.ascontiguousarray(self.values).reshape(-1), length)
        times = sliding_window_view(self.frame.times.reshape(-1), length)
        width = max(1, BLOCK // length)
        for left in range(0, len(rows), width):
            row, step = rows[left : left + width], steps[left : left + width]
            starts = self.first[row, step]
            own = row if line is None else line[row]
            yield WindowBlock((row, step), views[row * samples + starts], times[own * samples + starts])


@dataclass(slots=True)
class WindowBlock:
    """Windows of one length. `values`, `times`: [..., length]; `out[place] = ...` puts their results in place.

    `place[1]` are the windows' steps.
    """

    place: tuple[Any, Ints]
    values: Floats
    times: Ints


def sums_between(values: Floats, first: Ints, end: Ints) -> Floats:
    """The sums of `values[i, first:end]` for finite values, first and end being [series or 1, steps].

    From running totals. The exact rounding error of each addition is kept separately (TwoSum), so that a sum is as
    accurate as a compensated one, whatever precedes it.
    """
    total = np.zeros((len(values), values.shape[1] + 1))
    error = np.zeros(total.shape)
    np.cumsum(values, axis=1, out=total[:, 1:])
    before, after = total[:, :-1], total[:, 1:]
    added = after - before
    np.cumsum((before - (after - added)) + (values - added), axis=1, out=error[:, 1:])
    high, low = pick(total, end), pick(total, first)
    sums = high - low
    taken = sums - high
    rest = (high - (sums - taken)) - (low + taken)
    found: Floats = sums + (rest + (pick(error, end) - pick(error, first)))
    return found


def make_windows(
    times: Ints,
    table: Table,
    series: int,
    absent: Bools | None,
    ends: Ints,
    range_ms: int,
    check: Callable[[], None],
    line: Ints | None = None,
) -> Windows:
    """The windows (end - range, end] over samples at `times` ([timelines, n], `line[i]` is that of series i).

    `absent`: which values are not samples; None if all are that have a timestamp. `ends` ascends.
    """
    frame = frame_of(times, ends, range_ms, line)
    if absent is None:
        return Windows(table, series, frame, range_ms, check)
    values = table.whole()
    # Move each row's samples to the left; a window moves by the number of gaps before it.
    before = np.zeros((len(values), values.shape[1] + 1), np.int32)
    np.cumsum(~absent, axis=1, out=before[:, 1:])
    row, column = np.nonzero(~absent)
    place = before[row, column]
    widest = max(1, int(before[:, -1].max()))
    compact = np.zeros((len(values), widest))
    compact[row, place] = values[row, column]
    own = np.zeros(compact.shape, np.int64)
    own[row, place] = times[0 if line is None else line[row], column]
    first, end = (pick(before, frame.spread(one)).astype(np.int64) for one in (frame.first, frame.end))
    return Windows(Whole(compact), series, Frame(own, first, end, frame.bounds), range_ms, check)


def moving_bytes(absent: Bools) -> int:
    """What `make_windows` takes at most for series that lack these samples."""
    there = absent.shape[1] - np.count_nonzero(absent, axis=1)
    return int(6 * absent.size + 20 * there.sum() + 16 * len(absent) * there.max())
