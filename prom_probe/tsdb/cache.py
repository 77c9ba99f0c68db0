"""A cache bounded in bytes that prefers what is newest in time, shared by the reading threads."""

from __future__ import annotations

from collections.abc import Callable, Collection
from heapq import heapify, heappop, heappush
from threading import Lock
from typing import TypeAlias, TypeVar

_T = TypeVar("_T")

Key: TypeAlias = tuple[int, bytes | int]  # a block, and which columns or timeline of it

_ENTRY_COST = 400  # bytes of an entry beside its value


class Cache:
    """Values under keys, each with a size in bytes and the newest timestamp (ms) that it covers.

    When there is no room, the entries that cover the oldest time go first, among equals the one put in first; a value
    older than everything that is there is not taken. So a selection larger than the cache still finds its newest part.
    """

    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        self.bytes = 0
        self._lock = Lock()
        self._entries: dict[Key, tuple[object, int]] = {}
        self._order: list[tuple[int, int, Key]] = []  # heap of (newest timestamp, count, key)
        self._count = 0

    def get(self, key: Key, newest_ms: int, make: Callable[[], tuple[_T, int]]) -> _T:
        """The value under `key`; if absent, made by `make`, which gives it with its size. Any thread may call."""
        found = self._entries.get(key)
        if found is not None:
            return found[0]  # type: ignore[return-value]
        value, size = make()
        with self._lock:
            self._put(key, newest_ms, value, size + _ENTRY_COST)
        return value

    def forget(self, blocks: Collection[int]) -> None:
        """Drop all entries of these blocks, the first of a key's two parts."""
        with self._lock:
            for key in [key for key in self._entries if key[0] in blocks]:
                self.bytes -= self._entries.pop(key)[1]
            self._order = [item for item in self._order if item[2][0] not in blocks]
            heapify(self._order)

    def _put(self, key: Key, newest_ms: int, value: object, size: int) -> None:
        if key in self._entries or size > self.limit_bytes:
            return
        while self.bytes + size > self.limit_bytes:
            if self._order[0][0] > newest_ms:
                return
            _, _, oldest = heappop(self._order)
            self.bytes -= self._entries.pop(oldest)[1]
        self._count += 1
        self._entries[key] = (value, size)
        self.bytes += size
        heappush(self._order, (newest_ms, self._count, key))
