"""/proc/diskstats: what each block device read and wrote (Documentation/admin-guide/iostats.rst)."""

from prom_probe.sources.errors import ParseError

SOURCE = "/proc/diskstats"

SECTOR_BYTES = 512  # whatever the device's own is

# Fields of a line.
READS, READ_SECTORS, READ_MS = 3, 5, 6
WRITES, WRITTEN_SECTORS, WRITE_MS = 7, 9, 10
IO_NOW, IO_MS, WEIGHTED_IO_MS = 11, 12, 13


def parse_proc_diskstats(data: bytes) -> list[tuple[str, list[bytes]]]:
    """(device, the fields of its line as text, major and minor number and name included). Raises ParseError."""
    devices = []
    for line in data.splitlines():
        fields = line.split()
        if len(fields) < 14:
            raise ParseError(SOURCE, line)
        devices.append((fields[2].decode("utf-8", "backslashreplace"), fields))
    return devices


def parse_number(fields: list[bytes], field: int) -> int:
    """One field of a line. Raises ParseError."""
    try:
        return int(fields[field])
    except ValueError:
        raise ParseError(SOURCE, b" ".join(fields)) from None
