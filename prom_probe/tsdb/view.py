"""Reading a stream: the rows of a time range from pieces in the order they were written, as series groups."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from itertools import pairwise
from operator import attrgetter
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from prom_probe.model.sample import STALE_BITS
from prom_probe.model.series import SeriesGroup
from prom_probe.tsdb.cache import Cache
from prom_probe.tsdb.index import Series

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class Piece(Protocol):
    """An immutable part of a stream. A timeline is a strictly increasing sequence of timestamps that series share."""

    @property
    def mint(self) -> int:
        """No timestamp is before it."""

    @property
    def maxt(self) -> int:
        """No timestamp is after it."""

    def timelines_of(self, refs: Sequence[int]) -> Sequence[Any | None]:
        """The key of each series' timeline; None where a series has no samples in here."""

    def bounds(self, timeline: Any) -> tuple[int, int]:
        """Its first and last timestamp, ms."""

    def span(self, timeline: Any, mint: int, maxt: int, cache: Cache) -> tuple[int, int]:
        """Its rows [lo, hi) with mint <= t <= maxt."""

    def times(self, timeline: Any, lo: int, hi: int, cache: Cache) -> NDArray[np.int64]:
        """The timestamps of rows [lo, hi)."""

    def read(
        self, refs: Sequence[int], lo: int, hi: int, out: NDArray[np.uint64], cache: Cache
    ) -> tuple[bool, NDArray[np.bool_]]:
        """Write rows [lo, hi) of the series `refs`, which share a timeline or are absent, into `out`.

        `out`: uint64[len(refs), hi - lo], the bits of the float64s, the staleness marker's for what is absent. Gives
        whether no marker was written, and per series whether its values do not decrease (a marker may hide that).
        """


class _Part(NamedTuple):
    piece: Piece
    timeline: Any


class _Rows(NamedTuple):
    """Rows [lo, hi) of a part; `first` is a bound below their timestamps."""

    part: _Part
    lo: int
    hi: int
    first: int


class StreamView:
    """A stream in a snapshot. `shared`: all series have one common timeline, also where a piece lacks some of them."""

    def __init__(self, pieces: Sequence[Piece], *, shared: bool) -> None:
        self._pieces = pieces
        self._shared = shared
        self._in_order = all(a.maxt < b.mint for a, b in pairwise(pieces))

    def within(self, members: Sequence[Series], mint: int, maxt: int) -> Iterator[Series]:
        """Those of the series that may have samples in the range."""
        left = list(members)
        for piece in reversed(self._pieces):
            if left and piece.mint <= maxt and piece.maxt >= mint:
                others = []
                for series, timeline in zip(left, piece.timelines_of([series.ref for series in left]), strict=True):
                    if timeline is not None and _overlap(piece.bounds(timeline), mint, maxt):
                        yield series
                    else:
                        others.append(series)
                left = others

    def count(self, members: Sequence[Series], mint: int, maxt: int, cache: Cache) -> tuple[int, int]:
        """(series, an upper bound of their samples) in the range."""
        series = samples = 0
        for rows, some in self._buckets(members, mint, maxt, cache):
            series += len(some)
            samples += len(some) * sum(one.hi - one.lo for one in rows)
        return series, samples

    def groups(
        self, members: Sequence[Series], mint: int, maxt: int, batch: int, cache: Cache
    ) -> Iterator[SeriesGroup]:
        """The samples of `members` in the range, at most `batch` series a group."""
        for rows, some in self._buckets(members, mint, maxt, cache):
            times = _times(rows, cache)
            for start in range(0, len(some), batch):
                group = _read(rows, times, some[start : start + batch], cache)
                if group is not None:
                    yield group

    def _buckets(
        self, members: Sequence[Series], mint: int, maxt: int, cache: Cache
    ) -> list[tuple[list[_Rows], list[Series]]]:
        """The series that may have samples in the range, by the rows that they share."""
        if self._in_order:
            pieces = [piece for piece in self._pieces if piece.mint <= maxt and piece.maxt >= mint]
        else:
            pieces = list(self._pieces)  # what is out of the range may still cover what is in it
        if self._shared:
            rows = _rows([_Part(piece, 0) for piece in pieces], mint, maxt, cache)
            some = list(self.within(members, mint, maxt)) if rows else []
            some.sort(key=attrgetter("ref"))
            return [(rows, some)] if some else []
        refs = [series.ref for series in members]
        keys: dict[tuple[Hashable, ...], list[Series]] = {}
        for series, key in zip(
            members, zip(*(piece.timelines_of(refs) for piece in pieces), strict=True), strict=False
        ):
            keys.setdefault(key, []).append(series)
        buckets = []
        for key, some in keys.items():
            parts = [_Part(piece, one) for piece, one in zip(pieces, key, strict=True) if one is not None]
            rows = _rows(parts, mint, maxt, cache)
            if rows:
                buckets.append((rows, some))
        return buckets


