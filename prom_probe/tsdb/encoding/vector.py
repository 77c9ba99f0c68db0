"""Columns of a block decoded side by side, with numpy."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from prom_probe.model.sample import STALE_BITS
from prom_probe.tsdb.encoding import record
from prom_probe.tsdb.encoding.column import check
from prom_probe.tsdb.encoding.deltas import inflate
from prom_probe.tsdb.encoding.forms import FORMS
from prom_probe.tsdb.encoding.record import Record

if TYPE_CHECKING:
    from prom_probe.tsdb.block import Block

# Deltas of eight planes take as much room as what they stand for, so the finished values are kept instead. So they are
# of a few columns, where the calls that finish them take longer than their arithmetic.
_WIDEST = 7
_FEW = 4

# So many rows of a block are remembered as they are looked at most often: its first and its last one.
_EDGES = 2

# Planes are kept together as integers of four, two and one bytes: 7 planes are 4 + 2 + 1.
_LIMBS = ((4, "<u4"), (2, "<u2"), (1, "u1"))

_Rows = slice | NDArray[np.int64]


class _Deltas:
    """Records of one width, still as unsigned deltas of so many bytes: int64s come of them by `cumsum`.

    `limbs`: the parts that a delta is the sum of, lowest first, each [records, rows], with the bits it is shifted by.
    """

    def __init__(self, records: Sequence[Record], rows: int, limbs: Sequence[tuple[int, NDArray[Any]]]) -> None:
        self.nbytes = sum(limb.nbytes for _, limb in limbs) + 40 * len(records)
        self._limbs = limbs or [(0, np.broadcast_to(np.uint8(0), (len(records), rows)))]
        self._form = records[0].form
        self._first = np.array([record.first for record in records], np.int64)
        self._bias = np.array([[record.bias] for record in records], np.int64)
        divisor = np.array([[record.divisor] for record in records], np.int64)
        self._divisor = None if (divisor == 1).all() else divisor
        self._exponent = np.array([record.exponent for record in records], np.int64)
        # Deltas of one or two planes add up to less than 2^32 in a block, which has fewer than 2^16 rows.
        self._sum_type = np.uint32 if records[0].planes <= 2 else np.int64

    def values(self, lo: int, hi: int) -> NDArray[np.uint64]:
        """The bits of rows [lo, hi)."""
        return FORMS[self._form].vector(self.numbers(hi)[:, lo:], self._exponent).view(np.uint64)

    def numbers(self, hi: int) -> NDArray[np.int64]:
        """The integers of rows [0, hi)."""
        _, lowest = self._limbs[0]
        if self._divisor is None:
            steps = np.add(lowest[:, :hi], self._bias, dtype=np.int64)
        else:
            steps = lowest[:, :hi].astype(np.int64)
        for shift, limb in self._limbs[1:]:
            steps += np.left_shift(limb[:, :hi], shift, dtype=np.int64)
        if self._divisor is not None:
            steps *= self._divisor
            steps += self._bias
        steps[:, 0] = self._first
        return np.cumsum(steps, axis=1, out=steps)

    def at(self, index: NDArray[np.int64]) -> NDArray[np.float64]:
        """The values of the rows `index`: only they are multiplied and divided."""
        numbers = self._sums(index).astype(np.int64, copy=False)
        if self._divisor is not None:
            numbers *= self._divisor
        numbers += self._bias * index
        numbers += self._first[:, np.newaxis]
        return FORMS[self._form].vector(numbers, self._exponent)

    def _sums(self, index: NDArray[np.int64]) -> Any:
        """The deltas of rows 1 to i added up, for each i in `index`; modulo 2^64, as they were made."""
        stop = int(index.max()) + 1
        if len(index) == 1:
            limbs = [(shift, limb[:, 1:stop].sum(axis=1, dtype=np.int64, keepdims=True)) for shift, limb in self._limbs]
            return np.add.reduce([np.left_shift(one, shift) for shift, one in limbs])
        (_, lowest), *others = self._limbs
        steps: NDArray[Any] = lowest[:, :stop].astype(self._sum_type)
        for shift, limb in others:
            steps += np.left_shift(limb[:, :stop], shift, dtype=self._sum_type)
        steps[:, 0] = 0
        return np.cumsum(steps, axis=1, out=steps).take(index, axis=1)


class _Values:
    """Columns as finished values: the bits of float64s, one for all rows where they are constant."""

    def __init__(self, values: NDArray[np.uint64]) -> None:
        self.nbytes = values.nbytes
        self._values = values

    def values(self, lo: int, hi: int) -> NDArray[np.uint64]:
        return self._values if self._values.shape[1] == 1 else self._values[:, lo:hi]

    def at(self, index: NDArray[np.int64]) -> NDArray[np.float64]:
        values = self._values.view(np.float64)
        if values.shape[1] == 1:
            return np.broadcast_to(values, (len(values), len(index)))
        return values.take(index, axis=1)


class _Part:
    """Columns that are present in the same rows [start, end), gaps within aside: they go to `where` in the output."""

    def __init__(self, where: _Rows, start: int, end: int, content: _Deltas | _Values) -> None:
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


class Columns:
    """Some columns of a block, ready to be written out, any rows of them, any number of times."""

    def __init__(
        self,
        parts: Sequence[_Part],
        absent: Sequence[int],
        gaps: Sequence[tuple[int, int, int]],
        series: int,
        rising: bool,
    ) -> None:
        self._parts = parts
        self._absent = absent
        self._gaps = gaps
        self._edges: dict[int, NDArray[np.float64]] = {}
        self._series = series
        self.rising = rising

    def dense(self, lo: int, hi: int) -> bool:
        """Whether all columns are present in rows [lo, hi)."""
        return (
            not self._absent
            and all(part.start <= lo and hi <= part.end for part in self._parts)
            and not any(start < hi and lo < end for _, start, end in self._gaps)
        )

    def write(self, lo: int, hi: int, out: NDArray[np.uint64]) -> None:
        """Write rows [lo, hi) into `out`, the marker where a column is absent."""
        for part in self._parts:
            part.write(lo, hi, out)
        if self._absent:
            out[self._absent] = STALE_BITS
        for row, start, end in self._gaps:
            if start < hi and lo < end:
                out[row, max(start - lo, 0) : end - lo] = STALE_BITS

    def at(self, index: NDArray[np.int64]) -> NDArray[np.float64]:
        """The values of rows in which all columns are present."""
        if len(self._parts) == 1:  # then it has all columns, in order
            content, start = self._parts[0].content, self._parts[0].start
            return content.at(index - start if start else index)
        out = np.empty((self._series, len(index)))
        for part in self._parts:
            out[part.where] = part.content.at(index - part.start)
        return out

    def rows(self, lo: int, hi: int) -> ColumnRows:
        """Rows [lo, hi)."""
        return ColumnRows(self, lo, hi)

    def edge(self, row: int) -> NDArray[np.float64]:
        """The values of one such row, which is the same each time: the first or the last one."""
        found = self._edges.get(row)
        if found is None:
            found = self.at(np.array([row]))[:, 0]
            if len(self._edges) < _EDGES:
                self._edges[row] = found
        return found

    @property
    def nbytes(self) -> int:
        edges = _EDGES * (8 * self._series + 200)
        parts = sum(part.content.nbytes + 300 for part in self._parts)
        return parts + edges + 100 * len(self._gaps) + 8 * len(self._absent)


class ColumnRows:
    """Rows [lo, hi) of some columns (`tsdb.view.Rows`)."""

    __slots__ = ("_columns", "_hi", "_lo", "dense", "rising")

    def __init__(self, columns: Columns, lo: int, hi: int) -> None:
        self._columns = columns
        self._lo = lo
        self._hi = hi
        self.dense = columns.dense(lo, hi)
        self.rising = columns.rising

    def write(self, out: NDArray[np.uint64]) -> None:
        self._columns.write(self._lo, self._hi, out)

    def at(self, index: NDArray[np.int64]) -> NDArray[np.float64]:
        return self._columns.at(index + self._lo if self._lo else index)

    def first(self) -> NDArray[np.float64]:
        return self._columns.edge(self._lo)

    def last(self) -> NDArray[np.float64]:
        return self._columns.edge(self._hi - 1)


def load(block: Block, refs: Sequence[int]) -> tuple[Columns, int]:
    """The columns of series `refs`, which share a timeline or are absent, and their size in bytes.

    Raises BlockError where one is damaged.
    """
    absent: list[int] = []
    gaps: list[tuple[int, int, int]] = []
    rising = True
    alike: dict[tuple[int, int, int, int], list[tuple[int, Record]]] = {}
    for row, place in enumerate(places(block.refs, refs)):
        if place is None:
            absent.append(row)
            continue
        one = block.column(place)
        height = block.rows(block.timeline_of(place))
        start, end = (0, height) if one.flips is None else record.window(one, height)
        if start == end:
            absent.append(row)
            continue
        rising = rising and one.rising
        if one.flips is not None:
            gaps += [(row, *gap) for gap in record.gaps(one, height)]
        alike.setdefault((one.form, one.planes, start, end), []).append((row, one))
    parts = [
        _Part(_where([row for row, _ in some]), start, end, _content([one for _, one in some], end - start))
        for (_, _, start, end), some in alike.items()
    ]
    columns = Columns(parts, absent, gaps, len(refs), rising)
    return columns, columns.nbytes + 8 * len(refs)


def places(columns: array[int] | memoryview, refs: Sequence[int]) -> list[int | None]:
    """The column of each series; None for those that have none."""
    table, wanted = np.frombuffer(columns, np.int64), np.array(refs, np.int64)
    found = table.searchsorted(wanted)
    there = found < len(table)
    there[there] = table[found[there]] == wanted[there]
    return [place if hit else None for place, hit in zip(found.tolist(), there.tolist(), strict=True)]


def load_times(block: Block, timeline: int) -> tuple[NDArray[np.int64], int]:
    """A timeline's timestamps, int64[rows], and their size in bytes. Raises BlockError where it is damaged."""
    height = block.rows(timeline)
    times = _deltas([block.time_record(timeline)], height).numbers(height)[0]
    return times, times.nbytes


