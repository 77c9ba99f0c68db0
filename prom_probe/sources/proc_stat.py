"""/proc/stat: CPU time by mode, and counts since boot (proc_stat(5))."""

from typing import NamedTuple

from prom_probe.sources.errors import ParseError
from prom_probe.sources.text import UNSIGNED, Odd, find_number, find_row, ignore, number

SOURCE = "/proc/stat"

_MODES = 8
# The kernel counts nanoseconds in 64 bits, and makes of them ticks of a millisecond or more.
_MOST_TICKS = UNSIGNED // 1_000_000
_COUNTS = (b"ctxt ", b"btime ", b"processes ", b"procs_running ", b"procs_blocked ")
_KEYS = [key.strip() for key in _COUNTS]


class ProcStat(NamedTuple):
    """None for what the kernel does not say, or says with a row that is odd."""

    cpu: (
        tuple[int, ...] | None
    )  # ticks of all CPUs: user (with guests), nice, system, idle, iowait, irq, softirq, steal
    interrupts: int | None
    context_switches: int | None
    boot_time: int | None  # unix second
    forks: int | None  # threads too
    running: int | None  # runnable threads
    blocked: int | None  # threads that wait for IO


_NOTHING = ProcStat(None, None, None, None, None, None, None)


def parse_proc_stat(data: bytes, odd: Odd = ignore) -> ProcStat:
    """Parses what is used: the row of interrupts has thousands of numbers. Raises ParseError if none is good."""
    at = max(data.find(b"\nintr "), 0)  # before it, there is a row for each CPU
    interrupts = _interrupts(data[at : at + 40].lstrip(b"\n"), odd)
    end = max(data.find(b"\n", at + 1), 0)
    counts = _counts(data[end:], odd)
    stat = ProcStat(_cpu(find_row(data, b"cpu "), odd), interrupts, *counts)
    if stat == _NOTHING:
        raise ParseError(SOURCE, data)
    return stat


def _counts(data: bytes, odd: Odd) -> list[int | None]:
    words = data.split(None, 10)
    values = words[1:10:2]
    if words[:10:2] == _KEYS and b"".join(values).isdigit() and max(map(len, values)) < 20:  # as on most machines
        return list(map(int, values))
    return [find_number(data, key, odd) for key in _COUNTS]


def _cpu(row: bytes | None, odd: Odd) -> tuple[int, ...] | None:
    if row is None:
        return None
    try:
        ticks = tuple(map(int, row.split()[:_MODES]))
        if len(ticks) < _MODES or min(ticks) < 0 or max(ticks) > _MOST_TICKS:
            raise ValueError(row)
    except ValueError:
        odd(b"cpu " + row)
        return None
    return ticks


def _interrupts(start: bytes, odd: Odd) -> int | None:
    """Of the beginning of the row: the sum comes first."""
    if not start.startswith(b"intr "):
        return None
    try:
        return number(start[5:].replace(b"\n", b" ").split(b" ", 1)[0])
    except ValueError:
        odd(start.split(b"\n", 1)[0])
        return None
