"""Integers as differences, split into planes of bytes, the regular ones deflated. Works without numpy."""

import zlib
from array import array
from collections.abc import Sequence
from itertools import accumulate
from math import exp, gcd
from operator import sub
from typing import NamedTuple

from prom_probe.tsdb.encoding.record import BlockError

MASK = (1 << 64) - 1
_INT64 = 1 << 63

# A plane of which so many bytes are looked at is taken for noise when it has this part of the distinct bytes that noise
# would have. Deflate gains nothing on it, and inflating it would cost every reader.
_LOOK = 1024
_NOISE = [0.93 * 256 * (1 - exp(-n / 256)) for n in range(_LOOK + 1)]

_WORDS = {1: "B", 2: "H", 3: "I", 4: "I", 5: "Q", 6: "Q", 7: "Q", 8: "Q"}


class Deltas(NamedTuple):
    """Encoded integers: `n[i] = n[i-1] + bias + divisor * u[i]` modulo 2^64 from `first` on; `body` has the u.

    `least` is the smallest difference.
    """

    first: int
    bias: int
    divisor: int
    planes: int
    raw: int
    deflated: bool
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
    width = (max(deltas, default=0).bit_length() + 7) // 8
    raw, deflated, body = _write(deltas, width)
    return Deltas(numbers[0], bias, divisor, width, raw, deflated, least, body)


def _write(deltas: list[int], width: int) -> tuple[int, bool, bytes]:
    """(planes stored as they are, whether the others are deflated, the body)."""
    if width == 0:
        return 0, False, b""
    words = array(_WORDS[width], [0])
    words.extend(deltas)
    packed, size = words.tobytes(), words.itemsize
    planes = [packed[i::size] for i in range(width)]
    limit = _NOISE[min(len(words), _LOOK)]
    raw = 0
    while raw < width and len(set(planes[raw][:_LOOK])) > limit:
        raw += 1
    rest = b"".join(planes[raw:])
    if rest:
        # Run lengths and Huffman codes; the small window and tables make it cheap to set up for a column.
        deflate = zlib.compressobj(1, zlib.DEFLATED, -9, 4, zlib.Z_RLE)
        small = deflate.compress(rest) + deflate.flush()
        if len(small) < len(rest):
            return raw, True, b"".join(planes[:raw]) + small
    return raw, False, b"".join(planes)


def inflate(body: bytes | memoryview, rows: int, planes: int, raw: int, deflated: bool) -> bytes:
    """The planes of a body, `planes * rows` bytes. Raises BlockError for anything else."""
    size, cut = planes * rows, raw * rows
    if not deflated:
        if len(body) != size:
            raise BlockError(f"planes of {len(body)} bytes where {size} are due")
        return bytes(body)
    inflater = zlib.decompressobj(-9)
    try:
        rest = inflater.decompress(body[cut:] if cut else body, size - cut + 1)
    except zlib.error as error:
        raise BlockError(f"damaged planes: {error}") from None
    if cut + len(rest) != size or not inflater.eof or inflater.unused_data:
        raise BlockError("planes of another length than their record says")
    return bytes(body[:cut]) + rest if cut else rest


def decode(planes: bytes, rows: int, first: int, bias: int, divisor: int) -> list[int]:
    """The integers that `encode` was given, from their planes; modulo 2^64."""
    width = len(planes) // rows
    if width == 0:
        return [first + i * bias for i in range(rows)]
    words = bytearray(8 * rows)
    for i in range(width):
        words[i::8] = planes[i * rows : (i + 1) * rows]
    deltas = array("Q", bytes(words)).tolist()
    steps = [bias + d for d in deltas] if divisor == 1 else [bias + divisor * d for d in deltas]
    steps[0] = first
    return list(accumulate(steps))


def signed(numbers: list[int]) -> list[int]:
    """The integers brought into int64's range, modulo 2^64."""
    if min(numbers) >= -_INT64 and max(numbers) < _INT64:
        return numbers
    return [((n + _INT64) & MASK) - _INT64 for n in numbers]
