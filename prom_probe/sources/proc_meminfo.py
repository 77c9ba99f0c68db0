"""/proc/meminfo: the machine's memory (proc_meminfo(5))."""

import re
from collections.abc import Sequence
from functools import lru_cache

from prom_probe.sources.errors import ParseError
from prom_probe.sources.text import Odd, find_number, ignore

SOURCE = "/proc/meminfo"


def parse_proc_meminfo(data: bytes, keys: Sequence[bytes], odd: Odd = ignore) -> list[int | None]:
    """The values of `keys` ("MemFree:"), KiB, in the order of `keys`; None where the kernel has none, or an odd one.

    Keys in the order of the file are read four times as fast. Raises ParseError if no row is good.
    """
    match = _pattern(tuple(keys)).match(data)
    if match is not None:
        return list(map(int, match.groups()))
    found = [find_number(data, key, odd, b" kB") for key in keys]
    if not any(value is not None for value in found):
        raise ParseError(SOURCE, data)
    return found


@lru_cache(maxsize=4)
def _pattern(keys: tuple[bytes, ...]) -> re.Pattern[bytes]:
    """Matches if all keys are present in this order, with any rows between them, and their numbers are in range."""
    return re.compile(b"".join(rb"(?:(?!%b).*\n)*?%b +(\d{1,15}) kB\n" % (key, key) for key in map(re.escape, keys)))
