"""/proc/PID/limits: a process's resource limits (proc_pid_limits(5)); readable by every user."""

from prom_probe.sources.errors import ParseError
from prom_probe.sources.text import fields, find_row, number

SOURCE = "/proc/PID/limits"
_OPEN_FILES = b"Max open files"


def parse_max_fds(data: bytes) -> int | None:
    """How many descriptors the process may have open (the soft limit), None for no limit. Raises ParseError."""
    words = fields(find_row(data, _OPEN_FILES) or b"")
    if words and words[0] == b"unlimited":
        return None
    try:
        return number(words[0])
    except (ValueError, IndexError):
        raise ParseError(SOURCE, data) from None
