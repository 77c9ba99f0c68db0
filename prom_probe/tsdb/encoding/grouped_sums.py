"""Deltas added up within groups of rows, so that any row can be read without those before it; with numpy."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from prom_probe.model.picking import pick
from prom_probe.tsdb.encoding.record_headers import RecordHeaders

# Rows of a group: their deltas' sum needs only one byte more than a delta.
_BITS = 8
_GROUP = 1 << _BITS

# By planes of a delta: the type in which deltas are added up, and the sizes of those that keep the sums, lowest first.
_ADDED = ("<u2", "<u2", "<u4", "<u4", "<i8", "<i8", "<i8")
_KEPT = ("", "", "", "", "41", "42", "421")
_FOUR = np.uint64(0x0001_0001_0001_0001)
WIDEST = len(_ADDED) - 1  # more planes would need eight bytes, as decoded values do


class GroupedSums:
    """Integers of some records of one width, `n[i] = n[i-1] + bias + divisor * u[i]` modulo 2^64.

    A row's integer is that of its group's first row, plus what `bias` and `divisor` times the deltas since then add.
    """

    __slots__ = ("_bias", "_divisor", "_limbs", "_starts", "nbytes")

    def __init__(self, headers: RecordHeaders, deltas: NDArray[Any]) -> None:
        """`deltas`: u of records of one width, [records, rows], of at most WIDEST planes; they are overwritten."""
        planes, (records, rows) = int(headers.planes[0]), deltas.shape
        sums = _as(deltas, _ADDED[planes])
        totals = np.zeros((records, (rows - 1 >> _BITS) + 1), np.int64)  # from a group's first row to the next one's
        totals[:, 1:] = sums[:, _GROUP::_GROUP]
        sums[:, ::_GROUP] = 0
        whole = rows >> _BITS << _BITS
        if whole:
            _add_up(sums[:, :whole].reshape(records, -1, _GROUP))
        np.cumsum(sums[:, whole:], axis=1, out=sums[:, whole:])
        totals[:, 1:] += sums[:, _GROUP - 1 : -1 : _GROUP][:, : totals.shape[1] - 1]
        np.cumsum(totals, axis=1, out=totals)
        bias, divisor = headers.factors()
        if divisor is not None:
            totals *= divisor
        if bias is not None:
            totals += bias * (_GROUP * np.arange(totals.shape[1]))
        totals += headers.first[:, np.newaxis]
        self._starts = totals
        self._bias, self._divisor = bias, divisor
        self._limbs = _limbs(sums, _KEPT[planes]) if planes else []
        self.nbytes = totals.nbytes + sum(limb.nbytes for _, limb in self._limbs) + 32 * records

    def numbers(self, lo: int, hi: int) -> NDArray[np.int64]:
        """The integers of rows [lo, hi), at least one."""
        found = self._since(lambda limb: limb[:, lo:hi], hi - lo)
        if self._bias is not None:
            found += self._bias * (np.arange(lo, hi) & _GROUP - 1)
        for group in range(lo >> _BITS, (hi - 1 >> _BITS) + 1):
            begin = max(0, (group << _BITS) - lo)
            found[:, begin : (group + 1 << _BITS) - lo] += self._starts[:, group, np.newaxis]
        return found

    def at(self, index: NDArray[np.int64]) -> NDArray[np.int64]:
        """The integers of the rows `index`, [k] or [records, k]."""
        found = self._since(lambda limb: pick(limb, index), index.shape[-1])
        if self._bias is not None:
            found += self._bias * (index & _GROUP - 1)
        found += pick(self._starts, index >> _BITS)
        return found

    def _since(self, of: Any, rows: int) -> NDArray[np.int64]:
        """`divisor` times the sum of the deltas since the groups' first rows, for the rows that `of` selects."""
        if not self._limbs:
            return np.zeros((len(self._starts), rows), np.int64)
        (_, lowest), *others = self._limbs
        found: NDArray[np.int64] = of(lowest).astype(np.int64)
        for shift, limb in others:
            found += np.left_shift(of(limb), shift, dtype=np.int64)
        if self._divisor is not None:
            found *= self._divisor
        return found


def integers(headers: RecordHeaders, deltas: NDArray[Any]) -> NDArray[np.int64]:
    """All integers of some records of one width: int64[records, rows]. `deltas` are overwritten."""
    bias, divisor = headers.factors()
    return added_up(deltas, headers.first[:, np.newaxis], bias, divisor)


def added_up(deltas: NDArray[Any], first: Any, bias: Any, divisor: Any) -> NDArray[np.int64]:
    """`n` from the deltas `u`, which are overwritten, along the last axis; None: a bias of 0, a divisor of 1."""
    found: NDArray[np.int64] = _as(deltas, "<i8")
    if divisor is not None:
        found *= divisor
    if bias is not None:
        found += bias
    found[..., :1] = first
    return np.cumsum(found, axis=-1, out=found)


def _as(deltas: NDArray[Any], kind: str) -> NDArray[Any]:
    """The deltas as integers of this type, without a copy if possible."""
    return deltas.view(kind) if deltas.itemsize == np.dtype(kind).itemsize else deltas.astype(kind)


def _add_up(sums: NDArray[Any]) -> None:
    """The running totals of each group, [records, groups, _GROUP], in place."""
    if sums.itemsize != 2:
        np.cumsum(sums, axis=2, out=sums)
        return
    # Each addition of cumsum depends on the one before; one multiplication adds up four neighbours.
    fours = sums.view("<u8")
    fours *= _FOUR
    totals = fours >> 48
    np.cumsum(totals, axis=2, out=totals)
    totals *= _FOUR
    fours[:, :, 1:] += totals[:, :, :-1]


def _limbs(sums: NDArray[Any], sizes: str) -> list[tuple[int, NDArray[Any]]]:
    """`sums` split into integers of these sizes, each with the shift of its bits."""
    if not sizes:
        return [(0, sums)]
    limbs, at = [], 0
    for size in map(int, sizes):
        limbs.append((8 * at, sums.view(f"<u{size}")[:, at // size :: sums.itemsize // size].copy()))
        at += size
    return limbs
