"""The decode cache: bounded in bytes, shared by the reading threads, it keeps what is newest in time."""

from __future__ import annotations

from collections.abc import Callable, Collection
from heapq import heapify, heappop, heappush
from threading import Lock
from typing import TypeAlias, TypeVar

_T = TypeVar("_T")

Key: TypeAlias = tuple[int, bytes | int]  # a block, and which columns or timeline of it

_ENTRY_COST = 400  # bytes of an entry besides its value

# An entry that nobody asked for while this many times the cache's size was decoded is evictable.
_UNUSED = 3


class _Entry:
    """`used`: how many bytes had been decoded when the entry was last asked for."""

    __slots__ = ("newest_ms", "size", "used", "value")

    def __init__(self, value: object, size: int, newest_ms: int, used: int) -> None:
        self.value = value
        self.size = size
        self.newest_ms = newest_ms
        self.used = used


class Cache:
    """Values under keys, each with a size in bytes and the newest timestamp (ms) that it covers.

    When it is full, entries that nobody asks for any more are evicted, then those that cover the oldest time, the first
    inserted among equals; a value older than everything in the cache is not kept. So a selection larger than the cache
    still finds its newest part.
    """

    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        self.bytes = 0
        self._lock = Lock()
        self._entries: dict[Key, _Entry] = {}
        self._order: list[tuple[int, int, Key]] = []  # heap of (newest timestamp, count, key)
        self._count = 0
        self._made = 0  # bytes decoded so far
        self._swept = 0  # `_made` when unused entries were last evicted

    def get(self, key: Key, newest_ms: int, make: Callable[[], tuple[_T, int]]) -> _T:
        """The value under `key`; if absent, made by `make`, which returns it with its size. Any thread may call."""
        found = self._entries.get(key)
        if found is not None:
            found.used = self._made
            return found.value  # type: ignore[return-value]
        value, size = make()
        with self._lock:
            self._put(key, newest_ms, value, size + _ENTRY_COST)
        return value

    def resize(self, limit_bytes: int) -> None:
        """Hold at most `limit_bytes` from now on; what exceeds that is evicted."""
        with self._lock:
            self.limit_bytes = limit_bytes
            self._evict(limit_bytes)

    def forget(self, blocks: Collection[int]) -> None:
        """Drop all entries of these blocks (the first part of a key)."""
        with self._lock:
            self._drop([key for key in self._entries if key[0] in blocks])

    def _drop(self, keys: Collection[Key]) -> None:
        for key in keys:
            self.bytes -= self._entries.pop(key).size
        if keys:
            self._order = [item for item in self._order if item[2] in self._entries]
            heapify(self._order)

    def _evict(self, most_bytes: int, newest_ms: int | None = None) -> bool:
        """Drop the oldest entries until at most `most_bytes` are left; False if one newer than `newest_ms` is next."""
        while self.bytes > most_bytes:
            if newest_ms is not None and self._order[0][0] > newest_ms:
                return False
            _, _, oldest = heappop(self._order)
            self.bytes -= self._entries.pop(oldest).size
        return True

    def _put(self, key: Key, newest_ms: int, value: object, size: int) -> None:
        self._made += size
        if key in self._entries or size > self.limit_bytes:
            return
        if self.bytes + size > self.limit_bytes and self._made - self._swept > self.limit_bytes // 8:
            self._swept = self._made
            since = self._made - _UNUSED * self.limit_bytes
            self._drop([other for other, entry in self._entries.items() if entry.used < since])
        if not self._evict(self.limit_bytes - size, newest_ms):
            return
        self._count += 1
        self._entries[key] = _Entry(value, size, newest_ms, self._made)
        self.bytes += size
        heappush(self._order, (newest_ms, self._count, key))
