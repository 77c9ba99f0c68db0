"""Integers as differences, split into byte planes, in whichever coding is shortest; without numpy."""

from __future__ import annotations

import zlib
from array import array
from collections.abc import Sequence
from itertools import accumulate, compress
from math import exp, gcd
from operator import sub
from typing import NamedTuple

from prom_probe.tsdb.encoding.packing import field_size, pack, packed_size, unpack
from prom_probe.tsdb.encoding.record import DEFLATED, PACKED, SPARSE, STORED, BlockError

MASK = (1 << 64) - 1
_INT64 = 1 << 63

# A plane counts as noise if its first _LOOK bytes have 93 % of the distinct values of random ones: deflate gains
# nothing there, and inflating would cost every reader time.
_LOOK = 1024
_NOISE = [0.93 * 256 * (1 - exp(-n / 256)) for n in range(_LOOK + 1)]

# Deflate is used if the whole body is shorter than in the other codings by this factor: they are decoded in half the
# time.
_SHORTER = 1.25

_ONE = bytes([0] + 255 * [1])

_WORDS = {1: "B", 2: "H", 3: "I", 4: "I", 5: "Q", 6: "Q", 7: "Q", 8: "Q"}


class Deltas(NamedTuple):
    """Encoded integers: `n[i] = n[i-1] + bias + divisor * u[i]` modulo 2^64 from `first` on; `body` encodes u.

    `coding`, `detail`: see `record.Record`. `least` is the smallest difference.
    """

    first: int
    bias: int
    divisor: int
    planes: int
    coding: int
    detail: int
    least: int
    body: bytes


