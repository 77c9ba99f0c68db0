"""/proc/PID/io: bytes that a process and its reaped children read and wrote (proc_pid_io(5)); denied to other uids."""

from prom_probe.sources.errors import ParseError
from prom_probe.sources.text import Odd, find_number, ignore

SOURCE = "/proc/PID/io"
_KEYS = [b"read_bytes:", b"write_bytes:"]


def parse_proc_pid_io(data: bytes, odd: Odd = ignore) -> tuple[int | None, int | None]:
    """(read_bytes, write_bytes): transfers from and to storage, without page cache hits; None for an odd row.

    Raises ParseError if neither is good.
    """
    f = data.split()
    if f[8:12:2] == _KEYS and (f[9] + f[11]).isdigit() and len(f[9]) < 20 > len(f[11]):  # as all kernels have it
        return int(f[9]), int(f[11])
    read, written = find_number(data, b"read_bytes:", odd), find_number(data, b"write_bytes:", odd)
    if read is None and written is None:
        raise ParseError(SOURCE, data)
    return read, written
