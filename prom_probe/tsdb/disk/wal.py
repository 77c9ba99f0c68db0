"""The records of the write-ahead log: encoding them, and reading segments that may be cut off or damaged anywhere."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from struct import Struct
from typing import BinaryIO, TypeAlias
from zlib import crc32

import msgspec

from prom_probe.model.family import Column, Family
from prom_probe.model.labels import Labels

MAGIC = b"PPlog1\0\0"
FRAME = Struct("<II")  # length of the payload, its CRC-32

HEAD, COLUMNS, ROW, SERIES, SAMPLES, DROPPED = range(1, 7)

ROW_START = Struct("<BQQqq")  # kind, head, column map, timestamp, lived ms
SAMPLES_START = Struct("<BQq")  # kind, head, lived ms
SAMPLE = Struct("<Qqd")  # ref, timestamp, value

# A record without its frame, in two parts, so that a row need not be copied.
Entry: TypeAlias = tuple[bytes, bytes]


class HeadRecord(msgspec.Struct, frozen=True, array_like=True):
    """Introduces a head; `stream` is a collector, or None for appended samples.

    `again`: the number of rows (or appended samples) of a checkpoint that follows, which replaces what was read of the
    head before.
    """

    number: int
    stream: str | None
    again: int = 0


class LoggedColumn(msgspec.Struct, frozen=True, array_like=True):
    """A column and its series; `ref` 0 for none. `family` is an index into the record's families."""

    ref: int
    family: int
    labels: Labels
    kept: bool


class ColumnsRecord(msgspec.Struct, frozen=True, array_like=True):
    """Columns from `start` on of a column map, to which rows refer by its number."""

    mapping: int
    layout: int
    start: int
    families: tuple[Family, ...]
    columns: tuple[LoggedColumn, ...]

    def column(self, place: int) -> Column:
        """The column with its family. Raises IndexError if there is no such family."""
        one = self.columns[place]
        return Column(self.families[one.family], one.labels, one.kept)


class SeriesRecord(msgspec.Struct, frozen=True, array_like=True):
    """A series of appended samples."""

    ref: int
    labels: Labels


class DroppedRecord(msgspec.Struct, frozen=True, array_like=True):
    """A stream's heads up to `number` were dropped."""

    stream: str | None
    number: int


Introduction: TypeAlias = HeadRecord | ColumnsRecord | SeriesRecord | DroppedRecord

KINDS: dict[int, type[Introduction]] = {
    HEAD: HeadRecord,
    COLUMNS: ColumnsRecord,
    SERIES: SeriesRecord,
    DROPPED: DroppedRecord,
}
_NUMBERS = {kind: number for number, kind in KINDS.items()}
_DECODERS = {number: msgspec.msgpack.Decoder(kind) for number, kind in KINDS.items()}
_encoder = msgspec.msgpack.Encoder()


def entry(said: Introduction) -> Entry:
    """The record as an entry."""
    return bytes((_NUMBERS[type(said)],)), _encoder.encode(said)


def decode(payload: bytes) -> Introduction:
    """The record in a payload of one of KINDS. Raises ValueError if it is invalid."""
    try:
        return _DECODERS[payload[0]].decode(memoryview(payload)[1:])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(str(error)) from None


def columns_entry(
    mapping: int, layout: int, start: int, columns: Sequence[Column], refs: Sequence[int], kept: Sequence[bool]
) -> Entry:
    """The record of a column map's columns from `start` on."""
    families: dict[Family, int] = {}
    logged = tuple(
        LoggedColumn(ref, families.setdefault(column.family, len(families)), column.labels, keep)
        for column, ref, keep in zip(columns, refs, kept, strict=True)
    )
    return entry(ColumnsRecord(mapping, layout, start, tuple(families), logged))


def frame(record: Entry) -> bytes:
    """The frame and the first part of a record; its second part follows in the segment as it is."""
    start, rest = record
    return FRAME.pack(len(start) + len(rest), crc32(rest, crc32(start))) + start


def framed_size(record: Entry) -> int:
    """Bytes that a record takes in a segment."""
    return FRAME.size + len(record[0]) + len(record[1])


class SegmentReader:
    """Iterates over the payloads of a segment of `size` bytes.

    A damaged record is skipped and counted if an intact one follows; else the segment ends there. `end` is the offset
    after the last intact record.
    """

    def __init__(self, stream: BinaryIO, size: int) -> None:
        self._stream = stream
        self._size = size
        self.end = 0
        self.damaged = 0

    def __iter__(self) -> Iterator[bytes]:
        """Raises ValueError if this is not a segment."""
        magic = self._stream.read(len(MAGIC))
        if magic != MAGIC:
            if MAGIC.startswith(magic):
                return  # cut off while it was being created
            raise ValueError(f"not a segment of the log: it begins with {magic!r}")
        at = self.end = len(MAGIC)
        bad = 0
        while True:
            found = self._next(at)
            if found is None or (bad and not found[1]):
                return
            payload, good = found
            at += FRAME.size + len(payload)
            if good:
                self.damaged += bad
                bad = 0
                self.end = at
                yield payload
            else:
                bad = 1

    def _next(self, at: int) -> tuple[bytes, bool] | None:
        """The payload at `at` and whether it is intact; None if it is cut off."""
        head = self._stream.read(FRAME.size)
        if len(head) < FRAME.size:
            return None
        length, checksum = FRAME.unpack(head)
        if not 0 < length <= self._size - at - FRAME.size:
            return None
        payload = self._stream.read(length)
        if len(payload) < length:
            return None
        return payload, crc32(payload) == checksum
