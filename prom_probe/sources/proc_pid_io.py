"""/proc/PID/io: bytes that a process and its reaped children read and wrote (proc_pid_io(5)); denied to other uids."""

from prom_probe.sources.errors import ParseError

SOURCE = "/proc/PID/io"


def parse_proc_pid_io(data: bytes) -> tuple[int, int]:
    """(read_bytes, write_bytes): transfers from and to storage, without page cache hits. Raises ParseError."""
    f = data.split()
    try:
        if f[8] != b"read_bytes:" or f[10] != b"write_bytes:":
            raise ParseError(SOURCE, data)
        return int(f[9]), int(f[11])
    except (ValueError, IndexError):
        raise ParseError(SOURCE, data) from None
