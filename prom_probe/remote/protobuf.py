"""Protobuf's wire format: bytes to fields, and keys and numbers to bytes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

# Wire types: the low three bits of a field's key. 3 and 4 are groups, which proto3 does not have.
VARINT, I64, LEN, I32 = 0, 1, 2, 5
_FIXED = {I64: 8, I32: 4}

_VARINT_BYTES = 10  # at most

# The known fields of a message: number -> wire type.
Shape: TypeAlias = Mapping[int, int]


class Malformed(ValueError):
    """Bytes that do not decode; `at` is the place in the buffer."""

    def __init__(self, reason: str, at: int) -> None:
        super().__init__(reason)
        self.at = at


def read_field(data: bytes | memoryview, at: int, end: int, shape: Shape) -> tuple[int, int, int]:
    """(number, start, stop) of the field at `at`; its value ends at `stop`, where the next field begins.

    `end` is the end of the message. Raises Malformed.
    """
    key, start = read_varint(data, at, end)
    number, kind = key >> 3, key & 7
    if not 0 < number < 1 << 29:
        raise Malformed(f"field number {number}", at)
    if shape.get(number, kind) != kind:
        raise Malformed(f"field {number} of wire type {kind}, not {shape[number]}", at)
    if kind == LEN:
        size, start = read_varint(data, start, end)
        stop = start + size
    elif kind == VARINT:
        _, stop = read_varint(data, start, end)
    elif kind in _FIXED:
        stop = start + _FIXED[kind]
    else:
        raise Malformed(f"wire type {kind}", at)
    if stop > end:
        raise Malformed(f"field {number} goes {stop - end} bytes beyond the end of its message", at)
    return number, start, stop


def read_varint(data: bytes | memoryview, at: int, end: int) -> tuple[int, int]:
    """(value modulo 2^64, its end). Raises Malformed."""
    value = 0
    for i in range(at, min(end, at + _VARINT_BYTES)):
        byte = data[i]
        value |= (byte & 0x7F) << 7 * (i - at)
        if byte < 0x80:
            return value & 0xFFFF_FFFF_FFFF_FFFF, i + 1
    raise Malformed("a number that does not end", at)


def key(number: int, kind: int) -> bytes:
    """A field's key: its number and its wire type."""
    return varint(number << 3 | kind)


def varint(value: int) -> bytes:
    """Seven bits a byte, the lowest first; a negative number modulo 2^64."""
    value &= 0xFFFF_FFFF_FFFF_FFFF
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
