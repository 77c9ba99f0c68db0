"""Decoding columns of a block side by side, with numpy."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from typing import Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from prom_probe.model.picking import pick
from prom_probe.model.sample import STALE_BITS
from prom_probe.tsdb.encoding import record
from prom_probe.tsdb.encoding.column import check, decode_numbers
from prom_probe.tsdb.encoding.forms import FORMS
from prom_probe.tsdb.encoding.grouped_sums import WIDEST, GroupedSums, added_up, integers
from prom_probe.tsdb.encoding.record import FORM, RISING, SPARSE, Record
from prom_probe.tsdb.encoding.record_headers import RecordHeaders, read_headers
from prom_probe.tsdb.encoding.unsigned import unsigned, unsigned_of_all

# Up to so many columns of up to so many rows are decoded faster one by one and without numpy.
_FEW, _SHORT = 4, 64

_LITTLE = 1024  # values: up to that, they are kept decoded, since calls take longer than their arithmetic

_RowIndex: TypeAlias = slice | NDArray[np.int64]


class EncodedBlock(Protocol):
    """A block as its decoders see it; its methods raise BlockError if it is damaged."""

    @property
    def refs(self) -> array[int] | memoryview:
        """The columns' series, ascending."""

    def place(self, ref: int) -> int | None:
        """The column of series `ref`."""

    def timeline_of(self, place: int) -> int:
        """The timeline of a column."""

    def rows(self, timeline: int) -> int:
        """The number of rows of a timeline."""

    def heights(self, places: NDArray[np.int64]) -> NDArray[np.int64]:
        """The number of rows of each column."""

    def column(self, place: int) -> Record:
        """A column's record."""

    def time_record(self, timeline: int) -> Record:
        """A timeline's record."""

    def column_records(self) -> tuple[memoryview, memoryview]:
        """The bounds of the columns' records, and the bytes they index."""


class _Numbers:
    """Columns of one form as integers; any rows can be read."""

    def __init__(self, headers: RecordHeaders, sums: GroupedSums) -> None:
        self._sums = sums
        self._form = FORMS[_form(headers)]
        self._exponent = headers.exponent
        self.nbytes = self._sums.nbytes + self._exponent.nbytes

    def values(self, lo: int, hi: int) -> NDArray[np.uint64]:
        """The bits of rows [lo, hi)."""
        return self._form.vector(self._sums.numbers(lo, hi), self._exponent).view(np.uint64)

    def at(self, index: NDArray[np.int64]) -> NDArray[np.float64]:
        """The values of the rows `index`, [k] or [columns, k]."""
        return self._form.vector(self._sums.at(index), self._exponent)


class _Values:
    """Columns as decoded values, the bits of float64s; a single one for all rows if all columns are constant."""

    def __init__(self, values: NDArray[np.uint64]) -> None:
        self.nbytes = values.nbytes
        self._values = values

    def values(self, lo: int, hi: int) -> NDArray[np.uint64]:
        return self._values if self._values.shape[1] == 1 else self._values[:, lo:hi]

    def at(self, index: NDArray[np.int64]) -> NDArray[np.float64]:
        values = self._values.view(np.float64)
        if values.shape[1] == 1:
            return np.broadcast_to(values, (len(values), index.shape[-1]))
        found: NDArray[np.float64] = pick(values, index)
        return found


class _ColumnGroup:
    """Columns that are present in the same rows [start, end), apart from gaps; `where` they belong in the output."""

    def __init__(self, where: _RowIndex, start: int, end: int, content: _Numbers | _Values) -> None:
        self.where = where
        self.start = start
        self.end = end
        self.content = content

    @property
    def nbytes(self) -> int:
        return self.content.nbytes + 300

    def dense(self, lo: int, hi: int) -> bool:
        """Whether all columns are present in rows [lo, hi)."""
        return self.start <= lo and hi <= self.end

    def present(self, lo: NDArray[np.int64], hi: NDArray[np.int64]) -> bool:
        """Whether each column is present in rows [lo[i], hi[i])."""
        return int(lo.min()) >= self.start and int(hi.max()) <= self.end

    def at(self, index: NDArray[np.int64]) -> NDArray[np.float64]:
        """The values of rows, [k] or [columns, k], in which the columns are present."""
        return self.content.at(index - self.start if self.start else index)

    def write(self, lo: int, hi: int, out: NDArray[np.uint64]) -> None:
        """Write rows [lo, hi) into `out`."""
        first, last = max(lo, self.start), min(hi, self.end)
        if (first, last) == (lo, hi):
            out[self.where] = self.content.values(lo - self.start, hi - self.start)
            return
        out[self.where] = STALE_BITS
        if first < last:
            out[self.where, first - lo : last - lo] = self.content.values(first - self.start, last - self.start)


