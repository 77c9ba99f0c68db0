"""/proc/PID/statm: a process's memory in pages; unlike /proc/PID/stat's rss it is exact (proc_pid_statm(5))."""

from prom_probe.sources.errors import ParseError

SOURCE = "/proc/PID/statm"


def parse_proc_pid_statm(data: bytes) -> tuple[int, int, int]:
    """(size, resident, shared) in pages; resident pages that are not `shared` (files, shared memory) are anonymous.

    Raises ParseError.
    """
    try:
        size, resident, shared, _ = data.split(None, 3)
        pages = int(size), int(resident), int(shared)
    except ValueError:
        raise ParseError(SOURCE, data) from None
    if min(pages) < 0:
        raise ParseError(SOURCE, data)
    return pages
