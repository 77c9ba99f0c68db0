"""/proc/stat: CPU time by mode, and counts since boot (proc_stat(5))."""

from typing import NamedTuple

from prom_probe.sources.errors import ParseError

SOURCE = "/proc/stat"

_COUNTS = (b"\nintr ", b"\nctxt ", b"\nbtime ", b"\nprocesses ", b"\nprocs_running ", b"\nprocs_blocked ")


class ProcStat(NamedTuple):
    cpu: tuple[int, ...]  # ticks of all CPUs: user, nice, system, idle, iowait, irq, softirq, steal; user has guest's
    interrupts: int
    context_switches: int
    boot_time: int  # unix second
    forks: int  # threads too
    running: int  # runnable threads
    blocked: int  # threads that wait for IO


def parse_proc_stat(data: bytes) -> ProcStat:
    """Only what is used is looked at: the line of interrupts alone has thousands of numbers. Raises ParseError."""
    try:
        if not data.startswith(b"cpu "):
            raise ParseError(SOURCE, data)
        cpu = tuple(map(int, data[: data.index(b"\n")].split()[1:9]))
        counts = []
        for key in _COUNTS:
            start = data.index(key) + len(key)
            counts.append(int(data[start : start + 21].split(None, 1)[0]))
        if len(cpu) != 8:
            raise ParseError(SOURCE, data)
        return ProcStat(cpu, *counts)
    except (ValueError, IndexError):
        raise ParseError(SOURCE, data) from None