class _ShortColumns:
    """Columns that are present in a few rows each: column i has `bits[i]` from row `start[i]` to `end[i]`."""

    def __init__(self, where: Sequence[int], start: Sequence[int], words: Sequence[array[int]]) -> None:
        self.where: _RowIndex = np.array(where)
        self._start = np.array(start)
        lengths = np.array(list(map(len, words)))
        self._end = self._start + lengths
        self._bits = np.full((len(words), int(lengths.max())), STALE_BITS, np.uint64)
        self._bits[np.arange(self._bits.shape[1]) < lengths[:, np.newaxis]] = np.frombuffer(b"".join(words), np.uint64)

    @property
    def nbytes(self) -> int:
        return self._bits.nbytes + 3 * self._start.nbytes + 500

    def dense(self, lo: int, hi: int) -> bool:
        return int(self._start.max()) <= lo and hi <= int(self._end.min())

    def present(self, lo: NDArray[np.int64], hi: NDArray[np.int64]) -> bool:
        return bool((self._start <= lo).all() and (hi <= self._end).all())

    def at(self, index: NDArray[np.int64]) -> NDArray[np.float64]:
        here = index - self._start[:, np.newaxis]
        found: NDArray[np.float64] = pick(self._bits.view(np.float64), here.clip(0, self._bits.shape[1] - 1))
        return found

    def write(self, lo: int, hi: int, out: NDArray[np.uint64]) -> None:
        rows = self._start[:, np.newaxis] + np.arange(-lo, self._bits.shape[1] - lo)
        inside = (rows >= 0) & (rows < np.minimum(self._end, hi)[:, np.newaxis] - lo)
        found = np.full((len(rows), hi - lo), STALE_BITS, np.uint64)
        found[np.nonzero(inside)[0], rows[inside]] = self._bits[inside]
        out[self.where] = found


class BlockColumns:
    """Some columns of a block, of which any rows can be read, any number of times."""

    def __init__(
        self,
        groups: Sequence[_ColumnGroup | _ShortColumns],
        absent: Sequence[int],
        gaps: Sequence[tuple[int, int, int]],
        series: int,
        rising: bool,
    ) -> None:
        self._groups = groups
        # Of the only group, with all columns unless some are absent.
        self._alone = groups[0] if len(groups) == 1 and isinstance(groups[0].where, slice) else None
        self._absent = absent
        self._gaps = gaps
        self._ends: tuple[int, int, NDArray[np.float64]] | None = None
        self._series = series
        self.rising = rising

    def dense(self, lo: int, hi: int) -> bool:
        """Whether all columns are present in rows [lo, hi)."""
        return (
            not self._absent
            and all(group.dense(lo, hi) for group in self._groups)
            and not any(start < hi and lo < end for _, start, end in self._gaps)
        )

    def bits(self, lo: int, hi: int) -> NDArray[np.uint64] | None:
        """Rows [lo, hi), if all columns are present in them and decoded; else None."""
        group = self._alone
        if not isinstance(group, _ColumnGroup) or not isinstance(group.content, _Values):
            return None
        found = group.content.values(lo - group.start, hi - group.start)
        return found if found.shape == (self._series, hi - lo) else None

    def write(self, lo: int, hi: int, out: NDArray[np.uint64]) -> None:
        """Write rows [lo, hi) into `out`, with the staleness marker where a column is absent."""
        for group in self._groups:
            group.write(lo, hi, out)
        if self._absent:
            out[self._absent] = STALE_BITS
        for row, start, end in self._gaps:
            if start < hi and lo < end:
                out[row, max(start - lo, 0) : end - lo] = STALE_BITS

    def present(self, lo: NDArray[np.int64], hi: NDArray[np.int64]) -> bool:
        """Whether column i is present in rows [lo[i], hi[i])."""
        return (
            not self._absent
            and all(group.present(lo[group.where], hi[group.where]) for group in self._groups)
            and not any(start < hi[row] and lo[row] < end for row, start, end in self._gaps)
        )

    def at(self, index: NDArray[np.int64]) -> NDArray[np.float64]:
        """The values of rows, [k] or [series, k], in which these columns are present."""
        if self._alone is not None:
            return self._alone.at(index)
        out = np.empty((self._series, index.shape[-1]))
        for group in self._groups:
            out[group.where] = group.at(index if index.ndim == 1 else index[group.where])
        return out

    def rows(self, lo: int, hi: int) -> ColumnRows:
        """Rows [lo, hi)."""
        return ColumnRows(self, lo, hi)

    def ends(self, first: int, last: int) -> NDArray[np.float64]:
        """The values of two such rows, [series, 2]; remembered, since mostly a block's first and last are wanted."""
        known = self._ends
        if known is None or known[:2] != (first, last):
            self._ends = known = first, last, self.at(np.array([first, last]))
        return known[2]

    @property
    def nbytes(self) -> int:
        edges = 16 * self._series + 300
        groups = sum(group.nbytes for group in self._groups)
        return groups + edges + 100 * len(self._gaps) + 8 * len(self._absent)


