"""Columns of a block decoded side by side, with numpy."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from prom_probe.model.sample import STALE_BITS
from prom_probe.tsdb.encoding.column import spans, split_gaps
from prom_probe.tsdb.encoding.deltas import inflate
from prom_probe.tsdb.encoding.entry import DEFLATED, ENTRY, GAPS, RISING, Entry
from prom_probe.tsdb.encoding.forms import CONSTANT, FORMS

if TYPE_CHECKING:
    from prom_probe.tsdb.block import Block

_ENTRIES = np.dtype(
    {
        "names": list(Entry._fields),
        "formats": ["u1", "u1", "u1", "u1", "u1", "<u2", "<u4", "<u4", "<i8", "<i8", "<f8", "<f8"],
        "offsets": [0, 1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 40],
        "itemsize": ENTRY.size,
    }
)

# Deltas of more planes take as much room as what they stand for, so the finished values are kept instead.
_WIDEST = 4

_Rows = slice | NDArray[np.int64]


class _Deltas:
    """Columns of one form, still as unsigned deltas of one, two or four bytes: int64 of them come from `cumsum`."""

    def __init__(self, where: _Rows, form: int, deltas: NDArray[Any], entries: NDArray[Any]) -> None:
        self.where = where
        self.nbytes = deltas.nbytes + 40 * len(entries)
        self._deltas = deltas
        self._vector = FORMS[form].vector
        self._first = entries["first"].astype(np.int64)
        self._bias = entries["bias"].reshape(-1, 1).astype(np.int64)
        divisor = entries["divisor"].reshape(-1, 1).astype(np.int64)
        self._divisor = None if (divisor == 1).all() else divisor
        self._exponent = entries["exponent"].astype(np.int64)

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


def load(block: Block, refs: array[int]) -> tuple[Columns, int]:
    """The columns of series `refs`, which share a timeline or are absent, and their size in bytes.

    Raises BlockError where one is damaged.
    """
    all_refs = np.frombuffer(block.refs, np.int64)
    wanted = np.frombuffer(refs, np.int64)
    places = all_refs.searchsorted(wanted)
    found = places < len(all_refs)
    found[found] = all_refs[places[found]] == wanted[found]
    rising = np.ones(len(refs), np.bool_)
    absent: list[int] = [] if found.all() else np.flatnonzero(~found).tolist()
    rows = np.flatnonzero(found)
    places = places[found]
    table = _table(block)
    entries = table[block.timelines + places]
    rising[rows] = (entries["flags"] & RISING) != 0
    parts: list[_Deltas | _Values] = []
    gaps: list[tuple[int, list[tuple[int, int]]]] = []
    if len(rows):
        height = int(table["number"][entries["number"][0]])
        streams = _streams(block, table, places, entries, rows, height, gaps)
        kinds = entries["form"].astype(np.int64) * 16 + entries["planes"]
        for kind in np.unique(kinds).tolist():
            some = np.flatnonzero(kinds == kind)
            parts.append(_part(kind // 16, _where(rows[some]), entries[some], [streams[i] for i in some], height))
    columns = Columns(parts, absent, gaps, rising)
    return columns, columns.nbytes + 8 * len(refs)


def load_times(block: Block, timeline: int) -> tuple[NDArray[np.int64], int]:
    """A timeline's timestamps, int64[rows], and their size in bytes. Raises BlockError where it is damaged."""
    table = _table(block)
    entries = table[timeline : timeline + 1]
    entry = Entry._make(entries[0].tolist())
    stream = block.streams[int(table["end"][timeline - 1]) if timeline else 0 : entry.end]
    planes = inflate(stream, entry.number, entry.planes, entry.raw, bool(entry.flags & DEFLATED))
    numbers = _Deltas(slice(1), entry.form, _native([planes], entry.planes, entry.number), entries).numbers(
        entry.number
    )
    return numbers[0], numbers.nbytes


def _table(block: Block) -> NDArray[Any]:
    from prom_probe.tsdb.block import HEADER

    return np.frombuffer(block.data, _ENTRIES, block.timelines + block.columns, HEADER.size)


def _where(rows: NDArray[np.int64]) -> _Rows:
    """Rows as a slice where they follow each other."""
    first, last = int(rows[0]), int(rows[-1])
    return slice(first, last + 1) if last - first + 1 == len(rows) else rows


def _streams(
    block: Block,
    table: NDArray[Any],
    places: NDArray[np.int64],
    entries: NDArray[Any],
    rows: NDArray[np.int64],
    height: int,
    gaps: list[tuple[int, list[tuple[int, int]]]],
) -> list[bytes]:
    """The planes of each column, inflated; what its gaps are goes into `gaps`."""
    streams = block.streams
    starts = table["end"][block.timelines + places - 1].tolist()
    out = []
    fields = ("end", "flags", "form", "planes", "raw")
    for i, (start, end, flags, form, planes, raw) in enumerate(
        zip(starts, *(entries[name].tolist() for name in fields), strict=True)
    ):
        stream = streams[start:end]
        if flags & GAPS:
            flips, stream = split_gaps(flags, stream)
            edges = [0, *(edge for span in spans(flips, height) for edge in span), height]
            gaps.append((int(rows[i]), [gap for gap in zip(edges[::2], edges[1::2], strict=True) if gap[0] < gap[1]]))
        if form == CONSTANT:
            out.append(b"")
        else:
            out.append(inflate(stream, height, planes, raw, bool(flags & DEFLATED)))
    return out


def _part(form: int, where: _Rows, entries: NDArray[Any], streams: Sequence[bytes], height: int) -> _Deltas | _Values:
    """Columns of one form and width."""
    if form == CONSTANT:
        return _Values(where, entries["first"].astype(np.int64).view(np.uint64).reshape(-1, 1))
    planes = int(entries["planes"][0])
    deltas = _Deltas(where, form, _native(streams, planes, height), entries)
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
