"""The decode cache: bounded in bytes, shared by the reading threads, it keeps what is asked for again."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Collection
from threading import Lock
from typing import TypeAlias, TypeVar

_T = TypeVar("_T")

Key: TypeAlias = tuple[int, bytes | int]  # a block, and which columns or timeline of it

_ENTRY_COST = 400  # bytes of an entry besides its value
_MOST_MISSED = 1024  # keys


class _Entry:
    """`used`: the number of the request that asked for it last."""

    __slots__ = ("size", "used", "value")

    def __init__(self, value: object, size: int, used: int) -> None:
        self.value = value
        self.size = size
        self.used = used


class Cache:
    """Values under keys, each with a size in bytes.

    When it is full, a new value is kept only if there is room for it once those entries are evicted that nobody has
    asked for since the new one's key was last asked for. So whoever reads more than fits, again and again, finds the
    part that is in here each time, and whoever turns to other values has them in here from the second time on.
    """

    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        self.bytes = 0
        self._lock = Lock()
        self._entries: OrderedDict[Key, _Entry] = OrderedDict()  # the one that was used longest ago first
        self._missed: dict[int, int] = {}  # hash of a key that is not in here -> the request that asked for it last
        self._requests = 0

    def get(self, key: Key, make: Callable[[], tuple[_T, int]]) -> _T:
        """The value under `key`; if absent, made by `make`, which returns it with its size. Any thread may call."""
        with self._lock:
            self._requests += 1
            found = self._entries.get(key)
            if found is not None:
                found.used = self._requests
                self._entries.move_to_end(key)
                return found.value  # type: ignore[return-value]
        value, size = make()
        with self._lock:
            self._put(key, value, size + _ENTRY_COST)
        return value

    def resize(self, limit_bytes: int) -> None:
        """Hold at most `limit_bytes` from now on; what exceeds that is evicted."""
        with self._lock:
            self.limit_bytes = limit_bytes
            while self.bytes > limit_bytes:
                self._drop(next(iter(self._entries)))

    def forget(self, blocks: Collection[int]) -> None:
        """Drop all entries of these blocks (the first part of a key)."""
        with self._lock:
            for key in [key for key in self._entries if key[0] in blocks]:
                self._drop(key)

    def _drop(self, key: Key) -> None:
        self.bytes -= self._entries.pop(key).size

    def _put(self, key: Key, value: object, size: int) -> None:
        asked = self._missed.pop(hash(key), 0)
        if key in self._entries or size > self.limit_bytes:
            return
        unused, excess = [], self.bytes + size - self.limit_bytes
        for other, entry in self._entries.items():
            if excess <= 0 or entry.used >= asked:
                break
            unused.append(other)
            excess -= entry.size
        if excess > 0:
            self._miss(key)
            return
        for other in unused:
            self._drop(other)
        self._entries[key] = _Entry(value, size, self._requests)
        self.bytes += size

    def _miss(self, key: Key) -> None:
        """Remember that `key` was asked for, in place of what was missed longest ago."""
        if len(self._missed) >= _MOST_MISSED:
            del self._missed[next(iter(self._missed))]
        self._missed[hash(key)] = self._requests
