"""/proc/PID/statm: a process's memory in pages, exact where /proc/PID/stat's rss is not (proc_pid_statm(5))."""

from prom_probe.sources.errors import ParseError

SOURCE = "/proc/PID/statm"


def parse_proc_pid_statm(data: bytes) -> tuple[int, int]:
    """(size, resident), pages. Raises ParseError."""
    try:
        size, resident, _ = data.split(None, 2)
        return int(size), int(resident)
    except ValueError:
        raise ParseError(SOURCE, data) from None