class ColumnRows:
    """Rows [lo, hi) of some columns (`tsdb.piece_rows.PieceRows`)."""

    __slots__ = ("_columns", "_hi", "_lo", "dense", "rising")

    def __init__(self, columns: BlockColumns, lo: int, hi: int) -> None:
        self._columns = columns
        self._lo = lo
        self._hi = hi
        self.dense = columns.dense(lo, hi)
        self.rising = columns.rising

    def bits(self) -> NDArray[np.uint64] | None:
        return self._columns.bits(self._lo, self._hi) if self.dense else None

    def write(self, out: NDArray[np.uint64]) -> None:
        self._columns.write(self._lo, self._hi, out)

    def present(self, lo: NDArray[np.int64], hi: NDArray[np.int64]) -> bool:
        return self.dense or self._columns.present(lo + self._lo, hi + self._lo)

    def at(self, index: NDArray[np.int64]) -> NDArray[np.float64]:
        return self._columns.at(index + self._lo if self._lo else index)

    def ends(self) -> NDArray[np.float64]:
        return self._columns.ends(self._lo, self._hi - 1)


def load(block: EncodedBlock, refs: Sequence[int]) -> tuple[BlockColumns, int]:
    """The columns of series `refs`, and their size in bytes.

    Raises BlockError if one is damaged.
    """
    columns = _load_one(block, refs[0]) if len(refs) == 1 else _load_many(block, refs)
    return columns, columns.nbytes + 8 * len(refs)


def _load_one(block: EncodedBlock, ref: int) -> BlockColumns:
    """Decode a column completely: what is read of a single series is little, so calls count for more than memory."""
    place = block.place(ref)
    if place is None:
        return BlockColumns([], [0], [], 1, True)
    one, height = block.column(place), block.rows(block.timeline_of(place))
    start, end = record.window(one, height)
    if start == end:
        return BlockColumns([], [0], [], 1, True)
    gaps = [(0, *gap) for gap in record.gaps(one.flips, height)]
    group = _ColumnGroup(slice(0, 1), start, end, _Values(_finished(one, end - start)))
    return BlockColumns([group], [], gaps, 1, one.rising)


def _finished(one: Record, rows: int) -> NDArray[np.uint64]:
    """The bits of a column's float64s, [1, rows]; [1, 1] if it is constant."""
    check(one.form, one.exponent)
    deltas = unsigned(one, rows)[np.newaxis]
    if not one.planes and not one.bias:
        deltas = deltas[:, :1]
    numbers = added_up(deltas, one.first, one.bias or None, one.divisor if one.divisor != 1 else None)
    return FORMS[one.form].vector(numbers, np.array([one.exponent])).view(np.uint64)


