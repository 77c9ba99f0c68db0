"""Decoding the unsigned deltas of one record, or of many of one width, with numpy."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prom_probe.tsdb.encoding.deltas import check_packed, inflate, occupied
from prom_probe.tsdb.encoding.packing import FIELDS, field_size, packed_size, unpack
from prom_probe.tsdb.encoding.record import PACKED, SPARSE, BlockError, Record
from prom_probe.tsdb.encoding.record_headers import RecordHeaders

# By number of planes: the smallest integer type that holds them.
_WORDS = ("u1", "u1", "<u2", "<u4", "<u4", "<u8", "<u8", "<u8", "<u8")

_EACH = 0x0101_0101_0101_0101


def unsigned(one: Record, rows: int) -> NDArray[Any]:
    """The unsigned deltas of a record, in the smallest integers: [rows].

    Raises BlockError if the body is not what the record says.
    """
    words = np.zeros(rows, _WORDS[one.planes])
    each = words.view(np.uint8).reshape(rows, words.itemsize)
    if one.coding == SPARSE:
        there, values = occupied(one.body, rows, one.planes)
        padded = np.zeros((len(values) // one.planes, words.itemsize), np.uint8)
        padded[:, : one.planes] = np.frombuffer(values, np.uint8).reshape(-1, one.planes)
        words[np.flatnonzero(np.frombuffer(there, np.bool_))] = padded.view(words.dtype)[:, 0]
        return words
    if one.coding == PACKED:
        check_packed(one.body, rows, one.planes, one.detail)
        cut = (one.planes - 1) * rows
        whole = bytes(one.body[:cut]) + unpack(bytes(one.body[cut:]), rows, one.detail)
    else:
        whole = inflate(one.body, rows, one.planes, one.coding, one.detail)
    for plane in range(one.planes):
        each[:, plane] = np.frombuffer(whole, np.uint8, rows, plane * rows)
    return words


def unsigned_of_all(headers: RecordHeaders, rows: int) -> NDArray[Any]:
    """As `unsigned`, for records of one width: [records, rows]. Fastest if they are sorted by coding."""
    planes, bodies = int(headers.planes[0]), headers.bodies()
    words = np.zeros((len(bodies), rows), _WORDS[planes])
    detail = headers.detail.tolist()
    for begin, end, code in _runs(headers):
        out, some = words[begin:end], bodies[begin:end]
        if code == SPARSE:
            _put_sparse(out, some, planes)
        elif code == PACKED:
            _put_packed(out, some, planes, detail[begin:end])
        else:
            raw = zip(some, detail[begin:end], strict=True)
            _put_planes(out, _table([inflate(body, rows, planes, code, one) for body, one in raw]), planes)
    return words


def _runs(headers: RecordHeaders) -> Iterator[tuple[int, int, int]]:
    """(begin, end, coding) of neighbours in one coding; packed ones with ascending bits."""
    coding = headers.flags & SPARSE
    steps = np.diff(coding)
    steps |= (np.diff(headers.detail) < 0) & (coding[1:] == PACKED)
    bounds = [0, *(np.flatnonzero(steps) + 1).tolist(), len(coding)]
    return ((begin, end, int(coding[begin])) for begin, end in pairwise(bounds))


def _table(bodies: Sequence[bytes | memoryview]) -> NDArray[np.uint8]:
    """Bodies of one size as an array: [bodies, bytes]."""
    return np.frombuffer(b"".join(bodies), np.uint8).reshape(len(bodies), -1)


def _put_planes(words: NDArray[Any], table: NDArray[np.uint8], planes: int) -> None:
    """Fill the lowest bytes of the words from `planes` planes.

    Plane by plane, which is five times as fast as transposing with its short innermost loop.
    """
    rows = words.shape[1]
    each = words.view(np.uint8).reshape(*words.shape, words.itemsize)
    for plane in range(planes):
        each[:, :, plane] = table[:, plane * rows : (plane + 1) * rows]


def _put_packed(words: NDArray[Any], bodies: Sequence[memoryview], planes: int, bits: Sequence[int]) -> None:
    """`bits`: of each body's highest plane, ascending. A field that several bodies have is read at once."""
    rows = words.shape[1]
    cut = (planes - 1) * rows
    for used, body in {(used, len(body)): body for used, body in zip(bits, bodies, strict=True)}.items():
        check_packed(body, rows, planes, used[0])
    if cut:
        _put_planes(words, _table([body[:cut] for body in bodies]), planes - 1)
    highest = words.view(np.uint8).reshape(*words.shape, words.itemsize)[:, :, planes - 1]
    top = highest if words.itemsize == 1 else np.zeros(words.shape, np.uint8)
    for shift, field, least, most in _FIELDS:
        first, last = bisect_left(bits, least), bisect_right(bits, most)
        if first < last:
            begin = cut + (packed_size(rows, shift) if shift else 0)
            end = begin + field_size(rows, field)
            _spread([body[begin:end] for body in bodies[first:last]], field, shift, top[first:last])
    if top is not highest:
        highest[:] = top


def _fields() -> list[tuple[int, int, int, int]]:
    """The fields as (shift, bits, the least and the most used bits of a plane that has this field)."""
    found: dict[tuple[int, int], list[int]] = {}
    for used, fields in FIELDS.items():
        for place, field in enumerate(fields):
            found.setdefault((sum(fields[:place]), field), []).append(used)
    return [(*key, min(having), max(having)) for key, having in found.items()]


_FIELDS = _fields()


def _spread(packed: Sequence[memoryview], field: int, shift: int, out: NDArray[np.uint8]) -> None:
    """Add a packed field (`packing`) of each byte, shifted up by `shift`, to `out`, [records, rows]."""
    rows, size = out.shape[1], len(packed[0])
    joined = b"".join(packed)
    joined += bytes(-len(joined) % 8)
    if field == 1:
        some = np.frombuffer(joined, np.uint8, len(packed) * size).reshape(len(packed), size)
        spread = np.unpackbits(some, axis=1, bitorder="little").view(np.uint64)
        spread <<= shift
        out |= spread.view(np.uint8)[:, :rows]
        return
    # Eight bytes are shifted at once; bits that come from a neighbour are masked out.
    eights, mask = np.frombuffer(joined, np.uint64), _EACH * ((1 << field) - 1 << shift)
    for part, first in zip(range(0, 8, field), range(0, rows, size), strict=False):
        moved = eights >> part - shift if part >= shift else eights << shift - part
        moved &= mask
        here = out[:, first : first + size]
        here |= moved.view(np.uint8)[: len(packed) * size].reshape(len(packed), size)[:, : rows - first]


def _put_sparse(words: NDArray[Any], bodies: Sequence[memoryview], planes: int) -> None:
    """Fill the words of the rows that have a delta."""
    rows = words.shape[1]
    size = field_size(rows, 1)
    if min(map(len, bodies)) < size:
        raise BlockError(f"a sparse body of less than {size} bytes")
    bits = np.unpackbits(_table([body[:size] for body in bodies]), axis=1, count=rows, bitorder="little")
    if ((bits.sum(axis=1) * planes + size) != list(map(len, bodies))).any():
        raise BlockError("a sparse body whose length differs from what its bits say")
    values = np.frombuffer(b"".join([body[size:] for body in bodies]), np.uint8)
    padded = np.zeros((len(values) // planes, words.itemsize), np.uint8)
    padded[:, :planes] = values.reshape(-1, planes)
    # Faster than indexing with a mask.
    words.reshape(-1)[np.flatnonzero(bits.view(np.bool_))] = padded.view(words.dtype)[:, 0]
