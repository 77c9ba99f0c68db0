"""The deltas of a block's columns, of one or of all that have one width, out of their codings; with numpy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prom_probe.tsdb.encoding.deltas import check_packed, inflate, occupied
from prom_probe.tsdb.encoding.heads import Heads
from prom_probe.tsdb.encoding.packing import FIELDS, field_size, packed_size, unpack
from prom_probe.tsdb.encoding.record import PACKED, SPARSE, BlockError, Record

# By planes: the integers that hold so many bytes.
_WORDS = ("u1", "u1", "<u2", "<u4", "<u4", "<u8", "<u8", "<u8", "<u8")

_Where = slice | NDArray[np.int64]


def unsigned(one: Record, rows: int) -> NDArray[Any]:
    """The unsigned deltas of a record, in the smallest integers: [rows].

    Raises BlockError where the body is not what the record says.
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


def unsigned_of_all(heads: Heads, rows: int) -> NDArray[Any]:
    """As `unsigned`, of records of one width side by side: [records, rows]."""
    planes, bodies = int(heads.planes[0]), heads.bodies()
    words = np.zeros((len(bodies), rows), _WORDS[planes])
    codes, detail = (heads.flags & SPARSE).tolist(), heads.detail.tolist()
    for code in set(codes):
        places = [place for place, one in enumerate(codes) if one == code]
        where: _Where = slice(None) if len(places) == len(bodies) else np.array(places)
        some, details = [bodies[place] for place in places], [detail[place] for place in places]
        if code == SPARSE:
            _put_sparse(words, where, some, planes)
        elif code == PACKED:
            _put_packed(words, where, some, planes, details)
        else:
            inflated = [inflate(body, rows, planes, code, raw) for body, raw in zip(some, details, strict=True)]
            if planes:
                _put_planes(words, where, _table(inflated).reshape(len(some), planes, rows))
    return words


def _table(bodies: Sequence[bytes | memoryview]) -> NDArray[np.uint8]:
    """Bodies of one size: [bodies, bytes]."""
    return np.frombuffer(b"".join(bodies), np.uint8).reshape(len(bodies), -1)


def _put_planes(words: NDArray[Any], where: _Where, planes: NDArray[np.uint8]) -> None:
    """The words of the lowest planes of their bytes, [records, planes, rows].

    Plane by plane: five times as fast as transposing, where the innermost loop would be over a few bytes.
    """
    each = words.view(np.uint8).reshape(*words.shape, words.itemsize)
    for plane in range(planes.shape[1]):
        each[where, :, plane] = planes[:, plane]


def _put_packed(
    words: NDArray[Any], where: _Where, bodies: Sequence[memoryview], planes: int, bits: Sequence[int]
) -> None:
    """`bits`: of each body's highest plane. A field that several have is read at once."""
    rows, cut = words.shape[1], (planes - 1) * words.shape[1]
    of_each = dict(zip(zip(map(len, bodies), bits, strict=True), bodies, strict=True))
    for (_, used), body in of_each.items():
        check_packed(body, rows, planes, used)
    if cut:
        _put_planes(words, where, _table([body[:cut] for body in bodies]).reshape(len(bodies), planes - 1, rows))
    top = np.zeros((len(bodies), rows), np.uint8)
    for shift, field, having in _FIELDS:
        if not having.isdisjoint(bits):
            members = [place for place, used in enumerate(bits) if used in having]
            begin = cut + (packed_size(rows, shift) if shift else 0)
            end = begin + field_size(rows, field)
            some = _spread(_table([bodies[place][begin:end] for place in members]), field, rows)
            if shift:
                some <<= shift
                some |= top[members]
            top[slice(None) if len(members) == len(bodies) else members] = some
    words.view(np.uint8).reshape(*words.shape, words.itemsize)[where, :, planes - 1] = top


def _fields() -> list[tuple[int, int, set[int]]]:
    """The fields that there are, as (shift, bits, in which numbers of used bits)."""
    found: dict[tuple[int, int], set[int]] = {}
    for used, fields in FIELDS.items():
        shift = 0
        for field in fields:
            found.setdefault((shift, field), set()).add(used)
            shift += field
    return [(*key, having) for key, having in found.items()]


_FIELDS = _fields()


def _spread(packed: NDArray[np.uint8], field: int, rows: int) -> NDArray[np.uint8]:
    """A field's bits (`packing`) of each byte: from [records, size] to [records, rows]."""
    if field == 1:
        return np.unpackbits(packed, axis=1, count=rows, bitorder="little")
    out = np.empty((len(packed), rows), np.uint8)
    packed, size, mask = np.ascontiguousarray(packed), packed.shape[1], (1 << field) - 1
    for part, first in zip(range(0, 8, field), range(0, rows, size), strict=False):
        out[:, first : first + size] = (packed >> part & mask)[:, : rows - first]
    return out


def _put_sparse(words: NDArray[Any], where: _Where, bodies: Sequence[memoryview], planes: int) -> None:
    rows = words.shape[1]
    size = field_size(rows, 1)
    if min(map(len, bodies)) < size:
        raise BlockError(f"a sparse body of less than {size} bytes")
    there = _spread(_table([body[:size] for body in bodies]), 1, rows)
    if ((there.sum(axis=1) * planes + size) != list(map(len, bodies))).any():
        raise BlockError("a sparse body of another length than its bits say")
    values = np.frombuffer(b"".join([body[size:] for body in bodies]), np.uint8)
    padded = np.zeros((len(values) // planes, words.itemsize), np.uint8)
    padded[:, :planes] = values.reshape(-1, planes)
    # Places are found and filled faster than a mask is followed.
    filled = np.flatnonzero(there.view(np.bool_))
    if isinstance(where, slice):
        words.reshape(-1)[filled] = padded.view(words.dtype)[:, 0]
    else:
        row, column = np.divmod(filled, rows)
        words[where[row], column] = padded.view(words.dtype)[:, 0]