def _where(rows: list[int]) -> _Rows:
    """Ascending rows, as a slice where they follow each other."""
    return slice(rows[0], rows[-1] + 1) if rows[-1] - rows[0] + 1 == len(rows) else np.array(rows)


def _content(records: Sequence[Record], height: int) -> _Deltas | _Values:
    """Columns of one form and width."""
    for one in records:
        check(one)
    deltas = _deltas(records, height)
    if not any(one.planes or one.bias for one in records):
        return _Values(deltas.values(0, 1))
    finished = len(records) <= _FEW or records[0].planes > _WIDEST
    return _Values(deltas.values(0, height)) if finished else deltas


def _deltas(records: Sequence[Record], rows: int) -> _Deltas:
    """Records of one width, inflated."""
    planes = records[0].planes
    inflated = b"".join(inflate(one.body, rows, one.planes, one.raw, one.deflated) for one in records)
    table = np.frombuffer(inflated, np.uint8).reshape(len(records), planes, rows)
    limbs = []
    at = 0
    while at < planes:
        size, kind = next((size, kind) for size, kind in _LIMBS if size <= planes - at)
        limbs.append((8 * at, _joined(table[:, at : at + size], kind)))
        at += size
    return _Deltas(records, rows, limbs)


def _joined(planes: NDArray[np.uint8], kind: str) -> NDArray[Any]:
    """Integers of the planes of their bytes: [records, planes, rows] to [records, rows].

    Plane by plane: five times as fast as transposing, where the innermost loop would be over a few bytes.
    """
    records, size, rows = planes.shape
    if size == 1:
        return np.ascontiguousarray(planes[:, 0])
    out = np.empty((records, rows), kind)
    each = out.view(np.uint8).reshape(records, rows, size)
    for plane in range(size):
        each[:, :, plane] = planes[:, plane]
    return out
