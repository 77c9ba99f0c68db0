"""Reading a segment of the write-ahead log: its intact records, and what lies damaged between them."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator
from typing import NamedTuple
from zlib import crc32

from prom_probe.tsdb.disk import file_ops, wal
from prom_probe.tsdb.disk.wal import FRAME, MAGIC, ROW_START

# How a payload begins: the kind, then msgpack's mark of an array, or numbers whose highest bytes are small.
_BEGINS = re.compile(
    rb"\x01(?=\x93)|\x02(?=\x95)|[\x04\x06](?=\x92)"
    rb"|\x03(?=.{7}[\x00-\x3f].{7}[\x00-\x3f].{15}\x00)|\x05(?=.{7}[\x00-\x3f].{7}\x00)",
    re.DOTALL,
)

# The bytes of all supposed records that are checked in search of the next intact one, before the rest is given up.
_MOST_CHECKED = 1 << 30

_READ_BYTES = 8 << 20
_PAGE_BYTES = 1 << 12
_MOST_BYTES = 1 << 30


class Damage(NamedTuple):
    """Bytes [start, end) of a segment that are no intact record.

    `records`: how many they were; None if that cannot be told. `after_ms`, `before_ms`: the timestamps of the intact
    samples next to them. `torn`: an incomplete write at the segment's end, as a crash leaves it.
    """

    start: int
    end: int
    records: int | None
    torn: bool
    after_ms: int | None = None
    before_ms: int | None = None


class SegmentReader:
    """Iterates over a segment's intact records as (offset, payload); what is no intact record is in `damages`."""

    def __init__(self, data: bytes) -> None:
        self.damages: list[Damage] = []
        self._data = data
        self._checked = 0
        self._newest_ms: int | None = None

    def __iter__(self) -> Iterator[tuple[int, bytes]]:
        """Raises ValueError if this is not a segment."""
        data, at = self._data, len(MAGIC)
        if data[:at] != MAGIC:
            if MAGIC.startswith(data):  # cut off while it was being created
                self._damaged(0, len(data), records=0, torn=True)
                return
            if self._next(at) == len(data):
                raise ValueError(f"not a segment of the log: it begins with {data[:at]!r}")
            self._damaged(0, at, records=0)
        while at < len(data):
            payload = self._record(at)
            if payload is None:
                end = self._next(at + 1)
                self._damaged(at, end, _records(data, at, end), torn=end == len(data) and _is_torn(data, at))
                at = end
                continue
            self._see(payload)
            yield at, payload
            at += FRAME.size + len(payload)

    def _record(self, at: int) -> bytes | None:
        """The payload of the record at `at`; None if that is no intact record."""
        start = at + FRAME.size
        if start >= len(self._data):
            return None
        length, checksum = FRAME.unpack_from(self._data, at)
        if not 0 < length <= len(self._data) - start:
            return None
        self._checked += length
        with memoryview(self._data)[start : start + length] as payload:
            return bytes(payload) if crc32(payload) == checksum else None

    def _next(self, start: int) -> int:
        """The offset of the next intact record from `start` on; the segment's end if there is none."""
        self._checked = 0
        for found in _BEGINS.finditer(self._data, start + FRAME.size):
            if self._record(found.start() - FRAME.size) is not None:
                return found.start() - FRAME.size
            if self._checked > _MOST_CHECKED:
                break
        return len(self._data)

    def _damaged(self, start: int, end: int, records: int | None, *, torn: bool = False) -> None:
        if end > start:
            self.damages.append(Damage(start, end, records, torn, self._newest_ms))

    def _see(self, payload: bytes) -> None:
        """Note the timestamps of a record's samples."""
        times = wal.times(payload)
        if times is None:
            return
        for place in range(len(self.damages) - 1, -1, -1):
            if self.damages[place].before_ms is not None:
                break
            self.damages[place] = self.damages[place]._replace(before_ms=times[0])
        self._newest_ms = times[1]


def _records(data: bytes, start: int, end: int) -> int | None:
    """How many records [start, end) were, if their lengths add up to it."""
    at, count = start, 0
    while at + FRAME.size < end:
        length, _ = FRAME.unpack_from(data, at)
        if not length:
            return None
        at += FRAME.size + length
        count += 1
    return count if at == end else None


def _is_torn(data: bytes, at: int) -> bool:
    """Whether the bytes after the last intact record are an incomplete write: cut off, or zeros never filled in."""
    tail = data[at:]
    if len(tail) <= FRAME.size or not any(tail):
        return True
    length, checksum = FRAME.unpack_from(tail)
    cut_off = length > len(tail) - FRAME.size and crc32(tail[FRAME.size :]) != checksum
    return cut_off and _BEGINS.match(tail + bytes(ROW_START.size), FRAME.size) is not None


def read_segment(folder: int, name: str) -> tuple[bytes, int]:
    """A segment's bytes, with zeros where the disk cannot read a page, and the number of bytes of those pages.

    Raises OSError if nothing can be read, and ValueError for a file that is too large for a segment.
    """
    fd = file_ops.open_to_read(folder, name)
    try:
        size = os.fstat(fd).st_size
        if size > _MOST_BYTES:
            raise ValueError(f"{size} bytes are too many for a segment of the log")
        parts, unreadable = [], 0
        for at in range(0, size, _READ_BYTES):
            length = min(_READ_BYTES, size - at)
            try:
                parts.append(file_ops.read(fd, length, at))
            except OSError:
                pages, lost = _read_pages(fd, length, at)
                parts.append(pages)
                unreadable += lost
        if size and unreadable == size:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return b"".join(parts), unreadable
    finally:
        os.close(fd)


def _read_pages(fd: int, length: int, start: int) -> tuple[bytes, int]:
    parts, unreadable = [], 0
    for at in range(start, start + length, _PAGE_BYTES):
        size = min(_PAGE_BYTES, start + length - at)
        try:
            parts.append(file_ops.read(fd, size, at))
        except OSError:
            parts.append(bytes(size))
            unreadable += size
    return b"".join(parts), unreadable
