"""Rows of pieces, and tables that join those of several pieces."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, NamedTuple, Protocol

from prom_probe.model.sample import STALE_BITS
from prom_probe.model.series import Table

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

# Up to this many values, decoding everything is faster than looking rows up in each piece.
_LITTLE = 1 << 14


class PieceRows(Protocol):
    """Some rows of a piece. `dense`: no value is the staleness marker."""

    dense: bool

    @property
    def rising(self) -> bool:
        """Whether no series has a decrease or a NaN; False if unknown."""

    def bits(self) -> NDArray[np.uint64] | None:
        """What `write` would write, if that is at hand already; else None."""

    def write(self, out: NDArray[np.uint64]) -> None:
        """Write all rows as the bits of float64s, with the staleness marker for what is absent."""

    def present(self, lo: NDArray[np.int64], hi: NDArray[np.int64]) -> bool:
        """Whether no value of series i in rows [lo[i], hi[i]) is the staleness marker."""

    def at(self, index: NDArray[np.int64]) -> NDArray[np.float64]:
        """The values at these rows (the first is 0), [k] or [series, k], in any order; arbitrary where absent."""

    def ends(self) -> NDArray[np.float64]:
        """The values of the first and the last row, [series, 2]. Only for `dense` rows."""


class DecodedRows:
    """Decoded rows: the bits of float64s, [series, rows]."""

    __slots__ = ("_bits", "dense")

    def __init__(self, bits: NDArray[np.uint64]) -> None:
        self._bits = bits
        self.dense = not bool((bits == STALE_BITS).any())

    @property
    def rising(self) -> bool:
        values = self._bits.view("f8")
        return bool((values[:, 1:] >= values[:, :-1]).all())

    def bits(self) -> NDArray[np.uint64]:
        return self._bits

    def write(self, out: NDArray[np.uint64]) -> None:
        out[:] = self._bits

    def present(self, lo: NDArray[np.int64], hi: NDArray[np.int64]) -> bool:
        import numpy as np

        if self.dense:
            return True
        row, place = np.nonzero(self._bits == STALE_BITS)
        return not bool(((lo[row] <= place) & (place < hi[row])).any())

    def at(self, index: NDArray[np.int64]) -> NDArray[np.float64]:
        from prom_probe.model.picking import pick

        found: NDArray[np.float64] = pick(self._bits, index).view("f8")
        return found

    def ends(self) -> NDArray[np.float64]:
        import numpy as np

        return self._bits.view(np.float64)[:, [0, -1]]


class JoinedRows(Table):
    """Dense rows of several pieces, joined."""

    __slots__ = ("_counts", "_parts", "_series")

    def __init__(self, parts: Sequence[PieceRows], counts: Sequence[int], series: int) -> None:
        self._parts = parts
        self._counts = counts
        self._series = series

    def whole(self) -> NDArray[np.float64]:
        import numpy as np

        ready = [part.bits() for part in self._parts]
        found = [one for one in ready if one is not None]
        if len(found) == len(ready):
            bits = np.concatenate(found, axis=1)
        else:
            bits = np.empty((self._series, sum(self._counts)), np.uint64)
            start = 0
            for part, count in zip(self._parts, self._counts, strict=True):
                part.write(bits[:, start : start + count])
                start += count
        bits.flags.writeable = False
        return bits.view(np.float64)

    def at(self, index: NDArray[np.int64]) -> NDArray[np.float64]:
        import numpy as np

        if len(self._parts) == 1:
            return self._parts[0].at(index)
        starts = list(accumulate(self._counts, initial=0))
        if self._series * starts[-1] <= _LITTLE:
            return self.whole().take(index, axis=1)
        out = np.empty((self._series, len(index)))
        which = np.searchsorted(starts, index, "right")
        for number, (part, start) in enumerate(zip(self._parts, starts, strict=False), 1):
            some = np.flatnonzero(which == number)
            if len(some):
                out[:, some] = part.at(index[some] - start)
        return out

    def rising(self) -> bool:
        """Whether no series has a value below the one before it."""
        if not all(part.rising for part in self._parts):
            return False
        if len(self._parts) == 1:
            return True
        ends = [part.ends() for part in self._parts]
        return all(bool((here[:, 0] >= before[:, 1]).all()) for before, here in pairwise(ends))


class Stretch(NamedTuple):
    """What a piece has of some timelines.

    `rows` has the series `some`; the one in row i has the timeline `lines[own[i]]`. Of each timeline, `size` rows from
    `lo` on belong in the table from `start` on, each array being [len(lines)]. `rows` ends with the last one of these.
    """

    rows: PieceRows
    some: NDArray[np.int64]
    own: NDArray[np.int64]
    lines: NDArray[np.int64]
    lo: NDArray[np.int64]
    size: NDArray[np.int64]
    start: NDArray[np.int64]


class RaggedRows(Table):
    """Rows of several pieces, joined for each timeline.

    Beyond a series' last row there are staleness markers, up to the table's `length`.
    """

    __slots__ = ("_length", "_series", "_stretches")

    def __init__(self, stretches: Sequence[Stretch], series: int, length: int) -> None:
        self._stretches = stretches
        self._series = series
        self._length = length

    @property
    def dense(self) -> bool:
        """Whether no series has a staleness marker up to its last row."""
        return all(one.rows.present(one.lo[one.own], (one.lo + one.size)[one.own]) for one in self._stretches)

    def whole(self) -> NDArray[np.float64]:
        import numpy as np

        bits = np.full((self._series, self._length), STALE_BITS, np.uint64)
        for rows, some, own, _, lo, size, start in self._stretches:
            ready = rows.bits()
            if ready is None:
                ready = np.empty((len(some), int((lo + size).max())), np.uint64)
                rows.write(ready)
            # Timelines whose rows belong in the same places are moved at once.
            shapes, which = np.unique(np.stack((lo, size, start), axis=1), axis=0, return_inverse=True)
            which = which.reshape(-1)[own]
            for number, (first, height, at) in enumerate(shapes.tolist()):
                these = np.flatnonzero(which == number)
                bits[some[these], at : at + height] = ready[these, first : first + height]
        bits.flags.writeable = False
        return bits.view(np.float64)

    def at(self, index: NDArray[np.int64]) -> NDArray[np.float64]:
        import numpy as np

        out = np.zeros((self._series, index.shape[1]))
        low, high = index.min(axis=0), index.max(axis=0)
        for rows, some, own, lines, lo, size, start in self._stretches:
            columns = np.flatnonzero((high >= start.min()) & (low < (start + size).max()))
            if not len(columns):
                continue
            here = index[lines[:, np.newaxis], columns] - start[:, np.newaxis]
            inside = (here >= 0) & (here < size[:, np.newaxis])
            found = rows.at((np.where(inside, here, 0) + lo[:, np.newaxis])[own])
            every = inside.all(axis=0)
            out[some[:, np.newaxis], columns[every]] = found[:, every]
            row, column = np.nonzero((inside & ~every)[own])
            out[some[row], columns[column]] = found[row, column]
        return out

    def rising(self) -> bool:
        """Whether no series has a value below the one before it."""
        import numpy as np

        if not all(one.rows.rising for one in self._stretches):
            return False
        before = np.full(self._series, -np.inf)
        for rows, some, own, _, lo, size, _ in self._stretches:
            ends = rows.at(np.stack((lo, lo + size - 1), axis=1)[own])
            if not (ends[:, 0] >= before[some]).all():
                return False
            before[some] = ends[:, 1]
        return True
