"""A collector's stream read onward from a point in time, for one that follows the store: without numpy, in small parts.

The stream is read in windows. A window is a few rows of one piece, and is read series by series, in the order of their
places, so that it can be left and resumed anywhere. A place is a number that follows from a series' labels: refs may be
others after a restart.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from struct import unpack
from sys import byteorder
from typing import NamedTuple, TypeAlias

from prom_probe.model.sample import STALE_BYTES
from prom_probe.tsdb.block import Block
from prom_probe.tsdb.collector_stream import CollectorStream
from prom_probe.tsdb.encoding.record import BlockError
from prom_probe.tsdb.row_head import AnyColumnMap, RowHead

AnyPiece: TypeAlias = "RowHead | Block"

# A clock that was set back by less is waited for.
_STEP_MS = 60_000

# What is behind by less is not skipped.
_SKIP_MS = 30_000

# A window's time at most: receivers that want time order over all series allow for less than an hour of disorder.
_WINDOW_MS = 600_000

_MOST_TIMES = 8  # blocks whose timestamps are remembered
_BEHIND_ALL = 1 << 62  # refs

# A series' place, 0 for one that is not wanted; and its ref with it.
PlaceOf: TypeAlias = Callable[[int], int]
PlacedRef: TypeAlias = tuple[int, int]


class Cursor(NamedTuple):
    """How far a stream was read: all samples up to `after` (ms), and those up to `until` of series up to `place`.

    What was read further is greater.
    """

    after: int
    until: int
    place: int

    @classmethod
    def at(cls, t_ms: int) -> Cursor:
        """All up to `t_ms`."""
        return cls(t_ms, t_ms, 0)


class TailSeries(NamedTuple):
    """A series' samples of a window: timestamps in ms, and the values' bits, little-endian.

    An absent value that follows a present one is the staleness marker; others are left out.
    """

    ref: int
    times: list[int]
    values: bytes


class StreamTail:
    """Reads one stream for one follower, which always wants the same series.

    It belongs to the store's writer, and keeps nothing but what it can find again.
    """

    def __init__(self, stream: CollectorStream) -> None:
        self.stream = stream
        self._times: dict[int, list[int]] = {}  # by a block's uid
        self._begun: TailWindow | None = None  # the newest window
        self._refs: tuple[object, list[PlacedRef]] = (None, [])  # those of one window, with its key

    def newest_ms(self) -> int | None:
        """The newest row's timestamp."""
        newest = self.stream.newest()
        return newest.t_ms if newest is not None else None

    def rewound(self, cursor: Cursor) -> Cursor:
        """The cursor; or, where the clock was set back since, one before the first row that was written then.

        A store that lost its newest rows, being killed before they were on the disk, is no reason to begin again.
        """
        newest_ms = self.newest_ms()
        if newest_ms is None or newest_ms >= cursor.after - _STEP_MS or cursor.until != cursor.after:
            return cursor
        return Cursor.at(_bounds(self._pieces()[0])[0] - 1)

    def _pieces(self) -> Sequence[AnyPiece]:
        """The pieces since the clock was last set back: what was written before that is not read any more."""
        pieces = self.stream.pieces
        for number in range(len(pieces) - 1, 0, -1):
            if _bounds(pieces[number - 1])[1] >= _bounds(pieces[number])[0]:
                return pieces[number:]
        return pieces

    def lost_ms(self, cursor: Cursor) -> int:
        """How much of the time after the cursor has been dropped."""
        pieces = self.stream.pieces
        if not self.stream.dropped or not pieces:
            return 0
        return max(0, _bounds(pieces[0])[0] - cursor.after)

    def present_refs(self, place_of: PlaceOf) -> list[PlacedRef]:
        """The wanted series that have a value in the newest row, in the order of their places."""
        newest, mapping = self.stream.newest(), self.stream.mapping
        if newest is None or mapping is None:
            return []
        payload = newest.payload
        found = {
            series.ref
            for place, series in enumerate(mapping.series[: len(payload) // 8])
            if series is not None and payload[8 * place : 8 * place + 8] != STALE_BYTES
        }
        return _placed(found, place_of)

    def window(
        self,
        cursor: Cursor,
        wanted: Callable[[int | None, int], bool],
        most_rows: int,
        *,
        last: bool = False,
        limit: Cursor | None = None,
    ) -> TailWindow | None:
        """The window that comes next, None if there is nothing: at most `most_rows` rows, and nothing behind `limit`.

        `wanted` decides on a row by its predecessor's timestamp (None for the first) and its own. `last`: the newest
        row is wanted in any case.
        """
        until = cursor.until if cursor.until > cursor.after else None
        if limit is not None and until is None:
            until = limit.after if cursor.after < limit.after else limit.until
        pieces = self._pieces()
        begun = self._begun
        if begun is not None and begun.goes_on(cursor) and begun.piece in pieces:
            begun.cursor, begun.limit = cursor, limit
            return begun
        self._begun = None
        before: int | None = None
        # The row at `after`: what was present then. If it is gone, the one before it.
        base: tuple[AnyPiece, int] | None = None
        for number, piece in enumerate(pieces):
            newest_ms = _bounds(piece)[1]
            if newest_ms < cursor.after - _STEP_MS:
                before = newest_ms
                continue
            times = self._times_of(piece)
            start = bisect_right(times, cursor.after)
            if start and times[start - 1] > cursor.after - _STEP_MS:
                base = piece, start - 1
            newest = len(times) - 1 if last and number == len(pieces) - 1 else -1
            rows: list[int] = []
            for row in range(start, len(times)):
                if len(rows) == most_rows or (until is not None and times[row] > until):
                    break
                if rows and times[row] - times[rows[0]] > _WINDOW_MS:
                    break
                if row == newest or wanted(times[row - 1] if row else before, times[row]):
                    rows.append(row)
            if rows:
                self._begun = TailWindow(self, cursor, piece, times, rows, base, limit)
                return self._begun
            if until is not None and start < len(times):
                return None  # all rows behind the cursor are later than that
            before = newest_ms
        return None

    def maybe_skip(self, cursor: Cursor, wanted: Callable[[int | None, int], bool]) -> Cursor | None:
        """The cursor before the newest wanted row, if more than a moment lies between: the newest but one's."""
        newest_ms = self.newest_ms()
        if newest_ms is None or newest_ms - cursor.after < _SKIP_MS:
            return None
        oldest_ms = next(
            (_after(self._times_of(one), cursor.after) for one in self._pieces() if _bounds(one)[1] > cursor.after),
            newest_ms,
        )
        seen = False
        for t_ms, before in self._newest_times(cursor.after):
            if wanted(before, t_ms):
                if seen:
                    return Cursor.at(max(t_ms, cursor.until)) if t_ms - oldest_ms >= _SKIP_MS else None
                seen = True
        return None

    def _newest_times(self, after: int) -> Iterator[tuple[int, int | None]]:
        """The timestamps behind `after`, newest first, each with the one before it."""
        pieces = self._pieces()
        for number in range(len(pieces) - 1, -1, -1):
            times = self._times_of(pieces[number])
            for row in range(len(times) - 1, -1, -1):
                if times[row] <= after:
                    return
                before = times[row - 1] if row else _bounds(pieces[number - 1])[1] if number else None
                yield times[row], before

    def _times_of(self, piece: AnyPiece) -> Sequence[int]:
        if isinstance(piece, RowHead):
            return piece.times
        found = self._times.get(piece.uid)
        if found is None:
            if len(self._times) >= _MOST_TIMES:
                self._times.clear()
            try:
                found = piece.timestamps(0)
            except BlockError:  # a damaged file: as if it were not there
                found = []
            self._times[piece.uid] = found
        return found

    def refs(self, window: TailWindow, place_of: PlaceOf) -> list[PlacedRef]:
        """The window's wanted series in the order of their places; remembered until another window is asked for."""
        key = (window.piece_key, window.base_key)
        if self._refs[0] != key:
            found = set(window.piece.live_refs())
            if window.base is not None and window.base[0] is not window.piece:
                found.update(window.base[0].live_refs())
            self._refs = key, _placed(found, place_of)
        return self._refs[1]


class TailWindow:
    """Some rows of a piece, and the row before them as it was sent."""

    def __init__(
        self,
        tail: StreamTail,
        cursor: Cursor,
        piece: AnyPiece,
        times: Sequence[int],
        rows: list[int],
        base: tuple[AnyPiece, int] | None,
        limit: Cursor | None,
    ) -> None:
        self._tail = tail
        self.cursor = cursor
        self.limit = limit
        self.piece = piece
        self.base = base
        self._times = [times[row] for row in rows]
        self.start, self.until = self._times[0], self._times[-1]
        self._read = _reader(piece, rows)
        # The first of the values is the base row's.
        self._read_base = _reader(base[0], [base[1]]) if base is not None else None

    def goes_on(self, cursor: Cursor) -> bool:
        """Whether the cursor lies within this window."""
        return (cursor.after, cursor.until) == (self.cursor.after, self.until)

    @property
    def piece_key(self) -> object:
        return _key(self.piece)

    @property
    def base_key(self) -> object:
        return _key(self.base[0]) if self.base is not None else None

    def series(self, place_of: PlaceOf) -> Iterator[tuple[Cursor, TailSeries | None]]:
        """Series by series: the cursor behind it, and its samples, None where it has none in these rows."""
        refs = self._tail.refs(self, place_of)
        stop = behind(refs, self.end()) if self._is_cut() else len(refs)
        for number in range(behind(refs, self.cursor), stop):
            place, ref = refs[number]
            cursor = self.end() if number == stop - 1 else Cursor(self.cursor.after, self.until, place)
            yield cursor, self._maybe_series(ref)

    def beside(self, ref: int, times: Sequence[int]) -> list[float]:
        """The values of another series at some of the window's times, NaN where it has none."""
        values = dict(zip(self._times, unpack(f"<{len(self._times)}d", self._read(ref)), strict=True))
        return [values[t_ms] for t_ms in times]

    def end(self) -> Cursor:
        """The cursor behind the whole window, or behind what the limit leaves of it."""
        return self.limit if self.limit is not None and self._is_cut() else Cursor.at(self.until)

    def _is_cut(self) -> bool:
        return self.limit is not None and self.limit[:2] == (self.cursor.after, self.until)

    def _maybe_series(self, ref: int) -> TailSeries | None:
        found = self._read(ref)
        if STALE_BYTES not in found:
            return TailSeries(ref, self._times, found)
        present = self._read_base is not None and self._read_base(ref) != STALE_BYTES
        times, values = [], []
        for i, t_ms in enumerate(self._times):
            value = found[8 * i : 8 * i + 8]
            there = value != STALE_BYTES
            if there or present:
                times.append(t_ms)
                values.append(value)
            present = there
        return TailSeries(ref, times, b"".join(values)) if times else None


def behind(refs: Sequence[PlacedRef], cursor: Cursor) -> int:
    """The index of the first series behind the cursor."""
    return bisect_right(refs, (cursor.place, _BEHIND_ALL)) if cursor.until != cursor.after else 0


def _placed(refs: Iterable[int], place_of: PlaceOf) -> list[PlacedRef]:
    return sorted((place, ref) for ref in refs if (place := place_of(ref)))


def _bounds(piece: AnyPiece) -> tuple[int, int]:
    """A piece's first and last timestamp."""
    return (piece.mint, piece.maxt) if isinstance(piece, Block) else (piece.times[0], piece.times[-1])


def _after(times: Sequence[int], t_ms: int) -> int:
    """The first timestamp behind `t_ms`; `t_ms` if there is none."""
    number = bisect_right(times, t_ms)
    return times[number] if number < len(times) else t_ms


def _key(piece: AnyPiece) -> object:
    """What changes when a piece gets further series."""
    if isinstance(piece, Block):
        return piece.uid
    return piece.times[0], piece.since, len(piece.mappings), len(piece.mappings[-1][1].by_column())


def _reader(piece: AnyPiece, rows: Sequence[int]) -> Callable[[int], bytes]:
    """A function that gives a series' values, 8 bytes each, in these rows of a piece."""
    if isinstance(piece, Block):
        return lambda ref: _block_values(piece, ref, rows)
    mappings = [mapping for start, end, mapping in piece.sections() for _ in range(start, end)]
    payloads = [(mappings[row], piece.rows[row]) for row in rows]
    return lambda ref: b"".join([_value(mapping, payload, ref) for mapping, payload in payloads])


def _value(mapping: AnyColumnMap, payload: bytes, ref: int) -> bytes:
    """A series' value in a row: that of the last of its columns that has one."""
    for place in reversed(mapping.places(ref)):
        value = payload[8 * place : 8 * place + 8]
        if value and value != STALE_BYTES:
            return value
    return STALE_BYTES


def _block_values(block: Block, ref: int, rows: Sequence[int]) -> bytes:
    place = block.place(ref)
    if place is None:
        return STALE_BYTES * len(rows)
    try:
        words = block.words(place)
    except BlockError:  # a damaged file
        return STALE_BYTES * len(rows)
    chosen = words[rows[0] : rows[-1] + 1]
    if len(chosen) != len(rows):
        chosen = array("Q", [words[row] for row in rows])
    if byteorder == "big":
        chosen.byteswap()
    return chosen.tobytes()
