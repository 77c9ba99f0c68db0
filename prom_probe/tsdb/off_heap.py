"""Memory outside the heap for what is large and stays long: the kernel has it back at once, whatever lies around it."""

from __future__ import annotations

import mmap
from collections.abc import Sequence
from typing import TypeAlias

Bytes: TypeAlias = "bytes | bytearray | memoryview"

# Less than that is left to the heap: a mapping takes whole pages.
_LEAST = 16_384


class AnonymousPages(mmap.mmap):
    """Anonymous pages of this process alone."""


def joined(parts: Sequence[Bytes]) -> memoryview:
    """`parts` one after the other, to be read only. They go when no view of them is left."""
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
    """Bytes that `joined` takes for so many."""
    return size if size < _LEAST else -(-size // mmap.PAGESIZE) * mmap.PAGESIZE
