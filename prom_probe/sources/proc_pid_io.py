"""/proc/PID/io: bytes that a process and its reaped children moved (proc_pid_io(5)); another uid is denied."""

from prom_probe.sources.errors import ParseError

SOURCE = "/proc/PID/io"


def parse_proc_pid_io(data: bytes) -> tuple[int, int]:
    """(read_bytes, write_bytes): what went to and from storage, page cache hits left out. Raises ParseError."""
    f = data.split()
    try:
        if f[8] != b"read_bytes:" or f[10] != b"write_bytes:":
            raise ParseError(SOURCE, data)
        return int(f[9]), int(f[11])
    except (ValueError, IndexError):
        raise ParseError(SOURCE, data) from None
