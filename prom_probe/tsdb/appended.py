"""Appended samples, which come one by one with any labels: their heads and their stream."""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Collection, Iterable, Iterator, Sequence
from struct import pack
from typing import TYPE_CHECKING

from prom_probe.model.sample import STALE_BYTES
from prom_probe.tsdb.block import Block
from prom_probe.tsdb.encoding.record import BlockError
from prom_probe.tsdb.index import IndexedSeries
from prom_probe.tsdb.outcome import MAX_TIME, AppendOutcome
from prom_probe.tsdb.piece_rows import DecodedRows
from prom_probe.tsdb.row_head import MAX_BYTES, MAX_ROWS
from prom_probe.tsdb.seal import Sealing, seal_samples
from prom_probe.tsdb.stream import SampleStream

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from prom_probe.tsdb.cache import Cache

_SLOT_COST = 2 * (80 + 24) + 45 + 24 + 4  # two arrays, a dict entry, a slot in three lists, a count
_SAMPLE_COST = 17  # with the arrays' spare room

# `maintain` closes full heads between two batches, so that series with equal timestamps stay together. These limits
# are for a writer that outruns it.
_HARD_BYTES = 4 * MAX_BYTES
_HARD_ROWS = 16 * MAX_ROWS


class AppendedHead:
    """Appended samples of many series; each series has its own, strictly increasing timestamps."""

    __slots__ = (
        "_size",
        "counts",
        "maxt",
        "mint",
        "samples",
        "seen",
        "series",
        "since",
        "slots",
        "tallest",
        "times",
        "values",
    )

    def __init__(self, lived_ms: int) -> None:
        self.slots: dict[int, int] = {}  # ref -> slot
        self.series: list[IndexedSeries] = []  # by slot, like the three below
        self.times: list[array[int]] = []
        self.values: list[array[float]] = []
        self.counts = array("I")  # complete samples of each series: written last, copied by a snapshot
        self._size = 0
        self.samples = 0
        self.tallest = 0  # the most samples of any series
        self.mint = MAX_TIME
        self.maxt = -MAX_TIME
        self.since = lived_ms
        self.seen = lived_ms

    def append(self, series: IndexedSeries, t_ms: int, value: float) -> None:
        """Append a sample that is newer than all others of its series in here."""
        slot = self.slots.get(series.ref)
        if slot is None:
            slot = len(self.series)
            self.series.append(series)
            self.times.append(array("q"))
            self.values.append(array("d"))
            self.counts.append(0)
            self.slots[series.ref] = slot
            self._size += _SLOT_COST
        self.mint = min(self.mint, t_ms)
        self.maxt = max(self.maxt, t_ms)
        self.times[slot].append(t_ms)
        self.values[slot].append(value)
        self.counts[slot] += 1
        self.samples += 1
        self._size += _SAMPLE_COST
        self.tallest = max(self.tallest, self.counts[slot])

    @property
    def size(self) -> int:
        return self._size

    @property
    def full(self) -> bool:
        return self.tallest >= MAX_ROWS or self._size >= MAX_BYTES

    def freeze(self) -> None: ...

    def seal(self, known: Collection[int]) -> Sealing:
        columns = [(ref, self.times[slot], self.values[slot]) for ref, slot in sorted(self.slots.items())]
        return seal_samples(columns, self.since, self.seen)

    def view(self) -> AppendedHeadView:
        return AppendedHeadView(self)

    def live_refs(self) -> Iterable[int]:
        return self.slots.keys()

    def newest_ms(self, ref: int) -> int | None:
        """The series' newest timestamp in here."""
        slot = self.slots.get(ref)
        return None if slot is None else self.times[slot][-1]


