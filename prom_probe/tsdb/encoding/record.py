"""Records: the bytes of a column or timeline (docs/storage.md draws them), written and parsed without its values."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from struct import Struct, pack, unpack_from
from typing import NamedTuple

MAX_ROWS = (1 << 16) - 1

GAPS = 4
RISING = 8

# Codings of a body (docs/storage.md).
STORED, DEFLATED, PACKED, SPARSE = 0, 16, 32, 48

FORM = 3
KNOWN = FORM | GAPS | RISING | SPARSE
_HEAD = Struct("<BBBBBB")
_COUNT = Struct("<H")
_integer = int.from_bytes

TOO_SHORT = "a record that is too short"
INVALID = "an invalid record"


class BlockError(ValueError):
    """Bytes that are not a block, or a damaged block; the text says where."""


class Record(NamedTuple):
    """A record's fields. `low` and `high` are the smallest and the largest integer.

    `flips` are the rows at which a column changes between absent and present, starting out absent; None if it is
    present throughout. `body` has the deltas of the rows from the first to the last present one, in one of the codings.
    `detail` is the number of planes stored as they are (DEFLATED) or of bits of the highest plane (PACKED).
    """

    form: int
    rising: bool
    planes: int
    coding: int
    detail: int
    exponent: int
    first: int
    bias: int
    divisor: int
    low: int
    high: int
    flips: Sequence[int] | None
    body: bytes | memoryview


def write(record: Record) -> bytes:
    """The record's bytes."""
    fields = (
        _signed(record.first),
        _signed(record.bias),
        _signed(record.divisor if record.divisor > 1 else 0),
        _signed(record.low - record.first),
        _signed(record.high - record.low),
    )
    flags = record.form | (GAPS if record.flips is not None else 0) | (RISING if record.rising else 0) | record.coding
    first, bias, divisor, low, high = map(len, fields)
    planes = record.planes | record.detail << 4
    head = _HEAD.pack(flags, planes, record.exponent, first | bias << 4, divisor | low << 4, high)
    gaps = b"" if record.flips is None else pack(f"<{len(record.flips) + 1}H", len(record.flips), *record.flips)
    return b"".join([head, *fields, gaps, record.body])


def parse(data: memoryview) -> Record:
    """The record in `data`. Raises BlockError if it is invalid by itself."""
    if len(data) < _HEAD.size:
        raise BlockError(TOO_SHORT)
    flags, planes, exponent, sizes, more_sizes, high_size = _HEAD.unpack_from(data)
    start = _HEAD.size
    bias_at = start + (sizes & 15)
    divisor_at = bias_at + (sizes >> 4)
    low_at = divisor_at + (more_sizes & 15)
    high_at = low_at + (more_sizes >> 4)
    at = high_at + high_size
    if at > len(data):
        raise BlockError(TOO_SHORT)
    first = _integer(data[start:bias_at], "little", signed=True)
    bias = _integer(data[bias_at:divisor_at], "little", signed=True)
    divisor = _integer(data[divisor_at:low_at], "little", signed=True)
    low = _integer(data[low_at:high_at], "little", signed=True)
    high = _integer(data[high_at:at], "little", signed=True)
    flips: Sequence[int] | None = None
    if flags & GAPS:
        flips, at = flips_at(data, at)
    detail, coding = planes >> 4, flags & SPARSE
    planes &= 15
    if sizes & 15 > 8 or sizes >> 4 > 8 or more_sizes & 15 > 8 or divisor < 0 or planes > 8 or flags & ~KNOWN:
        raise BlockError(INVALID)
    if detail > (8 if coding == PACKED else planes) or (coding and not planes):
        raise BlockError(INVALID)
    return Record(
        flags & FORM,
        bool(flags & RISING),
        planes,
        coding,
        detail,
        exponent,
        first,
        bias,
        divisor or 1,
        low + first,
        high + low + first,
        flips,
        data[at:],
    )


def flips_at(data: memoryview, at: int) -> tuple[Sequence[int], int]:
    """The flips at offset `at`, and the offset after them."""
    if at + 2 > len(data):
        raise BlockError(TOO_SHORT)
    (count,) = _COUNT.unpack_from(data, at)
    end = at + 2 + 2 * count
    if end > len(data):
        raise BlockError(TOO_SHORT)
    return unpack_from(f"<{count}H", data, at + 2), end


def _signed(number: int) -> bytes:
    """Two's complement in as few bytes as possible; none for 0."""
    bits = (number if number >= 0 else ~number).bit_length()
    return number.to_bytes(bits // 8 + 1, "little", signed=True) if number else b""


def window(record: Record, rows: int) -> tuple[int, int]:
    """The rows [start, end) from a column's first present row to its last one. Raises BlockError if out of `rows`."""
    return (0, rows) if record.flips is None else window_of(record.flips, rows)


def window_of(flips: Sequence[int], rows: int) -> tuple[int, int]:
    """As `window`, for the flips of a column with gaps."""
    if not flips:
        return 0, 0
    end = rows if len(flips) % 2 else flips[-1]
    if any(a >= b for a, b in pairwise(flips)) or not flips[0] < end <= rows:
        raise BlockError("gaps that do not fit the rows")
    return flips[0], end


def gaps(flips: Sequence[int] | None, rows: int) -> Iterator[tuple[int, int]]:
    """The ranges of absent rows between a column's first and last present one."""
    flips = flips or ()
    for i in range(1, len(flips) - 1, 2):
        yield flips[i], flips[i + 1]


def samples(record: Record, rows: int) -> int:
    """The number of present rows of a column."""
    start, end = window(record, rows)
    return end - start - sum(end - start for start, end in gaps(record.flips, rows))


def shifted(record: Record, rows: int, before: int, total: int) -> Record:
    """A column of `rows` rows as one of `total` rows, absent in the `before` rows before it and in those after it."""
    flips = [before + flip for flip in (record.flips if record.flips is not None else (0,))]
    if len(flips) % 2 and before + rows < total:
        flips.append(before + rows)
    return record._replace(flips=None if flips == [0] else flips)
