"""A cache bounded in bytes that prefers what is newest in time, shared by the reading threads."""

from __future__ import annotations

from collections.abc import Callable, Collection
from heapq import heapify, heappop, heappush
from threading import Lock
from typing import TypeAlias, TypeVar

_T = TypeVar("_T")

Key: TypeAlias = tuple[int, bytes | int]  # a block, and which columns or timeline of it

_ENTRY_COST = 400  # bytes of an entry beside its value

# An entry that was not asked for while so many times the cache's size had to be made has no claim to its place.
_UNUSED = 3


class _Entry:
    """`used`: the bytes that had been made when it was last asked for."""

    __slots__ = ("newest_ms", "size", "used", "value")

    def __init__(self, value: object, size: int, newest_ms: int, used: int) -> None:
        self.value = value
        self.size = size
        self.newest_ms = newest_ms
        self.used = used


class Cache:
    """Values under keys, each with a size in bytes and the newest timestamp (ms) that it covers.

    When there is no room, the entries that cover the oldest time go first, among equals the one put in first; a value
    older than everything that is there is not taken. So a selection larger than the cache still finds its newest part.
    What nobody asks for any more goes before that.
    """

    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        self.bytes = 0
        self._lock = Lock()
        self._entries: dict[Key, _Entry] = {}
        self._order: list[tuple[int, int, Key]] = []  # heap of (newest timestamp, count, key)
        self._count = 0
        self._made = 0  # bytes, ever
        self._swept = 0  # of which so many when entries without use were last looked for

    def get(self, key: Key, newest_ms: int, make: Callable[[], tuple[_T, int]]) -> _T:
        """The value under `key`; if absent, made by `make`, which gives it with its size. Any thread may call."""
        found = self._entries.get(key)
        if found is not None:
            found.used = self._made
            return found.value  # type: ignore[return-value]
        value, size = make()
        with self._lock:
            self._put(key, newest_ms, value, size + _ENTRY_COST)
        return value

    def resize(self, limit_bytes: int) -> None:
        """Hold so many bytes from now on; what is too much goes as the other entries do."""
        with self._lock:
            self.limit_bytes = limit_bytes
            self._evict(limit_bytes)

    def forget(self, blocks: Collection[int]) -> None:
        """Drop all entries of these blocks, the first of a key's two parts."""
        with self._lock:
            self._drop([key for key in self._entries if key[0] in blocks])

    def _drop(self, keys: Collection[Key]) -> None:
        for key in keys:
            self.bytes -= self._entries.pop(key).size
        if keys:
            self._order = [item for item in self._order if item[2] in self._entries]
            heapify(self._order)

    def _evict(self, most_bytes: int, newest_ms: int | None = None) -> bool:
        """Drop entries until at most so many bytes are left; False where one is newer than that, which stays."""
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
