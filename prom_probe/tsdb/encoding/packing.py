"""Bit packing: bytes that use only their lowest bits, in that many bits each; without numpy."""

from __future__ import annotations

# A byte's bits, lowest first, in fields of 8, 4, 2 or 1. A field of M bytes takes m = ceil(M * bits / 8). Single bits
# follow each other; of wider ones byte i has those of the bytes i, m + i, 2 m + i and so on, so that whole columns are
# shifted at once; the lowest bits are the first bytes'.
FIELDS: dict[int, tuple[int, ...]] = {
    1: (1,),
    2: (2,),
    3: (2, 1),
    4: (4,),
    5: (4, 1),
    6: (4, 2),
    7: (4, 2, 1),
    8: (8,),
}


def field_size(rows: int, field: int) -> int:
    """The size in bytes of a field of `field` bits."""
    return (rows * field + 7) // 8


def packed_size(rows: int, bits: int) -> int:
    """The size in bytes of `rows` packed bytes that use `bits` bits."""
    return sum(field_size(rows, field) for field in FIELDS[bits])


def pack(plane: bytes, bits: int) -> bytes:
    """Pack the lowest `bits` (1 to 8) of each byte."""
    fields, shift = [], 0
    for field in FIELDS[bits]:
        some, size, whole = plane.translate(_FIELD[shift, field]), field_size(len(plane), field), 0
        if field == 1:
            whole = int(some[::-1].translate(_DIGITS) or b"0", 2)
        else:
            for part in range(8 // field):
                whole |= int.from_bytes(some[part * size : (part + 1) * size], "little") << part * field
        fields.append(whole.to_bytes(size, "little"))
        shift += field
    return b"".join(fields)


def unpack(packed: bytes, rows: int, bits: int) -> bytes:
    """Undo `pack`, from `packed_size(rows, bits)` bytes."""
    plane, at, shift = 0, 0, 0
    for field in FIELDS[bits]:
        size = field_size(rows, field)
        some = packed[at : at + size]
        if field == 1:
            digits = f"{int.from_bytes(some, 'little'):0{rows}b}".encode()
            parts = digits[: -rows - 1 : -1].translate(_BITS)
        else:
            parts = b"".join([some.translate(_FIELD[part, field]) for part in range(0, 8, field)])[:rows]
        if field == bits:
            return parts
        plane |= int.from_bytes(parts, "little") << shift
        at += size
        shift += field
    return plane.to_bytes(rows, "little")


# By (shift, field): the translation from each byte to that field of it.
_FIELD = {
    (shift, field): bytes([byte >> shift & (1 << field) - 1 for byte in range(256)])
    for field in (1, 2, 4, 8)
    for shift in range(0, 8, field)
}
_DIGITS = bytes.maketrans(b"\0\1", b"01")
_BITS = bytes.maketrans(b"01", b"\0\1")