def _load_many(block: EncodedBlock, refs: Sequence[int]) -> BlockColumns:
    """Decode columns of one form, width and span of rows together."""
    found, there = find(block.refs, refs)
    if not there.any():
        return BlockColumns([], list(range(len(refs))), [], len(refs), True)
    rows = np.flatnonzero(there)
    headers = read_headers(*block.column_records(), found[rows])
    heights = block.heights(found[rows])
    gaps: list[tuple[int, int, int]] = []
    for number, flips in headers.flips.items():
        if len(flips) > 2:
            gaps += [(int(rows[number]), *gap) for gap in record.gaps(flips, int(heights[number]))]
    start, end = _windows(headers, heights)
    present = start < end
    coding = headers.flags & SPARSE
    alike = headers.flags & FORM | headers.planes << 2 | start << 8 | end << 24
    # Within a group, columns of one coding are neighbours.
    order = np.argsort(alike << 10 | coding << 4 | headers.detail, kind="stable")
    order = order[present[order]]
    groups: list[_ColumnGroup | _ShortColumns] = []
    short: list[int] = []
    for index in np.split(order, np.flatnonzero(np.diff(alike[order])) + 1) if len(order) else ():
        first, last = int(start[index[0]]), int(end[index[0]])
        if len(index) <= _FEW and last - first <= _SHORT:
            short += index.tolist()
        else:
            groups.append(_ColumnGroup(_where(rows[index]), first, last, _content(headers.some(index), last - first)))
    if short:
        groups.append(_short(block, rows[short].tolist(), found[rows[short]].tolist(), heights[short].tolist()))
    rising = bool((headers.flags[present] & RISING).all())
    absent = [*np.flatnonzero(~there).tolist(), *rows[~present].tolist()]
    return BlockColumns(groups, absent, gaps, len(refs), rising)


def _short(block: EncodedBlock, where: Sequence[int], places: Sequence[int], heights: Sequence[int]) -> _ShortColumns:
    """Decode columns of a few rows (_SHORT)."""
    starts, words = [], []
    for place, height in zip(places, heights, strict=True):
        one = block.column(place)
        start, end = record.window(one, height)
        check(one.form, one.exponent)
        starts.append(start)
        words.append(FORMS[one.form].words(decode_numbers(one, end - start), one.exponent))
    return _ShortColumns(where, starts, words)


def places(columns: array[int] | memoryview, refs: Sequence[int]) -> list[int | None]:
    """The column of each series; None if there is none."""
    found, there = find(columns, refs)
    return [place if hit else None for place, hit in zip(found.tolist(), there.tolist(), strict=True)]


def find(columns: array[int] | memoryview, refs: Sequence[int]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Where each series' column would be, and whether there is one."""
    table, wanted = np.frombuffer(columns, np.int64), np.array(refs, np.int64)
    found = table.searchsorted(wanted)
    there = found < len(table)
    there[there] = table[found[there]] == wanted[there]
    return found, there


def _windows(headers: RecordHeaders, heights: NDArray[np.int64]) -> NDArray[np.int64]:
    """The rows of each record from its first present one to its last one: [start and end, records]."""
    windows = np.stack((np.zeros_like(heights), heights))
    for number, flips in headers.flips.items():
        windows[:, number] = record.window_of(flips, int(heights[number]))
    return windows


def windows(block: EncodedBlock) -> NDArray[np.uint16]:
    """All columns' rows from the first present one to the last one: [start and end, columns].

    Raises BlockError if one is damaged.
    """
    places = np.arange(len(block.refs))
    if not len(places):
        return np.zeros((2, 0), np.uint16)
    return _windows(read_headers(*block.column_records(), places), block.heights(places)).astype(np.uint16)


def load_times(block: EncodedBlock, timeline: int) -> tuple[NDArray[np.int64], int]:
    """A timeline's timestamps, int64[rows], and their size in bytes. Raises BlockError if it is damaged."""
    one = block.time_record(timeline)
    factors = (one.bias or None, one.divisor if one.divisor != 1 else None)
    times = added_up(unsigned(one, block.rows(timeline)), one.first, *factors)
    return times, times.nbytes


def _where(rows: NDArray[np.int64]) -> _RowIndex:
    """Row numbers, as a slice if they are consecutive."""
    return slice(int(rows[0]), int(rows[-1]) + 1) if (np.diff(rows) == 1).all() else rows


def _form(headers: RecordHeaders) -> int:
    return int(headers.flags[0]) & FORM


def _content(headers: RecordHeaders, rows: int) -> _Numbers | _Values:
    """The content of columns of one form and width."""
    check(_form(headers), int(headers.exponent.max()))
    planes = int(headers.planes[0])
    constant = not planes and not headers.bias.any()
    deltas = unsigned_of_all(headers, 1 if constant else rows)
    if not constant and planes <= WIDEST and deltas.size > _LITTLE:
        return _Numbers(headers, GroupedSums(headers, deltas))
    numbers = integers(headers, deltas)
    return _Values(FORMS[_form(headers)].vector(numbers, headers.exponent).view(np.uint64))
