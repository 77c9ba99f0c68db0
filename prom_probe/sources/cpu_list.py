"""Lists of CPUs: cpuset.cpus.effective, /sys/devices/system/cpu/online, /proc/PID/status (cpuset(7), List format)."""

from prom_probe.sources.errors import ParseError
from prom_probe.sources.text import find_row, number

# More CPUs than any machine has, so that a damaged list cannot fill our memory.
_MOST = 1 << 16
_ALLOWED = b"Cpus_allowed_list:"


def parse_cpu_list(data: bytes, source: str) -> frozenset[int]:
    """The numbers of "0-3,8". Raises ParseError."""
    cpus: set[int] = set()
    try:
        for part in filter(None, data.strip().split(b",")):
            first, dash, last = part.partition(b"-")
            start, end = number(first), number(last if dash else first)
            if not 0 <= start <= end < _MOST:
                raise ParseError(source, data)
            cpus.update(range(start, end + 1))
    except ValueError:
        raise ParseError(source, data) from None
    return frozenset(cpus)


def parse_cpus_allowed(status: bytes) -> frozenset[int]:
    """Of /proc/PID/status: the CPUs, online or not, that a process may run on. Raises ParseError."""
    allowed = find_row(status, _ALLOWED)
    if allowed is None:
        raise ParseError("/proc/PID/status", status)
    return parse_cpu_list(allowed, "/proc/PID/status")
