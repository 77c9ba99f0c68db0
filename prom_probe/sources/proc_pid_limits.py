"""/proc/PID/limits: a process's resource limits (proc_pid_limits(5)); readable by every user."""

from prom_probe.sources.errors import ParseError

SOURCE = "/proc/PID/limits"
_OPEN_FILES = b"\nMax open files"


def parse_max_fds(data: bytes) -> int | None:
    """How many descriptors the process may have open (the soft limit), None for no limit. Raises ParseError."""
    start = data.find(_OPEN_FILES)
    if start < 0:
        raise ParseError(SOURCE, data)
    words = data[start + len(_OPEN_FILES) :].split(None, 1)
    if words and words[0] == b"unlimited":
        return None
    try:
        return int(words[0])
    except (ValueError, IndexError):
        raise ParseError(SOURCE, data) from None
