"""The reading end of a ring."""

from zlib import crc32

from prom_probe.ring.layout import (
    BEATS,
    CAPACITY,
    CORRUPT,
    CRC,
    DROPPED,
    FRAME_BYTES,
    GENERATION,
    HEAD,
    HEARTBEAT,
    IDENTITY,
    PUSHED,
    SEQ_LENGTH,
    TAIL,
    frame_bytes,
    max_payload,
    ring_cells,
    ring_data,
)


class Consumer:
    """Pops frames; a ring has one consumer at a time. Whatever it reads, it does not fail: bad bytes are counted.

    Creating one increments the ring's generation, which asks the producer for its announcements. `pop`, use the frames,
    then `commit`: if a consumer dies in between, its successor sees the same frames again, with the same sequence
    numbers (at least once).
    """

    __slots__ = ("_capacity", "_cells", "_data", "_max_payload", "_next", "_suspect")

    def __init__(self, buffer: memoryview) -> None:
        self._data = ring_data(buffer)
        self._cells = ring_cells(buffer)
        self._capacity = self._cells[CAPACITY]
        self._max_payload = max_payload(self._capacity)
        self._next = self._cells[TAIL]
        self._suspect = -1
        self._cells[GENERATION] += 1

    def pop(self) -> list[tuple[int, bytes]]:
        """All complete frames as (sequence number, payload), oldest first.

        A frame with a wrong CRC is skipped only if it is still wrong at the next call: on CPUs with weaker memory
        ordering `head` may become visible before the bytes.
        """
        head, tail = self._cells[HEAD], self._next
        if head == tail:
            return []
        if not 0 < head - tail <= self._capacity:  # a damaged header
            self._cells[CORRUPT] += 1
            self._next = head
            return []
        region = self._copy(tail, head - tail)
        frames: list[tuple[int, bytes]] = []
        at = 0
        while at < len(region):
            payload = self._frame(region, tail, at)
            if payload is not None:
                frames.append((tail + at, payload))
                at += frame_bytes(len(payload))
            elif self._suspect != tail + at:
                self._suspect = tail + at
                break
            else:
                self._cells[CORRUPT] += 1
                at = self._resynchronise(region, tail, at + 8)
        self._next = tail + at
        return frames

    def commit(self) -> None:
        """Return the space of all popped frames to the producer."""
        self._cells[TAIL] = self._next

    def _copy(self, position: int, size: int) -> bytes:
        start = position & (self._capacity - 1)
        end = start + size
        if end <= self._capacity:
            return bytes(self._data[start:end])
        return bytes(self._data[start:]) + bytes(self._data[: end - self._capacity])

    def _frame(self, region: bytes, tail: int, at: int) -> bytes | None:
        """The payload of the frame at `at`; None if there is no intact frame."""
        if at + FRAME_BYTES > len(region):
            return None
        seq, length = SEQ_LENGTH.unpack_from(region, at)
        start = at + FRAME_BYTES
        if seq != tail + at or length > self._max_payload or at + frame_bytes(length) > len(region):
            return None
        payload = region[start : start + length]
        (crc,) = CRC.unpack_from(region, start - CRC.size)
        return payload if crc == crc32(payload, crc32(region[at : at + SEQ_LENGTH.size])) else None

    def _resynchronise(self, region: bytes, tail: int, at: int) -> int:
        """The offset of the next intact frame, at or after `at`; the region's end if there is none."""
        while at < len(region):
            if self._frame(region, tail, at) is not None:
                return at
            at += 8
        return len(region)

    @property
    def identity(self) -> int:
        return self._cells[IDENTITY]

    @property
    def used(self) -> int:
        """Bytes waiting to be consumed."""
        return max(0, self._cells[HEAD] - self._cells[TAIL])

    @property
    def capacity(self) -> int:
        return self._capacity

    @property
    def pushed(self) -> int:
        """Frames pushed so far."""
        return self._cells[PUSHED]

    @property
    def dropped(self) -> int:
        """Frames that the producer could not push."""
        return self._cells[DROPPED]

    @property
    def corrupt(self) -> int:
        """Frames that were skipped as damaged."""
        return self._cells[CORRUPT]

    @property
    def beats(self) -> int:
        """Collections that the producer has finished."""
        return self._cells[BEATS]

    @property
    def heartbeat_ns(self) -> int:
        """CLOCK_MONOTONIC ns of the producer's last sign of life."""
        return self._cells[HEARTBEAT]
