"""Columns of a block decoded side by side, with numpy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from prom_probe.model.sample import STALE_BITS
from prom_probe.tsdb.encoding.column import spans, split_gaps
from prom_probe.tsdb.encoding.deltas import inflate
from prom_probe.tsdb.encoding.entry import DEFLATED, GAPS, RISING, Entry
from prom_probe.tsdb.encoding.forms import CONSTANT, FORMS

if TYPE_CHECKING:
    from prom_probe.tsdb.block import Block

# Deltas of more planes take as much room as what they stand for, so the finished values are kept instead.
_WIDEST = 4

_Rows = slice | NDArray[np.int64]


class _Deltas:
    """Columns of one form, still as unsigned deltas of one, two or four bytes: int64s come of them by `cumsum`."""

    def __init__(self, where: _Rows, entries: Sequence[Entry], deltas: NDArray[Any]) -> None:
        self.where = where
        self.nbytes = (deltas.nbytes if entries[0].planes else 0) + 40 * len(entries)
        self._deltas = deltas
        self._vector = FORMS[entries[0].form].vector
        self._first = np.array([entry.first for entry in entries], np.int64)
        self._bias = np.array([[entry.bias] for entry in entries], np.int64)
        divisor = np.array([[entry.divisor] for entry in entries], np.int64)
        self._divisor = None if (divisor == 1).all() else divisor
        self._exponent = np.array([entry.exponent for entry in entries], np.int64)

    def values(self, lo: int, hi: int) -> NDArray[np.uint64]:
        """The bits of rows [lo, hi)."""
        return self._vector(self.numbers(hi)[:, lo:], self._exponent).view(np.uint64)

    def numbers(self, hi: int) -> NDArray[np.int64]:
        """The integers of rows [0, hi)."""
        deltas = self._deltas[:, :hi]
        if self._divisor is None:
            steps = np.add(deltas, self._bias, dtype=np.int64)
        else:
            steps = np.multiply(deltas, self._divisor, dtype=np.int64)
            steps += self._bias
        steps[:, 0] = self._first
        return np.cumsum(steps, axis=1, out=steps)


class _Values:
    """Columns as finished values: the bits of float64s, one for all rows where they are constant."""

    def __init__(self, where: _Rows, values: NDArray[np.uint64]) -> None:
        self.where = where
        self.nbytes = values.nbytes
        self._values = values

    def values(self, lo: int, hi: int) -> NDArray[np.uint64]:
        return self._values if self._values.shape[1] == 1 else self._values[:, lo:hi]


class Columns:
    """Some columns of a block, ready to be written out, any rows of them, any number of times."""

    def __init__(
        self,
        parts: Sequence[_Deltas | _Values],
        absent: Sequence[int],
        gaps: Sequence[tuple[int, list[tuple[int, int]]]],
        rising: NDArray[np.bool_],
    ) -> None:
        self._parts = parts
        self._absent = absent
        self._gaps = gaps
        self.rising = rising

    def read(self, lo: int, hi: int, out: NDArray[np.uint64]) -> bool:
        """Write rows [lo, hi) into `out`; True if no marker was among them."""
        for part in self._parts:
            out[part.where] = part.values(lo, hi)
        if self._absent:
            out[self._absent] = STALE_BITS
        whole = not self._absent
        for i, absent in self._gaps:
            for start, end in absent:
                if start < hi and lo < end:
                    out[i, max(start - lo, 0) : end - lo] = STALE_BITS
                    whole = False
        return whole

    @property
    def nbytes(self) -> int:
        return sum(part.nbytes + 200 for part in self._parts) + 100 * len(self._gaps) + 8 * len(self._absent)


def load(block: Block, refs: Sequence[int]) -> tuple[Columns, int]:
    """The columns of series `refs`, which share a timeline or are absent, and their size in bytes.

    Raises BlockError where one is damaged.
    """
    absent: list[int] = []
    gaps: list[tuple[int, list[tuple[int, int]]]] = []
    rising = np.ones(len(refs), np.bool_)
    alike: dict[tuple[int, int], list[tuple[int, Entry, bytes]]] = {}
    height = 0
    for row, ref in enumerate(refs):
        place = block.place(ref)
        if place is None:
            absent.append(row)
            continue
        entry, stream = block.column(place)
        height = height or block.rows(entry.number)
        rising[row] = bool(entry.flags & RISING)
        if entry.flags & GAPS:
            flips, stream = split_gaps(entry.flags, stream)
            edges = [0, *(edge for span in spans(flips, height) for edge in span), height]
            gaps.append((row, [gap for gap in zip(edges[::2], edges[1::2], strict=True) if gap[0] < gap[1]]))
        planes = b"" if entry.form == CONSTANT else _inflated(entry, stream, height)
        alike.setdefault((entry.form, entry.planes), []).append((row, entry, planes))
    parts = [
        _part(_where([one[0] for one in some]), [one[1] for one in some], [one[2] for one in some], height)
        for some in alike.values()
    ]
    columns = Columns(parts, absent, gaps, rising)
    return columns, columns.nbytes + 8 * len(refs)


def load_times(block: Block, timeline: int) -> tuple[NDArray[np.int64], int]:
    """A timeline's timestamps, int64[rows], and their size in bytes. Raises BlockError where it is damaged."""
    entry, stream = block.entry(timeline)
    deltas = _native([_inflated(entry, stream, entry.number)], entry.planes, entry.number)
    times = _Deltas(slice(1), [entry], deltas).numbers(entry.number)[0]
    return times, times.nbytes


def _inflated(entry: Entry, stream: memoryview, height: int) -> bytes:
    return inflate(stream, height, entry.planes, entry.raw, bool(entry.flags & DEFLATED))


def _where(rows: list[int]) -> _Rows:
    """Ascending rows, as a slice where they follow each other."""
    return slice(rows[0], rows[-1] + 1) if rows[-1] - rows[0] + 1 == len(rows) else np.array(rows)


def _part(where: _Rows, entries: Sequence[Entry], streams: Sequence[bytes], height: int) -> _Deltas | _Values:
    """Columns of one form and width."""
    if entries[0].form == CONSTANT:
        return _Values(where, np.array([[entry.first] for entry in entries], np.int64).view(np.uint64))
    planes = entries[0].planes
    deltas = _Deltas(where, entries, _native(streams, planes, height))
    return deltas if planes <= _WIDEST else _Values(where, deltas.values(0, height))


def _native(streams: Sequence[bytes], planes: int, height: int) -> NDArray[Any]:
    """Planes of bytes as unsigned integers, [streams, height]."""
    if planes == 0:
        return np.broadcast_to(np.uint8(0), (len(streams), height))
    table = np.frombuffer(b"".join(streams), np.uint8).reshape(len(streams), planes, height)
    if planes == 1:
        return table[:, 0]
    out: NDArray[Any] = table[:, planes - 1].astype(
        np.uint16 if planes == 2 else np.uint32 if planes <= 4 else np.uint64
    )
    for plane in range(planes - 2, -1, -1):
        np.left_shift(out, 8, out=out)
        np.bitwise_or(out, table[:, plane], out=out)
    return out
