"""/sys/block/DEVICE/stat: what a block device read and wrote (Documentation/block/stat.rst)."""

import os

from prom_probe.sources.descriptors import read_once
from prom_probe.sources.errors import ParseError
from prom_probe.sources.text import number

SOURCE = "/sys/block/DEVICE/stat"

SECTOR_BYTES = 512  # of this file, whatever the device's own sector size

# Fields of the file.
READS, READ_SECTORS, READ_MS = 0, 2, 3
WRITES, WRITTEN_SECTORS, WRITE_MS = 4, 6, 7
IO_NOW, IO_MS, WEIGHTED_IO_MS = 8, 9, 10


def list_block_devices(sysfs: str) -> list[str]:
    """Names of whole devices, not partitions; a / in a name is written as a !. Raises OSError."""
    return os.listdir(f"{sysfs}/block")


def is_hidden(sysfs: str, name: str) -> bool:
    """Whether the device is one of the paths to another one, which counts the same again (NVMe multipath)."""
    try:
        return read_once(f"{sysfs}/block/{name}/hidden").strip() == b"1"
    except OSError:
        return False  # a kernel that has no such devices


def read_device_name(sysfs: str, number: str) -> str | None:
    """The name, such as "sda", of block device "8:0"; None where sysfs does not show it."""
    try:
        return os.path.basename(os.readlink(f"{sysfs}/dev/block/{number}"))
    except (OSError, ValueError):
        return None


# Old kernels let the requests in flight fall below zero, and write that as an unsigned number of 32 bits.
_MOST_IN_FLIGHT = (1 << 31) - 1


def read_lower_devices(sysfs: str, number: str) -> list[str]:
    """The numbers, such as "8:0", of the whole devices that a mapped device or a RAID is built on; none for others."""
    slaves = f"{sysfs}/dev/block/{number}/slaves"
    try:
        names = os.listdir(slaves)
    except (OSError, ValueError):
        return []
    found = []
    for name in names:
        device = os.path.realpath(f"{slaves}/{name}")
        if os.path.exists(f"{device}/partition"):
            device = os.path.dirname(device)
        try:
            found.append(read_once(f"{device}/dev").decode("ascii", "backslashreplace").strip())
        except OSError:
            continue
    return found


def parse_block_stat(data: bytes) -> list[int | None]:
    """All fields, eleven at least; None for a negative IO_NOW. Raises ParseError."""
    try:
        fields = list(map(number, data.split()))
    except ValueError:
        raise ParseError(SOURCE, data) from None
    if len(fields) < 11:
        raise ParseError(SOURCE, data)
    return [None if i == IO_NOW and field > _MOST_IN_FLIGHT else field for i, field in enumerate(fields)]
