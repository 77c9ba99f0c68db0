"""A collector's head: its newest rows, as they came."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, TypeAlias

from prom_probe.model.sample import STALE_BITS
from prom_probe.tsdb.column_map import ColumnMap, FrozenColumnMap
from prom_probe.tsdb.piece_rows import DecodedRows
from prom_probe.tsdb.seal import Sealing, seal_rows

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from prom_probe.tsdb.cache import Cache

# A head that has this many rows or bytes is closed, then sealed into a block.
MAX_ROWS = 256
MAX_BYTES = 1 << 20

# Bytes of a row besides its payload: the bytes object, its timestamp, and a slot in each list with its spare room.
_ROW_COST = 33 + 32 + 18

# Up to this many columns are cut out of the rows one by one; beyond that, the rows are joined once.
_FEW = 4

AnyColumnMap: TypeAlias = ColumnMap | FrozenColumnMap


class RowHead:
    """Consecutive rows of a collector with strictly increasing timestamps. Append-only until it is closed.

    A payload is packed little-endian float64, one per column from the first on; absent are columns with the staleness
    marker and those beyond its end. The columns can change between two rows: `mappings` has (first row, column map),
    ascending. Readers only look at the rows that were there when their snapshot was made.
    """

    __slots__ = ("_size", "mappings", "rows", "samples", "seen", "since", "times")

    def __init__(self, lived_ms: int) -> None:
        self.times: list[int] = []
        self.rows: list[bytes] = []
        self.mappings: list[tuple[int, AnyColumnMap]] = []
        self._size = 0
        self.samples = 0
        self.since = lived_ms
        self.seen = lived_ms

    def append(self, mapping: ColumnMap, t_ms: int, payload: bytes, samples: int, lived_ms: int) -> None:
        if not self.mappings or self.mappings[-1][1] is not mapping:
            self.freeze()
            self.mappings.append((len(self.rows), mapping))
        self.rows.append(payload)
        self.times.append(t_ms)  # last, since readers count the timestamps
        self._size += len(payload) + _ROW_COST
        self.samples += samples
        self.seen = lived_ms

    def freeze(self) -> None:
        """Replace the last column map, which the collector no longer uses, by a small copy."""
        if self.mappings:
            start, mapping = self.mappings[-1]
            if isinstance(mapping, ColumnMap):
                frozen = FrozenColumnMap(mapping)
                self._size += frozen.cost
                self.mappings[-1] = (start, frozen)

    @property
    def size(self) -> int:
        return self._size

    @property
    def full(self) -> bool:
        return len(self.times) >= MAX_ROWS or self._size >= MAX_BYTES

    def holds(self, t_ms: int, payload: bytes) -> bool:
        """Whether it contains exactly this row."""
        place = bisect_left(self.times, t_ms)
        return place < len(self.times) and self.times[place] == t_ms and self.rows[place] == payload

    def live_refs(self) -> Iterable[int]:
        return [ref for _, mapping in self.mappings for ref in mapping.refs()]

    def sections(self) -> Iterator[tuple[int, int, AnyColumnMap]]:
        """Rows [start, end) and their column map."""
        return sections(self.mappings, len(self.rows))

    def seal(self, known: Collection[int]) -> Sealing:
        sections = [(start, end, column_map.by_column()) for start, end, column_map in self.sections()]
        return seal_rows(self.times, self.rows, sections, self.since, self.seen, known)

    def view(self) -> RowHeadView:
        return RowHeadView(self)


def sections(mappings: Sequence[tuple[int, AnyColumnMap]], rows: int) -> Iterator[tuple[int, int, AnyColumnMap]]:
    """(start, end, column map) for each column map of the first `rows` rows."""
    for i, (start, mapping) in enumerate(mappings):
        end = min(mappings[i + 1][0], rows) if i + 1 < len(mappings) else rows
        if start < end:
            yield start, end, mapping


class RowHeadView:
    """A head's rows at the time of a snapshot: a piece of a stream, with one timeline, 0."""

    __slots__ = ("_count", "_mappings", "_run")

    def __init__(self, run: RowHead) -> None:
        self._run = run
        self._count = len(run.times)
        self._mappings = run.mappings.copy()

    @property
    def mint(self) -> int:
        return self._run.times[0]

    @property
    def maxt(self) -> int:
        return self._run.times[self._count - 1]

    def timelines_of(self, refs: Sequence[int]) -> Sequence[int | None]:
        return [0 if any(mapping.places(ref) for _, mapping in self._mappings) else None for ref in refs]

    def lifetimes(self, refs: Sequence[int]) -> Iterator[tuple[int, int, int]]:
        found = list(sections(self._mappings, self._count))
        for place, ref in enumerate(refs):
            own = [(start, end) for start, end, mapping in found if mapping.places(ref)]
            if own:
                yield place, own[0][0], own[-1][1]

    def bounds(self, timeline: int) -> tuple[int, int]:
        return self.mint, self.maxt

    def span(self, timeline: int, mint: int, maxt: int, cache: Cache) -> tuple[int, int]:
        times = self._run.times
        return bisect_left(times, mint, 0, self._count), bisect_right(times, maxt, 0, self._count)

    def times(self, timeline: int, lo: int, hi: int, cache: Cache) -> NDArray[np.int64]:
        import numpy as np

        return np.array(self._run.times[lo:hi], np.int64)

    def part(self, refs: Sequence[int], lo: int, hi: int, cache: Cache) -> DecodedRows:
        import numpy as np

        out = np.empty((len(refs), hi - lo), np.uint64)
        for start, end, mapping in sections(self._mappings, self._count):
            first, last = max(start, lo), min(end, hi)
            if first < last:
                _read(self._run.rows[first:last], mapping, refs, out[:, first - lo : last - lo])
        return DecodedRows(out)


def _read(rows: list[bytes], mapping: AnyColumnMap, refs: Sequence[int], out: NDArray[np.uint64]) -> None:
    """Read series `refs` out of rows that share a column map."""
    import numpy as np

    places = [mapping.places(ref) for ref in refs]
    _gather(rows, [some[0] if some else -1 for some in places], out)
    for i, some in enumerate(places):
        for place in some[1:]:
            later = np.empty((1, len(rows)), np.uint64)
            _gather(rows, [place], later)
            np.copyto(out[i], later[0], where=later[0] != STALE_BITS)


def _gather(rows: list[bytes], places: list[int], out: NDArray[np.uint64]) -> None:
    """Copy columns `places` of `rows` into `out`; the staleness marker where a row is too short or a place negative."""
    import numpy as np

    start = 0
    for width, group in groupby(rows, len):
        same = list(group)
        part = out[:, start : start + len(same)]
        start += len(same)
        there = [i for i, place in enumerate(places) if 0 <= place * 8 < width]
        if len(there) < len(places):
            part[:] = STALE_BITS
        if len(there) <= _FEW:
            for i in there:
                first = places[i] * 8
                part[i] = np.frombuffer(b"".join([row[first : first + 8] for row in same]), np.uint64)
        else:
            table = np.frombuffer(b"".join(same), np.uint64).reshape(len(same), width // 8)
            part[there] = table[:, [places[i] for i in there]].T
