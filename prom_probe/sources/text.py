"""Kernel text: a row ends with a newline and with nothing else, spaces and tabs part its fields, numbers have a range.

Names may contain any other byte, such as a carriage return; the kernel writes a newline in a name as \\012.
A row that is not as documented is odd: a parser hands it to `odd` and goes on with the next. A parser of a file that is
one record, or of which no row is good, raises ParseError.
"""

from collections.abc import Callable, Iterator
from typing import TypeAlias

# Takes an odd row, as it was read.
Odd: TypeAlias = Callable[[bytes], None]

# The kernel writes a negative number as an unsigned one of 64 bits: what has the highest bit is negative.
MOST = (1 << 63) - 1
# The largest that it writes; some kernels write it for "no limit".
UNSIGNED = (1 << 64) - 1
_DIGITS = len(str(UNSIGNED))
_KIB = b" kB"


def ignore(row: bytes) -> None:
    """The `Odd` of a caller that does not count odd rows."""


def rows(data: bytes) -> list[bytes]:
    """The rows without their newlines; the last may lack one."""
    found = data.split(b"\n")
    if not found[-1]:
        found.pop()
    return found


def fields(row: bytes) -> list[bytes]:
    """What spaces and tabs part."""
    return [field for field in row.replace(b"\t", b" ").split(b" ") if field]


def number(text: bytes, most: int = MOST) -> int:
    """Digits alone, up to `most`. Raises ValueError: for a negative number too."""
    if not text.isdigit() or len(text) > _DIGITS or (value := int(text)) > most:
        raise ValueError(text)
    return value


def find_row(data: bytes, key: bytes) -> bytes | None:
    """The rest of the first row that begins with `key`; None if there is none."""
    return next(_find_rows(data, key), None)


def find_number(data: bytes, key: bytes, odd: Odd, unit: bytes = b"") -> int | None:
    """The number of the first good row that begins with `key`, "VmHWM:"; None if there is none.

    `unit` is what follows the number, " kB".
    """
    most = MOST >> 10 if unit == _KIB else MOST  # in bytes it must be in range too
    for rest in _find_rows(data, key):
        try:
            if not rest.endswith(unit):
                raise ValueError(rest)
            return number(rest[: len(rest) - len(unit)].strip(b" \t"), most)
        except ValueError:
            odd(key + rest)
    return None


def _find_rows(data: bytes, key: bytes) -> Iterator[bytes]:
    at = 0 if data.startswith(key) else data.find(b"\n" + key) + 1
    while at or data.startswith(key):
        start = at + len(key)
        end = data.find(b"\n", start)
        yield data[start:] if end < 0 else data[start:end]
        at = data.find(b"\n" + key, start) + 1
        if not at:
            return


def unescape(text: bytes) -> bytes:
    """Undo the octal escapes (\\040) that stand for spaces, tabs, newlines and backslashes. Raises ValueError."""
    if b"\\" in text:
        first, *rest = text.split(b"\\")
        text = first + b"".join(bytes([int(part[:3], 8)]) + part[3:] for part in rest)
    return text
