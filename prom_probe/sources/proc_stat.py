"""/proc/stat: CPU time by mode, and counts since boot (proc_stat(5))."""

from typing import NamedTuple

from prom_probe.sources.errors import ParseError

SOURCE = "/proc/stat"

_COUNTS = [b"ctxt", b"btime", b"processes", b"procs_running", b"procs_blocked"]


class ProcStat(NamedTuple):
    cpu: tuple[int, ...]  # ticks of all CPUs: user (with guests), nice, system, idle, iowait, irq, softirq, steal
    interrupts: int
    context_switches: int
    boot_time: int  # unix second
    forks: int  # threads too
    running: int  # runnable threads
    blocked: int  # threads that wait for IO


def parse_proc_stat(data: bytes) -> ProcStat:
    """Parses only what is used, as the line of interrupts has thousands of numbers. Raises ParseError."""
    try:
        cpu = data[: data.index(b"\n")].split()
        if cpu[0] != b"cpu" or len(cpu) < 9:
            raise ParseError(SOURCE, data)
        at = data.index(b"\nintr ")
        interrupts = int(data[at + 6 : at + 27].split(None, 1)[0])
        counts = data[data.index(b"\nctxt ", at) :].split(None, 10)
        if counts[0:10:2] != _COUNTS:
            raise ParseError(SOURCE, data)
        return ProcStat(tuple(map(int, cpu[1:9])), interrupts, *map(int, counts[1:10:2]))
    except (ValueError, IndexError):
        raise ParseError(SOURCE, data) from None
