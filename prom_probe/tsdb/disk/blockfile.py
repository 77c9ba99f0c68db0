"""Block files: encoding and decoding a sealed block, its series and the range of heads it was made of."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from itertools import pairwise
from struct import Struct
from typing import NamedTuple, TypeAlias

import msgspec

from prom_probe.model.labels import Labels
from prom_probe.tsdb.block import HEADER as BLOCK_HEADER
from prom_probe.tsdb.block import Block
from prom_probe.tsdb.collector_stream import proper
from prom_probe.tsdb.encoding.record import MAX_ROWS, BlockError
from prom_probe.tsdb.outcome import MAX_TIME

MAGIC = b"PPf1"
HEADER = Struct("<4sIQQqqQII")
CHECKED_FROM = 8  # the CRC covers everything from this offset on

# Heads, column maps and refs have numbers below this, so that counting on from any of them fits 64 bits.
MAX_NUMBER = 1 << 62

# A file's series table takes at most this many bytes, inflated.
_MAX_TABLE = 1 << 28

# A column's series: its labels, () if it is gone, and whether the series cap keeps it.
NamedSeries: TypeAlias = tuple[Labels, bool]


class HeadRange(NamedTuple):
    """The heads [first, last] of a stream; `stream` is a collector, or None for appended samples."""

    stream: str | None
    first: int
    last: int


class BlockFile(NamedTuple):
    """The content of a block file."""

    heads: HeadRange
    block: Block
    series: Sequence[NamedSeries]


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(tuple[str | None, list[NamedSeries]])


def file_name(heads: HeadRange) -> str:
    return f"{heads.first:016x}-{heads.last:016x}.block"


def encode(block: Block, heads: HeadRange, series: Sequence[NamedSeries]) -> list[bytes | memoryview]:
    """The file's bytes, in parts, so that the block is not copied."""
    table = zlib.compress(_encoder.encode((heads.stream, series)), 1)
    padding = bytes(-len(block.data) % 8)
    parts: list[bytes | memoryview] = [block.data, padding, memoryview(block.refs).cast("B"), table]
    sizes = (len(block.data), len(table))
    header = HEADER.pack(MAGIC, 0, heads.first, heads.last, block.since, block.seen, block.samples, *sizes)
    checksum = zlib.crc32(header[CHECKED_FROM:])
    for part in parts:
        checksum = zlib.crc32(part, checksum)
    return [header[:4] + checksum.to_bytes(4, "little") + header[8:], *parts]


def locate(data: memoryview) -> tuple[memoryview, memoryview]:
    """The block and the columns' refs in a file's bytes. Raises BlockError if it is too short for them."""
    if len(data) < HEADER.size + BLOCK_HEADER.size:
        raise BlockError(f"not a block file: only {len(data)} bytes")
    magic, *_, size, table = HEADER.unpack_from(data)
    if magic != MAGIC:
        raise BlockError(f"not a block file: it begins with {magic!r}")
    refs = HEADER.size + size + -size % 8
    columns = BLOCK_HEADER.unpack_from(data, HEADER.size)[1]
    if len(data) != refs + 8 * columns + table:
        raise BlockError(f"{len(data)} bytes instead of {refs + 8 * columns + table}")
    return data[HEADER.size : HEADER.size + size], data[refs : refs + 8 * columns].cast("q")


def parse(data: memoryview) -> BlockFile:
    """The content of a file; the CRC is not checked. Raises BlockError for content that makes no sense."""
    body, refs = locate(data)
    _, _, first, last, since, seen, samples, _, table = HEADER.unpack_from(data)
    block = Block(body, refs, samples, since, seen)
    if not (0 <= since <= seen < MAX_TIME and block.mint > -MAX_TIME and block.maxt < MAX_TIME):
        raise BlockError("invalid times")
    if not samples <= block.columns * MAX_ROWS or not (block.columns or block.timelines == 1):
        raise BlockError(f"{samples} samples in {block.columns} columns")
    for timeline in range(block.timelines):
        block.rows(timeline)
    if any(block.timeline_of(place) >= block.timelines for place in range(block.columns)):
        raise BlockError("a column without a timeline")
    if not 0 < first <= last < MAX_NUMBER:
        raise BlockError(f"heads {first} to {last}")
    if len(refs) and not (refs[0] > 0 and refs[-1] < MAX_NUMBER and all(a < b for a, b in pairwise(refs))):
        raise BlockError("refs that are not ascending")
    stream, series = _decode_table(data[len(data) - table :])
    if len(series) != len(refs) or not all(not labels or proper(labels) for labels, _ in series):
        raise BlockError(f"{len(refs)} columns with an invalid series table")
    return BlockFile(HeadRange(stream, first, last), block, series)


def claim(data: bytes) -> tuple[int, int, int]:
    """What a damaged file's header says: samples, first and last timestamp. Raises BlockError if it makes no sense."""
    if len(data) < HEADER.size + BLOCK_HEADER.size or data[: len(MAGIC)] != MAGIC:
        raise BlockError("not a block file")
    samples = HEADER.unpack_from(data)[6]
    mint, maxt = BLOCK_HEADER.unpack_from(data, HEADER.size)[4:]
    if not (samples <= 8 * len(data) * MAX_ROWS and -MAX_TIME < mint <= maxt < MAX_TIME):
        raise BlockError("a header that makes no sense")
    return samples, mint, maxt


def _decode_table(packed: memoryview) -> tuple[str | None, list[NamedSeries]]:
    inflater = zlib.decompressobj()
    try:
        return _decoder.decode(inflater.decompress(packed, _MAX_TABLE))
    except (zlib.error, msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BlockError(f"damaged series table: {error}") from None


def checksum_matches(parts: Iterator[bytes]) -> bool:
    """Whether a file's bytes, in parts of 8 or more, match the CRC in its header."""
    start = next(parts, b"")
    checksum = zlib.crc32(start[CHECKED_FROM:])
    for part in parts:
        checksum = zlib.crc32(part, checksum)
    return len(start) >= CHECKED_FROM and checksum == int.from_bytes(start[4:8], "little")
