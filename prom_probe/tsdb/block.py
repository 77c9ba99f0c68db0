"""Blocks: immutable, sealed columns in one stretch of bytes; docs/storage.md draws the layout."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from itertools import count
from mmap import mmap
from struct import Struct
from typing import TYPE_CHECKING, TypeAlias

from prom_probe.tsdb.encoding import column, record
from prom_probe.tsdb.encoding.record import BlockError, Record
from prom_probe.tsdb.off_heap import AnonymousPages, footprint, joined

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from prom_probe.tsdb.cache import Cache
    from prom_probe.tsdb.encoding.block_columns import BlockColumns, ColumnRows

# int64s, in memory or in a mapped file.
Refs: TypeAlias = "array[int] | memoryview"

MAGIC = b"PPb1"
HEADER = Struct("<4sIIIqq")

MAX_TIMELINES = (1 << 16) - 1

# Bytes of a block's Python objects, besides its data and refs.
_BLOCK_COST = 1900

# Up to this many series are looked up one by one; beyond that, numpy is faster.
_FEW = 16

_uids = count()


class Block:
    """Sealed columns with their timelines: a piece of a stream. Immutable; any thread may read it.

    `data` is the block's bytes, `refs` the columns' series, ascending. `since` and `seen` are the store's lived time
    when its first and last rows were appended. `uid` identifies it in the decode cache.
    """

    __slots__ = (
        "_bounds",
        "_ends",
        "_heights",
        "_records",
        "_timeline_of",
        "_windows",
        "columns",
        "data",
        "maxt",
        "mint",
        "refs",
        "samples",
        "seen",
        "since",
        "size",
        "timelines",
        "uid",
    )

    def __init__(self, data: bytes | memoryview, refs: Refs, samples: int, since: int, seen: int) -> None:
        """Raises BlockError unless `data` is a block with one column for each ref."""
        if len(data) < HEADER.size:
            raise BlockError(f"not a block: only {len(data)} bytes")
        magic, self.columns, self.timelines, length, self.mint, self.maxt = HEADER.unpack_from(data)
        if magic != MAGIC:
            raise BlockError(f"not a block: it begins with {bytes(magic)!r}")
        if (
            length != len(data)
            or self._tables()[2] > length
            or not 0 < self.timelines <= MAX_TIMELINES
            or self.mint > self.maxt
        ):
            raise BlockError(f"{self.columns} columns and {self.timelines} timelines in {len(data)} of {length} bytes")
        if self.columns != len(refs):
            raise BlockError(f"a block of {self.columns} columns, with {len(refs)} series")
        self.move_to(memoryview(data), refs)
        self.samples = samples
        self.since = since
        self.seen = seen
        self.size = footprint(len(data) + 8 * len(refs)) + 4 * len(refs) + _BLOCK_COST  # with `_windows`
        self.uid = next(_uids)
        self._bounds = array("q")  # of each timeline that was asked for, once any was
        self._windows: NDArray[np.uint16] | None = None  # of the columns, once any was asked for

    def _tables(self) -> tuple[int, int, int]:
        """The offsets of the heights, of the columns' timelines and of the records."""
        heights = HEADER.size + 4 * (self.columns + self.timelines)
        timeline_of = heights + 2 * self.timelines
        return heights, timeline_of, timeline_of + (2 * self.columns if self.timelines > 1 else 0)

    def move_to(self, data: memoryview, refs: Refs) -> None:
        """Use these copies of the block's bytes and refs from now on; a concurrent reader sees either copy."""
        heights, timeline_of, records = self._tables()
        self.data = data
        self._ends = data[HEADER.size : heights].cast("I")
        self._heights = data[heights:timeline_of].cast("H")
        self._timeline_of = data[timeline_of:records].cast("H")
        self._records = data[records:]
        self.refs = refs

    def rows(self, timeline: int) -> int:
        """The number of rows of a timeline. Raises BlockError if there is no such timeline."""
        if timeline >= self.timelines or not self._heights[timeline]:
            raise BlockError(f"no timeline {timeline} with rows")
        return self._heights[timeline]

    def place(self, ref: int) -> int | None:
        """The column of series `ref`."""
        place = bisect_left(self.refs, ref)
        return place if place < len(self.refs) and self.refs[place] == ref else None

    def timeline_of(self, place: int) -> int:
        """The timeline of a column."""
        return self._timeline_of[place] if self.timelines > 1 else 0

    def heights(self, places: NDArray[np.int64]) -> NDArray[np.int64]:
        """The number of rows of each column. Raises BlockError if one has no timeline with rows."""
        import numpy as np

        heights = np.frombuffer(self._heights, np.uint16)
        if self.timelines == 1:
            return np.full(len(places), self.rows(0))
        timelines = np.frombuffer(self._timeline_of, np.uint16)[places]
        if int(timelines.max()) >= self.timelines or not heights[timelines].all():
            raise BlockError("a column of no timeline with rows")
        return heights[timelines].astype(np.int64)

    def column(self, place: int) -> Record:
        """A column's record. Raises BlockError if it is damaged."""
        return self._record(self.timelines + place)

    def column_records(self) -> tuple[memoryview, memoryview]:
        """The bounds of the columns' records (u32 each, one more than there are columns), and the bytes they index."""
        return self._ends[self.timelines - 1 :], self._records

    def time_record(self, timeline: int) -> Record:
        """A timeline's record. Raises BlockError if it is damaged."""
        return self._record(timeline)

    def words(self, place: int) -> array[int]:
        """A column's bits, decoded without numpy. Raises BlockError if it is damaged."""
        return column.decode(self.column(place), self.rows(self.timeline_of(place)))

    def timestamps(self, timeline: int) -> list[int]:
        """A timeline's timestamps, decoded without numpy. Raises BlockError if it is damaged."""
        return column.decode_numbers(self.time_record(timeline), self.rows(timeline))

    @property
    def in_file(self) -> bool:
        """Whether its bytes are those of a mapped file."""
        return isinstance(self.data.obj, mmap) and not isinstance(self.data.obj, AnonymousPages)

    @property
    def tallest(self) -> int:
        """The most rows of any timeline."""
        return max(self._heights)

    @property
    def height(self) -> int:
        """Its number of rows; with several timelines, the mean."""
        return self.rows(0) if self.timelines == 1 else max(1, self.samples // self.columns)

    def live_refs(self) -> Sequence[int]:
        return self.refs

    def view(self) -> Block:
        return self

    def timelines_of(self, refs: Sequence[int]) -> Sequence[int | None]:
        if len(refs) > _FEW:
            from prom_probe.tsdb.encoding import block_columns

            places: Iterable[int | None] = block_columns.places(self.refs, refs)
        else:
            places = map(self.place, refs)
        return [None if place is None else self.timeline_of(place) for place in places]

    def lifetimes(self, refs: Sequence[int]) -> Iterator[tuple[int, int, int]]:
        if self._windows is None:
            from prom_probe.tsdb.encoding import block_columns

            self._windows = block_columns.windows(self)
        windows = self._windows
        if len(refs) > _FEW:
            from prom_probe.tsdb.encoding import block_columns

            found, there = block_columns.find(self.refs, refs)
            start, end = windows[:, found[there]].tolist()
            return zip(there.nonzero()[0].tolist(), start, end, strict=True)
        places = ((number, self.place(ref)) for number, ref in enumerate(refs))
        return ((number, *windows[:, place].tolist()) for number, place in places if place is not None)

    def bounds(self, timeline: int) -> tuple[int, int]:
        if self.timelines == 1:
            return self.mint, self.maxt
        self.rows(timeline)  # or there is no such timeline
        if not self._bounds:
            self._bounds = array("q", [self.maxt, self.mint]) * self.timelines  # in the wrong order: unknown
        low, high = self._bounds[2 * timeline : 2 * timeline + 2]
        if low >= high:
            times = self.time_record(timeline)
            low, high = self._bounds[2 * timeline : 2 * timeline + 2] = array("q", (times.low, times.high))
        return low, high

    def span(self, timeline: int, mint: int, maxt: int, cache: Cache) -> tuple[int, int]:
        low, high = self.bounds(timeline)
        if mint <= low and high <= maxt:
            return 0, self.rows(timeline)
        times = self._times(timeline, cache)
        return int(times.searchsorted(mint)), int(times.searchsorted(maxt, "right"))

    def times(self, timeline: int, lo: int, hi: int, cache: Cache) -> NDArray[np.int64]:
        return self._times(timeline, cache)[lo:hi]

    def part(self, refs: Sequence[int], lo: int, hi: int, cache: Cache) -> ColumnRows:
        key = (self.uid, array("q", refs).tobytes())
        return cache.get(key, partial(_columns, self, refs)).rows(lo, hi)

    def _times(self, timeline: int, cache: Cache) -> NDArray[np.int64]:
        return cache.get((self.uid, timeline), partial(_timestamps, self, timeline))

    def _record(self, number: int) -> Record:
        start, end = self._ends[number - 1] if number else 0, self._ends[number]
        if not start <= end <= len(self._records):
            raise BlockError(f"record {number} lies outside the block")
        return record.parse(self._records[start:end])


def _columns(block: Block, refs: Sequence[int]) -> tuple[BlockColumns, int]:
    from prom_probe.tsdb.encoding import block_columns

    return block_columns.load(block, refs)


def _timestamps(block: Block, timeline: int) -> tuple[NDArray[np.int64], int]:
    from prom_probe.tsdb.encoding import block_columns

    return block_columns.load_times(block, timeline)


class BlockWriter:
    """Collects timelines, then columns by ascending ref, into a block."""

    def __init__(self) -> None:
        self._ends = array("I")
        self._heights = array("H")
        self._timeline_of = array("H")
        self._records = bytearray()
        self._refs = array("q")
        self._samples = 0
        self._mint = self._maxt = 0

    def add_timeline(self, times: Sequence[int]) -> int:
        """Add strictly increasing timestamps, before any column; returns the timeline's number."""
        number = len(self._heights)
        self._heights.append(len(times))
        self._mint = min(self._mint, times[0]) if number else times[0]
        self._maxt = max(self._maxt, times[-1]) if number else times[-1]
        self._put(record.write(column.encode_times(times)))
        return number

    def add(self, ref: int, timeline: int, encoded: Record) -> None:
        """Add a column."""
        self._refs.append(ref)
        self._timeline_of.append(timeline)
        self._samples += record.samples(encoded, self._heights[timeline])
        self._put(record.write(encoded))

    def _put(self, data: bytes) -> None:
        self._records += data
        self._ends.append(len(self._records))

    def finish(self, since: int, seen: int) -> Block:
        """The block."""
        tables = self._ends.tobytes() + self._heights.tobytes()
        if len(self._heights) > 1:
            tables += self._timeline_of.tobytes()
        size = HEADER.size + len(tables) + len(self._records)
        header = HEADER.pack(MAGIC, len(self._refs), len(self._heights), size, self._mint, self._maxt)
        refs = self._refs.tobytes()
        whole = joined([refs, header, tables, self._records])
        data = whole[len(refs) :]
        return Block(data, whole[: len(refs)].cast("q"), self._samples, since, seen)
