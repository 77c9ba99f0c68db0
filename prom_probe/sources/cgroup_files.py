"""The formats of cgroup files: flat keyed, single values, and those of block IO (admin-guide/cgroup-v2.rst)."""

from prom_probe.sources.errors import ParseError
from prom_probe.sources.text import UNSIGNED, Odd, fields, ignore, number, rows

# Version 1 writes "no limit" as the largest number of pages, in bytes.
_NO_LIMIT = 1 << 62
_IO_KEYS = frozenset({b"rbytes", b"wbytes", b"rios", b"wios", b"dbytes", b"dios"})
_TOTAL = b"Total"


def parse_flat_keyed(data: bytes, source: str, odd: Odd = ignore) -> dict[bytes, int]:
    """cpu.stat, memory.stat, memory.events: a key and a number on each row, up to `UNSIGNED`.

    Raises ParseError if no row is good.
    """
    words = data.split()
    try:
        found = dict(zip(words[::2], map(int, words[1::2]), strict=True))
        if not found or (min(found.values()) >= 0 and max(found.values()) <= UNSIGNED):
            return found
    except ValueError:
        pass
    found = {}
    for row in rows(data):
        try:
            key, value, *_ = fields(row)
            found.setdefault(key, number(value, UNSIGNED))
        except ValueError:
            odd(row)
    if not found:
        raise ParseError(source, data)
    return found


def parse_limit(data: bytes, source: str) -> int | None:
    """A number, or None for no limit. Raises ParseError."""
    try:
        limit = None if data.strip() == b"max" else number(data.strip(), UNSIGNED)
    except ValueError:
        raise ParseError(source, data) from None
    return None if limit is None or limit >= _NO_LIMIT else limit


def parse_number(data: bytes, source: str) -> int:
    """A single number. Raises ParseError."""
    try:
        return number(data.strip())
    except ValueError:
        raise ParseError(source, data) from None


# By device ("8:0") and key.
DeviceCounts = dict[str, dict[bytes, int]]


def parse_io_stat(data: bytes, odd: Odd = ignore) -> DeviceCounts:
    """Version 2's io.stat: rbytes, wbytes, rios, wios, dbytes, dios. A device without numbers is left out.

    Some kernels do not end the rows of devices without numbers: the numbers are those of the last device of a row.
    Rows of one device add up: the kernel calls each device that is gone "(unknown)".
    """
    devices: DeviceCounts = {}
    for row in rows(data):
        device, counts = b"", dict[bytes, int]()
        try:
            for field in fields(row):
                key, equals, value = field.partition(b"=")
                if not equals and not counts:
                    device = field
                elif key in _IO_KEYS:
                    counts[key] = number(value)
                elif not equals:
                    raise ValueError(field)
            if counts and not device:
                raise ValueError(row)
        except ValueError:
            odd(row)
            continue
        if counts:
            _add(devices, device, counts)
    return devices


def parse_blkio(data: bytes, odd: Odd = ignore) -> DeviceCounts:
    """Version 1's blkio.throttle.*: Read, Write, ... Rows of one device and key add up, as for `parse_io_stat`."""
    devices: DeviceCounts = {}
    for row in rows(data):
        words = fields(row)
        try:
            if len(words) == 3:
                _add(devices, words[0], {words[1]: number(words[2])})
            elif len(words) != 2 or words[0] != _TOTAL:
                raise ValueError(row)
        except ValueError:
            odd(row)
    return devices


def _add(devices: DeviceCounts, device: bytes, counts: dict[bytes, int]) -> None:
    sums = devices.setdefault(device.decode("ascii", "backslashreplace"), {})
    for key, count in counts.items():
        sums[key] = sums.get(key, 0) + count
