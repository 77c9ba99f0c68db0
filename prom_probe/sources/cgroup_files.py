"""The formats of cgroup files: flat keyed, single values, and those of block IO (admin-guide/cgroup-v2.rst)."""

from prom_probe.sources.errors import ParseError

# Version 1 writes "no limit" as the largest number of pages, in bytes.
_NO_LIMIT = 1 << 62


def parse_flat_keyed(data: bytes, source: str) -> dict[bytes, int]:
    """cpu.stat, memory.stat, memory.events: a key and a number on each line. Raises ParseError."""
    fields = data.split()
    try:
        return dict(zip(fields[::2], map(int, fields[1::2]), strict=True))
    except ValueError:
        raise ParseError(source, data) from None


def parse_limit(data: bytes, source: str) -> int | None:
    """A number, or None for no limit. Raises ParseError."""
    try:
        number = None if data.strip() == b"max" else int(data)
    except ValueError:
        raise ParseError(source, data) from None
    return None if number is None or number >= _NO_LIMIT else number


def parse_number(data: bytes, source: str) -> int:
    """A single number. Raises ParseError."""
    try:
        return int(data)
    except ValueError:
        raise ParseError(source, data) from None


# By device ("8:0") and key.
DeviceCounts = dict[str, dict[bytes, int]]


def parse_io_stat(data: bytes) -> DeviceCounts:
    """Version 2's io.stat: rbytes, wbytes, rios, wios, ... A device without numbers is left out. Raises ParseError."""
    devices: DeviceCounts = {}
    for line in data.splitlines():
        try:
            device, *fields = line.split()
            counts = {key: int(value) for key, value in (field.split(b"=") for field in fields)}
        except ValueError:
            raise ParseError("io.stat", line) from None
        if counts:
            devices[device.decode("ascii", "backslashreplace")] = counts
    return devices


def parse_blkio(data: bytes) -> DeviceCounts:
    """Version 1's blkio.throttle.*: Read, Write, ... Raises ParseError."""
    devices: DeviceCounts = {}
    for line in data.splitlines():
        fields = line.split()
        if len(fields) == 3:
            device, key, value = fields
            try:
                devices.setdefault(device.decode("ascii", "backslashreplace"), {})[key] = int(value)
            except ValueError:
                raise ParseError("blkio.throttle", line) from None
        elif len(fields) != 2:  # the grand total
            raise ParseError("blkio.throttle", line)
    return devices
