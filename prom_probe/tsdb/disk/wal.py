"""The log's records: to bytes, and back from a segment that may be cut off or damaged anywhere."""

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

ROW_START = Struct("<BQQqq")  # kind, head, mapping, timestamp, lived ms
SAMPLES_START = Struct("<BQq")  # kind, head, lived ms
SAMPLE = Struct("<Qqd")  # ref, timestamp, value

# A record before it is framed, in two parts, so that a row need not be copied.
Entry: TypeAlias = tuple[bytes, bytes]


class HeadRecord(msgspec.Struct, frozen=True, array_like=True):
    """A head is spoken of; `stream` is a collector, or None for general appends.

    `again`: so many rows (samples, of general appends) follow, which are the whole head until then.
    """

    number: int
    stream: str | None
    again: int = 0


class LoggedColumn(msgspec.Struct, frozen=True, array_like=True):
    """A column and its series; `ref` 0 for none. `family` is a place in the record's families."""

    ref: int
    family: int
    labels: Labels
    kept: bool


class ColumnsRecord(msgspec.Struct, frozen=True, array_like=True):
    """Columns from `start` on of a mapping, which is what rows refer to."""

    mapping: int
    layout: int
    start: int
    families: tuple[Family, ...]
    columns: tuple[LoggedColumn, ...]

    def column(self, place: int) -> Column:
        """The column with its family. Raises IndexError for a family that there is not."""
        one = self.columns[place]
        return Column(self.families[one.family], one.labels, one.kept)


class SeriesRecord(msgspec.Struct, frozen=True, array_like=True):
    """A series of general appends."""

    ref: int
    labels: Labels


class DroppedRecord(msgspec.Struct, frozen=True, array_like=True):
    """A stream's heads up to `number` are gone."""

    stream: str | None
    number: int


Said: TypeAlias = HeadRecord | ColumnsRecord | SeriesRecord | DroppedRecord

KINDS: dict[int, type[Said]] = {
    HEAD: HeadRecord,
    COLUMNS: ColumnsRecord,
    SERIES: SeriesRecord,
    DROPPED: DroppedRecord,
}
_NUMBERS = {kind: number for number, kind in KINDS.items()}
_DECODERS = {number: msgspec.msgpack.Decoder(kind) for number, kind in KINDS.items()}
_encoder = msgspec.msgpack.Encoder()


def entry(said: Said) -> Entry:
    """The record of what is said."""
    return bytes((_NUMBERS[type(said)],)), _encoder.encode(said)


def decode(payload: bytes) -> Said:
    """What a payload of one of KINDS says. Raises ValueError where it makes no sense."""
    try:
        return _DECODERS[payload[0]].decode(memoryview(payload)[1:])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(str(error)) from None


def columns_entry(
    mapping: int, layout: int, start: int, columns: Sequence[Column], refs: Sequence[int], kept: Sequence[bool]
) -> Entry:
    """The record of a mapping's columns from `start` on."""
    families: dict[Family, int] = {}
    logged = tuple(
        LoggedColumn(ref, families.setdefault(column.family, len(families)), column.labels, keep)
        for column, ref, keep in zip(columns, refs, kept, strict=True)
    )
    return entry(ColumnsRecord(mapping, layout, start, tuple(families), logged))


def frame(record: Entry) -> bytes:
    """The record as it is in a segment, but for its second part, which follows as it is."""
    start, rest = record
    return FRAME.pack(len(start) + len(rest), crc32(rest, crc32(start))) + start


def framed_size(record: Entry) -> int:
    """Bytes that a record takes in a segment."""
    return FRAME.size + len(record[0]) + len(record[1])


class SegmentReader:
    """The payloads of a segment of `size` bytes, one after the other.

    A damaged one is left out and counted where another one follows; else the segment ends there. `end` is where what
    was good ended.
    """

    def __init__(self, stream: BinaryIO, size: int) -> None:
        self._stream = stream
        self._size = size
        self.end = 0
        self.damaged = 0

    def __iter__(self) -> Iterator[bytes]:
        """Raises ValueError where this is no segment at all."""
        magic = self._stream.read(len(MAGIC))
        if magic != MAGIC:
            if MAGIC.startswith(magic):
                return  # it was being begun
            raise ValueError(f"{magic!r} is not how a segment of the log begins")
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
        """The payload at `at` and whether it is what was written; None where there is no whole one."""
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
