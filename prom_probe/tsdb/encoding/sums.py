"""Deltas of a block's columns added up within groups of rows: any row's integer without those before it, with numpy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prom_probe.tsdb.encoding.record import Record

# Rows of a group: what the deltas in one come to needs a single byte more than a delta does.
_BITS = 8
_GROUP = 1 << _BITS

# By the planes of a delta: the integers that it is added up in, and those that the sums are kept in, lowest bits first.
_ADDED = ("<u2", "<u2", "<u4", "<u4", "<i8", "<i8", "<i8")
_KEPT = ("", "", "", "", "41", "42", "421")
WIDEST = len(_ADDED) - 1  # more planes would be kept in eight bytes, as finished values are

# Integers of so many planes are sooner read in one of these.
_READ = ("u1", "u1", "<u2", "<u4", "<u4", "<u8", "<u8", "<u8", "<u8")


class Sums:
    """Integers of some records of one width, `n[i] = n[i-1] + bias + divisor * u[i]` modulo 2^64.

    A row's is the integer of its group's first row, and `bias` and `divisor` times what came since then.
    """

    __slots__ = ("_bias", "_divisor", "_limbs", "_starts", "nbytes")

    def __init__(self, records: Sequence[Record], deltas: NDArray[Any]) -> None:
        """`deltas`: u, [records, rows], of at most WIDEST planes."""
        planes, rows = records[0].planes, deltas.shape[1]
        sums = deltas.astype(_ADDED[planes])
        totals = np.zeros(
            (len(records), (rows - 1 >> _BITS) + 1), np.int64
        )  # what comes between the groups' first rows
        totals[:, 1:] = sums[:, _GROUP::_GROUP]
        sums[:, ::_GROUP] = 0
        whole = rows >> _BITS << _BITS
        for part in (sums[:, :whole].reshape(len(records), -1, _GROUP), sums[:, np.newaxis, whole:]):
            if part.size:
                np.cumsum(part, axis=2, out=part)
        totals[:, 1:] += sums[:, _GROUP - 1 : -1 : _GROUP][:, : totals.shape[1] - 1]
        np.cumsum(totals, axis=1, out=totals)
        bias, divisor = _factors(records)
        if divisor is not None:
            totals *= divisor
        if bias is not None:
            totals += bias * (_GROUP * np.arange(totals.shape[1]))
        totals += _first(records)
        self._starts = totals
        self._bias, self._divisor = bias, divisor
        self._limbs = _limbs(sums, _KEPT[planes]) if planes else []
        self.nbytes = totals.nbytes + sum(limb.nbytes for _, limb in self._limbs) + 32 * len(records)

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
        """The integers of the rows `index`."""
        found = self._since(lambda limb: limb.take(index, axis=1), len(index))
        if self._bias is not None:
            found += self._bias * (index & _GROUP - 1)
        found += self._starts.take(index >> _BITS, axis=1)
        return found

    def _since(self, of: Any, rows: int) -> NDArray[np.int64]:
        """What `divisor` times the deltas since the groups' first rows come to, in those rows that `of` takes."""
        if not self._limbs:
            return np.zeros((len(self._starts), rows), np.int64)
        (_, lowest), *others = self._limbs
        found: NDArray[np.int64] = of(lowest).astype(np.int64)
        for shift, limb in others:
            found += np.left_shift(of(limb), shift, dtype=np.int64)
        if self._divisor is not None:
            found *= self._divisor
        return found


def integers(records: Sequence[Record], deltas: NDArray[Any]) -> NDArray[np.int64]:
    """All integers of some records of one width: int64[records, rows]. `deltas` as those of Sums."""
    found = deltas.astype(np.int64)
    bias, divisor = _factors(records)
    if divisor is not None:
        found *= divisor
    if bias is not None:
        found += bias
    found[:, :1] = _first(records)
    return np.cumsum(found, axis=1, out=found)


def joined(planes: NDArray[np.uint8]) -> NDArray[Any]:
    """Unsigned integers of the planes of their bytes: [records, planes, rows] to [records, rows].

    Plane by plane: five times as fast as transposing, where the innermost loop would be over a few bytes.
    """
    records, size, rows = planes.shape
    if size == 1:
        return planes[:, 0]
    out = np.zeros((records, rows), _READ[size])
    each = out.view(np.uint8).reshape(records, rows, out.itemsize)
    for plane in range(size):
        each[:, :, plane] = planes[:, plane]
    return out


def _limbs(sums: NDArray[Any], sizes: str) -> list[tuple[int, NDArray[Any]]]:
    """The bytes of `sums` in integers of these sizes, each with the bits that it is shifted by."""
    if not sizes:
        return [(0, sums)]
    limbs, at = [], 0
    for size in map(int, sizes):
        limbs.append((8 * at, sums.view(f"<u{size}")[:, at // size :: sums.itemsize // size].copy()))
        at += size
    return limbs


def _first(records: Sequence[Record]) -> NDArray[np.int64]:
    return np.array([[record.first] for record in records], np.int64)


def _factors(records: Sequence[Record]) -> tuple[NDArray[np.int64] | None, NDArray[np.int64] | None]:
    """(bias, divisor), each [records, 1]; None for a bias of 0 and a divisor of 1 throughout."""
    bias = [record.bias for record in records]
    divisor = [record.divisor for record in records]
    return (
        np.array(bias, np.int64)[:, np.newaxis] if any(bias) else None,
        np.array(divisor, np.int64)[:, np.newaxis] if any(one != 1 for one in divisor) else None,
    )
