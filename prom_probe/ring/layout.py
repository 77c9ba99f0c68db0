"""The layout of a ring: its header's cells and its frames.

A ring is one shared mapping: a header of 64-bit little-endian cells, then `capacity` bytes of data.

    cell   byte  name        written by   meaning
       0      0  MAGIC       creator      b"PROMRING" as a number
       1      8  VERSION     creator      of this layout
       2     16  CAPACITY    creator      bytes of data, a power of two
       3     24  IDENTITY    creator      random; tells one ring's sequence numbers from another's
       8     64  HEAD        producer     bytes written so far; only grows
       9     72  PUSHED      producer     frames written so far
      10     80  DROPPED     producer     frames refused because the ring was full
      11     88  HEARTBEAT   producer     CLOCK_MONOTONIC ns of its last sign of life
      12     96  BEATS       producer     collections finished
      16    128  TAIL        consumer     bytes consumed so far; only grows
      17    136  GENERATION  consumer     number of consumers so far; a change asks for announcements
      18    144  CORRUPT     consumer     frames skipped because their CRC or sequence number was wrong
      32    256  data ...

Producer's and consumer's cells lie on cache lines of their own. A position p (HEAD, TAIL, a sequence number) is at
byte `256 + (p & (capacity - 1))`; a frame may wrap around the end of the data, at any byte.

    frame:   0        8        12       16                16 + length      padded to 8
             +--------+--------+--------+-----------------+----------------+
             | u64    | u32    | u32    | payload         | 0 to 7 zeros   |
             | seq    | length | crc32  |                 |                |
             +--------+--------+--------+-----------------+----------------+

`seq` is the frame's own position, so it grows with every frame, and a frame of an earlier lap is never mistaken for one
of this lap. The CRC-32 covers seq, length and payload.
"""

import mmap
import os
import struct

MAGIC_VALUE = int.from_bytes(b"PROMRING", "little")
VERSION_VALUE = 1

MAGIC, VERSION, CAPACITY, IDENTITY = 0, 1, 2, 3
HEAD, PUSHED, DROPPED, HEARTBEAT, BEATS = 8, 9, 10, 11, 12
TAIL, GENERATION, CORRUPT = 16, 17, 18

HEADER_BYTES = 256
FRAME_BYTES = 16
SEQ_LENGTH = struct.Struct("<QI")
CRC = struct.Struct("<I")

# A frame may fill at most a quarter of a ring, so that one huge frame cannot starve all others.
_MAX_FRAME_PART = 4


class RingError(Exception):
    """A mapping that is not a ring of this version."""


def create_ring(capacity: int) -> memoryview:
    """A new anonymous shared ring of at least `capacity` bytes of data: no name, nothing to clean up, kept by fork.

    The memory is freed when the last process that has it ends. Pages are allocated when they are first written.
    """
    buffer = reserve_ring(capacity)
    begin_ring(buffer)
    return buffer


def reserve_ring(capacity: int) -> memoryview:
    """Address space for such a ring, shared by fork; takes no memory until `begin_ring` makes it a ring."""
    return memoryview(mmap.mmap(-1, HEADER_BYTES + (1 << max(12, (capacity - 1).bit_length()))))


def begin_ring(buffer: memoryview) -> None:
    """Make reserved address space a ring, by writing its header."""
    cells = ring_cells(buffer)
    cells[VERSION], cells[CAPACITY] = VERSION_VALUE, len(buffer) - HEADER_BYTES
    cells[IDENTITY] = int.from_bytes(os.urandom(8), "little")
    cells[MAGIC] = MAGIC_VALUE


def ring_cells(buffer: memoryview) -> memoryview:
    """The header as 64-bit cells. Writing one is a single store; `struct.pack_into` would show zeros first."""
    return buffer[:HEADER_BYTES].cast("Q")


def ring_data(buffer: memoryview) -> memoryview:
    """The data bytes of a ring. Raises RingError if `buffer` is not a ring of this version."""
    if len(buffer) < HEADER_BYTES:
        raise RingError(f"a ring has at least {HEADER_BYTES} bytes, this has {len(buffer)}")
    cells = ring_cells(buffer)
    if cells[MAGIC] != MAGIC_VALUE or cells[VERSION] != VERSION_VALUE:
        raise RingError(f"not a ring of version {VERSION_VALUE} (magic {cells[MAGIC]:#x}, version {cells[VERSION]})")
    capacity = cells[CAPACITY]
    if capacity & (capacity - 1) or not capacity or HEADER_BYTES + capacity > len(buffer):
        raise RingError(f"a ring of {len(buffer)} bytes cannot have a capacity of {capacity}")
    return buffer[HEADER_BYTES : HEADER_BYTES + capacity]


def frame_bytes(length: int) -> int:
    """The size in a ring of a frame with `length` bytes of payload."""
    return FRAME_BYTES + ((length + 7) & ~7)


def max_payload(capacity: int) -> int:
    """The longest payload that a ring of `capacity` bytes accepts."""
    return capacity // _MAX_FRAME_PART - FRAME_BYTES
