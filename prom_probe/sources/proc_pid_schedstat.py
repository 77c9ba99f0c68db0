"""/proc/PID/schedstat: how long a thread waited for a CPU (scheduler/sched-stats.rst); a process's is that of its
main thread alone."""

from prom_probe.sources.errors import ParseError

SOURCE = "/proc/PID/schedstat"


def parse_proc_pid_schedstat(data: bytes) -> int:
    """Nanoseconds that the thread was ready to run and did not. Raises ParseError."""
    try:
        _, waited, _ = data.split(None, 2)
        return int(waited)
    except ValueError:
        raise ParseError(SOURCE, data) from None
