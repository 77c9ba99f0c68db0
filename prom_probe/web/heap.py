"""glibc's heap, kept small: threads share one arena, large arrays stay out of it, free pages go back to the kernel."""

from __future__ import annotations

from collections.abc import Callable

_M_ARENA_MAX, _M_MMAP_THRESHOLD, _M_TRIM_THRESHOLD = -8, -3, -1  # malloc.h

# Larger than a query's temporary arrays, which it makes again and again; what it keeps is often larger than that.
_LARGE = 2 << 20


def prepare() -> None:
    """Before the threads start that run queries: have them allocate where the loop does, large arrays elsewhere.

    An arena each kept 17 MB of 75, measured. glibc raises the thresholds to twice the largest array that it has seen:
    four queries at a memory limit of 67 MB then took 124, with these fixed 85.
    """
    _call("mallopt", _M_ARENA_MAX, 1)
    _call("mallopt", _M_MMAP_THRESHOLD, _LARGE)
    _call("mallopt", _M_TRIM_THRESHOLD, 8 * _LARGE)  # with 2 * some queries took a third longer


def trim() -> None:
    """Give free pages back: a few milliseconds without the GIL. Large arrays leave 20 to 30 MB, measured."""
    _call("malloc_trim", 0)


class Trimmer:
    """Trims once what is kept has fallen by so much that whole pages are free among what has stayed."""

    _FALLEN = 2 << 20

    def __init__(self, kept: Callable[[], int]) -> None:
        """`kept` gives the bytes that are kept now."""
        self._kept = kept
        self._most = 0

    def look(self) -> None:
        """Trim if it is time; to be called now and then."""
        kept = self._kept()
        self._most = max(self._most, kept)
        if self._most - kept >= self._FALLEN:
            self._most = kept
            trim()


def _call(name: str, *args: int) -> None:
    import ctypes  # most processes never need it

    function = getattr(ctypes.CDLL(None), name, None)  # other C libraries have neither, nor the need
    if function is not None:
        function(*args)