def _overlap(bounds: tuple[int, int], mint: int, maxt: int) -> bool:
    return bounds[0] <= maxt and bounds[1] >= mint


def _rows(parts: Sequence[_Part], mint: int, maxt: int, cache: Cache) -> list[_Rows]:
    """The rows of the range in time order.

    Where a part begins before the one written before it ends, the clock was set back. What was written since then
    covers, from its first timestamp to its last, all that was written before.
    """
    out: list[_Rows] = []
    covers: list[tuple[int, int]] = []
    begin = end = None  # of what was written since the last step back
    for part in reversed(parts):
        low, high = part.piece.bounds(part.timeline)
        if begin is not None and end is not None and high >= begin:
            covers.append((begin, end))
            end = high
        elif end is None:
            end = high
        begin = low
        for first, last in _uncovered(max(low, mint), min(high, maxt), covers):
            lo, hi = part.piece.span(part.timeline, first, last, cache)
            if lo < hi:
                out.append(_Rows(part, lo, hi, first))
    out.sort(key=lambda rows: rows.first)
    return out


def _uncovered(first: int, last: int, covers: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """[first, last] without the covers, as closed ranges of whole milliseconds."""
    left = [(first, last)] if first <= last else []
    for begin, end in covers:
        cut = []
        for low, high in left:
            if high < begin or low > end:
                cut.append((low, high))
                continue
            if low < begin:
                cut.append((low, begin - 1))
            if high > end:
                cut.append((end + 1, high))
        left = cut
    return left


def _times(rows: Sequence[_Rows], cache: Cache) -> NDArray[np.int64]:
    import numpy as np

    times = np.concatenate([one.part.piece.times(one.part.timeline, one.lo, one.hi, cache) for one in rows])
    times.flags.writeable = False
    return times


def _read(
    rows: Sequence[_Rows], times: NDArray[np.int64], members: Sequence[Series], cache: Cache
) -> SeriesGroup | None:
    """The group of `members`, without those that have no sample in `rows`; None if none has."""
    import numpy as np

    refs = [series.ref for series in members]
    bits = np.empty((len(refs), len(times)), np.uint64)
    values = bits.view(np.float64)
    rising = np.ones(len(refs), np.bool_)
    dense = True
    start = 0
    for one in rows:
        part = bits[:, start : start + one.hi - one.lo]
        no_gaps, up = one.part.piece.read(refs, one.lo, one.hi, part, cache)
        dense &= no_gaps
        rising &= up
        if start:
            rising &= values[:, start] >= values[:, start - 1]
        start += one.hi - one.lo
    labels = [series.labels for series in members]
    if not dense:
        there = (bits != STALE_BITS).any(axis=1)
        if not there.all():
            if not there.any():
                return None
            values, rising = bits[there].view(np.float64), rising[there]
            labels = [one for one, keep in zip(labels, there.tolist(), strict=True) if keep]
    values.flags.writeable = False
    return SeriesGroup(labels, times, values, dense, rising.tolist())


def merge(groups: Sequence[SeriesGroup]) -> SeriesGroup:
    """One series' samples from several streams, oldest owner first; each covers those before it, as in `_rows`.

    A stream's markers before its first and after its last sample say nothing of the series, the last stream's aside.
    """
    import numpy as np

    kept: list[tuple[NDArray[np.int64], NDArray[np.float64]]] = []
    covers: list[tuple[int, int]] = []
    for number, group in enumerate(reversed(groups)):
        values = group.values[0]
        present = np.flatnonzero(values.view(np.uint64) != STALE_BITS)
        last = len(values) if number == 0 else int(present[-1]) + 2  # with the marker that ends it, if there is one
        times, values = group.timestamps[present[0] : last], values[present[0] : last]
        keep = np.ones(len(times), np.bool_)
        for begin, end in covers:
            keep &= (times < begin) | (times > end)
        covers.append((int(times[0]), int(times[-1])))
        kept.append((times[keep], values[keep]))
    times = np.concatenate([one[0] for one in kept])
    order = np.argsort(times, kind="stable")
    times, values = times[order], np.concatenate([one[1] for one in kept])[order].reshape(1, -1)
    times.flags.writeable = values.flags.writeable = False
    return SeriesGroup(groups[0].labels, times, values)
