"""Threads that work beside an event loop: the interpreter and glibc's heap, set up so that neither hurts the loop."""

from __future__ import annotations

import sys
from collections.abc import Callable

# How long a thread may keep the interpreter while the loop waits for it; Python's own 5 ms would stall ingest.
_SWITCH_INTERVAL_S = 0.0005

_M_ARENA_MAX, _M_MMAP_THRESHOLD, _M_TRIM_THRESHOLD = -8, -3, -1  # malloc.h

# Above the size of a query's temporary arrays, which come and go often; what stays is usually larger.
_LARGE_BYTES = 2 << 20


def share_heap() -> None:
    """To be called before the process starts any thread: all its threads use one heap.

    glibc gives the first thread a heap of its own, and the free end of that one is not trimmed: a query that came to
    use it would leave behind as much as the trim threshold.
    """
    _call_libc("mallopt", _M_ARENA_MAX, 1)


def prepare_threads() -> None:
    """To be called before the first thread for queries or large requests starts: they give way to the loop soon.

    Large arrays stay out of the heap. Without fixed thresholds glibc raises them to twice the largest array it has
    seen, and keeps that much.
    """
    sys.setswitchinterval(_SWITCH_INTERVAL_S)
    _call_libc("mallopt", _M_MMAP_THRESHOLD, _LARGE_BYTES)
    _call_libc("mallopt", _M_TRIM_THRESHOLD, 8 * _LARGE_BYTES)


def trim_heap() -> None:
    """Give free pages back to the kernel: a few milliseconds without the GIL."""
    _call_libc("malloc_trim", 0)


class HeapTrimmer:
    """Trims the heap each time the bytes kept in it have fallen by 2 MiB from their peak."""

    _FALL_BYTES = 2 << 20

    def __init__(self, kept: Callable[[], int], trim: Callable[[], None] = trim_heap) -> None:
        """`kept` gives the bytes that are kept at the moment."""
        self._kept = kept
        self._trim = trim
        self._peak = 0

    def check(self) -> None:
        """Trim if enough has been freed; to be called now and then."""
        kept = self._kept()
        self._peak = max(self._peak, kept)
        if self._peak - kept >= self._FALL_BYTES:
            self._peak = kept
            self._trim()


def _call_libc(name: str, *args: int) -> None:
    import ctypes  # most processes never need it

    function = getattr(ctypes.CDLL(None), name, None)  # only glibc has these, and only glibc needs them
    if function is not None:
        function(*args)
