"""Runs: the head's rows of one collector, as they came, and the mapping of their columns to series."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import TYPE_CHECKING

from prom_probe.model.family import Column, Family
from prom_probe.model.sample import STALE_BITS
from prom_probe.tsdb.index import Series
from prom_probe.tsdb.seal import seal_run
from prom_probe.tsdb.stream import Sealing

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from prom_probe.tsdb.cache import Cache

# A run is closed at so many rows or so many bytes, and then sealed into a block.
MAX_ROWS = 256
MAX_BYTES = 1 << 20

# Bytes of a row beside its payload: the bytes object, its timestamp, and a place in each list with its spare room.
_ROW_COST = 33 + 32 + 18

# Up to so many columns are cut out of the rows one by one; for more, the rows are joined once.
_FEW = 4


class Mapping:
    """The columns of one layout and the series that they belong to. Append-only; the writer's.

    A series can have several columns: one that ended and, later in the same layout, one that began anew. `refused`
    counts the columns that found no room; they have no series.
    """

    __slots__ = ("columns", "families", "layout", "position", "refused", "series", "twins")

    def __init__(self, layout: int) -> None:
        self.layout = layout
        self.columns: list[Column] = []
        self.families: dict[Family, Family] = {}
        self.series: list[Series | None] = []
        self.position: dict[int, int] = {}  # ref -> its first column
        self.twins: dict[int, list[int]] = {}  # ref -> its further columns
        self.refused = 0

    def add(self, column: Column, series: Series | None) -> None:
        place = len(self.series)
        self.series.append(series)
        # Of what a frame brought, only the series' own labels and one copy of each family are kept.
        family = self.families.setdefault(column.family, column.family)
        self.columns.append(Column(family, series.labels if series is not None else column.labels, column.exposed))
        if series is None:
            self.refused += 1
        elif series.ref in self.position:
            self.twins.setdefault(series.ref, []).append(place)
        else:
            self.position[series.ref] = place


class Run:
    """Consecutive rows of one mapping with strictly increasing timestamps. Append-only until it is closed.

    A payload is packed little-endian float64, one per column from the first on; the staleness marker and what is beyond
    its end are absent. Readers bound themselves to the rows that were there when their snapshot was made.
    """

    __slots__ = ("bytes", "mapping", "rows", "samples", "seen", "since", "times")

    def __init__(self, mapping: Mapping, lived_ms: int) -> None:
        self.mapping = mapping
        self.times: list[int] = []
        self.rows: list[bytes] = []
        self.bytes = 0
        self.samples = 0
        self.since = lived_ms  # the store's lived time at its first row, and at its last
        self.seen = lived_ms

    def append(self, t_ms: int, payload: bytes, samples: int, lived_ms: int) -> None:
        self.rows.append(payload)
        self.times.append(t_ms)  # a reader counts the timestamps, so the row comes first
        self.bytes += len(payload) + _ROW_COST
        self.samples += samples
        self.seen = lived_ms

    def live_refs(self) -> Iterable[int]:
        return self.mapping.position.keys()

    @property
    def full(self) -> bool:
        return len(self.times) >= MAX_ROWS or self.bytes >= MAX_BYTES

    def seal(self) -> Sealing:
        return seal_run(self)

    def view(self) -> RunView:
        return RunView(self)

    def holds(self, t_ms: int, payload: bytes) -> bool:
        """Whether it has exactly this row."""
        place = bisect_left(self.times, t_ms)
        return place < len(self.times) and self.times[place] == t_ms and self.rows[place] == payload


class RunView:
    """A run's rows at the time of a snapshot: a piece of a stream, all in one timeline, 0."""

    __slots__ = ("count", "run")

    def __init__(self, run: Run) -> None:
        self.run = run
        self.count = len(run.times)

    def timeline(self, ref: int) -> int | None:
        return 0 if ref in self.run.mapping.position else None

    def bounds(self, timeline: int) -> tuple[int, int]:
        return self.run.times[0], self.run.times[self.count - 1]

    def span(self, timeline: int, mint: int, maxt: int, cache: Cache) -> tuple[int, int]:
        times = self.run.times
        return bisect_left(times, mint, 0, self.count), bisect_right(times, maxt, 0, self.count)

    def times(self, timeline: int, lo: int, hi: int, cache: Cache) -> NDArray[np.int64]:
        import numpy as np

        return np.array(self.run.times[lo:hi], np.int64)

    def read(
        self, refs: Sequence[int], lo: int, hi: int, out: NDArray[np.uint64], cache: Cache
    ) -> tuple[bool, NDArray[np.bool_]]:
        import numpy as np

        mapping = self.run.mapping
        rows = self.run.rows[lo:hi]
        _gather(rows, [mapping.position.get(ref, -1) for ref in refs], out)
        for i, ref in enumerate(refs):
            for twin in mapping.twins.get(ref, ()):
                later = np.empty((1, hi - lo), np.uint64)
                _gather(rows, [twin], later)
                np.copyto(out[i], later[0], where=later[0] != STALE_BITS)
        return not bool((out == STALE_BITS).any()), rising(out)


def rising(bits: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """Per row of float64 bits whether its values do not decrease; a NaN among them counts as a decrease."""
    import numpy as np

    values = bits.view(np.float64)
    up: NDArray[np.bool_] = np.all(values[:, 1:] >= values[:, :-1], axis=1)
    return up


def _gather(rows: list[bytes], places: list[int], out: NDArray[np.uint64]) -> None:
    """The columns `places` of `rows` into `out`; the marker's bits where a row is too short or a place is negative."""
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