class AppendedHeadView:
    """An appended head as a snapshot sees it: a piece of a stream. A timeline is keyed by its timestamps' bytes."""

    __slots__ = ("_buffers", "_counts", "maxt", "mint")

    def __init__(self, buffers: AppendedHead) -> None:
        self._buffers = buffers
        self._counts = buffers.counts[:]
        self.mint = buffers.mint
        self.maxt = buffers.maxt

    def timelines_of(self, refs: Sequence[int]) -> Sequence[bytes | None]:
        return [self._timeline(ref) for ref in refs]

    def _timeline(self, ref: int) -> bytes | None:
        slot = self._buffers.slots.get(ref)
        if slot is None or slot >= len(self._counts) or not self._counts[slot]:
            return None
        return self._buffers.times[slot][: self._counts[slot]].tobytes()

    def lifetimes(self, refs: Sequence[int]) -> Iterator[tuple[int, int, int]]:
        for place, ref in enumerate(refs):
            slot = self._buffers.slots.get(ref, len(self._counts))
            if slot < len(self._counts) and self._counts[slot]:
                yield place, 0, self._counts[slot]

    def bounds(self, timeline: bytes) -> tuple[int, int]:
        times = memoryview(timeline).cast("q")
        return times[0], times[-1]

    def span(self, timeline: bytes, mint: int, maxt: int, cache: Cache) -> tuple[int, int]:
        times = memoryview(timeline).cast("q")
        return bisect_left(times, mint), bisect_right(times, maxt)

    def times(self, timeline: bytes, lo: int, hi: int, cache: Cache) -> NDArray[np.int64]:
        import numpy as np

        return np.frombuffer(timeline, np.int64)[lo:hi]

    def part(self, refs: Sequence[int], lo: int, hi: int, cache: Cache) -> DecodedRows:
        import numpy as np

        found = []
        for ref in refs:
            slot = self._buffers.slots[ref]
            values = self._buffers.values[slot][lo : min(hi, self._counts[slot])]  # a copy
            values.frombytes(STALE_BYTES * (hi - lo - len(values)))
            found.append(values)
        return DecodedRows(np.frombuffer(b"".join(found), np.uint64).reshape(len(refs), hi - lo))


class AppendedStream(SampleStream[AppendedHead]):
    """The stream of all appended samples."""

    shared = False

    def append(
        self, series: IndexedSeries, t_ms: int, value: float, *, lived_ms: int, ahead_ms: int | None
    ) -> AppendOutcome:
        """Append a sample, or say why it is refused.

        If a series' newest sample is later than `ahead_ms`, the clock has been set back since: the series starts over,
        and for readers what is written from then on takes precedence.
        """
        tail = series.tail
        if tail is not None and t_ms <= tail[0]:
            if t_ms == tail[0] and pack("<d", value) == pack("<d", tail[1]):
                return AppendOutcome.DUPLICATE
            if ahead_ms is None or not t_ms <= ahead_ms < tail[0]:
                return AppendOutcome.CONFLICT if t_ms == tail[0] else AppendOutcome.OUT_OF_ORDER
            newest = self._open.newest_ms(series.ref) if self._open is not None else None
            if newest is not None and newest >= t_ms:
                self.close()
        buffers = self._open if self._open is not None else self.begin(AppendedHead(lived_ms))
        buffers.append(series, t_ms, value)
        buffers.seen = series.seen = lived_ms
        series.tail = (t_ms, value)
        if self.journal is not None:
            self.journal.sample(buffers, series, t_ms, value, lived_ms)
        if buffers.size >= _HARD_BYTES or buffers.tallest >= _HARD_ROWS:
            self.close()
        return AppendOutcome.APPENDED

    def find_tail(self, ref: int) -> tuple[int, float] | None:
        """The newest sample of a series that was restored from disk."""
        for piece in reversed(self.pieces):
            tail = _tail(piece, ref)
            if tail is not None:
                return tail
        return None

    def current_refs(self) -> Iterable[int]:
        return self._open.live_refs() if self._open is not None else ()


def _tail(piece: AppendedHead | Block, ref: int) -> tuple[int, float] | None:
    if isinstance(piece, AppendedHead):
        slot = piece.slots.get(ref)
        return None if slot is None else (piece.times[slot][-1], piece.values[slot][-1])
    place = piece.place(ref)
    if place is None:
        return None
    try:
        times, words = piece.timestamps(piece.timeline_of(place)), piece.words(place)
    except BlockError:
        return None
    return times[-1], array("d", words[-1:].tobytes())[0]
