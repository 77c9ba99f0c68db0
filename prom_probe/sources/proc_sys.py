"""Files of /proc/sys: single numbers, and fs/file-nr (proc_sys(5))."""

from prom_probe.sources.errors import ParseError
from prom_probe.sources.text import UNSIGNED, number

# Values from here on stand for "no limit" in fs/file-max: 2^63 - 1, and half of it, are common.
_NO_LIMIT = 1 << 62


def parse_sysctl(data: bytes) -> int:
    """A number. Raises ParseError."""
    try:
        return number(data.strip())
    except ValueError:
        raise ParseError("/proc/sys", data) from None


def parse_file_nr(data: bytes) -> tuple[int, int | None]:
    """(open files, the limit or None where there is none). Raises ParseError."""
    try:
        allocated, free, most = (number(word, UNSIGNED) for word in data.split()[:3])
    except ValueError:
        raise ParseError("/proc/sys/fs/file-nr", data) from None
    return allocated - free, None if most >= _NO_LIMIT else most
