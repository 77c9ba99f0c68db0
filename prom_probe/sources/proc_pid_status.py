"""/proc/PID/status: the parts of a process's memory; /proc/PID/task/TID/status: a thread's context switches
(proc_pid_status(5))."""

from typing import NamedTuple

from prom_probe.sources.errors import ParseError
from prom_probe.sources.text import Odd, fields, find_number, find_row, ignore

SOURCE = "/proc/PID/status"


class MemoryStatus(NamedTuple):
    """In KiB. A kernel thread and a zombie have no memory: None."""

    peak: int | None  # VmHWM: the largest resident size so far
    shmem: int | None  # RssShmem: resident pages of shared memory and tmpfs
    swap: int | None  # VmSwap: private pages in swap, without shared memory


def parse_proc_pid_status(data: bytes, odd: Odd = ignore) -> MemoryStatus:
    """None for an odd row too."""
    return MemoryStatus(
        find_number(data, b"VmHWM:", odd, b" kB"),
        find_number(data, b"RssShmem:", odd, b" kB"),
        find_number(data, b"VmSwap:", odd, b" kB"),
    )


def parse_task_status(data: bytes, odd: Odd = ignore) -> tuple[bytes, int | None, int | None]:
    """(state, voluntary, nonvoluntary): a thread's state as in /proc/PID/stat, and its context switches so far.

    None for an odd row. Raises ParseError without a state.
    """
    state = fields(find_row(data, b"State:") or b"")
    if not state:
        raise ParseError(SOURCE, data)
    return (
        state[0],
        find_number(data, b"voluntary_ctxt_switches:", odd),
        find_number(data, b"nonvoluntary_ctxt_switches:", odd),
    )
