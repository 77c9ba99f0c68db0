"""Memory outside the heap for large, long-lived bytes: it goes back to the kernel as soon as it is freed."""

from __future__ import annotations

import mmap
from collections.abc import Sequence
from typing import TypeAlias

Bytes: TypeAlias = "bytes | bytearray | memoryview"

# Anything smaller stays on the heap: a mapping takes whole pages.
_LEAST = 16_384


class AnonymousPages(mmap.mmap):
    """Anonymous pages of this process alone."""


def joined(parts: Sequence[Bytes]) -> memoryview:
    """`parts` one after the other, read-only. The memory is freed with the last view of it."""
    size = sum(map(len, parts))
    if size >= _LEAST:
        try:
            pages = AnonymousPages(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANON)
        except OSError:  # no more mappings: the heap may still have room
            pass
        else:
            for part in parts:
                pages.write(part)
            return memoryview(pages).toreadonly()
    return memoryview(b"".join(parts))


def footprint(size: int) -> int:
    """The bytes of memory that `joined` takes for `size` bytes."""
    return size if size < _LEAST else -(-size // mmap.PAGESIZE) * mmap.PAGESIZE
