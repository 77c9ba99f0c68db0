"""The headers of many records, which is everything before their bodies, read at once with numpy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from prom_probe.tsdb.encoding import record
from prom_probe.tsdb.encoding.record import BlockError

_HEAD = 6  # bytes before a record's integers
_EIGHT = np.arange(8)
_SIGNED = np.array([0, 56, 48, 40, 32, 24, 16, 8, 0])  # by the size of an integer: how many bits of 64 are not its own


class DeltaFactors(NamedTuple):
    """See `RecordHeaders.factors`."""

    bias: NDArray[np.int64] | None
    divisor: NDArray[np.int64] | None


class RecordHeaders:
    """Some records as arrays: `flags`, `planes`, `detail`, `exponent`, `first`, `bias`, `divisor`, each int64[records].

    `flips[i]`: those of record i, if it has gaps. Its body is `data[begin[i]:end[i]]`.
    """

    __slots__ = (
        "_table",
        "begin",
        "bias",
        "data",
        "detail",
        "divisor",
        "end",
        "exponent",
        "first",
        "flags",
        "flips",
        "planes",
    )

    def __init__(self, data: memoryview, flips: dict[int, Sequence[int]], table: NDArray[np.int64]) -> None:
        self.data = data
        self.flips = flips
        self._table = table
        self.flags, self.planes, self.detail, self.exponent, self.first = table[:5]
        self.bias, self.divisor, self.begin, self.end = table[5:]

    def __len__(self) -> int:
        return len(self.flags)

    def some(self, index: NDArray[np.int64]) -> RecordHeaders:
        """The headers of the records `index`, without their gaps."""
        return RecordHeaders(self.data, {}, self._table[:, index])

    def factors(self) -> DeltaFactors:
        """`bias` and `divisor`, each [records, 1]; None if all biases are 0 or all divisors 1."""
        return DeltaFactors(
            self.bias[:, np.newaxis] if self.bias.any() else None,
            self.divisor[:, np.newaxis] if (self.divisor != 1).any() else None,
        )

    def bodies(self) -> list[memoryview]:
        return [self.data[begin:end] for begin, end in zip(self.begin.tolist(), self.end.tolist(), strict=True)]


def read_headers(ends: memoryview, data: memoryview, places: NDArray[np.int64]) -> RecordHeaders:
    """The headers of records `places`, whose bounds in `data` are `ends`. Raises BlockError if one is invalid."""
    end = np.frombuffer(ends, np.uint32)[places + 1].astype(np.int64)
    start = np.frombuffer(ends, np.uint32)[places].astype(np.int64)
    if (start + _HEAD > end).any() or (end > len(data)).any():
        raise BlockError(record.TOO_SHORT)
    table = np.frombuffer(data, np.uint8)
    flags, planes, exponent, *sizes = table[start + np.arange(_HEAD)[:, np.newaxis]].astype(np.int64)
    first, bias, divisor = sizes[0] & 15, sizes[0] >> 4, sizes[1] & 15
    at = start + _HEAD
    begin = at + first + bias + divisor + (sizes[1] >> 4) + sizes[2]
    if (begin > end).any():
        raise BlockError(record.TOO_SHORT)
    if max(int(size.max()) for size in (first, bias, divisor)) > 8:
        raise BlockError(record.INVALID)
    detail, planes = planes >> 4, planes & 15
    integers = _integers(table, np.array((at, at + first, at + first + bias)), np.array((first, bias, divisor)))
    headers = RecordHeaders(data, {}, np.array((flags, planes, detail, exponent, *integers, begin, end)))
    most = np.where(flags & record.SPARSE == record.PACKED, 8, planes)
    wrong = (headers.divisor < 0) | (planes > 8) | (detail > most) | (flags & ~record.KNOWN != 0)
    if (wrong | ((planes == 0) & (flags & record.SPARSE != 0))).any():
        raise BlockError(record.INVALID)
    headers.divisor[headers.divisor == 0] = 1
    for i in np.flatnonzero(flags & record.GAPS).tolist():
        headers.flips[i], headers.begin[i] = record.flips_at(data[: end[i]], int(begin[i]))
    return headers


def _integers(table: NDArray[np.uint8], at: NDArray[np.int64], size: NDArray[np.int64]) -> NDArray[np.int64]:
    """The two's complement integers of `size` bytes, at most 8, at offset `at`; 0 for size 0."""
    words = table.take(at[..., np.newaxis] + _EIGHT, mode="clip").view("<i8")[..., 0]
    shift = _SIGNED[size]
    found: NDArray[np.int64] = np.where(size > 0, words << shift >> shift, 0)
    return found
