"""Retention: which pieces have had their time, which series have no samples left, which make room for new ones."""

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

# A series of general appends has ended for the cap's purposes when it was silent for so long (lived milliseconds).
_SILENT_MS = 300_000

# How often, in lived milliseconds, a full store looks for room.
PAUSE_MS = 10_000


class LivedTime:
    """Milliseconds that the store has lived, by the wall clock with its steps taken out.

    Retention counts these: a clock that is set forward by hours, or a laptop that slept, ages nothing, and one that is
    set back keeps nothing longer. A gap between two ticks counts for a minute at most.
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
    """Drop the pieces whose last sample came before that; True if there were any."""
    dropped = False
    for stream in streams:
        while stream.pieces and stream.pieces[0].seen < before_lived_ms:
            stream.drop_oldest()
            dropped = True
    return dropped


def drop_excess(streams: Sequence[AnyStream], excess_bytes: int) -> bool:
    """Drop the oldest pieces until `excess_bytes` are gone; True if there were any. An open piece goes last."""
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
    """Take what has samples or a column out of `refs`, a step a piece; all is done when the iteration ends."""
    done = set()
    for stream in streams:
        for piece in stream.pieces:
            refs.difference_update(piece.live_refs())
            done.add(piece)
            yield
    for stream in streams:  # what came meanwhile, in one step
        refs.difference_update(stream.current_refs())
        for piece in stream.pieces:
            if piece not in done:
                refs.difference_update(piece.live_refs())


class EndedSeries:
    """The local series that have ended, for the series cap: the one that ended longest ago goes first.

    The list is made when one is needed and used up before it is made again: looking at all series costs milliseconds.
    So it is made at most once between two ticks, and when it was empty, not for PAUSE_MS.
    """

    def __init__(self) -> None:
        self._queue: list[IndexedSeries] = []  # the oldest last
        self._seen = array("q")  # when each of them was seen
        self._next_ms = 0  # when it may be made again

    def take(
        self,
        count: int,
        keep: Container[IndexedSeries],
        members: Iterable[IndexedSeries],
        streams: Sequence[AnyStream],
        lived_ms: int,
    ) -> list[IndexedSeries]:
        """At most `count` of the series `members` that may go, `keep` aside."""
        if len(self._queue) < count and lived_ms >= self._next_ms:
            self._queue = _ended(members, streams, lived_ms)
            self._seen = array("q", [series.seen for series in self._queue])
            self._next_ms = lived_ms + (1 if self._queue else PAUSE_MS)
        taken: list[IndexedSeries] = []
        while self._queue and len(taken) < count:
            seen, series = self._seen.pop(), self._queue.pop()
            if series.seen == seen and not series.kept and not series.gone and series not in keep:
                taken.append(series)
        return taken

    def clear(self) -> None:
        """Let go of the list, which would keep alive what has left the index."""
        self._queue.clear()
        del self._seen[:]


def _ended(members: Iterable[IndexedSeries], streams: Sequence[AnyStream], lived_ms: int) -> list[IndexedSeries]:
    """The series that are not exposed and have no value in their collector's newest row, the oldest last."""
    alive: set[int] = set()
    for stream in streams:
        alive.update(stream.alive_refs())
    ended = [
        series
        for series in members
        if not (series.kept or series.gone or series.ref in alive)
        and not (series.tail and lived_ms - series.seen < _SILENT_MS)
    ]
    ended.reverse()  # of those seen at once, the lowest ref goes first
    ended.sort(key=attrgetter("seen"), reverse=True)
    return ended


def present_columns(payload: bytes) -> list[int]:
    """The columns that have a value in a row."""
    return [place for place, bits in enumerate(array("Q", payload)) if bits != STALE_BITS]
