"""/proc/meminfo: the machine's memory (proc_meminfo(5))."""

from collections.abc import Sequence

from prom_probe.sources.errors import ParseError

SOURCE = "/proc/meminfo"
_NEWLINE = 10


def parse_proc_meminfo(data: bytes, keys: Sequence[bytes]) -> list[int | None]:
    """The values of `keys` ("MemFree:"), KiB, in the order of `keys`; None where the kernel has none.

    Raises ParseError.
    """
    if not data.startswith(b"MemTotal:"):
        raise ParseError(SOURCE, data)
    values: list[int | None] = []
    try:
        for key in keys:
            at = data.find(key)
            while at > 0 and data[at - 1] != _NEWLINE:  # the end of another key ("Cached:" of "SwapCached:")
                at = data.find(key, at + 1)
            values.append(None if at < 0 else int(data[at + len(key) : data.index(b" kB", at)]))
    except ValueError:
        raise ParseError(SOURCE, data) from None
    return values
