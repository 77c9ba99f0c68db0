"""/proc/loadavg: the load, the number of threads, and the newest PID, which changes with every fork."""

from typing import NamedTuple

from prom_probe.sources.errors import ParseError
from prom_probe.sources.text import number

SOURCE = "/proc/loadavg"


class ProcLoadavg(NamedTuple):
    load1: float
    load5: float
    load15: float
    threads: int  # of all processes, the kernel's too


def parse_proc_loadavg(data: bytes) -> ProcLoadavg:
    """Raises ParseError."""
    try:
        load1, load5, load15, tasks, _, *_ = data.split()
        _, threads = tasks.split(b"/")
        return ProcLoadavg(float(load1), float(load5), float(load15), number(threads))
    except ValueError:
        raise ParseError(SOURCE, data) from None


def parse_last_pid(data: bytes) -> int:
    """The newest PID of our PID namespace; threads use PIDs too. Raises ParseError."""
    try:
        return number(data[data.rindex(b" ") :].strip())
    except ValueError:
        raise ParseError(SOURCE, data) from None
