"""Sparse deltas of a block's columns added up: any row's integer by how many deltas there are up to it; with numpy."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from prom_probe.tsdb.encoding.heads import Heads
from prom_probe.tsdb.encoding.unsigned import ONES

_UP_TO = np.array([(2 << bit) - 1 for bit in range(8)], np.uint8)  # the bits up to each one of a byte


class Steps:
    """Integers of some sparse records of one width, as `Sums` has those of others."""

    __slots__ = ("_before", "_bias", "_divisor", "_offset", "_there", "_totals", "nbytes")

    def __init__(self, heads: Heads, there: NDArray[np.uint8], deltas: NDArray[Any]) -> None:
        """`there`: which rows have one of the `deltas`, a bit each (`unsigned.sparse_of_all`)."""
        counts = ONES.take(there).astype(np.uint32)
        before = np.cumsum(counts.reshape(-1), dtype=np.uint32).reshape(counts.shape)
        before -= counts
        totals = np.zeros(len(deltas) + 1, np.int64)
        np.cumsum(deltas, out=totals[1:], dtype=np.int64)
        factors = heads.factors()
        begun = totals[before[:, :1] + (there[:, :1] & 1)]  # a record's first row is `first`, whatever its delta says
        if factors.divisor is not None:
            begun *= factors.divisor
        self._offset = heads.first[:, np.newaxis] - begun
        self._bias, self._divisor = factors
        self._there, self._before, self._totals = there, before, totals
        self.nbytes = there.nbytes + before.nbytes + totals.nbytes + 32 * len(there)

    def numbers(self, lo: int, hi: int) -> NDArray[np.int64]:
        """The integers of rows [lo, hi), at least one."""
        begin = lo >> 3
        bits = np.unpackbits(self._there[:, begin : hi + 7 >> 3], axis=1, bitorder="little")
        starts = bits[:, lo & 7 : hi - 8 * begin].copy()  # of rows with one total; each record has one at `lo`
        starts[:, 0] = 1
        places = np.flatnonzero(starts.view(np.bool_))
        first, last = self._ranks(np.array([lo, hi - 1])).astype(np.int64).T
        counts = last - first + 1
        ranks = np.arange(len(places)) + np.repeat(first - np.cumsum(counts) + counts, counts)
        found = np.repeat(self._totals.take(ranks), np.diff(places, append=starts.size)).reshape(starts.shape)
        return self._finished(found, np.arange(lo, hi))

    def at(self, index: NDArray[np.int64]) -> NDArray[np.int64]:
        """The integers of the rows `index`."""
        return self._finished(self._totals.take(self._ranks(index)), index)

    def _ranks(self, index: NDArray[np.int64]) -> NDArray[np.uint32]:
        """How many deltas there are up to those rows, in the records before too: [records, rows]."""
        where = index >> 3
        ranks = self._before.take(where, axis=1)
        ranks += ONES.take(self._there.take(where, axis=1) & _UP_TO[index & 7])
        return ranks

    def _finished(self, found: NDArray[np.int64], index: NDArray[np.int64]) -> NDArray[np.int64]:
        """The integers of the rows `index`, by what the deltas up to them come to."""
        if self._divisor is not None:
            found *= self._divisor
        if self._bias is not None:
            found += self._bias * index
        found += self._offset
        return found
