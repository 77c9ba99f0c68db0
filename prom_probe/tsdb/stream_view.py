"""Reading a stream: the samples of a time range, from pieces in the order they were written, as series groups."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from operator import attrgetter
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeAlias

from prom_probe.model.labels import Labels
from prom_probe.model.sample import STALE_BITS
from prom_probe.model.series import PADDING, SeriesGroup, Whole
from prom_probe.tsdb.cache import Cache
from prom_probe.tsdb.index import IndexedSeries
from prom_probe.tsdb.piece_rows import JoinedRows, PieceRows, RaggedRows, Stretch

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


# Series of several timelines form a group if they have samples enough for at least this part of it.
_FILLED = 0.75
_SHORT = 256  # rows: up to that, room in a table costs less than a group of its own


class Piece(Protocol):
    """An immutable part of a stream. A timeline is a strictly increasing sequence of timestamps that series share."""

    @property
    def mint(self) -> int:
        """A lower bound of its timestamps."""

    @property
    def maxt(self) -> int:
        """An upper bound of its timestamps."""

    def timelines_of(self, refs: Sequence[int]) -> Sequence[Any | None]:
        """The key of each series' timeline; None for a series without samples in here."""

    def lifetimes(self, refs: Sequence[int]) -> Iterable[tuple[int, int, int]]:
        """(place in `refs`, start, end) of each series that has samples in here, all of them in rows [start, end).

        Of a piece with one timeline; `refs` ascend.
        """

    def bounds(self, timeline: Any) -> tuple[int, int]:
        """Its first and last timestamp, ms."""

    def span(self, timeline: Any, mint: int, maxt: int, cache: Cache) -> tuple[int, int]:
        """Its rows [lo, hi) with mint <= t <= maxt."""

    def times(self, timeline: Any, lo: int, hi: int, cache: Cache) -> NDArray[np.int64]:
        """The timestamps of rows [lo, hi)."""

    def part(self, refs: Sequence[int], lo: int, hi: int, cache: Cache) -> PieceRows:
        """Rows [lo, hi), at least one, of the series `refs`. A series is absent in rows that its timeline lacks."""


class _PieceTimeline(NamedTuple):
    piece: Piece
    timeline: Any


class _RowSpan(NamedTuple):
    """Rows [lo, hi) of a piece's timeline; `first` is a lower bound of their timestamps."""

    part: _PieceTimeline
    lo: int
    hi: int
    first: int


# Series, and the rows of a time range that they share.
Bucket: TypeAlias = tuple[list[_RowSpan], list[IndexedSeries]]


def count(buckets: Sequence[Bucket]) -> tuple[int, int]:
    """(number of series, upper bound of the number of their samples)."""
    series = samples = 0
    for spans, some in buckets:
        series += len(some)
        samples += len(some) * _rows((spans, some))
    return series, samples