def encode(numbers: Sequence[int]) -> Deltas:
    """Encode one or more int64s."""
    differences = list(map(sub, numbers[1:], numbers))
    least = min(differences, default=0)
    most = max(differences, default=0)
    if most - least > MASK or not -_INT64 <= least < _INT64:
        deltas, bias, divisor = [d & MASK for d in differences], 0, 1
    else:
        deltas, bias = [d - least for d in differences], least
        divisor = gcd(*deltas) or 1
        if divisor >= _INT64:
            divisor = 1
        elif divisor > 1:
            deltas = [d // divisor for d in deltas]
    bits = max(deltas, default=0).bit_length()
    width = (bits + 7) // 8
    coding, detail, body = _write(deltas, width, bits - 8 * (width - 1))
    return Deltas(numbers[0], bias, divisor, width, coding, detail, least, body)


def _write(deltas: list[int], width: int, bits: int) -> tuple[int, int, bytes]:
    """(coding, detail, body); `bits`: how many bits of the highest plane are used."""
    if width == 0:
        return STORED, 0, b""
    words = array(_WORDS[width], [0])
    words.extend(deltas)
    packed, size, rows = words.tobytes(), words.itemsize, len(words)
    planes = [packed[i::size] for i in range(width)]
    length = (width - 1) * rows + packed_size(rows, bits)
    # Cheap upper bound first: are there enough zeros for a sparse body?
    zeros = [plane.count(0) for plane in planes]
    sparse = field_size(rows, 1) + width * (rows - min(zeros)) < length
    if sparse:
        values = list(filter(None, deltas))
        gaps = field_size(rows, 1) + width * len(values)
        sparse, length = gaps < length, min(gaps, length)
    limit = _NOISE[min(rows, _LOOK)]
    raw = 0
    while raw < width and len(set(planes[raw][:_LOOK])) > limit:
        raw += 1
    rest = b"".join(planes[raw:])
    if rest and raw * rows * _SHORTER < length:
        # Run lengths and Huffman codes; small windows and tables are cheap to set up for each column.
        deflate = zlib.compressobj(1, zlib.DEFLATED, -9, 4, zlib.Z_RLE)
        small = deflate.compress(rest) + deflate.flush()
        if (raw * rows + len(small)) * _SHORTER < length:
            return DEFLATED, raw, b"".join(planes[:raw]) + small
    if sparse:
        return SPARSE, 0, pack(_any(planes), 1) + _bytes(array(_WORDS[width], values), width)
    if bits < 8:
        return PACKED, bits, b"".join(planes[:-1]) + pack(planes[-1], bits)
    return STORED, 0, b"".join(planes)


def _any(planes: list[bytes]) -> bytes:
    """1 for each row that is not zero in all planes, else 0."""
    found = 0
    for plane in planes:
        found |= int.from_bytes(plane, "little")
    return found.to_bytes(len(planes[0]), "little").translate(_ONE)


def _bytes(words: array[int], width: int) -> bytes:
    """The lowest `width` bytes of each word."""
    packed, size = words.tobytes(), words.itemsize
    if size == width:
        return packed
    out = bytearray(width * len(words))
    for plane in range(width):
        out[plane::width] = packed[plane::size]
    return bytes(out)


def read(body: bytes | memoryview, rows: int, planes: int, coding: int, detail: int) -> list[int]:
    """Decode u from a body. Raises BlockError if it is damaged."""
    if coding == SPARSE:
        there, values = occupied(body, rows, planes)
        unsigned = [0] * rows
        for row, one in zip(
            compress(range(rows), there),
            _words([values[i::planes] for i in range(planes)], len(values) // planes),
            strict=True,
        ):
            unsigned[row] = one
        return unsigned
    if coding == PACKED:
        cut = (planes - 1) * rows
        check_packed(body, rows, planes, detail)
        whole = bytes(body[:cut]) + unpack(bytes(body[cut:]), rows, detail)
    else:
        whole = inflate(body, rows, planes, coding, detail)
    return _words([whole[i : i + rows] for i in range(0, len(whole), rows)], rows)


def _words(planes: Sequence[bytes], rows: int) -> list[int]:
    """The integers whose bytes are in these planes."""
    words = bytearray(8 * rows)
    for i, plane in enumerate(planes):
        words[i::8] = plane
    return array("Q", bytes(words)).tolist()


def occupied(body: bytes | memoryview, rows: int, planes: int) -> tuple[bytes, bytes]:
    """Of a sparse body: which rows have a nonzero u (a byte each, 1 or 0), and these, `planes` bytes each."""
    size = field_size(rows, 1)
    there = unpack(bytes(body[:size]).ljust(size, b"\0"), rows, 1)
    if len(body) != size + planes * there.count(1):
        raise BlockError(f"{len(body)} bytes instead of {size} and {there.count(1)} times {planes}")
    return there, bytes(body[size:])


def check_packed(body: bytes | memoryview, rows: int, planes: int, bits: int) -> None:
    """Raise BlockError unless a packed body has the right size."""
    if not bits or len(body) != (planes - 1) * rows + packed_size(rows, bits):
        raise BlockError(f"{len(body)} bytes are not {planes} planes of {rows} rows, of the highest {bits} bits")


def inflate(body: bytes | memoryview, rows: int, planes: int, coding: int, raw: int) -> bytes:
    """The planes of a stored or deflated body, `planes * rows` bytes. Raises BlockError if it is damaged."""
    size, cut = planes * rows, raw * rows
    if coding != DEFLATED:
        if len(body) != size:
            raise BlockError(f"planes of {len(body)} bytes instead of {size}")
        return bytes(body)
    inflater = zlib.decompressobj(-9)
    try:
        rest = inflater.decompress(body[cut:] if cut else body, size - cut + 1)
    except zlib.error as error:
        raise BlockError(f"damaged planes: {error}") from None
    if cut + len(rest) != size or not inflater.eof or inflater.unused_data:
        raise BlockError("planes whose length differs from what their record says")
    return bytes(body[:cut]) + rest if cut else rest


def decode(deltas: list[int], first: int, bias: int, divisor: int) -> list[int]:
    """The integers, modulo 2^64, from u."""
    steps = [bias + d for d in deltas] if divisor == 1 else [bias + divisor * d for d in deltas]
    steps[0] = first
    return list(accumulate(steps))


def signed(numbers: list[int]) -> list[int]:
    """The integers modulo 2^64, in int64's range."""
    if min(numbers) >= -_INT64 and max(numbers) < _INT64:
        return numbers
    return [((n + _INT64) & MASK) - _INT64 for n in numbers]
