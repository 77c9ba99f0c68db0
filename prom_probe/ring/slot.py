"""A slot: one value in shared memory, which a probe worker replaces and its successor reads.

    cell 0 WRITES (how often it was written), then two halves, each u32 length, u32 crc32, bytes.

The newest value is in half WRITES & 1. A writer that dies while writing leaves the other half intact.
"""

import mmap
import struct
from zlib import crc32

_LENGTH_CRC = struct.Struct("<II")


class Slot:
    """One writer, any number of readers; shared by fork."""

    __slots__ = ("_buffer", "_cells", "_half")

    def __init__(self, max_bytes: int) -> None:
        self._half = (max_bytes + _LENGTH_CRC.size + 7) & ~7
        self._buffer = memoryview(mmap.mmap(-1, 8 + 2 * self._half))
        self._cells = self._buffer[:8].cast("Q")

    def write(self, value: bytes) -> bool:
        """Replace the value; if it is too long, return False and keep the old one."""
        if len(value) + _LENGTH_CRC.size > self._half:
            return False
        writes = self._cells[0] + 1
        start = 8 + (writes & 1) * self._half
        record = _LENGTH_CRC.pack(len(value), crc32(value)) + value
        self._buffer[start : start + len(record)] = record
        self._cells[0] = writes
        return True

    def read(self) -> bytes:
        """The newest intact value; b"" if there is none."""
        for _ in range(3):  # the writer may overtake one read, but not three
            writes = self._cells[0]
            if not writes:
                return b""
            start = 8 + (writes & 1) * self._half
            length, crc = _LENGTH_CRC.unpack_from(self._buffer, start)
            start += _LENGTH_CRC.size
            if length <= self._half - _LENGTH_CRC.size:
                value = bytes(self._buffer[start : start + length])
                if crc32(value) == crc:
                    return value
        return b""
