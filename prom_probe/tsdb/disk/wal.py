"""The records of the write-ahead log, encoded and decoded."""

from __future__ import annotations

from collections.abc import Sequence
from struct import Struct
from typing import TypeAlias
from zlib import crc32

import msgspec

from prom_probe.model.family import Column, Family
from prom_probe.model.labels import Labels

MAGIC = b"PPlog1\0\0"
FRAME = Struct("<II")  # length of the payload, its CRC-32

HEAD, COLUMNS, ROW, SERIES, SAMPLES, DROPPED = range(1, 7)

# Introductions of at most so many bytes are written twice, so that one damaged record does not cost all that need it.
REPEATED_BYTES = 1 << 16

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


def times(payload: bytes) -> tuple[int, int] | None:
    """The first and the last timestamp in a record; None if it has no samples."""
    if payload[0] == ROW and len(payload) >= ROW_START.size:
        t_ms = ROW_START.unpack_from(payload)[3]
        return t_ms, t_ms
    if payload[0] == SAMPLES and len(payload) >= SAMPLES_START.size + SAMPLE.size:
        last = SAMPLES_START.size + (len(payload) - SAMPLES_START.size) // SAMPLE.size * SAMPLE.size
        return SAMPLE.unpack_from(payload, SAMPLES_START.size)[1], SAMPLE.unpack_from(payload, last - SAMPLE.size)[1]
    return None
