"""Blocks: immutable sealed columns in one run of bytes, as docs/storage.md draws them."""

from __future__ import annotations

import struct
from array import array
from bisect import bisect_left
from collections.abc import Sequence
from functools import partial
from itertools import count
from typing import TYPE_CHECKING

from prom_probe.tsdb.encoding import column
from prom_probe.tsdb.encoding.column import Encoded
from prom_probe.tsdb.encoding.entry import ENTRY, BlockError, Entry
from prom_probe.tsdb.encoding.forms import CONSTANT, FORMS, MAX_EXPONENT

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from prom_probe.tsdb.cache import Cache

MAGIC = b"PPb1"
HEADER = struct.Struct("<4sIIIqq")

MAX_TIMELINES = (1 << 16) - 1

# Bytes of a block's objects beside its data and its refs.
_BLOCK_COST = 600

_uids = count()


class Block:
    """Sealed columns with their timelines: a piece of a stream. Immutable; any thread may read it.

    `data` is the block's bytes, `refs` the columns' series, ascending. `since` and `seen` are the store's lived time at
    its first and last row. `uid` is its name in the decode cache.
    """

    __slots__ = (
        "_streams",
        "bytes",
        "columns",
        "data",
        "maxt",
        "mint",
        "refs",
        "samples",
        "seen",
        "since",
        "timelines",
        "uid",
    )

    def __init__(self, data: bytes | memoryview, refs: array[int], samples: int, since: int, seen: int) -> None:
        """Raises BlockError where `data` is no block, or none of so many columns."""
        self.data = memoryview(data)
        self.columns, self.timelines, self.mint, self.maxt = _check(self.data)
        self._streams = self.data[HEADER.size + ENTRY.size * (self.timelines + self.columns) :]
        if self.columns != len(refs):
            raise BlockError(f"a block of {self.columns} columns, with {len(refs)} series")
        self.refs = refs
        self.samples = samples
        self.since = since
        self.seen = seen
        self.bytes = len(data) + 8 * len(refs) + _BLOCK_COST
        self.uid = next(_uids)

    def rows(self, timeline: int) -> int:
        """The number of a timeline's rows."""
        return self._entry(timeline).number

    def place(self, ref: int) -> int | None:
        """The column of series `ref`."""
        place = bisect_left(self.refs, ref)
        return place if place < len(self.refs) and self.refs[place] == ref else None

    def column(self, place: int) -> tuple[Entry, memoryview]:
        """A column's entry, which has its smallest and largest value and whether it rises, and its stream."""
        return self.entry(self.timelines + place)

    def entry(self, number: int) -> tuple[Entry, memoryview]:
        """An entry and its stream: the timelines', then the columns'."""
        entry = self._entry(number)
        return entry, self._streams[self._entry(number - 1).end if number else 0 : entry.end]

    def words(self, place: int) -> array[int]:
        """A column's bits, decoded without numpy. Raises BlockError where it is damaged."""
        entry, stream = self.column(place)
        return column.decode(entry, stream, self.rows(entry.number))

    def timestamps(self, timeline: int) -> list[int]:
        """A timeline's timestamps, decoded without numpy. Raises BlockError where it is damaged."""
        entry, stream = self.entry(timeline)
        return column.decode_numbers(entry, stream, entry.number)

    @property
    def height(self) -> int:
        """Its rows; of several timelines, the mean."""
        return self.rows(0) if self.timelines == 1 else max(1, self.samples // self.columns)

    def live_refs(self) -> Sequence[int]:
        return self.refs

    def view(self) -> Block:
        return self

    def timeline(self, ref: int) -> int | None:
        place = self.place(ref)
        if place is None:
            return None
        return self.column(place)[0].number if self.timelines > 1 else 0

    def bounds(self, timeline: int) -> tuple[int, int]:
        entry = self._entry(timeline)
        return int(entry.low), int(entry.high)

    def span(self, timeline: int, mint: int, maxt: int, cache: Cache) -> tuple[int, int]:
        low, high = self.bounds(timeline)
        if mint <= low and high <= maxt:
            return 0, self.rows(timeline)
        times = self._times(timeline, cache)
        return int(times.searchsorted(mint)), int(times.searchsorted(maxt, "right"))

    def times(self, timeline: int, lo: int, hi: int, cache: Cache) -> NDArray[np.int64]:
        return self._times(timeline, cache)[lo:hi]

    def read(
        self, refs: Sequence[int], lo: int, hi: int, out: NDArray[np.uint64], cache: Cache
    ) -> tuple[bool, NDArray[np.bool_]]:
        from prom_probe.tsdb.encoding import vector

        key = (self.uid, array("q", refs).tobytes())
        columns = cache.get(key, self.maxt, partial(vector.load, self, refs))
        return columns.read(lo, hi, out), columns.rising

    def _times(self, timeline: int, cache: Cache) -> NDArray[np.int64]:
        from prom_probe.tsdb.encoding import vector

        return cache.get((self.uid, timeline), self.maxt, partial(vector.load_times, self, timeline))

    def _entry(self, number: int) -> Entry:
        return Entry._make(ENTRY.unpack_from(self.data, HEADER.size + ENTRY.size * number))


class BlockWriter:
    """Gathers timelines, then columns by ascending ref, into a block."""

    def __init__(self) -> None:
        self._timelines: list[Encoded] = []
        self._entries: list[bytes] = []
        self._streams: list[bytes] = []
        self._refs = array("q")
        self._samples = 0
        self._end = 0

    def add_timeline(self, times: Sequence[int]) -> int:
        """Add strictly increasing timestamps, before any column; gives the timeline's number."""
        encoded = column.encode_times(times)
        self._timelines.append(encoded)
        self._put(encoded, len(times))
        return len(self._timelines) - 1

    def add(self, ref: int, timeline: int, encoded: Encoded) -> None:
        """Add a column."""
        self._refs.append(ref)
        self._samples += encoded.samples
        self._put(encoded, timeline)

    def _put(self, encoded: Encoded, number: int) -> None:
        self._end += len(encoded.stream)
        self._streams.append(encoded.stream)
        self._entries.append(ENTRY.pack(*encoded.entry._replace(number=number, end=self._end)))

    def finish(self, since: int, seen: int) -> Block:
        """The block."""
        size = HEADER.size + ENTRY.size * len(self._entries) + self._end
        mint = int(min(encoded.entry.low for encoded in self._timelines))
        maxt = int(max(encoded.entry.high for encoded in self._timelines))
        header = HEADER.pack(MAGIC, len(self._refs), len(self._timelines), size, mint, maxt)
        return Block(b"".join([header, *self._entries, *self._streams]), self._refs, self._samples, since, seen)


def _check(data: memoryview) -> tuple[int, int, int, int]:
    """(columns, timelines, first and last timestamp) of a block whose header and entries make sense.

    Raises BlockError. What it lets pass, the decoders read without leaving the block; a damaged stream is theirs to
    notice.
    """
    if len(data) < HEADER.size:
        raise BlockError(f"{len(data)} bytes are no block")
    magic, columns, timelines, size, mint, maxt = HEADER.unpack_from(data)
    if magic != MAGIC:
        raise BlockError(f"{bytes(magic)!r} is not how a block begins")
    if size != len(data):
        raise BlockError(f"a block of {size} bytes in {len(data)}")
    streams = size - HEADER.size - ENTRY.size * (columns + timelines)
    if streams < 0 or not 0 < timelines <= MAX_TIMELINES:
        raise BlockError(f"{columns} columns and {timelines} timelines do not fit")
    end = 0
    table = data[HEADER.size : size - streams]
    for number, fields in enumerate(ENTRY.iter_unpack(table)):
        entry = Entry._make(fields)
        is_time = number < timelines
        if not end <= entry.end <= streams:
            raise BlockError(f"entry {number}: its stream ends at {entry.end}, between {end} and {streams}")
        if entry.raw > entry.planes or entry.planes > 8 or entry.exponent > MAX_EXPONENT or entry.divisor == 0:
            raise BlockError(f"entry {number}: it makes no sense")
        if entry.form not in FORMS and (is_time or entry.form != CONSTANT):
            raise BlockError(f"entry {number}: form {entry.form} is unknown")
        if entry.number == 0 if is_time else entry.number >= timelines:
            raise BlockError(f"entry {number}: {'no rows' if is_time else 'its timeline is unknown'}")
        if is_time and not mint <= entry.low <= entry.high <= maxt:
            raise BlockError(f"entry {number}: its timestamps are outside the block's")
        end = entry.end
    if end != streams:
        raise BlockError(f"streams of {end} bytes in {streams}")
    return columns, timelines, mint, maxt
