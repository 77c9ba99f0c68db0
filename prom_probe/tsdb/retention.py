"""Retention: which pieces expire, which series have no samples left, and which are evicted at the series cap."""

from __future__ import annotations

from array import array
from collections.abc import Container, Iterable, Iterator, Sequence
from operator import attrgetter
from typing import TYPE_CHECKING, Any, TypeAlias

from prom_probe.model.sample import STALE_BITS

if TYPE_CHECKING:
    from prom_probe.tsdb.index import IndexedSeries
    from prom_probe.tsdb.stream import SampleStream

    AnyStream: TypeAlias = SampleStream[Any]

# A series of appended samples counts as ended after this much silence (lived milliseconds).
_SILENT_MS = 300_000

# How often a full store looks for room (lived milliseconds).
PAUSE_MS = 10_000

# Ended series that are lasting are evicted after the others, unless they are more than this part of all series.
_LASTING_PART = 0.75


class LivedTime:
    """How many milliseconds the store has lived: wall-clock time, without the clock's jumps.

    Retention goes by it: setting the clock forward, or suspending the machine, expires nothing, and setting it back
    keeps nothing longer. The time between two ticks counts as a minute at most.
    """

    _MAX_STEP_MS = 60_000

    def __init__(self) -> None:
        self.ms = 0
        self.now_ms: int | None = None  # the wall clock at the last tick

    def tick(self, now_ms: int) -> None:
        if self.now_ms is not None:
            self.ms += min(max(now_ms - self.now_ms, 0), self._MAX_STEP_MS)
        self.now_ms = now_ms


def drop_expired(streams: Iterable[AnyStream], before_lived_ms: int) -> bool:
    """Drop the pieces whose last sample was appended before `before_lived_ms`; True if there were any."""
    dropped = False
    for stream in streams:
        while stream.pieces and stream.pieces[0].seen < before_lived_ms:
            stream.drop_oldest()
            dropped = True
    return dropped


def drop_excess(streams: Sequence[AnyStream], excess_bytes: int) -> bool:
    """Drop the oldest pieces until `excess_bytes` are freed; True if there were any."""
    dropped = False
    while excess_bytes > 0:
        holders = [stream for stream in streams if stream.pieces]
        if not holders:
            break
        oldest = min(holders, key=lambda stream: stream.pieces[0].seen)
        excess_bytes -= oldest.pieces[0].size
        oldest.drop_oldest()
        dropped = True
    return dropped


def drop_live(refs: set[int], streams: Sequence[AnyStream]) -> Iterator[None]:
    """Remove the series that have samples or a column from `refs`; yields after each piece."""
    done = set()
    for stream in streams:
        for piece in stream.pieces:
            refs.difference_update(piece.live_refs())
            done.add(piece)
            yield
    for stream in streams:  # what was added meanwhile, in one step
        refs.difference_update(stream.current_refs())
        for piece in stream.pieces:
            if piece not in done:
                refs.difference_update(piece.live_refs())


class EndedSeries:
    """The local series that have ended, which the series cap evicts; the one that ended longest ago goes first.

    Those that are lasting go after the others, while there are not too many of them.

    Finding them means looking at all series, which takes milliseconds. So the list is used up before it is made again,
    and it is made at most once between two ticks; if it came out empty, not for PAUSE_MS.
    """

    def __init__(self) -> None:
        self._queue: list[IndexedSeries] = []  # the first to be evicted is last
        self._seen = array("q")  # `seen` of each, as it was
        self._lasting = 0  # how many at the front of the queue are kept while there are others
        self._next_ms = 0  # lived time from which it may be made again

    def take(
        self,
        count: int,
        keep: Container[IndexedSeries],
        members: Iterable[IndexedSeries],
        streams: Sequence[AnyStream],
        lived_ms: int,
        max_series: int,
    ) -> list[IndexedSeries]:
        """At most `count` evictable ones of the series `members`, none of them in `keep`."""
        if len(self._queue) < count + self._lasting and lived_ms >= self._next_ms:
            ended = _ended(members, streams, lived_ms)
            lasting = [series for series in ended if series.lasting][: int(max_series * _LASTING_PART)]
            among = set(lasting)
            self._queue = [*lasting, *(series for series in ended if series not in among)]
            self._lasting = len(lasting)
            self._seen = array("q", [series.seen for series in self._queue])
            self._next_ms = lived_ms + (1 if self._queue else PAUSE_MS)
        taken: list[IndexedSeries] = []
        while self._queue and len(taken) < count:
            seen, series = self._seen.pop(), self._queue.pop()
            if series.seen == seen and not series.kept and not series.gone and series not in keep:
                taken.append(series)
        return taken

    def clear(self) -> None:
        """Forget the list, which would keep series alive that have left the index."""
        self._queue.clear()
        self._lasting = 0
        del self._seen[:]


def _ended(members: Iterable[IndexedSeries], streams: Sequence[AnyStream], lived_ms: int) -> list[IndexedSeries]:
    """The local series that have no value in their collector's newest row; the one that ended longest ago is last."""
    alive: set[int] = set()
    for stream in streams:
        alive.update(stream.alive_refs())
    ended = [
        series
        for series in members
        if not (series.kept or series.gone or series.ref in alive)
        and not (series.tail and lived_ms - series.seen < _SILENT_MS)
    ]
    ended.reverse()  # of those that ended together, the lowest ref goes first
    ended.sort(key=attrgetter("seen"), reverse=True)
    return ended


def present_columns(payload: bytes) -> list[int]:
    """The columns that have a value in a row."""
    return [place for place, bits in enumerate(array("Q", payload)) if bits != STALE_BITS]
