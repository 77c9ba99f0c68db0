"""The entry of a column or timeline in a block, as docs/storage.md draws it."""

import struct
from typing import NamedTuple

ENTRY = struct.Struct("<BBBBBxHIIqqdd")

GAPS = 1
RISING = 2
DEFLATED = 4

MAX_ROWS = (1 << 16) - 1


class BlockError(ValueError):
    """Bytes that are no block, or a damaged one; the text says where."""


class Entry(NamedTuple):
    """An entry. `number` is a column's timeline, or a timeline's number of rows; `end` is the end of its stream."""

    form: int
    flags: int
    planes: int
    raw: int
    exponent: int
    number: int
    end: int
    divisor: int
    first: int
    bias: int
    low: float
    high: float
