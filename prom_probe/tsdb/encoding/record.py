"""Records: a column or a timeline in bytes, as docs/storage.md draws it; written and parsed without touching values."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from struct import Struct, pack, unpack_from
from typing import NamedTuple

MAX_ROWS = (1 << 16) - 1

GAPS = 4
RISING = 8

# How a body has the deltas (docs/storage.md).
STORED, DEFLATED, PACKED, SPARSE = 0, 16, 32, 48

FORM = 3
KNOWN = FORM | GAPS | RISING | SPARSE
_HEAD = Struct("<BBBBBB")
_COUNT = Struct("<H")
_integer = int.from_bytes

NOT_A_RECORD = "a record that is cut short"
NO_SENSE = "a record that makes no sense"


class BlockError(ValueError):
    """Bytes that are no block, or a damaged one; the text says where."""


class Record(NamedTuple):
    """A record's fields. `low` and `high` are the smallest and largest number, in the order of the form's integers.

    `flips` are the rows at which a column changes between absent and present, absent first; None if it is present
    throughout. `body` has the deltas of the rows from the first to the last present one, in one of the codings; its
    `detail` is, of DEFLATED, how many planes are stored as they are, of PACKED the bits of the highest plane.
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
    """The record in `data`. Raises BlockError where it makes no sense by itself."""
    if len(data) < _HEAD.size:
        raise BlockError(NOT_A_RECORD)
    flags, planes, exponent, sizes, more_sizes, high_size = _HEAD.unpack_from(data)
    start = _HEAD.size
    bias_at = start + (sizes & 15)
    divisor_at = bias_at + (sizes >> 4)
    low_at = divisor_at + (more_sizes & 15)
    high_at = low_at + (more_sizes >> 4)
    at = high_at + high_size
    if at > len(data):
        raise BlockError(NOT_A_RECORD)
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
        raise BlockError(NO_SENSE)
    if detail > (8 if coding == PACKED else planes) or (coding and not planes):
        raise BlockError(NO_SENSE)
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
    """The flips that begin there, and where they end."""
    if at + 2 > len(data):
        raise BlockError(NOT_A_RECORD)
    (count,) = _COUNT.unpack_from(data, at)
    end = at + 2 + 2 * count
    if end > len(data):
        raise BlockError(NOT_A_RECORD)
    return unpack_from(f"<{count}H", data, at + 2), end


def _signed(number: int) -> bytes:
    """A two's complement of as few bytes as it takes, none for 0."""
    bits = (number if number >= 0 else ~number).bit_length()
    return number.to_bytes(bits // 8 + 1, "little", signed=True) if number else b""


def window(record: Record, rows: int) -> tuple[int, int]:
    """The rows [start, end) from a column's first present row to its last one, of `rows`. Raises BlockError."""
    return (0, rows) if record.flips is None else window_of(record.flips, rows)


def window_of(flips: Sequence[int], rows: int) -> tuple[int, int]:
    """As `window`, of the flips of a column that has gaps."""
    if not flips:
        return 0, 0
    end = rows if len(flips) % 2 else flips[-1]
    if any(a >= b for a, b in pairwise(flips)) or not flips[0] < end <= rows:
        raise BlockError("gaps that do not fit their rows")
    return flips[0], end


def gaps(flips: Sequence[int] | None, rows: int) -> Iterator[tuple[int, int]]:
    """The ranges of rows at which a column is absent, between its first and its last present row."""
    flips = flips or ()
    for i in range(1, len(flips) - 1, 2):
        yield flips[i], flips[i + 1]


def samples(record: Record, rows: int) -> int:
    """How many rows of a column are present."""
    start, end = window(record, rows)
    return end - start - sum(end - start for start, end in gaps(record.flips, rows))


def shifted(record: Record, rows: int, before: int, total: int) -> Record:
    """A column of `rows` rows as one of `total`, absent in the `before` rows before and in those after."""
    flips = [before + flip for flip in (record.flips if record.flips is not None else (0,))]
    if len(flips) % 2 and before + rows < total:
        flips.append(before + rows)
    return record._replace(flips=None if flips == [0] else flips)
