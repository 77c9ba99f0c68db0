"""/proc/PID/schedstat: how long a process's main thread waited for a CPU (scheduler/sched-stats.rst)."""

from prom_probe.sources.errors import ParseError
from prom_probe.sources.text import number

SOURCE = "/proc/PID/schedstat"


def parse_proc_pid_schedstat(data: bytes) -> int:
    """Nanoseconds for which the thread was ready to run but did not run. Raises ParseError."""
    try:
        _, waited, _ = data.split(None, 2)
        return number(waited)
    except ValueError:
        raise ParseError(SOURCE, data) from None
