"""/proc/PID/statm: a process's memory in pages, exact where /proc/PID/stat's rss is not (proc_pid_statm(5))."""

from prom_probe.sources.errors import ParseError

SOURCE = "/proc/PID/statm"


def parse_proc_pid_statm(data: bytes) -> tuple[int, int, int]:
    """(size, resident, shared), pages; `shared` is of files and of shared memory, the rest is anonymous.

    Raises ParseError.
    """
    try:
        size, resident, shared, _ = data.split(None, 3)
        return int(size), int(resident), int(shared)
    except ValueError:
        raise ParseError(SOURCE, data) from None