class StreamView:
    """A stream in a snapshot. `shared`: all series follow one timeline, even where a piece lacks some of them."""

    def __init__(self, pieces: Sequence[Piece], *, shared: bool) -> None:
        self._pieces = pieces
        self._shared = shared
        self._in_order = all(a.maxt < b.mint for a, b in pairwise(pieces))

    def within(self, members: Sequence[IndexedSeries], mint: int, maxt: int) -> Iterator[IndexedSeries]:
        """The `members` that may have samples in the range."""
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

    def groups(self, buckets: Sequence[Bucket], batch: int, values: int | None, cache: Cache) -> Iterator[SeriesGroup]:
        """The samples of `buckets`, at most `batch` series a group; `values`: see `promql.queryable`."""
        small: list[Bucket] = []
        alone: list[Bucket] = []
        for bucket in buckets:
            together = values is not None and 2 * len(bucket[1]) <= _height(bucket, batch, values) and _once(bucket)
            (small if together else alone).append(bucket)
        for alike in _alike(small, batch, values or 0):
            if len(alike) == 1:
                alone += alike
                continue
            group = self._together(alike, cache)
            if group is not None:
                yield group
        for bucket in alone:
            spans, some = bucket
            times, height = _times(spans, cache), _height(bucket, batch, values)
            for start in range(0, len(some), height):
                group = _read(spans, times, some[start : start + height], cache)
                if group is not None:
                    yield group

    def _together(self, buckets: Sequence[Bucket], cache: Cache) -> SeriesGroup | None:
        """The group of those series in `buckets` that have a sample; None if there are none."""
        import numpy as np

        lengths = list(map(_rows, buckets))
        times = np.full((len(buckets), max(lengths)), PADDING, np.int64)
        found: dict[Piece, list[tuple[int, int, int, int]]] = {}  # (timeline, lo, size, start), as in a stretch
        for number, ((spans, _), length) in enumerate(zip(buckets, lengths, strict=True)):
            times[number, :length] = _times(spans, cache)
            start = 0
            for span in spans:
                found.setdefault(span.part.piece, []).append((number, span.lo, span.hi - span.lo, start))
                start += span.hi - span.lo
        times.flags.writeable = False
        counts = np.array([len(some) for _, some in buckets])
        begins, members = np.cumsum(counts) - counts, [series for _, some in buckets for series in some]
        stretches = []
        for piece in self._pieces:  # in the order of a timeline's rows
            if piece in found:
                lines, lo, size, start = np.array(found[piece]).T
                own = np.repeat(np.arange(len(lines)), counts[lines])
                some = np.concatenate([np.arange(begins[line], begins[line] + counts[line]) for line in lines])
                first, last = int(lo.min()), int((lo + size).max())
                rows = piece.part([members[i].ref for i in some.tolist()], first, last, cache)
                stretches.append(Stretch(rows, some, own, lines, lo - first, size, start))
        table = RaggedRows(stretches, len(members), max(lengths))
        labels, line = [series.labels for series in members], np.repeat(np.arange(len(buckets)), counts)
        if table.dense:
            return SeriesGroup(labels, times, table, dense=True, line=line)
        labels, values, there = _present(labels, table.whole())
        times = times[line[there]]
        times.flags.writeable = False
        return SeriesGroup(labels, times, Whole(values), line=np.arange(len(labels))) if labels else None

    def buckets(self, members: Sequence[IndexedSeries], mint: int, maxt: int, cache: Cache) -> list[Bucket]:
        """The `members` that may have samples in the range, by the rows that they share."""
        if self._in_order:
            pieces = [piece for piece in self._pieces if piece.mint <= maxt and piece.maxt >= mint]
        else:
            pieces = list(self._pieces)  # a piece outside the range may take precedence within it
        if self._shared:
            spans = self._spans([_PieceTimeline(piece, 0) for piece in pieces], mint, maxt, cache)
            members = sorted(members, key=attrgetter("ref"))
            if self._in_order:
                return _lifetimes(spans, members)
            some = list(self.within(members, mint, maxt)) if spans else []
            return [(spans, some)] if some else []
        refs = [series.ref for series in members]
        keys: dict[tuple[Hashable, ...], list[IndexedSeries]] = {}
        for series, key in zip(
            members, zip(*(piece.timelines_of(refs) for piece in pieces), strict=True), strict=False
        ):
            keys.setdefault(key, []).append(series)
        buckets = []
        for key, some in keys.items():
            parts = [_PieceTimeline(piece, one) for piece, one in zip(pieces, key, strict=True) if one is not None]
            spans = self._spans(parts, mint, maxt, cache)
            if spans:
                buckets.append((spans, some))
        return buckets

    def _spans(self, parts: Sequence[_PieceTimeline], mint: int, maxt: int, cache: Cache) -> list[_RowSpan]:
        """The rows of the range, in time order."""
        if not self._in_order:
            return _uncovered_spans(parts, mint, maxt, cache)
        out = []
        for part in parts:
            lo, hi = part.piece.span(part.timeline, mint, maxt, cache)
            if lo < hi:
                out.append(_RowSpan(part, lo, hi, part.piece.mint))
        return out


def _lifetimes(spans: Sequence[_RowSpan], members: Sequence[IndexedSeries]) -> list[Bucket]:
    """The `members` of a stream with one timeline, by their first rows in `spans` and their last ones.

    After the last one comes the row in which they are absent: so a series takes time and counts for limits only while
    it lasts.
    """
    refs = [series.ref for series in members]
    first: dict[int, tuple[int, int]] = {}  # by place in `members`: the span and its row
    last: dict[int, tuple[int, int]] = {}
    for number, span in enumerate(spans):
        for place, start, end in span.part.piece.lifetimes(refs):
            start, end = max(start, span.lo), min(end, span.hi)
            if start < end:
                first.setdefault(place, (number, start))
                last[place] = number, end
    found: dict[tuple[int, int, int, int], list[IndexedSeries]] = {}
    for place, begin in sorted(first.items()):
        found.setdefault((*begin, *last[place]), []).append(members[place])
    return [(_rows_between(spans, *lifetime), some) for lifetime, some in found.items()]


def _rows_between(spans: Sequence[_RowSpan], begin: int, start: int, end: int, stop: int) -> list[_RowSpan]:
    """From row `start` of span `begin` to row `stop` of span `end`, excluded, and the row that follows."""
    rows = list(spans[begin : end + 1])
    if stop < rows[-1].hi:
        rows[-1] = rows[-1]._replace(hi=stop + 1)
    else:
        rows += [span._replace(hi=span.lo + 1) for span in spans[end + 1 : end + 2]]
    rows[0] = rows[0]._replace(lo=start)
    return rows


