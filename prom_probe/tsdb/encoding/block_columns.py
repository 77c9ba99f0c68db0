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
from prom_probe.tsdb.encoding.column import check
from prom_probe.tsdb.encoding.forms import FORMS
from prom_probe.tsdb.encoding.grouped_sums import WIDEST, GroupedSums, added_up, integers
from prom_probe.tsdb.encoding.record import FORM, RISING, SPARSE, Record
from prom_probe.tsdb.encoding.record_headers import RecordHeaders, read_headers
from prom_probe.tsdb.encoding.unsigned import unsigned, unsigned_of_all

# Up to this many columns are decoded one by one, and completely: calls take longer than their arithmetic.
_FEW = 4

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

    def write(self, lo: int, hi: int, out: NDArray[np.uint64]) -> None:
        """Write rows [lo, hi) into `out`."""
        first, last = max(lo, self.start), min(hi, self.end)
        if (first, last) == (lo, hi):
            out[self.where] = self.content.values(lo - self.start, hi - self.start)
            return
        out[self.where] = STALE_BITS
        if first < last:
            out[self.where, first - lo : last - lo] = self.content.values(first - self.start, last - self.start)


class BlockColumns:
    """Some columns of a block, of which any rows can be read, any number of times."""

    def __init__(
        self,
        groups: Sequence[_ColumnGroup],
        absent: Sequence[int],
        gaps: Sequence[tuple[int, int, int]],
        series: int,
        rising: bool,
    ) -> None:
        self._groups = groups
        self._in_order = len(groups) == 1 and isinstance(
            groups[0].where, slice
        )  # in all columns, unless some are absent
        self._absent = absent
        self._gaps = gaps
        self._ends: tuple[int, int, NDArray[np.float64]] | None = None
        self._series = series
        self.rising = rising

    def dense(self, lo: int, hi: int) -> bool:
        """Whether all columns are present in rows [lo, hi)."""
        return (
            not self._absent
            and all(group.start <= lo and hi <= group.end for group in self._groups)
            and not any(start < hi and lo < end for _, start, end in self._gaps)
        )

    def bits(self, lo: int, hi: int) -> NDArray[np.uint64] | None:
        """Rows [lo, hi), if all columns are present in them and decoded; else None."""
        if not self._in_order or not isinstance(self._groups[0].content, _Values):
            return None
        start = self._groups[0].start
        found = self._groups[0].content.values(lo - start, hi - start)
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
            and all(
                int(lo[group.where].min()) >= group.start and int(hi[group.where].max()) <= group.end
                for group in self._groups
            )
            and not any(start < hi[row] and lo[row] < end for row, start, end in self._gaps)
        )

    def at(self, index: NDArray[np.int64]) -> NDArray[np.float64]:
        """The values of rows, [k] or [series, k], in which these columns are present."""
        if self._in_order:
            content, start = self._groups[0].content, self._groups[0].start
            return content.at(index - start if start else index)
        out = np.empty((self._series, index.shape[-1]))
        for group in self._groups:
            some = index if index.ndim == 1 else index[group.where]
            out[group.where] = group.content.at(some - group.start if group.start else some)
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
        groups = sum(group.content.nbytes + 300 for group in self._groups)
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
    columns = (_load_few if len(refs) <= _FEW else _load_many)(block, refs)
    return columns, columns.nbytes + 8 * len(refs)


def _load_few(block: EncodedBlock, refs: Sequence[int]) -> BlockColumns:
    """Decode column by column."""
    groups: list[_ColumnGroup] = []
    absent: list[int] = []
    gaps: list[tuple[int, int, int]] = []
    rising = True
    for row, ref in enumerate(refs):
        place = block.place(ref)
        if place is None:
            absent.append(row)
            continue
        one, height = block.column(place), block.rows(block.timeline_of(place))
        start, end = record.window(one, height)
        if start == end:
            absent.append(row)
            continue
        rising = rising and one.rising
        gaps += [(row, *gap) for gap in record.gaps(one.flips, height)]
        groups.append(_ColumnGroup(slice(row, row + 1), start, end, _Values(_finished(one, end - start))))
    return BlockColumns(groups, absent, gaps, len(refs), rising)


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
    found, there = _places(block.refs, refs)
    if not there.any():
        return BlockColumns([], list(range(len(refs))), [], len(refs), True)
    rows = np.flatnonzero(there)
    headers = read_headers(*block.column_records(), found[rows])
    heights = block.heights(found[rows])
    windows = np.stack((np.zeros_like(heights), heights))
    gaps: list[tuple[int, int, int]] = []
    for number, flips in headers.flips.items():
        height = int(heights[number])
        windows[:, number] = record.window_of(flips, height)
        if len(flips) > 2:
            gaps += [(int(rows[number]), *gap) for gap in record.gaps(flips, height)]
    start, end = windows
    present = start < end
    coding = headers.flags & SPARSE
    alike = headers.flags & FORM | headers.planes << 2 | start << 8 | end << 24
    # Within a group, columns of one coding are neighbours.
    order = np.argsort(alike << 10 | coding << 4 | headers.detail, kind="stable")
    order = order[present[order]]
    groups = []
    for index in np.split(order, np.flatnonzero(np.diff(alike[order])) + 1) if len(order) else ():
        first, last = int(start[index[0]]), int(end[index[0]])
        groups.append(_ColumnGroup(_where(rows[index]), first, last, _content(headers.some(index), last - first)))
    rising = bool((headers.flags[present] & RISING).all())
    absent = [*np.flatnonzero(~there).tolist(), *rows[~present].tolist()]
    return BlockColumns(groups, absent, gaps, len(refs), rising)


def places(columns: array[int] | memoryview, refs: Sequence[int]) -> list[int | None]:
    """The column of each series; None if there is none."""
    found, there = _places(columns, refs)
    return [place if hit else None for place, hit in zip(found.tolist(), there.tolist(), strict=True)]


def _places(columns: array[int] | memoryview, refs: Sequence[int]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Where each series' column would be, and whether there is one."""
    table, wanted = np.frombuffer(columns, np.int64), np.array(refs, np.int64)
    found = table.searchsorted(wanted)
    there = found < len(table)
    there[there] = table[found[there]] == wanted[there]
    return found, there


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
    constant, many = not planes and not headers.bias.any(), len(headers) > _FEW
    deltas = unsigned_of_all(headers, 1 if constant else rows)
    if many and not constant and planes <= WIDEST:
        return _Numbers(headers, GroupedSums(headers, deltas))
    numbers = integers(headers, deltas)
    return _Values(FORMS[_form(headers)].vector(numbers, headers.exponent).view(np.uint64))
