"""Retention: which pieces have had their time, which series have no samples left, which make room for new ones."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from prom_probe.model.sample import STALE_BITS

if TYPE_CHECKING:
    from prom_probe.tsdb.index import Series
    from prom_probe.tsdb.stream import Stream

    AnyStream: TypeAlias = Stream[Any]

# A series of general appends has ended for the cap's purposes when it was silent for so long (lived milliseconds).
_SILENT_MS = 300_000


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
        excess_bytes -= oldest.pieces[0].bytes
        oldest.drop_oldest()
        dropped = True
    return dropped


def add_live_refs(live: set[int], streams: Sequence[AnyStream]) -> Iterator[None]:
    """Add the refs that have samples or a column to `live`, a step a piece; all are in when the iteration ends."""
    done = set()
    for stream in streams:
        for piece in stream.pieces:
            live.update(piece.live_refs())
            done.add(piece)
            yield
    for stream in streams:  # what came meanwhile, in one step
        live.update(stream.current_refs(), *(piece.live_refs() for piece in stream.pieces if piece not in done))


def ended_local(members: Iterable[Series], streams: Sequence[AnyStream], lived_ms: int) -> list[Series]:
    """The series that the cap may evict: not exposed, and without a value in their collector's newest row.

    The one that ended longest ago comes first.
    """
    alive: set[int] = set()
    for stream in streams:
        alive.update(stream.alive_refs())
    ended = [
        series
        for series in members
        if not series.kept and series.ref not in alive and not (series.tail and lived_ms - series.seen < _SILENT_MS)
    ]
    ended.sort(key=lambda series: (series.seen, series.ref))
    return ended


def present_columns(payload: bytes) -> list[int]:
    """The columns that have a value in a row."""
    return [place for place, bits in enumerate(array("Q", payload)) if bits != STALE_BITS]