@dataclass(slots=True)
class _Batch:
    """Buckets with so many `series` and at most `tallest` rows; the first one has `first` rows."""

    buckets: list[Bucket]
    series: int
    first: int
    tallest: int


def _alike(buckets: Sequence[Bucket], batch: int, values: int) -> Iterator[list[Bucket]]:
    """The buckets, together where they have about as many rows: at most `batch` series and `values` at a time.

    In their order, so that the next query finds the same ones together in the decode cache.
    """
    begun: list[_Batch] = []
    for bucket in buckets:
        rows, series = _rows(bucket), len(bucket[1])
        for place, one in enumerate(begun):
            if max(one.first, rows) <= _SHORT or _FILLED * max(one.first, rows) <= min(one.first, rows):
                tallest = max(one.tallest, rows)
                if one.series + series <= batch and (one.series + series) * tallest <= values:
                    one.buckets.append(bucket)
                    one.series, one.tallest = one.series + series, tallest
                    break
                yield begun.pop(place).buckets
                begun.append(_Batch([bucket], series, rows, rows))
                break
        else:
            begun.append(_Batch([bucket], series, rows, rows))
    for one in begun:
        yield one.buckets


def _height(bucket: Bucket, batch: int, values: int | None) -> int:
    """How many of its series a group may have."""
    if values is None:
        return batch
    # A power of two is the same when a window moves: the decode cache has the same groups.
    return min(batch, 1 << max(1, values // max(1, _rows(bucket))).bit_length() - 1)


def _once(bucket: Bucket) -> bool:
    """Whether it has no piece twice, with what was written in between when the clock had been set back."""
    return len({span.part.piece for span in bucket[0]}) == len(bucket[0])


def _rows(bucket: Bucket) -> int:
    """How many rows its series share."""
    return sum(span.hi - span.lo for span in bucket[0])


def _overlap(bounds: tuple[int, int], mint: int, maxt: int) -> bool:
    return bounds[0] <= maxt and bounds[1] >= mint


def _uncovered_spans(parts: Sequence[_PieceTimeline], mint: int, maxt: int, cache: Cache) -> list[_RowSpan]:
    """As `_spans`, for pieces whose timestamps do not rise from piece to piece.

    Where a piece begins before its predecessor ends, the clock was set back. What was written since then covers all
    that was written before, from its own first timestamp to its last.
    """
    out: list[_RowSpan] = []
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
                out.append(_RowSpan(part, lo, hi, first))
    out.sort(key=lambda span: span.first)
    return out


def _uncovered(first: int, last: int, covers: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """[first, last] without the covered ranges; all ranges are closed, in whole milliseconds."""
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


def _times(spans: Sequence[_RowSpan], cache: Cache) -> NDArray[np.int64]:
    import numpy as np

    times = np.concatenate([span.part.piece.times(span.part.timeline, span.lo, span.hi, cache) for span in spans])
    times.flags.writeable = False
    return times


def _read(
    spans: Sequence[_RowSpan], times: NDArray[np.int64], members: Sequence[IndexedSeries], cache: Cache
) -> SeriesGroup | None:
    """The group of those `members` that have a sample in `spans`; None if there are none."""
    refs = [series.ref for series in members]
    parts = [span.part.piece.part(refs, span.lo, span.hi, cache) for span in spans]
    rows = JoinedRows(parts, [span.hi - span.lo for span in spans], len(refs))
    labels = [series.labels for series in members]
    if all(part.dense for part in parts):
        return SeriesGroup(labels, times, rows, dense=True)
    labels, values, _ = _present(labels, rows.whole())
    return SeriesGroup(labels, times, Whole(values)) if labels else None


def _present(
    labels: list[Labels], values: NDArray[np.float64]
) -> tuple[list[Labels], NDArray[np.float64], NDArray[np.bool_]]:
    """The series that have any value, and which these are."""
    there: NDArray[np.bool_] = (values.view("i8") != STALE_BITS).any(axis=1)
    if not there.all():
        values = values[there]
        values.flags.writeable = False
        labels = [one for one, keep in zip(labels, there.tolist(), strict=True) if keep]
    return labels, values, there


def merge(groups: Sequence[SeriesGroup]) -> SeriesGroup:
    """One series' samples from several streams, oldest owner first; each covers those before it, as above.

    Staleness markers before a stream's first sample and after its last one are ignored, except for the marker that ends
    the series and those of the last stream.
    """
    import numpy as np

    kept: list[tuple[NDArray[np.int64], NDArray[np.float64]]] = []
    covers: list[tuple[int, int]] = []
    for number, group in enumerate(reversed(groups)):
        values = group.values[0]
        present = np.flatnonzero(values.view(np.uint64) != STALE_BITS)
        last = len(values) if number == 0 else int(present[-1]) + 2  # with the marker that ends the series, if any
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
    return SeriesGroup(groups[0].labels, times, Whole(values))
