"""A file of records that each have a checksum: what lies beside the samples. A damaged record costs that record.

    0   8  "PPrec1" and two zeros
    8   .  records: u8 0xC1, u32 length of the payload, u32 its CRC-32, the payload

0xC1 is no byte of msgpack's own and none of UTF-8, so that the next record is found soon after a damaged one.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from struct import Struct
from typing import NamedTuple
from zlib import crc32

from prom_probe.tsdb.disk import file_ops
from prom_probe.tsdb.disk.file_writer import FileWriter

MAGIC = b"PPrec1\0\0"

_MARK = b"\xc1"
_HEAD = Struct("<cII")


class DamagedBytes(NamedTuple):
    """Bytes [start, end) of the file that are no record. `torn`: an incomplete write at its end, as a crash leaves."""

    start: int
    end: int
    torn: bool


def frame(payload: bytes) -> bytes:
    """A record."""
    return _HEAD.pack(_MARK, len(payload), crc32(payload)) + payload


def parse_records(data: bytes) -> tuple[list[bytes], list[DamagedBytes]]:
    """The payloads of a file's intact records, and what is none."""
    payloads: list[bytes] = []
    damages: list[DamagedBytes] = []
    at = len(MAGIC)
    if data[:at] != MAGIC:
        at = max(0, data.find(_MARK))
        damages.append(DamagedBytes(0, at, torn=MAGIC.startswith(data)))
    while at < len(data):
        payload = _payload(data, at)
        if payload is not None:
            payloads.append(payload)
            at += _HEAD.size + len(payload)
            continue
        end = at + 1
        while end < len(data) and _payload(data, end) is None:
            found = data.find(_MARK, end + 1)
            end = found if found >= 0 else len(data)
        damages.append(DamagedBytes(at, end, torn=end == len(data) and _is_cut_off(data, at)))
        at = end
    return payloads, damages


def _payload(data: bytes, at: int) -> bytes | None:
    if at + _HEAD.size > len(data):
        return None
    mark, length, checksum = _HEAD.unpack_from(data, at)
    payload = data[at + _HEAD.size : at + _HEAD.size + length]
    return payload if mark == _MARK and len(payload) == length and crc32(payload) == checksum else None


def _is_cut_off(data: bytes, at: int) -> bool:
    if at + _HEAD.size > len(data):
        return data[at : at + 1] in (_MARK, b"\0")
    mark, length, _ = _HEAD.unpack_from(data, at)
    return (mark == _MARK and length > len(data) - at - _HEAD.size) or not any(data[at:])


def read_file(folder: int, name: str) -> bytes:
    """The file's bytes, none where there is no file. Raises OSError."""
    try:
        fd = file_ops.open_to_read(folder, name)
    except FileNotFoundError:
        return b""
    try:
        return file_ops.read(fd, os.fstat(fd).st_size, 0)
    finally:
        os.close(fd)


def replace_file(folder: int, name: str, data: bytes) -> None:
    """Write the file anew; after a crash it is the old one or the new one. Raises OSError."""
    unfinished = name + ".tmp"
    fd = file_ops.create(folder, unfinished)
    try:
        file_ops.write(fd, [data])
        file_ops.sync(fd)
    finally:
        os.close(fd)
    file_ops.rename(folder, unfinished, name)
    file_ops.sync_folder(folder)


def file_of(payloads: Iterable[bytes]) -> bytes:
    """A whole file."""
    return b"".join([MAGIC, *map(frame, payloads)])


class SideFileJob:
    """A job of the writing thread: appends to a file beside the samples, or writes it anew.

    `over` once it is done, or has failed, which `failed` says.
    """

    def __init__(self, name: str, data: bytes, *, append: bool) -> None:
        self.size = len(data)
        self.over = self.failed = False
        self._name = name
        self._data = data
        self._append = append

    def do(self, writer: FileWriter) -> None:
        data, self._data = self._data, b""
        try:
            writer.check_folder()
            if self._append:
                file_ops.append(writer.folder.fd, self._name, data)
            else:
                replace_file(writer.folder.fd, self._name, data)
        except Exception:
            self.failed = True
            raise
        finally:
            self.over = True
