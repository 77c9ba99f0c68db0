"""The writing end of a ring."""

import time
from zlib import crc32

from prom_probe.ring.doorbell import Doorbell
from prom_probe.ring.layout import (
    BEATS,
    CAPACITY,
    CRC,
    DROPPED,
    GENERATION,
    HEAD,
    HEARTBEAT,
    PUSHED,
    SEQ_LENGTH,
    TAIL,
    frame_bytes,
    max_payload,
    ring_cells,
    ring_data,
)


class Producer:
    """Pushes frames; a ring has one producer at a time. It never waits: a full ring drops the *new* frame, counted.

    The successor of a producer that died resumes from the header: a frame that was being written was never published.
    """

    __slots__ = ("_bell", "_capacity", "_cells", "_data", "max_payload")

    def __init__(self, buffer: memoryview, bell: Doorbell) -> None:
        self._data = ring_data(buffer)
        self._cells = ring_cells(buffer)
        self._capacity = self._cells[CAPACITY]
        self._bell = bell
        self.max_payload = max_payload(self._capacity)

    @property
    def generation(self) -> int:
        """The consumer's number; when it changes, the new consumer needs the announcements again."""
        return self._cells[GENERATION]

    def push(self, payload: bytes) -> bool:
        """Write one frame and wake the consumer. False (and counted) if the ring is full or the payload too long."""
        cells = self._cells
        head = cells[HEAD]
        length = len(payload)
        size = frame_bytes(length)
        # Only a damaged header has its tail beyond its head; the consumer repairs it.
        if length > self.max_payload or not size <= self._capacity - (head - cells[TAIL]) <= self._capacity:
            self.drop()
            return False
        prefix = SEQ_LENGTH.pack(head, length)
        frame = prefix + CRC.pack(crc32(payload, crc32(prefix))) + payload + bytes(-length & 7)
        start = head & (self._capacity - 1)
        end = start + size
        if end <= self._capacity:
            self._data[start:end] = frame
        else:
            first = self._capacity - start
            self._data[start:] = frame[:first]
            self._data[: size - first] = frame[first:]
        cells[PUSHED] += 1
        cells[HEAD] = head + size  # publish: only now may the consumer look
        self._bell.ring()
        return True

    def drop(self) -> None:
        """Count a frame that could not be sent."""
        self._cells[DROPPED] += 1

    def beat(self) -> None:
        """Count a finished collection."""
        self._cells[BEATS] += 1
        self.alive()

    def alive(self) -> None:
        """Note that this producer is alive."""
        self._cells[HEARTBEAT] = time.monotonic_ns()
